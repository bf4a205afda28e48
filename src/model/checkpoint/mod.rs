//! Checkpoints: PyTorch state dicts, safetensors and model files in, safetensors out, and the check against a network.
//!
//! One file per format (`pytorch` on `pickle` and `objects`, `safetensors_file`, `bitstream`), chosen by content; then
//! `names`, `fold` and `fit` make of it what a network takes. No tensor is lost on the way without an error or a note.

mod bitstream;
mod dtype;
mod fit;
mod fold;
mod folded;
mod head;
mod levels;
mod locate;
mod names;
mod objects;
mod pickle;
mod pickle_machine;
mod pickle_node;
mod pytorch;
mod safetensors_file;
mod select;

use crate::nn::{Network, Parameters};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use indexmap::IndexMap;
use std::io::Read as _;
use std::path::Path;

pub use fit::{FitOptions, Fitted, fit, fit_with};
pub use folded::unfold_batch_norm;
pub use head::renew_head;
pub use levels::{SIDE_SUFFIXES, entries, from_entries, from_sides, side_tensors};
pub use locate::locate;
pub use names::{Rename, is_batch_counter};
pub use safetensors_file::{to_safetensors, to_safetensors_with, write_safetensors};

/// Tensors by name in file order.
pub type StateDict = IndexMap<String, Tensor>;

/// Facts about a file that a safetensors header may hold.
pub type Metadata = IndexMap<String, String>;

/// How a checkpoint is read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Which dictionary of a PyTorch file is the state dict: keys joined by dots, `.` for the top.
    pub key: Option<String>,
    /// New names, the first pattern that fits.
    pub renames: Vec<Rename>,
    /// Keep names and parametrizations as they are in the file.
    pub as_stored: bool,
}

/// What a file holds: floats as f32, integers as i32 or (above 31 bits) i64.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// The tensors.
    pub tensors: StateDict,
    /// What was converted, folded or left out.
    pub notes: Vec<String>,
    /// Facts from the header of a safetensors file.
    pub metadata: Metadata,
}

/// Tensors as a format's reader gives them.
#[derive(Debug, Default)]
struct Raw {
    tensors: StateDict,
    notes: Vec<String>,
    metadata: Metadata,
    converted: Converted,
}

/// Tensors whose element type is not kept, by type.
#[derive(Debug, Default)]
struct Converted(IndexMap<String, Vec<String>>);

impl Converted {
    fn add(&mut self, name: &str, kind: &str) {
        let kept = kind == "float32" || kind.starts_with("int") || kind.starts_with("uint") || kind == "bool";
        if !kept {
            self.0.entry(kind.to_owned()).or_default().push(name.to_owned());
        }
    }

    fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(kind, names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{kind} converted to float32: {}", few(&names))
        })
    }
}

/// The first names of a list, and how many more there are.
fn few(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    match names.len() {
        0..=SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

/// Reads a checkpoint of any kind, told by its content: safetensors, a model file, or PyTorch's (zip, the format before
/// 1.6, or a pickle of arrays) with a plain state dict or one nested under other keys.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ecqx::model::checkpoint;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("weights.safetensors");
/// let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// checkpoint::write_safetensors(&path, [("module.fc.weight", &weight)])?;
/// let read = checkpoint::open(&path, &checkpoint::ReadOptions::default())?;
/// // A wrapper's prefix is dropped.
/// assert_eq!(read.tensors["fc.weight"].dims(), [2, 2]);
/// # Ok::<(), ecqx::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Format`] when it is damaged, of another kind, or holds a tensor
/// that is not read; [`Error::Input`] where a choice is the user's: several state dicts, names that collide.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Checkpoint> {
    parse(&contents(path)?, path, options)
}

/// As [`open`], from bytes; `path` is for messages and, where the content does not tell, for the kind of file.
///
/// # Errors
/// As [`open`].
pub fn parse(bytes: &[u8], path: &Path, options: &ReadOptions) -> Result<Checkpoint> {
    let Raw { tensors, mut notes, metadata, converted } = raw(bytes, path, options)?;
    notes.extend(converted.notes());
    if options.as_stored {
        return Ok(Checkpoint { tensors, notes, metadata });
    }
    let tensors = names::clean(tensors, &options.renames, path)?;
    let (tensors, folded) = fold::fold(tensors, path)?;
    notes.extend(folded);
    Ok(Checkpoint { tensors, notes, metadata })
}

/// A file's bytes; `-` is standard input.
fn contents(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(Error::io(path))?;
        return Ok(bytes);
    }
    if path.is_dir() {
        return Err(Error::input(format!("{}: is a folder, expected a checkpoint", path.display())));
    }
    std::fs::read(path).map_err(Error::io(path))
}

