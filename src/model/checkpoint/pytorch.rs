//! PyTorch's files: today's zip archive, the format before 1.6, and a plain pickle (of numpy arrays). Where the values
//! of each tensor lie, and reading them.

use super::dtype::Kind;
use super::objects::{Source, Stored};
use super::pickle::{self, Node, Pickle};
use super::{Raw, ReadOptions, select};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

/// First bytes of a zip archive.
pub(super) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// First byte of a pickle of protocol 2 and above.
pub(super) const PICKLE_MAGIC: u8 = 0x80;
/// The number, pickled first, with which the older format begins.
const LEGACY_MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Values that all tensors together may have beyond those in the file: tied and broadcast tensors repeat some.
const REPEATED: usize = 1 << 22;
const REPEATS: &str = "it repeats values more often than is read";

/// A zip archive: PyTorch's, or what else is one.
pub(super) fn parse_zip(bytes: &[u8], path: &Path, options: &ReadOptions) -> Result<Raw> {
    let wrong = |what: String| Error::format(path, 0, format!("damaged PyTorch archive: {what}"));
    // Nothing lies before the archive. Looking for where it starts goes wrong where a name happens to end in a way that
    // looks like a directory.
    let config = zip::read::Config { archive_offset: zip::read::ArchiveOffset::Known(0) };
    let mut archive =
        zip::ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|error| wrong(error.to_string()))?;
    let names: Vec<String> = (0..archive.len())
        .map(|index| archive.by_index(index)?.name().map(|name| name.into_owned()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    let Some(folder) = names.iter().find_map(|name| name.strip_suffix("data.pkl")) else {
        return Err(not_pytorch(&names, path));
    };
    if names.iter().any(|name| name.strip_prefix(folder).is_some_and(|name| name.starts_with("code/"))) {
        return Err(Error::input_hint(
            format!("{}: is a TorchScript archive, not a state dict", path.display()),
            "in Python: torch.save(torch.jit.load('FILE').state_dict(), 'weights.pt')",
        ));
    }
    let mut left = bytes.len();
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let file = archive.by_name(name).map_err(|error| wrong(format!("{name}: {error}")))?;
        let mut content = Vec::new();
        let read = file.take(left as u64 + 1).read_to_end(&mut content);
        read.map_err(|error| wrong(format!("{name}: {error}")))?;
        left = left
            .checked_sub(content.len())
            .ok_or_else(|| wrong(format!("{name} is larger than the archive: PyTorch does not compress")))?;
        Ok(content)
    };
    let order = format!("{folder}byteorder");
    if names.contains(&order) && entry(&order)?.starts_with(b"big") {
        return Err(big_endian(path));
    }
    let content = entry(&format!("{folder}data.pkl"))?;
    let pickle = unpickle(&content, path, 0)?;
    let (sources, notes) = select::state_dict(&pickle, options.key.as_deref(), path)?;
    let mut storages: HashMap<String, Vec<u8>> = HashMap::new();
    for stored in sources.values().flat_map(stored) {
        if !storages.contains_key(&stored.storage) {
            storages.insert(stored.storage.clone(), entry(&format!("{folder}data/{}", stored.storage))?);
        }
    }
    collect(sources, notes, |key| storages.get(key).map(Vec::as_slice), bytes.len(), path)
}

fn not_pytorch(names: &[String], path: &Path) -> Error {
    let all_end = |suffix: &str| !names.is_empty() && names.iter().all(|name| name.ends_with(suffix));
    match all_end(".npy") {
        true => Error::input_hint(
            format!("{}: is an archive of numpy arrays (.npz)", path.display()),
            "in Python: safetensors.numpy.save_file(dict(numpy.load('FILE')), 'weights.safetensors')",
        ),
        false => Error::format(path, 0, "a zip archive without data.pkl is no PyTorch checkpoint"),
    }
}

fn big_endian(path: &Path) -> Error {
    Error::input_hint(
        format!("{}: was written on a big-endian machine", path.display()),
        "load it with PyTorch and save it again on this machine",
    )
}

