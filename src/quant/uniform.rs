//! Uniform quantization: the nearest level of the layer's grid, post-training or with the straight-through estimator.

use super::assignment::nearest;
use super::codebook::Codebook;
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorQuantizer};
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use crate::Result;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "uniform",
    display: "Uniform",
    about: "nearest level of a uniform grid per tensor",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| Ok(PerTensor::boxed(setup, Uniform)),
};

struct Uniform;

impl TensorQuantizer for Uniform {
    type Fitted = Codebook;

    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> Result<Option<Codebook>> {
        Ok(bits.and_then(|bits| Codebook::from_weights(weights.values, bits)))
    }

    fn assign(&self, codebook: &mut Codebook, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        let positions = nearest(weights.values, &codebook.values());
        Content::Levels { positions, codebook: codebook.clone() }
    }
}
