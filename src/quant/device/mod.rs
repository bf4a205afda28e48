//! Quantization that stays on the device: weights, relevance, positions and levels are tensors there, and what a method has
//! to decide on the host (boundaries from counts, learned steps) comes with few small numbers in one read.
//!
//! The host's own path is [`super::quantizer::Quantizer`]; a method that has both gives the same levels by either.

mod entropy;
mod levels;
mod relevance;
mod sums;
#[cfg(test)]
mod tests;

pub(super) use entropy::EntropyMethod;
pub(super) use levels::{
    StepRuns, assigned, equalised, flat, is_beyond, one, rounded_levels, runs_of, scaled_gradient, where_at,
};
pub(super) use sums::{largest, side_sums, total};

use super::codebook::Codebook;
use super::entropy::EntropyCosts;
use super::relevance_search::Band;
use super::tensor::{Content, QuantizedTensor, StepInfo, WeightTensor};
use crate::Result;
use crate::nn::transfer::{self, Parcel};
use candle_core::{DType, Device, Tensor};

/// A quantized tensor on the device.
#[derive(Clone, Debug)]
pub struct DeviceTensor {
    /// Levels or values.
    pub content: DeviceContent,
    /// The quantized weights, in the tensor's shape.
    pub values: Tensor,
}

/// What a quantized tensor on the device holds besides its values.
#[derive(Clone, Debug)]
pub enum DeviceContent {
    /// Levels of a codebook.
    Levels {
        /// Position in the codebook of each weight's level, u8, flat.
        positions: Tensor,
        /// What the positions stand for.
        codebook: Codebook,
    },
    /// Values without levels.
    Values,
}

impl DeviceTensor {
    /// The tensor whose weights are at these positions (u8) of a codebook.
    ///
    /// # Errors
    /// When the device fails.
    pub fn at_levels(positions: Tensor, codebook: Codebook, shape: &[usize]) -> Result<Self> {
        let values = levels::values_of(&positions, &codebook)?.reshape(shape)?;
        Ok(Self { content: DeviceContent::Levels { positions, codebook }, values })
    }

    /// A tensor of zeros: one without a codebook.
    ///
    /// # Errors
    /// When the device fails.
    pub fn zeros(like: &Tensor) -> Result<Self> {
        let positions = Tensor::zeros(like.elem_count(), DType::U8, like.device())?;
        let content = DeviceContent::Levels { positions, codebook: Codebook::ZERO };
        Ok(Self { content, values: like.zeros_like()? })
    }

    /// What the host computed, sent to the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn from_host(tensor: &QuantizedTensor, device: &Device) -> Result<Self> {
        match &tensor.content {
            Content::Levels { positions, codebook } => {
                let positions = transfer::tensor(positions.clone(), positions.len(), device)?;
                Self::at_levels(positions, codebook.clone(), &tensor.shape)
            }
            Content::Values(values) => {
                let values = transfer::tensor(values.clone(), tensor.shape.as_slice(), device)?;
                Ok(Self { content: DeviceContent::Values, values })
            }
        }
    }

    /// The tensor on the host, called `name`: for checkpoints and encoding.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_host(&self, name: &str) -> Result<QuantizedTensor> {
        let content = match &self.content {
            DeviceContent::Levels { positions, codebook } => {
                Content::Levels { positions: transfer::values(positions)?, codebook: codebook.clone() }
            }
            DeviceContent::Values => Content::Values(transfer::values(&self.values)?),
        };
        Ok(QuantizedTensor { name: name.into(), shape: self.values.dims().to_vec(), content })
    }
}

/// What the zero level is weighed by.
pub(super) struct Weighting<'a> {
    /// Signed relevance of every tensor.
    pub relevance: &'a [Tensor],
    /// Width of the band of sparsity.
    pub p: f64,
    /// Where the band lies.
    pub band: Band,
}