/// A pickle, perhaps the first of the several of the older format.
pub(super) fn parse_pickles(bytes: &[u8], path: &Path, options: &ReadOptions) -> Result<Raw> {
    let first = unpickle(bytes, path, 0)?;
    if !matches!(first.node(first.root), Node::Huge(magic) if *magic == LEGACY_MAGIC) {
        let (sources, notes) = select::state_dict(&first, options.key.as_deref(), path)?;
        return collect(sources, notes, |_| None, bytes.len(), path);
    }
    let mut at = first.length;
    let mut next = || -> Result<Pickle<'_>> {
        let pickle = unpickle(bytes.get(at..).unwrap_or_default(), path, at)?;
        at += pickle.length;
        Ok(pickle)
    };
    let (_protocol, system, object, keys) = (next()?, next()?, next()?, next()?);
    let is_little = |entries: &[(u32, u32)]| {
        let entry = entries.iter().find(|entry| system.text(entry.0) == Some("little_endian"));
        entry.is_none_or(|entry| system.integer(entry.1) != Some(0))
    };
    if !system.entries(system.root).is_none_or(|entries| is_little(&entries)) {
        return Err(big_endian(path));
    }
    let wrong = |at: usize, what: String| Error::format(path, at as u64, what);
    let Some(keys_in_order) = keys.items(keys.root) else {
        return Err(wrong(at, "expected the list of storages".into()));
    };
    let size_of = select::storages(&object);
    let (sources, notes) = select::state_dict(&object, options.key.as_deref(), path)?;
    let mut storages: HashMap<String, &[u8]> = HashMap::new();
    for &key in keys_in_order {
        let key = match keys.node(key) {
            Node::Text(text) => text.to_string(),
            Node::Int(number) => number.to_string(),
            _ => return Err(wrong(at, "a storage's name is not text".into())),
        };
        let truncated = || wrong(at, format!("truncated: storage {key} is cut off"));
        let header = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(truncated)?;
        let size = size_of.get(&key).copied();
        let size = size.ok_or_else(|| wrong(at, format!("storage {key} is of no known type")))?;
        let length = usize::try_from(u64::from_le_bytes(header)).ok().and_then(|n| n.checked_mul(size));
        let end = length.and_then(|length| (at + 8).checked_add(length)).ok_or_else(truncated)?;
        let content = bytes.get(at + 8..end).ok_or_else(truncated)?;
        storages.insert(key, content);
        at = end;
    }
    collect(sources, notes, |key| storages.get(key).copied(), bytes.len(), path)
}

fn unpickle<'a>(bytes: &'a [u8], path: &Path, offset: usize) -> Result<Pickle<'a>> {
    pickle::read(bytes).map_err(|error| Error::format(path, (offset + error.at) as u64, error.message))
}

/// The storages that a tensor's values are in.
fn stored<'s>(source: &'s Source<'_>) -> Vec<&'s Stored> {
    match source {
        Source::Stored(stored) | Source::Quantized { integers: stored, .. } => vec![stored],
        Source::Array { .. } => Vec::new(),
        Source::PerChannel { integers, scales, zeros, .. } => {
            [vec![integers], self::stored(scales), self::stored(zeros)].concat()
        }
    }
}

/// Reads the values. `file` is the file's size in bytes, which bounds what is allocated.
fn collect<'s>(
    sources: indexmap::IndexMap<String, Source<'_>>,
    notes: Vec<String>,
    storage: impl Fn(&str) -> Option<&'s [u8]>,
    file: usize,
    path: &Path,
) -> Result<Raw> {
    let mut raw = Raw { notes, ..Raw::default() };
    let mut reader = Reader { storage, left: file.saturating_add(REPEATED) };
    for (name, source) in sources {
        let tensor = reader
            .tensor(&source)
            .map_err(|what| Error::format(path, 0, format!("tensor {name}: {what}")))?;
        raw.converted.add(&name, &converted_from(&source));
        raw.tensors.insert(name, tensor);
    }
    Ok(raw)
}

