//! AdaRound (Nagel et al. 2020, "Up or down? Adaptive rounding for post-training quantization", arXiv 2004.10568): whether a
//! weight takes the level below or above it is learned, layer by layer, so that the layer's outputs change least.

use super::Setup;
use super::calibration::Moments;
use super::codebook::Codebook;
use super::granularity::GRANULARITY;
use super::layerwise::{INPUTS, LayerWise, Prepared, Procedure, STEP, defined, nearest};
use super::method::{Method, Role};
use super::quantizer::{Quantizer, WeightTensor};
use super::scope::Bits;
use crate::Result;
use crate::nn::kernels::elementwise::{AdamCoefficients, adam_step};
use crate::nn::kernels::gemm::{Matrix, multiply};
use crate::registry::Parameter;
use serde::Deserialize;

/// Ends of the stretched sigmoid, section 3.2: it reaches 0 and 1, and its gradient does not vanish on the way.
const ZETA: f32 = 1.1;
const GAMMA: f32 = -0.1;
/// Exponent of the regularizer when it sets in and at the end.
const BETAS: (f64, f64) = (20.0, 2.0);
/// Share of the iterations before it sets in.
const WARM_UP: f64 = 0.2;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "adaround",
    display: "AdaRound",
    about: "layer by layer on calibration inputs: whether a weight is rounded up or down is learned",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: true,
    parameters: &[
        Parameter::whole("iterations", "steps of Adam for each layer", (1, 100_000), 1000),
        Parameter::number("rate", "learning rate of the rounding", (1e-5, 1.0), 0.01),
        Parameter::number(
            "regularization",
            "weight of the term that drives rounding to 0 or 1",
            (0.0, 100.0),
            0.01,
        ),
        INPUTS,
        STEP,
        GRANULARITY,
    ],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| boxed(setup),
};

#[derive(Clone, Copy, Deserialize)]
struct Settings {
    iterations: usize,
    rate: f64,
    regularization: f64,
}

fn boxed(setup: Setup) -> Result<Box<dyn Quantizer>> {
    let settings: Settings = setup.settings()?;
    LayerWise::boxed(setup, Box::new(settings))
}

/// What is known of a layer.
struct Layer {
    settings: Settings,
    /// Weights of one output.
    size: usize,
    /// `2 X Xᵀ` per column of X, one matrix for each group of outputs.
    groups: Vec<Vec<f32>>,
}

impl Procedure for Settings {
    fn prepare(
        &self,
        _: &Codebook,
        weights: &WeightTensor<'_>,
        moments: &Moments,
        _: usize,
        warn: &mut dyn FnMut(String),
    ) -> Box<dyn Prepared> {
        let columns = moments.columns.max(1) as f64;
        let mut groups: Vec<Vec<f32>> =
            moments.groups.iter().map(|h| h.iter().map(|value| (value / columns) as f32).collect()).collect();
        if !groups.iter().flatten().all(|value| value.is_finite()) {
            warn(format!("{}: H is not finite: every weight takes its nearest level", weights.name));
            groups.iter_mut().for_each(|group| group.fill(0.0));
        }
        Box::new(Layer { settings: *self, size: moments.size, groups })
    }
}

/// The rounding of a layer's weights: what is learned is `v`, one for each weight.
struct Rounding<'l> {
    layer: &'l Layer,
    weights: Vec<f32>,
    /// The level below each weight.
    below: Vec<i32>,
    /// Step of each row.
    steps: Vec<f32>,
}

/// How far up a weight is: 0 for the level below it, 1 for that above.
fn share(v: f32) -> f32 {
    ((ZETA - GAMMA) / (1.0 + (-v).exp()) + GAMMA).clamp(0.0, 1.0)
}

/// Its derivative.
fn share_gradient(v: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + (-v).exp());
    let stretched = (ZETA - GAMMA) * sigmoid + GAMMA;
    if (0.0..=1.0).contains(&stretched) { (ZETA - GAMMA) * sigmoid * (1.0 - sigmoid) } else { 0.0 }
}

