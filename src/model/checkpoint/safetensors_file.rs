//! The safetensors format. Written by hand rather than through the crate's serializer, which sorts tensors: ours keep
//! their order, so that a round trip through other tools keeps it too.

use super::StateDict;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::io::Write;
use std::path::Path;

/// The tensors of a safetensors file in the order of their data.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<StateDict> {
    let wrong = |message: String| Error::format(path, 0, format!("not a valid safetensors file: {message}"));
    let file = safetensors::SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
    let mut views: Vec<_> = file.iter().collect();
    views.sort_by_key(|(_, view)| view.data().as_ptr());
    let mut tensors = StateDict::new();
    for (name, view) in views {
        let kind = candle_core::DType::try_from(view.dtype())
            .map_err(|error| wrong(format!("tensor {name}: {error}")))?;
        tensors.insert(name.into(), Tensor::from_raw_buffer(view.data(), kind, view.shape(), &Device::Cpu)?);
    }
    Ok(tensors)
}

/// Tensors in order as the bytes of a safetensors file; f32, i32 and i64 stay what they are.
///
/// # Errors
/// For other element types.
pub fn to_safetensors<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, tensor) in tensors {
        let (start, shape) = (data.len(), tensor.dims().to_vec());
        let tensor = tensor.flatten_all()?.to_device(&Device::Cpu)?;
        let kind = match tensor.dtype() {
            candle_core::DType::F32 => {
                tensor.to_vec1::<f32>()?.iter().for_each(|v| data.extend_from_slice(&v.to_le_bytes()));
                "F32"
            }
            candle_core::DType::I32 => {
                tensor.to_vec1::<i32>()?.iter().for_each(|v| data.extend_from_slice(&v.to_le_bytes()));
                "I32"
            }
            candle_core::DType::I64 => {
                tensor.to_vec1::<i64>()?.iter().for_each(|v| data.extend_from_slice(&v.to_le_bytes()));
                "I64"
            }
            other => {
                return Err(Error::Internal(format!(
                    "tensor {name}: {other:?} is not written to safetensors"
                )));
            }
        };
        let entry = serde_json::json!({"dtype": kind, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.into(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    Ok(bytes)
}

/// Writes tensors in order, atomically: a reader sees the old file or the whole new one.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be written or the disk is full.
pub fn write_safetensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    let bytes = to_safetensors(tensors)?;
    crate::io::write_atomically(path, |file| file.write_all(&bytes))
}