/// The name of an element type that is not kept.
fn converted_from(source: &Source<'_>) -> Cow<'static, str> {
    match source {
        Source::Stored(Stored { kind, .. }) | Source::Array { kind, .. } => kind.name().into(),
        Source::Quantized { integers, .. } => format!("quantized {}", integers.kind.name()).into(),
        Source::PerChannel { integers, .. } => {
            format!("quantized {} (per channel)", integers.kind.name()).into()
        }
    }
}

struct Reader<F> {
    storage: F,
    /// Values that may still be read.
    left: usize,
}

impl<'s, F: Fn(&str) -> Option<&'s [u8]>> Reader<F> {
    fn tensor(&mut self, source: &Source<'_>) -> Result<Tensor, String> {
        let (kind, raw) = self.values(source)?;
        let shape = source.shape();
        let dequantized = match source {
            Source::Stored(_) | Source::Array { .. } => return kind.tensor(&raw, shape),
            Source::Quantized { scale, zero, .. } => {
                // PyTorch multiplies in f32, and a grid is only exact as it was computed.
                let scale = *scale as f32;
                kind.numbers(&raw)?.iter().map(|value| (value - zero) as f32 * scale).collect()
            }
            Source::PerChannel { scales, zeros, axis, .. } => {
                let channels = *shape.get(*axis).ok_or("its channels are on an axis that it has not")?;
                let mut numbers = |source: &Source<'_>| {
                    let (kind, raw) = self.values(source)?;
                    kind.numbers(&raw)
                };
                let (scales, zeros) = (numbers(scales)?, numbers(zeros)?);
                if scales.len() != channels || zeros.len() != channels {
                    return Err(format!("{} scales for {channels} channels", scales.len()));
                }
                let inner: usize = shape[axis + 1..].iter().product();
                let of = |index: usize| index / inner.max(1) % channels.max(1);
                let values = kind.numbers(&raw)?;
                let value =
                    |(at, value): (usize, f64)| (value - zeros[of(at)]) as f32 * scales[of(at)] as f32;
                values.into_iter().enumerate().map(value).collect::<Vec<f32>>()
            }
        };
        Tensor::from_vec(dequantized, shape, &Device::Cpu).map_err(|error| error.to_string())
    }

    /// Row-major values, in bytes.
    fn values(&mut self, source: &Source<'_>) -> Result<(Kind, Vec<u8>), String> {
        match source {
            Source::Stored(stored)
            | Source::Quantized { integers: stored, .. }
            | Source::PerChannel { integers: stored, .. } => {
                let data = (self.storage)(&stored.storage)
                    .ok_or_else(|| format!("storage {} is missing", stored.storage))?;
                let at = (stored.offset, stored.stride.as_slice());
                let outside = format!("its values lie outside storage {}", stored.storage);
                Ok((stored.kind, self.strided(data, stored.kind.size(), at, &stored.shape, &outside)?))
            }
            Source::Array { bytes, kind, shape, fortran } => {
                self.left = self.left.checked_sub(bytes.length()).ok_or(REPEATS)?;
                let bytes = bytes.decoded().ok_or("its bytes are written as text that is no Latin-1")?;
                let mut stride = vec![1usize; shape.len()];
                let axes: Vec<usize> =
                    if *fortran { (0..shape.len()).collect() } else { (0..shape.len()).rev().collect() };
                let mut step = 1usize;
                for axis in axes {
                    stride[axis] = step;
                    step = step.saturating_mul(shape[axis]);
                }
                let outside = "its shape does not fit its bytes";
                Ok((*kind, self.strided(&bytes, kind.size(), (0, &stride), shape, outside)?))
            }
        }
    }

    fn strided(
        &mut self,
        data: &[u8],
        size: usize,
        (offset, stride): (usize, &[usize]),
        shape: &[usize],
        outside: &str,
    ) -> Result<Vec<u8>, String> {
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or(outside)?;
        if stride.len() != shape.len() {
            return Err("it has not as many strides as dimensions".into());
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        self.left = self.left.checked_sub(count).ok_or(REPEATS)?;
        let mut last = offset;
        let (mut contiguous, mut expected) = (true, 1usize);
        for (&dimension, &stride) in shape.iter().zip(stride).rev() {
            let reach = (dimension - 1).checked_mul(stride).ok_or(outside)?;
            last = last.checked_add(reach).ok_or(outside)?;
            contiguous &= dimension == 1 || stride == expected;
            expected = expected.saturating_mul(dimension);
        }
        let end = last.checked_add(1).and_then(|end| end.checked_mul(size)).ok_or(outside)?;
        // From here on, no index leaves the storage.
        let data = data.get(..end).ok_or(outside)?;
        if contiguous {
            return Ok(data[offset * size..].to_vec());
        }
        let mut values = Vec::with_capacity(count * size);
        let mut index = vec![0usize; shape.len()];
        let mut at = offset;
        // An axis of one element may have any stride: it is stepped along and back.
        for _ in 0..count {
            values.extend_from_slice(&data[at * size..(at + 1) * size]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at = at.wrapping_add(stride[axis]);
                if index[axis] < shape[axis] {
                    break;
                }
                at = at.wrapping_sub(stride[axis].wrapping_mul(shape[axis]));
                index[axis] = 0;
            }
        }
        Ok(values)
    }
}
