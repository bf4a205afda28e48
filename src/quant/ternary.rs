//! Ternary quantization by a threshold, without an entropy term: weights beyond a share of the largest keep their sign,
//! the levels are learned (Zhu et al. 2017, "Trained ternary quantization") or the mean of what they stand for.

use super::device::{DeviceContent, DeviceTensor, flat, largest, side_sums};
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorOnDevice, TensorQuantizer};
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use super::ste::SteScale;
use super::ternary_levels::{TernaryLevels, side_means};
use crate::Result;
use crate::registry::Parameter;
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ternary",
    display: "Ternary",
    about: "ternary by a threshold on |w|, without an entropy term",
    bits: Bits::None,
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        Parameter::number(
            "threshold",
            "share of the largest |w| below which weights are zero",
            (0.0, 1.0),
            0.05,
        ),
        Parameter::word(
            "levels",
            "trained, or at every step the mean of the weights beyond the threshold",
            &["trained", "mean"],
            "trained",
        ),
    ],
    strength: Some("threshold"),
    role: Role::Rival,
    revision: 2,
    build: |setup| {
        let ternary: Ternary = setup.settings()?;
        Ok(PerTensor::boxed(setup, ternary))
    },
};

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Trained,
    Mean,
}

#[derive(Deserialize)]
struct Ternary {
    threshold: f64,
    levels: Kind,
}

impl Ternary {
    /// The magnitude below which weights of a tensor are zero.
    fn limit(&self, weights: &[f32]) -> f32 {
        let finite = weights.iter().filter(|w| w.is_finite());
        self.threshold as f32 * finite.fold(0.0, |largest, w| w.abs().max(largest))
    }

    fn means(&self, weights: &[f32]) -> Option<TernaryLevels> {
        let (low, high) = side_means(weights, self.limit(weights));
        TernaryLevels::new(low, high)
    }
}

/// Levels of one tensor.
#[derive(Serialize, Deserialize)]
struct Levels {
    /// `None` while no weight lies beyond the threshold.
    current: Option<TernaryLevels>,
}

impl TensorQuantizer for Ternary {
    type Fitted = Levels;

    const DEGENERATE: &'static str = "no weight lies beyond the threshold: the layer is all zeros";

    fn fit(&self, weights: &WeightTensor<'_>, _: Option<u32>) -> Result<Option<Self::Fitted>> {
        Ok(self.means(weights.values).map(|levels| Levels { current: Some(levels) }))
    }

    fn assign(&self, levels: &mut Self::Fitted, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        if self.levels == Kind::Mean {
            levels.current = self.means(weights.values);
        }
        let limit = self.limit(weights.values);
        let position = |&w: &f32| 1 + u8::from(w > limit) - u8::from(w < -limit);
        match &levels.current {
            Some(levels) => {
                let positions = weights.values.iter().map(position).collect();
                Content::Levels { positions, codebook: levels.codebook() }
            }
            None => Content::zeros(weights.values.len()),
        }
    }

    fn backward(
        &self,
        levels: &mut Self::Fitted,
        _: &WeightTensor<'_>,
        quantized: &Content,
        gradient: &mut [f32],
    ) {
        if let Some(levels) = &mut levels.current {
            levels.backward(quantized, gradient, SteScale::CentroidAbs);
        }
    }

    fn on_device(&self) -> Option<&dyn TensorOnDevice<Levels>> {
        Some(self)
    }

    fn update(&self, levels: &mut Self::Fitted, learning_rate: f64) {
        if let (Some(levels), Kind::Trained) = (&mut levels.current, self.levels) {
            levels.update(learning_rate);
        }
    }
}

impl Ternary {
    /// [`limit`](Self::limit) as a tensor of one.
    fn limit_on_device(&self, weights: &Tensor) -> Result<Tensor> {
        let threshold = f64::from(self.threshold as f32);
        Ok(largest(&weights.abs()?)?.affine(threshold, 0.0)?.reshape(1)?)
    }
}

impl TensorOnDevice<Levels> for Ternary {
    fn measure(&self, _: &Levels, weights: &Tensor) -> Result<Option<Tensor>> {
        if self.levels == Kind::Trained {
            return Ok(None);
        }
        let weights = flat(weights)?;
        side_sums(&weights, &self.limit_on_device(&weights)?).map(Some)
    }

    fn assign(&self, levels: &mut Levels, weights: &Tensor, measured: &[f64]) -> Result<DeviceTensor> {
        if let [low, low_count, high, high_count] = measured {
            let mean = |sum: f64, count: f64| if count == 0.0 { 0.0 } else { (sum / count) as f32 };
            let (low, high) = (mean(*low, *low_count), mean(*high, *high_count));
            levels.current = TernaryLevels::new(low, high);
        }
        let Some(levels) = &levels.current else { return DeviceTensor::zeros(weights) };
        let values = flat(weights)?;
        let limit = self.limit_on_device(&values)?;
        let (above, below) = (values.broadcast_gt(&limit)?, values.broadcast_lt(&limit.neg()?)?);
        let positions = ((above + 1.0)? - below)?.to_dtype(DType::U8)?;
        DeviceTensor::at_levels(positions, levels.codebook(), weights.dims())
    }

    fn backward(
        &self,
        levels: &Levels,
        _: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (Some(_), DeviceContent::Levels { positions, .. }) = (&levels.current, &quantized.content) else {
            return Ok((gradient.clone(), None));
        };
        let scale = SteScale::CentroidAbs;
        let (sums, gradient) =
            TernaryLevels::backward_on_device(positions, &quantized.values, gradient, scale)?;
        Ok((gradient, (self.levels == Kind::Trained).then_some(sums)))
    }

    fn learn(&self, levels: &mut Levels, sums: &[f64], _: usize) {
        if let Some(levels) = &mut levels.current {
            levels.add_sums(sums);
        }
    }
}
