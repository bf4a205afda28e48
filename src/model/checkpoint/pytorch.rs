//! PyTorch state dicts: the zip archives of 1.6 and later, and the older stream of pickles followed by raw storages.
//!
//! The pickles are read with candle's parser into plain objects (no code runs); what they mean is decided here.

use super::{NESTING_KEYS, StateDict, pickle_bounds};
use crate::{Error, Result};
use candle_core::pickle::{Object, Stack};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

/// First bytes of a zip archive.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// The pickled magic number (protocol 2, an 80-bit integer) with which the older format begins.
const LEGACY_MAGIC: &[u8] =
    &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];

/// Where the values of a tensor lie.
struct Reference {
    storage: String,
    kind: DType,
    /// In elements.
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

/// Tensors by name, in the order of the state dict.
pub(super) fn parse(bytes: Vec<u8>, path: &Path) -> Result<StateDict> {
    if bytes.starts_with(ZIP_MAGIC) {
        parse_zip(bytes, path)
    } else if bytes.starts_with(LEGACY_MAGIC) {
        parse_legacy(&bytes, path)
    } else {
        Err(Error::format(
            path,
            0,
            "neither a PyTorch checkpoint nor a safetensors or NNC file by its first bytes",
        ))
    }
}

fn parse_zip(bytes: Vec<u8>, path: &Path) -> Result<StateDict> {
    let wrong = |what: String| Error::format(path, 0, format!("damaged PyTorch archive: {what}"));
    let largest = bytes.len() as u64;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| wrong(error.to_string()))?;
    let names: Vec<String> = (0..archive.len())
        .map(|index| archive.by_index(index)?.name().map(|name| name.into_owned()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    let Some(folder) = names.iter().find_map(|name| name.strip_suffix("data.pkl")) else {
        return Err(wrong("it has no data.pkl".into()));
    };
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let file = archive.by_name(name).map_err(|error| wrong(format!("{name}: {error}")))?;
        let mut content = Vec::new();
        let read = file.take(largest + 1).read_to_end(&mut content);
        read.map_err(|error| wrong(format!("{name}: {error}")))?;
        if content.len() as u64 > largest {
            return Err(wrong(format!("{name} is larger than the archive: PyTorch does not compress")));
        }
        Ok(content)
    };
    let pickle = entry(&format!("{folder}data.pkl"))?;
    let object = unpickle(&mut Cursor::new(pickle.as_slice()), path, 0)?;
    let mut storages: HashMap<String, Vec<u8>> = HashMap::new();
    let references = references(object, path)?;
    for (_, reference) in &references {
        if !storages.contains_key(&reference.storage) {
            storages
                .insert(reference.storage.clone(), entry(&format!("{folder}data/{}", reference.storage))?);
        }
    }
    collect(references, |key| storages.get(key).map(Vec::as_slice), path)
}

fn parse_legacy(bytes: &[u8], path: &Path) -> Result<StateDict> {
    let mut reader = Cursor::new(bytes);
    reader.set_position(LEGACY_MAGIC.len() as u64);
    let next = |reader: &mut Cursor<&[u8]>| {
        let at = reader.position();
        unpickle(reader, path, at)
    };
    let _protocol = next(&mut reader)?;
    let _system = next(&mut reader)?;
    let object = next(&mut reader)?;
    let keys = next(&mut reader)?;
    let at = reader.position();
    let Object::List(keys) = keys else {
        return Err(Error::format(path, at, "expected the list of storages"));
    };
    let mut size_of: HashMap<String, usize> = HashMap::new();
    element_sizes(&object, &mut size_of);
    let references = references(object, path)?;
    let mut storages: HashMap<String, &[u8]> = HashMap::new();
    let mut position = at as usize;
    for key in keys {
        let key = key.unicode().map_err(|_| Error::format(path, at, "a storage's name is not text"))?;
        let truncated =
            || Error::format(path, position as u64, format!("truncated: storage {key} is cut off"));
        let header = bytes.get(position..position + 8).ok_or_else(truncated)?;
        let count = u64::from_le_bytes(header.try_into().map_err(|_| truncated())?);
        let size = size_of.get(&key).copied().ok_or_else(truncated)?;
        let length =
            usize::try_from(count).ok().and_then(|count| count.checked_mul(size)).ok_or_else(truncated)?;
        let end = (position + 8).checked_add(length).ok_or_else(truncated)?;
        storages.insert(key.clone(), bytes.get(position + 8..end).ok_or_else(truncated)?);
        position = end;
    }
    collect(references, |key| storages.get(key).copied(), path)
}

fn unpickle(reader: &mut Cursor<&[u8]>, path: &Path, offset: u64) -> Result<Object> {
    let rest = reader.get_ref().get(reader.position() as usize..).unwrap_or_default();
    pickle_bounds::check(rest)
        .map_err(|what| Error::format(path, offset, format!("this pickle is no checkpoint: {what}")))?;
    let mut stack = Stack::empty();
    stack
        .read_loop(reader)
        .and_then(|()| stack.finalize())
        .map_err(|error| Error::format(path, offset, format!("damaged pickle: {}", first_line(&error))))
}

/// candle's errors carry a backtrace; users need the first line.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

/// The tensors of a state dict, which may be nested under one of the usual keys.
fn references(object: Object, path: &Path) -> Result<Vec<(String, Reference)>> {
    let Some(entries) = dictionary(object) else {
        return Err(Error::format(path, 0, "the file holds no dictionary of tensors"));
    };
    let nested = entries.iter().position(|(key, value)| {
        matches!(key, Object::Unicode(key) if NESTING_KEYS.contains(&key.as_str())) && tensor(value).is_none()
    });
    let entries = match nested {
        Some(index) => {
            entries.into_iter().nth(index).and_then(|(_, value)| dictionary(value)).unwrap_or_default()
        }
        None => entries,
    };
    let found: Vec<_> =
        entries.into_iter().filter_map(|(key, value)| Some((key.unicode().ok()?, tensor(&value)?))).collect();
    if found.is_empty() {
        return Err(Error::format(
            path,
            0,
            format!("no tensors at the top level or under {}", NESTING_KEYS.join(", ")),
        ));
    }
    Ok(found)
}

/// Entries that Python writes as one group.
const GROUP: usize = 1000;

/// The entries of a dict or of an `OrderedDict` (a reduce or build around a dict), in its order.
fn dictionary(object: Object) -> Option<Vec<(Object, Object)>> {
    match object {
        Object::Dict(mut entries) => {
            // candle's parser takes the entries of a group from the last to the first.
            entries.chunks_mut(GROUP).for_each(<[_]>::reverse);
            Some(entries)
        }
        Object::Build { callable, .. } => dictionary(*callable),
        _ => None,
    }
}

/// Reads `torch._utils._rebuild_tensor(_v2)(storage, offset, size, stride, …)`, also wrapped as a parameter.
fn tensor(object: &Object) -> Option<Reference> {
    let Object::Reduce { callable, args } = object else { return None };
    let (Object::Class { class_name, .. }, Object::Tuple(args)) = (callable.as_ref(), args.as_ref()) else {
        return None;
    };
    match class_name.as_str() {
        "_rebuild_parameter" => tensor(args.first()?),
        "_rebuild_tensor_v2" | "_rebuild_tensor" => {
            let Object::PersistentLoad(storage) = args.first()? else { return None };
            let Object::Tuple(storage) = storage.as_ref() else { return None };
            let (Object::Class { class_name, .. }, Object::Unicode(key)) = (storage.get(1)?, storage.get(2)?)
            else {
                return None;
            };
            Some(Reference {
                storage: key.clone(),
                kind: storage_kind(class_name)?,
                offset: number(args.get(1)?)?,
                shape: numbers(args.get(2)?)?,
                stride: numbers(args.get(3)?)?,
            })
        }
        _ => None,
    }
}

/// Bytes per element of every storage that is mentioned anywhere, optimizer states included.
fn element_sizes(object: &Object, sizes: &mut HashMap<String, usize>) {
    match object {
        Object::PersistentLoad(inner) => {
            if let Object::Tuple(fields) = inner.as_ref()
                && let (Some(Object::Class { class_name, .. }), Some(Object::Unicode(key))) =
                    (fields.get(1), fields.get(2))
                && let Some(kind) = storage_kind(class_name)
            {
                sizes.insert(key.clone(), kind.size_in_bytes());
            }
        }
        Object::Tuple(items) | Object::List(items) => {
            items.iter().for_each(|item| element_sizes(item, sizes))
        }
        Object::Dict(entries) => entries.iter().for_each(|(_, value)| element_sizes(value, sizes)),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            element_sizes(callable, sizes);
            element_sizes(args, sizes);
        }
        _ => {}
    }
}

