//! How the step size of a uniform grid is found, and the gradient by which it may be learned.

use super::codebook::Codebook;
use super::learned::LearnedScalars;
use crate::nn::kernels::elementwise::vectorised;
use crate::registry::{Choice, Parameter};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The rule for a layer's step size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepRule {
    /// The 99.9th percentile of |w| is the outermost level (the reference). Fixed.
    #[default]
    Percentile,
    /// The step with the smallest squared error of nearest levels. Fixed.
    Mse,
    /// Starts as `mse`, then learned with the weights (LSQ's gradient, Esser et al. 2020, eq. 3).
    Learned,
}

/// Methods had the percentile alone before there was a choice.
pub(super) const STEP: Parameter = Parameter::word(
    "step",
    "step size: percentile of |w|, mse (smallest squared error), or learned with the weights",
    &["percentile", "mse", "learned"],
    "percentile",
)
.added(Choice::Word("percentile"));

/// Smallest share of its start that a learned step keeps: it must stay positive.
const LEAST: f32 = 1e-3;
/// Steps that are compared, as shares of the one that reaches the largest weight.
const CANDIDATES: i32 = 128;
/// Weights per piece of parallel work.
const PIECE: usize = 1 << 14;

impl StepRule {
    /// The codebook of `bits` bits for trained weights; `None` where there is no valid step size.
    pub fn codebook(self, weights: &[f32], bits: u32) -> Option<Codebook> {
        let percentile = Codebook::from_weights(weights, bits)?;
        match (self, percentile) {
            (Self::Mse | Self::Learned, Codebook::Uniform { lowest, highest, .. }) => {
                let step = smallest_error(weights, lowest, highest)?;
                Some(Codebook::Uniform { step, lowest, highest })
            }
            (_, percentile) => Some(percentile),
        }
    }
}

/// Sum of squared distances of the finite weights from their nearest level.
fn squared_error(weights: &[f32], step: f32, lowest: f32, highest: f32) -> f64 {
    let inverse = 1.0 / step;
    let of_piece = |piece: &[f32]| {
        let mut sum = 0.0f32;
        vectorised(|| {
            for &w in piece {
                let level = (w * inverse).round_ties_even().clamp(lowest, highest);
                let distance = level * step - w;
                sum += if distance.is_finite() { distance * distance } else { 0.0 };
            }
        });
        f64::from(sum)
    };
    // In this order whatever the number of threads.
    let sums: Vec<f64> = weights.par_chunks(PIECE).map(of_piece).collect();
    sums.iter().sum()
}

/// The step with the smallest squared error among shares of the one that reaches the largest weight, then between the
/// neighbours of the best.
fn smallest_error(weights: &[f32], lowest: i32, highest: i32) -> Option<f32> {
    let largest = weights.iter().filter(|w| w.is_finite()).fold(0.0f32, |most, w| most.max(w.abs()));
    let reach = largest / highest.max(-lowest) as f32;
    if !(reach > 0.0 && reach.is_finite()) {
        return None;
    }
    let (low, high) = (lowest as f32, highest as f32);
    let best = |from: f32, to: f32| {
        let step = |at: i32| from + (to - from) * at as f32 / CANDIDATES as f32;
        let candidates = (1..=CANDIDATES).map(step).filter(|step| *step > 0.0 && (1.0 / step).is_finite());
        candidates
            .map(|step| (squared_error(weights, step, low, high), step))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, step)| step)
    };
    let coarse = best(0.0, reach)?;
    let width = reach / CANDIDATES as f32;
    best(coarse - width, coarse + width)
}

/// A learned step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LearnedStep {
    step: LearnedScalars,
    least: f32,
}

impl LearnedStep {
    /// Starts at the codebook's step; `None` for codebooks without one. `typical` is the weights' mean magnitude.
    pub fn new(codebook: &Codebook, typical: f32) -> Option<Self> {
        let Codebook::Uniform { step, .. } = *codebook else { return None };
        let least = (step * LEAST).max(f32::MIN_POSITIVE);
        Some(Self { step: LearnedScalars::new(vec![step], typical), least })
    }

