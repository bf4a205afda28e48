//! LSQ: a uniform grid per tensor whose step is learned (Esser et al. 2020, "Learned step size quantization").

use super::codebook::Codebook;
use super::learned::{LearnedScalars, mean_magnitude};
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorQuantizer};
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use crate::Result;
use serde::{Deserialize, Serialize};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "lsq",
    display: "LSQ",
    about: "learned step size: a uniform grid whose step is trained with the weights",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| Ok(PerTensor::boxed(setup, Lsq)),
};

/// The grid of one tensor: levels `lowest … highest` times the learned step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grid {
    step: LearnedScalars,
    lowest: i32,
    highest: i32,
    /// The step never becomes smaller: it must stay positive.
    least: f32,
}

/// Smallest share of its start that a step keeps.
const LEAST: f32 = 1e-3;

impl Grid {
    /// Signed weights: −2^(b−1) … 2^(b−1) − 1; weights without negative values: 0 … 2^b − 1. The step starts at
    /// 2 · mean |w| / √highest (paper, section 2.1). `None` where no finite weight differs from zero.
    fn new(weights: &[f32], bits: u32) -> Option<Self> {
        let (lowest, highest) = match weights.iter().any(|&w| w < 0.0) {
            true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            false => (0, (1 << bits) - 1),
        };
        let typical = mean_magnitude(weights.iter().copied());
        let step = 2.0 * typical / (highest as f32).sqrt();
        (step > 0.0).then(|| Self {
            step: LearnedScalars::new(vec![step], typical),
            lowest,
            highest,
            least: (step * LEAST).max(f32::MIN_POSITIVE),
        })
    }

    fn size(&self) -> f32 {
        self.step.values[0]
    }

    fn codebook(&self) -> Codebook {
        Codebook::Uniform { step: self.size(), lowest: self.lowest, highest: self.highest }
    }

    fn level(&self, weight: f32) -> i32 {
        // A weight that is not a number becomes 0.
        (weight / self.size()).clamp(self.lowest as f32, self.highest as f32).round_ties_even() as i32
    }

    /// Gathers the gradient of the step (eq. 3, scaled by 1 / √(weights · highest), section 2.2) and stops the gradient of
    /// weights beyond the grid's ends (eq. 5).
    fn backward(&mut self, weights: &[f32], gradient: &mut [f32]) {
        let size = self.size();
        let (low, high) = (self.lowest as f32, self.highest as f32);
        let mut sum = 0.0f64;
        for (&w, gradient) in weights.iter().zip(gradient.iter_mut()) {
            let position = w / size;
            let slope = if position <= low {
                low
            } else if position >= high {
                high
            } else {
                position.round_ties_even() - position
            };
            sum += f64::from(*gradient) * f64::from(slope);
            if position <= low || position >= high {
                *gradient = 0.0;
            }
        }
        let scale = 1.0 / (weights.len() as f64 * f64::from(self.highest)).sqrt();
        self.step.add_gradient(0, sum * scale);
    }
}

struct Lsq;

impl TensorQuantizer for Lsq {
    type Fitted = Grid;

    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> Result<Option<Grid>> {
        Ok(bits.and_then(|bits| Grid::new(weights.values, bits)))
    }

    fn assign(&self, grid: &mut Grid, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        let codebook = grid.codebook();
        let position = |&w: &f32| codebook.position(grid.level(w));
        Content::Levels { positions: weights.values.iter().map(position).collect(), codebook }
    }

    fn backward(&self, grid: &mut Grid, weights: &WeightTensor<'_>, _: &Content, gradient: &mut [f32]) {
        grid.backward(weights.values, gradient);
    }

    fn update(&self, grid: &mut Grid, learning_rate: f64) {
        grid.step.update(learning_rate);
        grid.step.values[0] = grid.size().max(grid.least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step's gradient is the slope of the quantized weights with rounding's remainder held (straight-through), times
    /// its scale; central differences over 1e-3 of the step, to 1e-3 of the value.
    #[test]
    fn step_gradient_matches_finite_differences() {
        let weights: Vec<f32> = (0..300).map(|i| ((i * 71 % 300) as f32 - 150.3) / 97.0).collect();
        let mut grid = Grid::new(&weights, 3).unwrap();
        let size = f64::from(grid.size());
        let target = |i: usize| (i as f64 * 0.13).sin();
        // What a weight becomes for a step s, with the remainder of the rounding at the present step.
        let quantized = |w: f32, s: f64| {
            let position = f64::from(w) / size;
            let remainder = position.round_ties_even() - position;
            match position {
                p if p <= f64::from(grid.lowest) => s * f64::from(grid.lowest),
                p if p >= f64::from(grid.highest) => s * f64::from(grid.highest),
                _ => f64::from(w) + s * remainder,
            }
        };
        let loss = |s: f64| -> f64 {
            let squares = weights.iter().enumerate().map(|(i, &w)| (quantized(w, s) - target(i)).powi(2));
            0.5 * squares.sum::<f64>()
        };
        let h = 1e-3 * size;
        let expected = (loss(size + h) - loss(size - h)) / (2.0 * h);
        let mut gradient: Vec<f32> =
            weights.iter().enumerate().map(|(i, &w)| (quantized(w, size) - target(i)) as f32).collect();
        let before = gradient.clone();
        grid.backward(&weights, &mut gradient);
        let scale = 1.0 / (300.0 * f64::from(grid.highest)).sqrt();
        let found = grid.step.gradients()[0] / scale;
        assert!((found - expected).abs() <= 1e-3 * expected.abs(), "{found} {expected}");
        // Inside the grid the gradient passes, beyond it stops.
        for ((&w, after), before) in weights.iter().zip(&gradient).zip(before) {
            let inside =
                f64::from(w) / size > f64::from(grid.lowest) && f64::from(w) / size < f64::from(grid.highest);
            assert_eq!(*after, if inside { before } else { 0.0 });
        }
    }

    /// However large the gradient, the step stays positive.
    #[test]
    fn step_stays_positive() {
        let weights = [0.5f32, -0.25, 0.1, -0.9];
        let mut grid = Grid::new(&weights, 4).unwrap();
        for _ in 0..50 {
            grid.step.add_gradient(0, 1e9);
            Lsq.update(&mut grid, 10.0);
        }
        assert!(grid.size() > 0.0);
    }
}