/// Positions (u8, flat) of one tensor and what to warn of; no positions for a tensor without a codebook.
type Found = (Option<Tensor>, [Option<&'static str>; 2]);

/// The assignment without relevance.
fn plain(weights: &Tensor, costs: &EntropyCosts) -> Result<Found> {
    Ok((Some(assigned(weights, &costs.boundaries)?), [costs.warning, None]))
}

/// Entries of a table at u8 positions. candle takes the largest value of an index's type for "nothing here" and gives zero: the
/// 256th entry needs a wider index.
fn looked_up(table: &Tensor, positions: &Tensor) -> Result<Tensor> {
    Ok(match table.elem_count() > usize::from(u8::MAX) {
        true => table.index_select(&positions.to_dtype(DType::U32)?, 0)?,
        false => table.index_select(positions, 0)?,
    })
}

/// What a step reads back from the device. Something small that is due anyway, the loss, travels with the first read, so
/// that a method that reads once costs no wait of its own.
pub struct Readings {
    waiting: Option<Tensor>,
    arrived: Vec<f64>,
}

impl Readings {
    /// Nothing read yet; `waiting` goes with the first read.
    pub fn new(waiting: Tensor) -> Self {
        Self { waiting: Some(waiting), arrived: Vec::new() }
    }

    /// The values of some small tensors: one wait, none where there are no tensors.
    ///
    /// # Errors
    /// When the device fails.
    pub fn read(&mut self, parts: Vec<Tensor>) -> Result<Vec<Vec<f64>>> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let mut parcel = Parcel::default();
        let first = self.waiting.take().map(|waiting| parcel.add(waiting));
        for part in parts {
            parcel.add(part);
        }
        let mut found = parcel.read()?;
        if first.is_some() {
            self.arrived = found.remove(0);
        }
        Ok(found)
    }

    /// The values of tensors that belong to something, such as the number of a weight tensor; otherwise as
    /// [`read`](Self::read).
    ///
    /// # Errors
    /// When the device fails.
    pub fn read_each<K>(&mut self, parts: Vec<(K, Tensor)>) -> Result<impl Iterator<Item = (K, Vec<f64>)>> {
        let (keys, parts): (Vec<K>, Vec<Tensor>) = parts.into_iter().unzip();
        Ok(keys.into_iter().zip(self.read(parts)?))
    }

    /// What waited, read now where nothing else was.
    ///
    /// # Errors
    /// When the device fails.
    pub fn finish(self) -> Result<Vec<f64>> {
        match self.waiting {
            Some(waiting) => Ok(transfer::values(&waiting.to_dtype(DType::F64)?)?),
            None => Ok(self.arrived),
        }
    }
}

/// A method whose training steps stay on the device. It is built, saved and restored through its
/// [`Quantizer`](super::quantizer::Quantizer); tensors have the same order.
pub trait DeviceQuantizer {
    /// Told once before the first step on the device which tensors there are: a resumed run has no
    /// [`initialize`](super::quantizer::Quantizer::initialize).
    fn begin(&mut self, weights: &[WeightTensor<'_>]) {
        let _ = weights;
    }

    /// The assignment of the current latent weights, as [`Quantizer::assign`](super::quantizer::Quantizer::assign).
    ///
    /// # Errors
    /// Those of the device.
    fn assign(
        &mut self,
        weights: &[Tensor],
        relevance: Option<&[Tensor]>,
        at: StepInfo,
        readings: &mut Readings,
    ) -> Result<Vec<DeviceTensor>>;

    /// The gradient for the latent weights, as [`Quantizer::backward`](super::quantizer::Quantizer::backward): what the method's own
    /// parameters need of it stays on the device until [`update`](Self::update).
    ///
    /// # Errors
    /// Those of the device.
    fn backward(
        &mut self,
        index: usize,
        weights: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let _ = (index, weights, quantized);
        Ok(gradient.clone())
    }

    /// One optimizer step on the method's own parameters.
    ///
    /// # Errors
    /// Those of the device.
    fn update(&mut self, learning_rate: f64, at: StepInfo, readings: &mut Readings) -> Result<()> {
        let _ = (learning_rate, at, readings);
        Ok(())
    }
}
