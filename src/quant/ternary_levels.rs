//! The codebook {−a, 0, +c} of one tensor with levels that may be trained: what EC2T and plain ternary quantization share.

use super::codebook::Codebook;
use super::device::{flat, one, scaled_gradient, total, where_at};
use super::learned::{LearnedScalars, floor, mean_magnitude};
use super::quantizer::Content;
use super::ste::SteScale;
use crate::Result;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Magnitudes of the negative and the positive level, in that order, trained at the learning rate of the weights: a level
/// that moved in proportion to its size, several times as far, would be noise after an epoch, for behind a batch norm little
/// holds it where it is. Neither falls below a thousandth of its start: one that trains through zero would swap sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TernaryLevels {
    pub magnitudes: LearnedScalars,
    least: Vec<f32>,
}

impl TernaryLevels {
    /// Levels −`low` and `high`; a side that has no weights takes the other's magnitude. `None` where both have none: the
    /// tensor is all zeros.
    pub fn new(low: f32, high: f32) -> Option<Self> {
        let valid = |level: f32| level.is_finite() && level > 0.0;
        let (low, high) = match (valid(low), valid(high)) {
            (true, true) => (low, high),
            (true, false) => (low, low),
            (false, true) => (high, high),
            (false, false) => return None,
        };
        let magnitudes = LearnedScalars::with_scale(vec![low, high], 1.0);
        Some(Self { magnitudes, least: vec![floor(low), floor(high)] })
    }

    /// The present codebook; positions are 0, 1 (zero) and 2.
    pub fn codebook(&self) -> Codebook {
        let levels = &self.magnitudes.values;
        Codebook::Explicit { values: vec![-levels[0], 0.0, levels[1]], zero: 1 }
    }

    /// Gathers the gradient of both levels (the sum over their members, Zhu et al. 2017, eq. 7) and scales the gradient of
    /// the weights by the level in use (eq. 8).
    pub fn backward(&mut self, quantized: &Content, gradient: &mut [f32], scale: SteScale) {
        let Content::Levels { positions, .. } = quantized else { return };
        let values = [-self.magnitudes.values[0], 0.0, self.magnitudes.values[1]];
        let mut sums = [0.0f64; 3];
        for (gradient, &position) in gradient.iter_mut().zip(positions) {
            let at = usize::from(position.min(2));
            sums[at] += f64::from(*gradient);
            *gradient = scale.apply(*gradient, values[at]);
        }
        self.magnitudes.add_gradient(0, -sums[0]);
        self.magnitudes.add_gradient(1, sums[2]);
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
            self.magnitudes.add_gradient(0, -low);
            self.magnitudes.add_gradient(1, *high);
        }
    }

    /// One optimizer step on both levels.
    pub fn update(&mut self, learning_rate: f64) {
        self.magnitudes.update_above(learning_rate, &self.least);
    }
}

/// Mean magnitude of the weights below −`threshold` and above `threshold`.
pub(super) fn side_means(weights: &[f32], threshold: f32) -> (f32, f32) {
    let kept = |positive: bool| {
        weights.iter().copied().filter(move |&w| if positive { w > threshold } else { w < -threshold })
    };
    (mean_magnitude(kept(false)), mean_magnitude(kept(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level moves by the learning rate whatever its size, stops at a thousandth of its start however long it is pushed,
    /// and comes back: one that vanished took the network with it.
    #[test]
    fn a_level_stays_above_a_share_of_its_start() {
        let mut levels = TernaryLevels::new(0.5, 2.0).unwrap();
        let mut push = |towards_zero: f64, steps: usize| {
            for _ in 0..steps {
                // The sum over the members of −a has the other sign.
                levels.add_sums(&[-towards_zero, towards_zero]);
                levels.update(0.01);
            }
            levels.magnitudes.values.clone()
        };
        let near = |values: Vec<f32>, expected: [f32; 2]| {
            assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{values:?}");
        };
        near(push(1.0, 1), [0.49, 1.99]);
        near(push(1.0, 1000), [0.0005, 0.002]);
        let back = push(-1.0, 1000);
        assert!(back.iter().all(|&level| level > 0.5), "{back:?}");
    }
}
