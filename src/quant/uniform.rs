//! Uniform quantization: the nearest level of the layer's grid, post-training or with the straight-through estimator.

use super::assignment::nearest;
use super::codebook::Codebook;
use super::granularity::{GRANULARITY, Granularity, GranularitySettings};
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorQuantizer};
use super::percentile_step::percentile_step;
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use crate::Result;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "uniform",
    display: "Uniform",
    about: "nearest level of a uniform grid per tensor or channel",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[GRANULARITY],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let GranularitySettings { granularity } = setup.settings()?;
        Ok(PerTensor::boxed(setup, Uniform(granularity)))
    },
};

struct Uniform(Granularity);

impl TensorQuantizer for Uniform {
    type Fitted = Codebook;

    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> Result<Option<Codebook>> {
        let whole = bits.and_then(|bits| Codebook::from_weights(weights.values, bits));
        Ok(whole.and_then(|whole| {
            let (lowest, highest) = whole.range();
            self.0.codebook(weights, (lowest, highest), |weights| percentile_step(weights, lowest, highest))
        }))
    }

    fn assign(&self, codebook: &mut Codebook, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        let positions = nearest(&codebook.equalised(weights.values), &codebook.pooled().values());
        Content::Levels { positions, codebook: codebook.clone() }
    }
}
