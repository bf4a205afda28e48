//! Model files: bitstreams with step sizes and codebooks, read as full-precision values.

use super::StateDict;
use crate::codec::model_file;
use crate::quant::quantizer::Content;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::path::Path;

/// The decoded values of all tensors.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<StateDict> {
    let tensors =
        model_file::read(bytes).map_err(|error| Error::format(path, error.offset as u64, error.message))?;
    tensors
        .into_iter()
        .map(|tensor| {
            let values = match tensor.content {
                Content::Values(values) => values,
                Content::Levels { positions, codebook } => codebook.values_of(&positions),
            };
            Ok((tensor.name, Tensor::from_vec(values, tensor.shape, &Device::Cpu)?))
        })
        .collect()
}
