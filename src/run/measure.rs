//! What is measured of a quantized model besides accuracy: levels, entropy and sizes.

use crate::codec::comparison::{csr_bytes, entropy_bits, xz_bytes, zstd_bytes};
use crate::nn::Parameters;
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor};
use crate::record::{LayerRecord, Sizes};
use crate::train::allocation::Allocation;
use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap};

/// One record per quantized tensor. `bytes` are the sizes of the tensors in the file.
pub(super) fn layer_records(
    tensors: &[QuantizedTensor],
    bytes: &HashMap<String, usize>,
    allocation: Option<&Allocation>,
) -> Vec<LayerRecord> {
    let width = |name: &str| {
        let allocation = allocation?;
        let index = allocation.layers.iter().position(|layer| layer.name == name)?;
        allocation.widths.get(index).copied()
    };
    tensors
        .iter()
        .map(|tensor| {
            let (weights, zeros, levels_in_use, entropy, step) = match &tensor.content {
                Content::Levels { positions, codebook } => {
                    let levels = codebook.levels_of(positions);
                    let zeros = codebook.zeros(positions);
                    let in_use = levels.iter().collect::<BTreeSet<_>>().len();
                    let step = match codebook {
                        Codebook::Uniform { step, .. } => Some(*step),
                        Codebook::PerChannel { .. } | Codebook::Explicit { .. } => None,
                    };
                    let entropy = entropy_bits(&levels) / levels.len().max(1) as f64;
                    (levels.len(), zeros, in_use, Some(entropy), step)
                }
                Content::Values(values) => {
                    let zeros = values.iter().filter(|value| **value == 0.0).count();
                    let in_use = values.iter().map(|value| value.to_bits()).collect::<BTreeSet<_>>().len();
                    (values.len(), zeros, in_use, None, None)
                }
            };
            let bytes = bytes.get(&tensor.name).copied();
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            let bits = width(&name);
            LayerRecord { name, shape, weights, zeros, levels_in_use, entropy, step, bytes, bits }
        })
        .collect()
}

/// Bit widths of a run's quantized weights.
pub(super) enum Width {
    /// The same for all; `None` for methods without.
    Equal(Option<u32>),
    /// By layer, with so many bits in all.
    Allocated(u64),
}

/// All sizes of a model whose file has `file` bytes.
pub(super) fn sizes(
    tensors: &[QuantizedTensor],
    parameters: &Parameters,
    width: Width,
    file: usize,
) -> Result<Sizes> {
    let bits = if let Width::Equal(bits) = width { bits } else { None };
    let scalars = parameters.scalars();
    let (mut quantized, mut all_levels, mut entropy) = (0usize, Vec::new(), 0.0);
    let mut csr = 0;
    for tensor in tensors {
        if let Content::Levels { positions, codebook } = &tensor.content {
            let levels = codebook.levels_of(positions);
            quantized += levels.len();
            entropy += entropy_bits(&levels);
            let (lowest, highest) = codebook.range();
            let width = bits.unwrap_or_else(|| (highest - lowest).max(1).ilog2() + 1);
            csr += csr_bytes(&levels, width);
            all_levels.extend(levels);
        }
    }
    let rest = 4 * (scalars - quantized);
    let failed = |error: std::io::Error| Error::Internal(format!("comparison coder: {error}"));
    let has_levels = quantized > 0;
    Ok(Sizes {
        file,
        full_precision: 4 * scalars,
        entropy_bound: entropy / 8.0 + rest as f64,
        bits_times_parameters: match width {
            Width::Allocated(bits) => bits as f64 / 8.0,
            Width::Equal(Some(bits)) => f64::from(bits) * quantized as f64 / 8.0,
            Width::Equal(None) => 4.0 * quantized as f64,
        } + rest as f64,
        csr: has_levels.then_some(csr + rest),
        zstd: has_levels
            .then(|| zstd_bytes(&all_levels).map(|bytes| bytes + rest))
            .transpose()
            .map_err(failed)?,
        xz: has_levels
            .then(|| xz_bytes(&all_levels).map(|bytes| bytes + rest))
            .transpose()
            .map_err(failed)?,
    })
}
