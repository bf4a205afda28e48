//! How the step size of a uniform grid is found, and the gradient by which it may be learned.

use super::codebook::Codebook;
use super::device::{flat, is_beyond, runs_of};
use super::granularity::Granularity;
use super::learned::{LearnedSteps, mean_magnitude};
use super::percentile_step::percentile_step;
use super::quantizer::WeightTensor;
use crate::Result;
use crate::nn::kernels::elementwise::vectorised;
use crate::nn::transfer;
use crate::registry::{Choice, Parameter};
use candle_core::{DType, Tensor};
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

/// Steps that are compared, as shares of the one that reaches the largest weight.
const CANDIDATES: i32 = 128;
/// Weights per piece of parallel work.
const PIECE: usize = 1 << 14;

impl StepRule {
    /// The codebook of `bits` bits for trained weights; `None` where there is no valid step size.
    pub fn codebook(
        self,
        tensor: &WeightTensor<'_>,
        bits: u32,
        granularity: Granularity,
    ) -> Option<Codebook> {
        let (lowest, highest) = Codebook::from_weights(tensor.values, bits)?.range();
        granularity.codebook(tensor, (lowest, highest), |weights| match self {
            Self::Percentile => percentile_step(weights, lowest, highest),
            Self::Mse | Self::Learned => smallest_error(weights, lowest, highest),
        })
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

/// The learned steps of a codebook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct LearnedStep(LearnedSteps);

impl LearnedStep {
    /// Starts at the codebook's steps.
    pub fn new(codebook: &Codebook, weights: &[f32]) -> Self {
        let groups = weights.chunks(codebook.stride(weights.len()));
        let typical = groups.map(|weights| mean_magnitude(weights.iter().copied()));
        Self(LearnedSteps::new(codebook.steps().iter().copied().zip(typical)))
    }

    /// Gathers the gradient of the steps: that of `k·s` with the rounding passed straight through, `k − w/s` inside the
    /// grid and `k` at its ends, over √(n·highest) (LSQ, section 2.2). `gradient` is that of the quantized weights, unscaled.
    pub fn backward(&mut self, codebook: &Codebook, positions: &[u8], weights: &[f32], gradient: &[f32]) {
        let (lowest, highest) = codebook.range();
        let (low, high) = (lowest as f32, highest as f32);
        self.0.gather(weights, codebook.stride(weights.len()), highest, gradient, |at, place| {
            let level = f32::from(positions[at]) + low;
            if place <= low || place >= high { level } else { level - place }
        });
    }

    /// The sums that [`backward`](Self::backward) gathers, one per step, still on the device.
    pub fn device_sums(
        codebook: &Codebook,
        positions: &Tensor,
        weights: &Tensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let (lowest, highest) = codebook.range();
        let runs = runs_of(codebook);
        let weights = flat(weights)?;
        let steps = transfer::tensor(codebook.steps().to_vec(), codebook.channels(), weights.device())?;
        let place = runs.with_steps(&weights, &steps, |w, step| w.broadcast_div(step))?;
        let level = positions.to_dtype(DType::F32)?.affine(1.0, f64::from(lowest))?;
        let slope = is_beyond(&place, (lowest, highest))?.where_cond(&level, &(&level - &place)?)?;
        runs.sums(&(flat(gradient)?.to_dtype(DType::F64)? * slope.to_dtype(DType::F64)?)?)
    }

    /// Adds what [`device_sums`](Self::device_sums) found for a tensor of `count` weights.
    pub fn add_sums(&mut self, codebook: &Codebook, sums: &[f64], count: usize) {
        self.0.add_sums(sums, count, codebook.range().1);
    }

    /// One optimizer step; writes the new steps into the codebook.
    pub fn update(&mut self, codebook: &mut Codebook, learning_rate: f64) {
        self.0.update(learning_rate);
        codebook.set_steps(self.0.values());
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

    fn codebook(rule: StepRule, values: &[f32], bits: u32, granularity: Granularity) -> Option<Codebook> {
        let shape = [4, values.len() / 4];
        rule.codebook(&WeightTensor { name: "w", shape: &shape, values }, bits, granularity)
    }

    /// The step of `mse` has no larger squared error than the percentile's or any other on a fine scale.
    #[test]
    fn mse_step_has_the_smallest_error() {
        let weights = weights();
        let of_rule = |rule, weights: &[f32], bits| codebook(rule, weights, bits, Granularity::Tensor);
        for bits in [2, 3, 4] {
            let error = |codebook: &Codebook| {
                let Codebook::Uniform { step, lowest, highest } = *codebook else { panic!("a grid") };
                squared_error(&weights, step, lowest as f32, highest as f32)
            };
            let found = of_rule(StepRule::Mse, &weights, bits).unwrap();
            let Codebook::Uniform { lowest, highest, .. } = found else { panic!("a grid") };
            assert!(error(&found) <= error(&of_rule(StepRule::Percentile, &weights, bits).unwrap()));
            for at in 1..2000 {
                let other = Codebook::Uniform { step: at as f32 / 1500.0, lowest, highest };
                assert!(error(&found) <= error(&other) * (1.0 + 1e-3), "{bits} bit: {found:?} {other:?}");
            }
        }
        assert_eq!(of_rule(StepRule::Mse, &[0.0; 8], 3), None);
        assert!(of_rule(StepRule::Mse, &[f32::NAN, 0.5, -0.25, 0.0], 3).is_some());
    }

    /// A channel has the step that it would have alone in the range of the whole tensor; one without a step the tensor's.
    #[test]
    fn steps_of_channels() {
        let mut values: Vec<f32> =
            weights().into_iter().enumerate().map(|(i, w)| w * (1 + i / 1000) as f32).collect();
        values[1000..2000].fill(0.0);
        for rule in [StepRule::Percentile, StepRule::Mse] {
            let Some(Codebook::Uniform { step, lowest, highest }) =
                codebook(rule, &values, 3, Granularity::Tensor)
            else {
                panic!("a grid")
            };
            let found = codebook(rule, &values, 3, Granularity::Channel).unwrap();
            let alone = |values: &[f32]| match rule {
                StepRule::Percentile => percentile_step(values, lowest, highest),
                _ => smallest_error(values, lowest, highest),
            };
            let steps = values.chunks(1000).map(|values| alone(values).unwrap_or(step)).collect();
            assert_eq!(found, Codebook::PerChannel { steps, stride: 1000, lowest, highest });
            assert_eq!(found.steps()[1], step);
        }
    }

    /// The gradients of the steps are those of a quadratic loss in which the rounding's remainder is held.
    #[test]
    fn step_gradients_match_finite_differences() {
        let weights = weights();
        for granularity in [Granularity::Tensor, Granularity::Channel] {
            let codebook = codebook(StepRule::Learned, &weights, 3, granularity).unwrap();
            let (stride, (lowest, highest)) = (codebook.stride(weights.len()), codebook.range());
            let steps = codebook.steps().to_vec();
            // Levels as an entropy term assigns them: some one nearer to zero than the nearest.
            let level = |i: usize| {
                let place = weights[i] / steps[i / stride];
                let nearest = place.round().clamp(lowest as f32, highest as f32) as i32;
                if i.is_multiple_of(5) { nearest - nearest.signum() } else { nearest }
            };
            let positions: Vec<u8> = (0..weights.len()).map(|i| codebook.position(level(i))).collect();
            let target = |i: usize| (i as f64 * 0.13).sin();
            let values = codebook.values_of(&positions);
            let gradient: Vec<f32> =
                values.iter().enumerate().map(|(i, &v)| (f64::from(v) - target(i)) as f32).collect();
            let mut learned = LearnedStep::new(&codebook, &weights);
            learned.backward(&codebook, &positions, &weights, &gradient);
            let scale = 1.0 / (stride as f64 * f64::from(highest)).sqrt();
            for (channel, &step) in steps.iter().enumerate() {
                let at = f64::from(step);
                let loss = |s: f64| -> f64 {
                    let squares = (channel * stride..(channel + 1) * stride).map(|i| {
                        let (k, w) = (f64::from(level(i)), f64::from(weights[i]));
                        let inside = w / at > f64::from(lowest) && w / at < f64::from(highest);
                        let q = if inside { w + s * (k - w / at) } else { s * k };
                        (q - target(i)).powi(2)
                    });
                    0.5 * squares.sum::<f64>()
                };
                check_gradient("a step", learned.0.gradients()[channel] / scale, loss, at, 1e-3 * at, 1e-3);
            }
        }
    }
}