impl<'l> Rounding<'l> {
    /// With the `v` at which every weight has its own value, as far as the grid reaches.
    fn new(layer: &'l Layer, codebook: &Codebook, weights: &[f32]) -> (Self, Vec<f32>) {
        let (known, (lowest, highest)) = (codebook.steps(), codebook.range());
        let rows = weights.len() / layer.size;
        let steps: Vec<f32> = (0..rows).map(|row| known[row.min(known.len() - 1)]).collect();
        let mut start = Vec::with_capacity(weights.len());
        let (mut below, mut defined_weights) = (Vec::with_capacity(weights.len()), Vec::new());
        for (weights, &step) in weights.chunks(layer.size).zip(&steps) {
            for &w in weights {
                let w = defined(w, (f64::from(step), lowest, highest));
                let place = w / f64::from(step);
                let level = place.floor().clamp(f64::from(lowest), f64::from((highest - 1).max(lowest)));
                // Strictly inside: at the ends of the sigmoid there is no gradient.
                let up = ((place - level) as f32).clamp(0.01, 0.99);
                below.push(level as i32);
                defined_weights.push(w as f32);
                start.push(-((ZETA - GAMMA) / (up - GAMMA) - 1.0).ln());
            }
        }
        (Self { layer, weights: defined_weights, below, steps }, start)
    }

    /// The gradient of `½ δ H δᵀ` per column, δ the change of the weights, plus the regularizer `1 − |2 share − 1|^β` of every
    /// weight times its strength, unless β is `None` (equations 21 to 24).
    fn gradient(&self, v: &[f32], beta: Option<f64>, change: &mut [f32], out: &mut [f32]) {
        let size = self.layer.size;
        for (row, step) in self.steps.iter().enumerate() {
            for at in row * size..(row + 1) * size {
                change[at] = (self.below[at] as f32 + share(v[at])) * step - self.weights[at];
            }
        }
        let groups = &self.layer.groups;
        let rows = self.steps.len() / groups.len();
        for (group, (out, change)) in out.chunks_mut(rows * size).zip(change.chunks(rows * size)).enumerate()
        {
            let hessian = Matrix::new(&groups[group], size, size);
            multiply(out, Matrix::new(change, rows, size), hessian, false, true);
        }
        for (row, step) in self.steps.iter().enumerate() {
            for at in row * size..(row + 1) * size {
                let mut gradient = out[at] * step;
                if let Some(beta) = beta {
                    let distance = 2.0 * share(v[at]) - 1.0;
                    let slope =
                        -2.0 * beta as f32 * distance.abs().powf(beta as f32 - 1.0) * distance.signum();
                    gradient += self.layer.settings.regularization as f32 * slope;
                }
                out[at] = gradient * share_gradient(v[at]);
            }
        }
    }
}

impl Prepared for Layer {
    fn levels(&self, codebook: &Codebook, weights: &[f32]) -> Vec<i32> {
        let (rounding, mut v) = Rounding::new(self, codebook, weights);
        let zeros = || vec![0.0f32; weights.len()];
        let (mut first, mut second, mut change, mut gradient) = (zeros(), zeros(), zeros(), zeros());
        let Settings { iterations, rate, .. } = self.settings;
        for at in 0..iterations {
            let done = at as f64 / iterations as f64;
            let beta = (done >= WARM_UP).then(|| {
                let rest = (done - WARM_UP) / (1.0 - WARM_UP);
                BETAS.1 + 0.5 * (BETAS.0 - BETAS.1) * (1.0 + (rest * std::f64::consts::PI).cos())
            });
            rounding.gradient(&v, beta, &mut change, &mut gradient);
            let steps = i32::try_from(at + 1).unwrap_or(i32::MAX);
            let coefficients = AdamCoefficients::of_step(rate, steps);
            adam_step(&mut v, &mut first, &mut second, &gradient, coefficients);
        }
        let highest = codebook.range().1;
        let level = |(below, v): (&i32, &f32)| (below + i32::from(share(*v) >= 0.5)).min(highest);
        rounding.below.iter().zip(&v).map(level).collect()
    }

