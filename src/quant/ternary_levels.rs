//! The codebook {−a, 0, +c} of one tensor with levels that may be trained: what EC2T and plain ternary quantization share.

use super::codebook::Codebook;
use super::options::SteScale;
use super::quantizer::{Content, QuantizedTensor, WeightTensor};
use super::trained::{Trained, mean_magnitude};
use serde::{Deserialize, Serialize};

/// Magnitudes of the negative and the positive level, in that order, for each tensor. `None`: the tensor is all zeros.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TernaryLevels(pub Vec<Option<Trained>>);

/// Smallest share of its start that a level keeps: a level that trains through zero would swap sides.
const LEAST: f32 = 1e-3;

impl TernaryLevels {
    /// Adds a tensor with levels −`low` and `high`; a side that has no weights takes the other's magnitude.
    pub fn push(&mut self, weights: &[f32], low: f32, high: f32) {
        let valid = |level: f32| level.is_finite() && level > 0.0;
        let (low, high) = match (valid(low), valid(high)) {
            (true, true) => (low, high),
            (true, false) => (low, low),
            (false, true) => (high, high),
            (false, false) => return self.0.push(None),
        };
        let typical = mean_magnitude(weights.iter().copied());
        self.0.push(Some(Trained::new(vec![low, high], typical)));
    }

    /// The present codebook of tensor `index`.
    pub fn codebook(&self, index: usize) -> Option<Codebook> {
        let levels = &self.0.get(index)?.as_ref()?.values;
        Some(Codebook::Explicit { values: vec![-levels[0], 0.0, levels[1]], zero: 1 })
    }

    /// The tensor with positions 0, 1 (zero) and 2; all zeros where there is no codebook.
    pub fn quantized(&self, index: usize, tensor: &WeightTensor<'_>, positions: Vec<u8>) -> QuantizedTensor {
        let content = match self.codebook(index) {
            Some(codebook) => Content::Levels { positions, codebook },
            None => Content::zeros(tensor.values.len()),
        };
        QuantizedTensor { name: tensor.name.into(), shape: tensor.shape.to_vec(), content }
    }

    /// Gathers the gradient of both levels (the sum over their members, Zhu et al. 2017, eq. 7) and scales the gradient of
    /// the weights by the level in use (eq. 8).
    pub fn backward(
        &mut self,
        index: usize,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
        scale: SteScale,
    ) {
        let (Some(Some(trained)), Content::Levels { positions, .. }) =
            (self.0.get_mut(index), &quantized.content)
        else {
            return;
        };
        let values = [-trained.values[0], 0.0, trained.values[1]];
        let mut sums = [0.0f64; 3];
        for (gradient, &position) in gradient.iter_mut().zip(positions) {
            let at = usize::from(position.min(2));
            sums[at] += f64::from(*gradient);
            *gradient = scale.apply(*gradient, values[at]);
        }
        trained.add_gradient(0, -sums[0]);
        trained.add_gradient(1, sums[2]);
    }

    /// One optimizer step on all levels.
    pub fn update(&mut self, learning_rate: f64) {
        for trained in self.0.iter_mut().flatten() {
            let before = trained.values.clone();
            trained.update(learning_rate);
            for (value, before) in trained.values.iter_mut().zip(before) {
                *value = value.max(before * LEAST);
            }
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