    /// Gathers the gradient of the step: that of `k·s` with the rounding passed straight through, `k − w/s` inside the
    /// grid and `k` at its ends, over √(n·highest) (LSQ, section 2.2). `gradient` is that of the quantized weights, unscaled.
    pub fn backward(&mut self, codebook: &Codebook, positions: &[u8], weights: &[f32], gradient: &[f32]) {
        let Codebook::Uniform { step, lowest, highest } = *codebook else { return };
        let (low, high) = (lowest as f32, highest as f32);
        let slope = |(&position, &w): (&u8, &f32)| {
            let (level, place) = (f32::from(position) + low, w / step);
            if place <= low || place >= high { level } else { level - place }
        };
        let slopes = positions.iter().zip(weights).map(slope);
        let sum: f64 = slopes.zip(gradient).map(|(s, g)| f64::from(s) * f64::from(*g)).sum();
        let scale = 1.0 / (weights.len() as f64 * f64::from(highest.max(1))).sqrt();
        self.step.add_gradient(0, sum * scale);
    }

    /// One optimizer step; writes the new step into the codebook.
    pub fn update(&mut self, codebook: &mut Codebook, learning_rate: f64) {
        self.step.update(learning_rate);
        let value = self.step.values[0].max(self.least);
        self.step.values[0] = value;
        if let Codebook::Uniform { step, .. } = codebook {
            *step = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    fn weights() -> Vec<f32> {
        // Most small, a few far out: where rules differ.
        (0..4000).map(|i| ((i * 1999 % 4000) as f32 / 2000.0 - 1.0).powi(5)).collect()
    }

    /// The step of `mse` has no larger squared error than the percentile's or any other on a fine scale.
    #[test]
    fn mse_step_has_the_smallest_error() {
        let weights = weights();
        for bits in [2, 3, 4] {
            let error = |codebook: &Codebook| {
                let Codebook::Uniform { step, lowest, highest } = *codebook else { panic!("a grid") };
                squared_error(&weights, step, lowest as f32, highest as f32)
            };
            let found = StepRule::Mse.codebook(&weights, bits).unwrap();
            let Codebook::Uniform { lowest, highest, .. } = found else { panic!("a grid") };
            assert!(error(&found) <= error(&StepRule::Percentile.codebook(&weights, bits).unwrap()));
            for at in 1..2000 {
                let other = Codebook::Uniform { step: at as f32 / 1500.0, lowest, highest };
                assert!(error(&found) <= error(&other) * (1.0 + 1e-3), "{bits} bit: {found:?} {other:?}");
            }
        }
        assert_eq!(StepRule::Mse.codebook(&[0.0; 8], 3), None);
        assert!(StepRule::Mse.codebook(&[f32::NAN, 0.5, -0.25], 3).is_some());
    }

    /// The gradient of the step is that of a quadratic loss in which the rounding's remainder is held.
    #[test]
    fn step_gradient_matches_finite_differences() {
        let weights = weights();
        let codebook = StepRule::Learned.codebook(&weights, 3).unwrap();
        let Codebook::Uniform { step, lowest, highest } = codebook else { panic!("a grid") };
        // Levels as an entropy term assigns them: some one nearer to zero than the nearest.
        let level = |i: usize, w: f32| {
            let nearest = (w / step).round().clamp(lowest as f32, highest as f32) as i32;
            if i.is_multiple_of(5) { nearest - nearest.signum() } else { nearest }
        };
        let positions: Vec<u8> =
            weights.iter().enumerate().map(|(i, &w)| codebook.position(level(i, w))).collect();
        let target = |i: usize| (i as f64 * 0.13).sin();
        let at = f64::from(step);
        let loss = |s: f64| -> f64 {
            let quantized = |(i, &w): (usize, &f32)| {
                let (k, place) = (f64::from(level(i, w)), f64::from(w) / at);
                let inside = place > f64::from(lowest) && place < f64::from(highest);
                let q = if inside { f64::from(w) + s * (k - place) } else { s * k };
                (q - target(i)).powi(2)
            };
            0.5 * weights.iter().enumerate().map(quantized).sum::<f64>()
        };
        let values = codebook.values_of(&positions);
        let gradient: Vec<f32> =
            values.iter().enumerate().map(|(i, &v)| (f64::from(v) - target(i)) as f32).collect();
        let mut learned = LearnedStep::new(&codebook, 0.1).unwrap();
        learned.backward(&codebook, &positions, &weights, &gradient);
        let scale = 1.0 / (weights.len() as f64 * f64::from(highest)).sqrt();
        check_gradient("step", learned.step.gradients()[0] / scale, loss, at, 1e-3 * at, 1e-3);
    }
}
