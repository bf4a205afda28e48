//! Uniform quantization: the nearest level of the layer's grid, post-training or with the straight-through estimator.

use super::assignment::nearest;
use super::boundaries::Boundaries;
use super::codebook::Codebook;
use super::device::{DeviceTensor, assigned, equalised, flat};
use super::granularity::{GRANULARITY, Granularity, GranularitySettings};
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorOnDevice, TensorQuantizer};
use super::percentile_step::percentile_step;
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use crate::Result;
use candle_core::Tensor;

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

    fn on_device(&self) -> Option<&dyn TensorOnDevice<Codebook>> {
        Some(self)
    }
}

impl TensorOnDevice<Codebook> for Uniform {
    fn assign(&self, codebook: &mut Codebook, weights: &Tensor, _: &[f64]) -> Result<DeviceTensor> {
        let levels = codebook.pooled().values();
        let nearest = Boundaries::new(&levels, &vec![0.0; levels.len()]);
        let positions = assigned(&equalised(&flat(weights)?, codebook)?, &nearest)?;
        DeviceTensor::at_levels(positions, codebook.clone(), weights.dims())
    }
}