fn storage_kind(class: &str) -> Option<DType> {
    Some(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ByteStorage" => DType::U8,
        _ => return None,
    })
}

fn number(object: &Object) -> Option<usize> {
    match object {
        Object::Int(value) => usize::try_from(*value).ok(),
        Object::Long(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn numbers(object: &Object) -> Option<Vec<usize>> {
    let Object::Tuple(items) = object else { return None };
    items.iter().map(number).collect()
}

/// Reads the values behind the references.
fn collect<'a>(
    references: Vec<(String, Reference)>,
    storage: impl Fn(&str) -> Option<&'a [u8]>,
    path: &Path,
) -> Result<StateDict> {
    let mut tensors = StateDict::new();
    for (name, reference) in references {
        let outside = || {
            Error::format(
                path,
                0,
                format!("tensor {name}: its values lie outside storage {}", reference.storage),
            )
        };
        let data = storage(&reference.storage).ok_or_else(outside)?;
        let size = reference.kind.size_in_bytes();
        let count = reference.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(outside)?;
        // Every element occupies room in the storage; broadcast (stride 0) tensors are no parameters.
        if count > data.len() / size || reference.stride.len() != reference.shape.len() {
            return Err(outside());
        }
        let mut values = Vec::with_capacity(count * size);
        for index in 0..count {
            let mut rest = index;
            let mut at = reference.offset;
            for (&dimension, &stride) in reference.shape.iter().zip(&reference.stride).rev() {
                at = (rest % dimension)
                    .checked_mul(stride)
                    .and_then(|step| at.checked_add(step))
                    .ok_or_else(outside)?;
                rest /= dimension;
            }
            let start = at.checked_mul(size).ok_or_else(outside)?;
            values.extend_from_slice(data.get(start..start.saturating_add(size)).ok_or_else(outside)?);
        }
        let tensor = Tensor::from_raw_buffer(&values, reference.kind, &reference.shape, &Device::Cpu)?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}