fn raw(bytes: &[u8], path: &Path, options: &ReadOptions) -> Result<Raw> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let has_keys = bytes.starts_with(pytorch::ZIP_MAGIC) || bytes.first() == Some(&pytorch::PICKLE_MAGIC);
    if let (Some(key), false) = (&options.key, has_keys) {
        return Err(Error::input(format!("{}: --key {key}: only PyTorch files have keys", path.display())));
    }
    if bytes.starts_with(pytorch::ZIP_MAGIC) {
        pytorch::parse_zip(bytes, path, options)
    } else if safetensors_file::is_one(bytes) {
        safetensors_file::parse(bytes, path)
    } else if bitstream::is_one(bytes) || (extension == "nnc" && !has_keys) {
        bitstream::parse(bytes, path)
    } else if has_keys {
        pytorch::parse_pickles(bytes, path, options)
    } else if extension == "safetensors" {
        Err(foreign(bytes, path).unwrap_or_else(|| {
            Error::format(path, 0, "not a valid safetensors file: no header at its beginning")
        }))
    } else {
        Err(foreign(bytes, path).unwrap_or_else(|| {
            Error::format(
                path,
                0,
                "neither a PyTorch checkpoint nor a safetensors or NNC file by its first bytes",
            )
        }))
    }
}

/// Files that often lie where a checkpoint should.
fn foreign(bytes: &[u8], path: &Path) -> Option<Error> {
    let start = bytes.iter().take(64).map(u8::to_ascii_lowercase).collect::<Vec<_>>();
    let text = start.trim_ascii_start();
    let (what, hint) = match () {
        () if bytes.is_empty() => ("is empty", "copy or download it again"),
        () if text.starts_with(b"<!doctype") || text.starts_with(b"<html") => {
            ("is a web page, not a checkpoint", "download the file itself, not the page that shows it")
        }
        () if text.starts_with(b"version https://git-lfs") => {
            ("is a pointer of Git LFS, not the file itself", "fetch it with: git lfs pull")
        }
        () if bytes.starts_with(&[0x1f, 0x8b]) => ("is compressed with gzip", "unpack it with: gunzip"),
        () if bytes.starts_with(b"\x89HDF") => ("is an HDF5 file", "save the weights as safetensors"),
        () => return None,
    };
    Some(Error::input_hint(format!("{}: {what}", path.display()), hint))
}

/// The tensors of a checkpoint, read with the defaults.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> Result<StateDict> {
    Ok(open(path, &ReadOptions::default())?.tensors)
}

/// The decoded tensors of a model file; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] with the offset of what is damaged.
pub fn from_model_file(bytes: &[u8], path: &Path) -> Result<StateDict> {
    Ok(bitstream::parse(bytes, path)?.tensors)
}

/// Reads a checkpoint and checks it against a network.
///
/// # Errors
/// As [`open`]; [`Error::Input`] listing tensors that are missing or of another shape.
pub fn load(path: &Path, network: &Network, device: &Device) -> Result<Parameters> {
    Ok(load_with(path, network, device, &ReadOptions::default(), FitOptions::default())?.parameters)
}

/// As [`load`], with what was converted, folded or left out.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    path: &Path,
    network: &Network,
    device: &Device,
    read: &ReadOptions,
    options: FitOptions,
) -> Result<Fitted> {
    open(path, read)?.fit(path, network, device, options)
}

impl Checkpoint {
    /// Arranges the tensors as a network's parameters; `path` is for messages.
    ///
    /// # Errors
    /// As [`fit_with`].
    pub fn fit(self, path: &Path, network: &Network, device: &Device, options: FitOptions) -> Result<Fitted> {
        let Self { tensors, notes, metadata } = self;
        let fitted =
            fit_with(&tensors, network, device, options).map_err(|error| error.at(path.display()))?;
        Ok(Fitted { notes, metadata, ..fitted })
    }
}

/// Content digest of parameters: 64 hex digits over names, shapes and values.
///
/// # Errors
/// [`Error::Tensor`] when values cannot be read from the device.
pub fn digest(parameters: &Parameters) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, parameter) in parameters.iter() {
        hasher.update(name.as_bytes());
        for &dimension in parameter.var.dims() {
            hasher.update(&(dimension as u64).to_le_bytes());
        }
        for value in parameters.values(name)? {
            hasher.update(&value.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests;
