//! One step size per tensor or per output channel: the parameter that methods with a uniform grid share.

use super::codebook::Codebook;
use super::quantizer::WeightTensor;
use crate::registry::{Choice, Parameter};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Of which weights a step size is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Granularity {
    /// Of a whole tensor.
    #[default]
    Tensor,
    /// Of an output channel: the first dimension of a weight.
    Channel,
}

/// Methods had one step per tensor before there was a choice.
pub(super) const GRANULARITY: Parameter = Parameter::word(
    "granularity",
    "one step size per tensor or per output channel",
    &["tensor", "channel"],
    "tensor",
)
.added(Choice::Word("tensor"));

/// The parameter alone, for methods without others.
#[derive(Deserialize)]
pub(super) struct GranularitySettings {
    pub granularity: Granularity,
}

impl Granularity {
    /// The weights that share a step size: all, or those of each output channel, one after the other.
    pub fn groups<'w>(self, tensor: &WeightTensor<'w>) -> std::slice::Chunks<'w, f32> {
        tensor.values.chunks(self.stride(tensor))
    }

    /// How many weights share a step size.
    pub fn stride(self, tensor: &WeightTensor<'_>) -> usize {
        let count = tensor.values.len();
        let channels = tensor.shape.first().copied().unwrap_or(1).max(1);
        match self {
            Self::Channel if count.is_multiple_of(channels) => (count / channels).max(1),
            Self::Channel | Self::Tensor => count.max(1),
        }
    }

    /// The codebook of `lowest … highest` whose steps `step_of` finds from the weights that share one. Channels without a
    /// valid step have that of the whole tensor; `None` where that has none either.
    pub fn codebook(
        self,
        tensor: &WeightTensor<'_>,
        (lowest, highest): (i32, i32),
        step_of: impl Fn(&[f32]) -> Option<f32> + Sync,
    ) -> Option<Codebook> {
        let step = step_of(tensor.values)?;
        if self == Self::Tensor {
            return Some(Codebook::Uniform { step, lowest, highest });
        }
        let stride = self.stride(tensor);
        let steps =
            tensor.values.par_chunks(stride).map(|weights| step_of(weights).unwrap_or(step)).collect();
        Some(Codebook::PerChannel { steps, stride, lowest, highest })
    }
}

impl Codebook {
    /// A codebook with these steps in the place of its own, one per channel; the rest stays.
    pub(super) fn set_steps(&mut self, new: &[f32]) {
        match (self, new) {
            (Self::Uniform { step, .. }, [first, ..]) => *step = *first,
            (Self::PerChannel { steps, .. }, new) if steps.len() == new.len() => steps.copy_from_slice(new),
            _ => {}
        }
    }

    /// The steps, one per channel; none for a codebook without.
    pub(super) fn steps(&self) -> &[f32] {
        match self {
            Self::Uniform { step, .. } => std::slice::from_ref(step),
            Self::PerChannel { steps, .. } => steps,
            Self::Explicit { .. } => &[],
        }
    }

    /// Consecutive weights with one step, in a tensor of `count` weights.
    pub(super) fn stride(&self, count: usize) -> usize {
        match self {
            Self::PerChannel { stride, .. } => (*stride).max(1),
            Self::Uniform { .. } | Self::Explicit { .. } => count.max(1),
        }
    }
}
