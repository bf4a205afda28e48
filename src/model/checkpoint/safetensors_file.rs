//! The safetensors format. Written by hand rather than through the crate's serializer, which sorts tensors: ours keep
//! their order, so that a round trip through other tools keeps it too.

use super::dtype::Kind;
use super::{Metadata, Raw};
use crate::io::Output;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// Whether the bytes begin as this format does: the length of a header that fits, and the header.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length <= bytes.len() as u64 - 8) && bytes.get(8) == Some(&b'{')
}

/// The tensors of a file in the order of their data.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Raw> {
    let wrong = |message: String| Error::format(path, 0, format!("not a valid safetensors file: {message}"));
    let file = safetensors::SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
    let (_, header) =
        safetensors::SafeTensors::read_metadata(bytes).map_err(|error| wrong(error.to_string()))?;
    let metadata = header.metadata().iter().flatten();
    let metadata: Metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut views: Vec<_> = file.iter().collect();
    // Tensors without values share their place with their neighbour; names decide then.
    views.sort_by(|(a, x), (b, y)| x.data().as_ptr().cmp(&y.data().as_ptr()).then_with(|| a.cmp(b)));
    let mut raw = Raw { metadata, ..Raw::default() };
    for (name, view) in views {
        let kind = Kind::from_safetensors(view.dtype())
            .ok_or_else(|| wrong(format!("tensor {name}: element type {:?} is not read", view.dtype())))?;
        let tensor = kind
            .tensor(view.data(), view.shape())
            .map_err(|what| Error::format(path, 0, format!("tensor {name}: {what}")))?;
        raw.converted.add(name, kind.name());
        raw.tensors.insert(name.into(), tensor);
    }
    Ok(raw)
}

/// Tensors in order as the bytes of a safetensors file; small floats and f64 become f32.
///
/// # Errors
/// [`Error::Tensor`] for tensors that cannot be copied from their device.
pub fn to_safetensors<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>> {
    to_safetensors_with(tensors, &Metadata::new())
}

/// As [`to_safetensors`], with facts about the file in its header.
///
/// # Errors
/// As [`to_safetensors`].
pub fn to_safetensors_with<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &Metadata,
) -> Result<Vec<u8>> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let metadata = metadata.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        header.insert("__metadata__".into(), serde_json::Value::Object(metadata));
    }
    let mut data: Vec<u8> = Vec::new();
    for (name, tensor) in tensors {
        let (start, shape) = (data.len(), tensor.dims().to_vec());
        let kind = append(&mut data, &tensor.flatten_all()?.to_device(&Device::Cpu)?)?;
        let entry = serde_json::json!({"dtype": kind, "shape": shape, "data_offsets": [start, data.len()]});
        if name == "__metadata__" || header.insert(name.into(), entry).is_some() {
            return Err(Error::input(format!("tensor '{name}': the name is taken in a safetensors file")));
        }
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    Ok(bytes)
}

/// Appends values; returns their type's name.
fn append(data: &mut Vec<u8>, tensor: &Tensor) -> Result<&'static str> {
    macro_rules! values {
        ($kind:ty) => {
            tensor.to_vec1::<$kind>()?.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes()))
        };
    }
    Ok(match tensor.dtype() {
        DType::I64 => {
            values!(i64);
            "I64"
        }
        DType::I32 => {
            values!(i32);
            "I32"
        }
        DType::I16 => {
            values!(i16);
            "I16"
        }
        DType::U32 => {
            values!(u32);
            "U32"
        }
        DType::U8 => {
            values!(u8);
            "U8"
        }
        _ => {
            let floats = tensor.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            floats.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes()));
            "F32"
        }
    })
}

/// Writes tensors in order; see [`Output`] for what may stand at `path`.
///
/// # Errors
/// Those of [`Output`].
pub fn write_safetensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    Output::new(path)?.write(&to_safetensors(tensors)?)
}
