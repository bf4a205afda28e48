//! The codebook {−a, 0, +c} of one tensor with levels that may be trained: what EC2T and plain ternary quantization share.

use super::codebook::Codebook;
use super::device::{flat, one, scaled_gradient, total, where_at};
use super::learned::{LearnedScalars, mean_magnitude};
use super::quantizer::Content;
use super::ste::SteScale;
use crate::Result;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Magnitudes of the negative and the positive level, in that order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct TernaryLevels(pub LearnedScalars);

/// Smallest share of its value that a level keeps in one step: a level that trains through zero would swap sides.
const LEAST: f32 = 1e-3;

impl TernaryLevels {
    /// Levels −`low` and `high`; a side that has no weights takes the other's magnitude. `None` where both have none: the
    /// tensor is all zeros.
    pub fn new(weights: &[f32], low: f32, high: f32) -> Option<Self> {
        Self::with_typical(mean_magnitude(weights.iter().copied()), low, high)
    }

    /// As [`new`](Self::new) for weights of mean magnitude `typical`.
    pub fn with_typical(typical: f32, low: f32, high: f32) -> Option<Self> {
        let valid = |level: f32| level.is_finite() && level > 0.0;
        let (low, high) = match (valid(low), valid(high)) {
            (true, true) => (low, high),
            (true, false) => (low, low),
            (false, true) => (high, high),
            (false, false) => return None,
        };
        Some(Self(LearnedScalars::new(vec![low, high], typical)))
    }

    /// The present codebook; positions are 0, 1 (zero) and 2.
    pub fn codebook(&self) -> Codebook {
        let levels = &self.0.values;
        Codebook::Explicit { values: vec![-levels[0], 0.0, levels[1]], zero: 1 }
    }

    /// Gathers the gradient of both levels (the sum over their members, Zhu et al. 2017, eq. 7) and scales the gradient of
    /// the weights by the level in use (eq. 8).
    pub fn backward(&mut self, quantized: &Content, gradient: &mut [f32], scale: SteScale) {
        let Content::Levels { positions, .. } = quantized else { return };
        let values = [-self.0.values[0], 0.0, self.0.values[1]];
        let mut sums = [0.0f64; 3];
        for (gradient, &position) in gradient.iter_mut().zip(positions) {
            let at = usize::from(position.min(2));
            sums[at] += f64::from(*gradient);
            *gradient = scale.apply(*gradient, values[at]);
        }
        self.0.add_gradient(0, -sums[0]);
        self.0.add_gradient(1, sums[2]);
    }

    /// As [`backward`](Self::backward) on a device, from positions (u8, flat) and values: the sums that
    /// [`add_sums`](Self::add_sums) takes, and the scaled gradient.
    pub fn backward_on_device(
        positions: &Tensor,
        values: &Tensor,
        gradient: &Tensor,
        scale: SteScale,
    ) -> Result<(Tensor, Tensor)> {
        let of_gradient = flat(gradient)?;
        let sum = |position: u8| {
            total(&where_at(
                &positions.broadcast_eq(&one(position, positions.device())?)?,
                &of_gradient,
                0.0,
            )?)
        };
        let sums = Tensor::stack(&[sum(0)?, sum(2)?], 0)?;
        Ok((sums, scaled_gradient(gradient, values, scale)?))
    }

    /// Adds the summed gradients of the members of both levels.
    pub fn add_sums(&mut self, sums: &[f64]) {
        if let [low, high] = sums {
            self.0.add_gradient(0, -low);
            self.0.add_gradient(1, *high);
        }
    }

    /// One optimizer step on both levels.
    pub fn update(&mut self, learning_rate: f64) {
        let before = self.0.values.clone();
        self.0.update(learning_rate);
        for (value, before) in self.0.values.iter_mut().zip(before) {
            *value = value.max(before * LEAST);
        }
    }
}

/// Mean magnitude of the weights below −`threshold` and above `threshold`.
pub(super) fn side_means(weights: &[f32], threshold: f32) -> (f32, f32) {
    let kept = |positive: bool| {
        weights.iter().copied().filter(move |&w| if positive { w > threshold } else { w < -threshold })
    };
    (mean_magnitude(kept(false)), mean_magnitude(kept(true)))
}