    /// Nearest levels: to learn the rounding of weights that move on at the next step would be wasted.
    fn levels_in_training(&self, codebook: &Codebook, weights: &[f32]) -> Vec<i32> {
        let (steps, (lowest, highest)) = (codebook.steps(), codebook.range());
        let rows = weights.chunks(self.size).enumerate();
        rows.flat_map(|(row, weights)| {
            let grid = (f64::from(steps[row.min(steps.len() - 1)]), lowest, highest);
            weights.iter().map(move |&w| nearest(defined(w, grid), grid))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    const SIZE: usize = 12;

    fn inputs(at: usize) -> f64 {
        let noise = |i: usize| ((i * 7919 + 13) % 1009) as f64 / 504.5 - 1.0;
        0.7 * noise(at % 40 + 3) + 0.7 * noise(at * 5 + 1)
    }

    /// X Xᵀ twice, of 40 columns.
    fn moments(shift: usize) -> Vec<f64> {
        let dot = |a: usize, b: usize| -> f64 {
            (0..40).map(|c| inputs(a * 40 + c + shift) * inputs(b * 40 + c + shift)).sum()
        };
        (0..SIZE * SIZE).map(|at| 2.0 * dot(at / SIZE, at % SIZE)).collect()
    }

    fn weights() -> Vec<f32> {
        (0..6 * SIZE).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 0.4).collect()
    }

    fn layer(regularization: f64) -> Layer {
        let settings = Settings { iterations: 1500, rate: 0.01, regularization };
        let groups = vec![moments(0), moments(7)];
        let moments = Moments { size: SIZE, columns: 40, groups };
        let groups = moments.groups.iter().map(|h| h.iter().map(|value| (value / 40.0) as f32).collect());
        Layer { settings, size: SIZE, groups: groups.collect() }
    }

    fn codebook() -> Codebook {
        let steps = (0..6).map(|row| 0.15 + 0.01 * row as f32).collect();
        Codebook::PerChannel { steps, stride: SIZE, lowest: -2, highest: 1 }
    }

    /// What is minimised, in f64.
    fn objective(layer: &Layer, rounding: &Rounding<'_>, v: &[f64], beta: Option<f64>) -> f64 {
        let share = |v: f64| (1.2 / (1.0 + (-v).exp()) - 0.1).clamp(0.0, 1.0);
        let mut sum = 0.0;
        for row in 0..6 {
            let change: Vec<f64> = (row * SIZE..(row + 1) * SIZE)
                .map(|at| {
                    (f64::from(rounding.below[at]) + share(v[at])) * f64::from(rounding.steps[row])
                        - f64::from(rounding.weights[at])
                })
                .collect();
            let hessian = &layer.groups[row / 3];
            for a in 0..SIZE {
                for b in 0..SIZE {
                    sum += 0.5 * change[a] * change[b] * f64::from(hessian[a * SIZE + b]);
                }
            }
        }
        if let Some(beta) = beta {
            let terms = v.iter().map(|&v| 1.0 - (2.0 * share(v) - 1.0).abs().powf(beta));
            sum += layer.settings.regularization * terms.sum::<f64>();
        }
        sum
    }

    /// The gradient is that of the objective, with and without the regularizer, in groups, with a step per row.
    #[test]
    fn gradients_match_finite_differences() {
        let layer = layer(0.3);
        let (rounding, start) = Rounding::new(&layer, &codebook(), &weights());
        let (mut change, mut out) = (vec![0.0; start.len()], vec![0.0; start.len()]);
        for beta in [None, Some(2.0), Some(5.5)] {
            rounding.gradient(&start, beta, &mut change, &mut out);
            for at in (0..start.len()).step_by(7) {
                let loss = |value: f64| {
                    let mut v: Vec<f64> = start.iter().map(|&v| f64::from(v)).collect();
                    v[at] = value;
                    objective(&layer, &rounding, &v, beta)
                };
                check_gradient("v", f64::from(out[at]), loss, f64::from(start[at]), 1e-4, 1e-4);
            }
        }
    }

    /// The outputs change less than with nearest levels on the same grid, and every level is one of the weight's two
    /// neighbours in it.
    #[test]
    fn learned_rounding_loses_less_than_nearest_levels() {
        let layer = layer(0.01);
        let (codebook, weights) = (codebook(), weights());
        let found = layer.levels(&codebook, &weights);
        let steps = codebook.steps();
        let error = |levels: &[i32]| -> f64 {
            let mut sum = 0.0;
            for row in 0..6 {
                let change = |at: usize| {
                    f64::from(levels[row * SIZE + at] as f32 * steps[row] - weights[row * SIZE + at])
                };
                for a in 0..SIZE {
                    for b in 0..SIZE {
                        sum += change(a) * change(b) * f64::from(layer.groups[row / 3][a * SIZE + b]);
                    }
                }
            }
            sum
        };
        let place = |at: usize| weights[at] / steps[at / SIZE];
        let nearest: Vec<i32> =
            (0..weights.len()).map(|at| (place(at).round() as i32).clamp(-2, 1)).collect();
        assert!(error(&found) < 0.8 * error(&nearest), "{} {}", error(&found), error(&nearest));
        for (at, &level) in found.iter().enumerate() {
            let below = (place(at).floor() as i32).clamp(-2, 0);
            assert!(level == below || level == below + 1, "{} is at {level}", place(at));
        }
    }
}
