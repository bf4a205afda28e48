//! Checkpoint files: a [`Snapshot`] as one safetensors file, its JSON parts in the header's metadata. A digest over
//! everything tells damage; the file is dispensable, so whatever is wrong with it costs progress only.

use super::{Array, Snapshot};
use crate::record::EpochMetrics;
use crate::{Error, Result};
use indexmap::IndexMap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Version of the format; raised when a loop could not continue from an older file.
const SCHEMA: u32 = 2;

const FORMAT: &str = "ecqx_checkpoint";
const ABOUT: &str = "about";
const EPOCHS: &str = "epochs";
const VALUES: &str = "values";
const DIGEST: &str = "digest";

/// Longest head that [`epochs`] looks at, bytes; real ones have kilobytes.
const LONGEST: u64 = 16 << 20;

/// Digest of the JSON parts and of all arrays with their names and types.
fn digest<'a>(texts: [&str; 3], arrays: impl Iterator<Item = (&'a str, Dtype, &'a [u8])>) -> Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("ecqx checkpoint");
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    texts.iter().for_each(|text| part(text.as_bytes()));
    let mut arrays: Vec<_> = arrays.collect();
    arrays.sort_by_key(|(name, ..)| *name);
    for (name, kind, bytes) in arrays {
        part(name.as_bytes());
        part(format!("{kind:?}").as_bytes());
        part(bytes);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Writes a checkpoint through a temporary file in `partial` whose name begins with `tag`.
///
/// # Errors
/// [`Error::Io`] when the disk is full or the store cannot be written; the checkpoint before stays then.
pub fn write(path: &Path, partial: &Path, tag: &str, about: &Value, snapshot: &Snapshot) -> Result<()> {
    let bytes: Vec<(&str, Dtype, Vec<u8>)> = snapshot
        .arrays
        .iter()
        .map(|(name, array)| {
            let (kind, bytes) = match array {
                Array::Floats(values) => (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Array::Integers(values) => {
                    (Dtype::I32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
                }
                Array::Bytes(values) => (Dtype::U8, values.clone()),
            };
            (name.as_str(), kind, bytes)
        })
        .collect();
    let about = about.to_string();
    let epochs = serde_json::to_string(&snapshot.epochs)
        .map_err(|error| Error::Internal(format!("checkpoint: {error}")))?;
    let values = Value::Object(snapshot.values.clone()).to_string();
    let digest = digest(
        [&about, &epochs, &values],
        bytes.iter().map(|(name, kind, bytes)| (*name, *kind, &bytes[..])),
    )?;
    let failed = |error: safetensors::SafeTensorError| Error::Internal(format!("checkpoint: {error}"));
    let views = bytes
        .iter()
        .map(|(name, kind, bytes)| {
            let count = bytes.len() * 8 / kind.bitsize();
            Ok((*name, TensorView::new(*kind, vec![count], bytes)?))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    let metadata =
        [(FORMAT, SCHEMA.to_string()), (ABOUT, about), (EPOCHS, epochs), (VALUES, values), (DIGEST, digest)];
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let file = safetensors::serialize(views, Some(metadata)).map_err(failed)?;
    let attempt = || -> std::io::Result<()> {
        let mut temporary = tempfile::Builder::new().prefix(tag).tempfile_in(partial)?;
        temporary.write_all(&file)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(Error::io(path))
}

/// Reads a checkpoint: what it is about, and the state.
///
/// # Errors
/// [`Error::Format`] when it is damaged or of another version.
pub fn read(path: &Path) -> Result<(Value, Snapshot)> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let wrong = |what: String| Error::format(path, 0, what);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let text = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
    if text(FORMAT).parse().is_ok_and(|version: u32| version > SCHEMA) {
        // Not damage: a newer program continues from it.
        return Err(Error::input(format!(
            "{}: a checkpoint of version {}, this program reads {SCHEMA}",
            path.display(),
            text(FORMAT)
        )));
    }
    if text(FORMAT) != SCHEMA.to_string() {
        return Err(wrong(format!("no checkpoint of version {SCHEMA} (found version '{}')", text(FORMAT))));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
    let views: Vec<(&str, TensorView<'_>)> = file.iter().collect();
    let parts = views.iter().map(|(name, view)| (*name, view.dtype(), view.data()));
    if digest([text(ABOUT), text(EPOCHS), text(VALUES)], parts)? != text(DIGEST) {
        return Err(wrong("the content is not what was written (digest differs)".into()));
    }
    let mut arrays = IndexMap::new();
    for (name, view) in &views {
        let words = view.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        let array = match view.dtype() {
            Dtype::F32 => Array::Floats(words.map(f32::from_le_bytes).collect()),
            Dtype::I32 => Array::Integers(words.map(i32::from_le_bytes).collect()),
            Dtype::U8 => Array::Bytes(view.data().to_vec()),
            other => return Err(wrong(format!("{name}: {other:?} is not written to checkpoints"))),
        };
        arrays.insert((*name).to_owned(), array);
    }
    let parsed =
        |key: &str| serde_json::from_str(text(key)).map_err(|error| wrong(format!("{key}: {error}")));
    let (about, values): (Value, Value) = (parsed(ABOUT)?, parsed(VALUES)?);
    let epochs = serde_json::from_str(text(EPOCHS)).map_err(|error| wrong(format!("{EPOCHS}: {error}")))?;
    match values {
        Value::Object(values) => Ok((about, Snapshot { epochs, values, arrays })),
        _ => Err(wrong("values: not an object".into())),
    }
}

/// The epochs in a checkpoint's head, without reading the arrays behind it; `None` where there is none or it cannot be
/// read: progress is for people, whoever continues from the file checks it.
pub fn epochs(path: &Path) -> Option<Vec<EpochMetrics>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut head = Vec::new();
    file.take(length.min(LONGEST)).read_to_end(&mut head).ok()?;
    let head: Value = serde_json::from_slice(&head).ok()?;
    let metadata = head.get("__metadata__")?;
    if metadata.get(FORMAT)?.as_str()? != SCHEMA.to_string() {
        return None;
    }
    serde_json::from_str(metadata.get(EPOCHS)?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written comes back; a flipped bit anywhere is an error, never another state and never a panic.
    #[test]
    fn damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let mut snapshot = Snapshot::default();
        snapshot.put("position", &serde_json::json!({"epoch": 2, "loss": 0.1})).unwrap();
        snapshot.epochs.push(EpochMetrics {
            epoch: 1,
            train_loss: Some(0.5),
            train_top1: None,
            validation_top1: None,
            validation_map: None,
            validation_loss: None,
            sparsity: None,
            learning_rate: None,
            seconds: 1.5,
        });
        snapshot.put_floats("model/w".into(), vec![1.0, -2.5, f32::MIN_POSITIVE]);
        snapshot.arrays.insert("counts".into(), Array::Integers(vec![-1, 7]));
        snapshot.arrays.insert("levels".into(), Array::Bytes(vec![3, 0, 255]));
        let about = serde_json::json!({"id": "abc"});
        write(&path, folder.path(), "tag-", &about, &snapshot).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
        let (found, back) = read(&path).unwrap();
        assert_eq!((found, back.values, back.arrays.len()), (about, snapshot.values.clone(), 3));
        assert_eq!(back.arrays["model/w"], snapshot.arrays["model/w"]);
        assert_eq!(epochs(&path).unwrap(), snapshot.epochs);
        assert_eq!(back.epochs, snapshot.epochs);
        assert_eq!(epochs(&folder.path().join("none")), None);
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(read(&path).is_err(), "byte {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
        }
    }
}
