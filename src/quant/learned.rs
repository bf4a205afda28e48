//! Scalars that a method learns besides the weights (levels, step sizes): values, gathered gradients and Adam's moments.

use crate::nn::kernels::elementwise::{BETA1, BETA2};
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};
use std::ops::Range;

const EPSILON: f64 = 1e-8;

/// The learned scalars of one tensor. Adam moves each by the learning rate times its own scale, so that a level moves as
/// fast, relative to its size, as the weights do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnedScalars {
    /// Present values.
    pub values: Vec<f32>,
    scales: Vec<f64>,
    gradients: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl LearnedScalars {
    /// `values` of a tensor whose weights have mean magnitude `typical`.
    pub fn new(values: Vec<f32>, typical: f32) -> Self {
        Self::each(values.into_iter().map(|value| (value, typical)))
    }

    /// Values with the mean magnitude of the weights that each belongs to.
    pub fn each(values: impl IntoIterator<Item = (f32, f32)>) -> Self {
        let relative = |(value, typical): (f32, f32)| match f64::from(value.abs()) / f64::from(typical) {
            scale if scale.is_finite() => (value, scale),
            _ => (value, 1.0),
        };
        let (values, scales): (Vec<f32>, Vec<f64>) = values.into_iter().map(relative).unzip();
        Self::start(values, scales)
    }

    /// `values` that all move by the learning rate times `scale`, whatever their size.
    pub fn with_scale(values: Vec<f32>, scale: f64) -> Self {
        let scales = vec![scale; values.len()];
        Self::start(values, scales)
    }

    fn start(values: Vec<f32>, scales: Vec<f64>) -> Self {
        let zeros = vec![0.0; values.len()];
        Self { values, scales, gradients: zeros.clone(), first: zeros.clone(), second: zeros, steps: 0 }
    }

    /// Adds to the gradient of value `index`.
    pub fn add_gradient(&mut self, index: usize, gradient: f64) {
        self.gradients[index] += gradient;
    }

    /// One step of Adam (Kingma & Ba 2015) from the gathered gradients, which are then forgotten.
    pub fn update(&mut self, learning_rate: f64) {
        self.steps += 1;
        let (bias1, bias2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        for index in 0..self.values.len() {
            let gradient = std::mem::take(&mut self.gradients[index]);
            if !gradient.is_finite() {
                continue;
            }
            let (first, second) = (&mut self.first[index], &mut self.second[index]);
            *first = BETA1 * *first + (1.0 - BETA1) * gradient;
            *second = BETA2 * *second + (1.0 - BETA2) * gradient * gradient;
            let step = *first / bias1 / ((*second / bias2).sqrt() + EPSILON);
            self.values[index] -= (learning_rate * self.scales[index] * step) as f32;
        }
    }

    /// As [`update`](Self::update), but no value falls below its `least`.
    pub fn update_above(&mut self, learning_rate: f64, least: &[f32]) {
        self.update(learning_rate);
        self.values.iter_mut().zip(least).for_each(|(value, least)| *value = value.max(*least));
    }

    /// The gathered gradients, for checks.
    pub fn gradients(&self) -> &[f64] {
        &self.gradients
    }
}

/// Smallest share of its start that a learned magnitude keeps: it must stay positive.
const LEAST: f32 = 1e-3;

/// The smallest that a magnitude which starts at this value becomes.
pub(super) fn floor(start: f32) -> f32 {
    (start * LEAST).max(f32::MIN_POSITIVE)
}

/// Learned step sizes, one per tensor or channel, which stay positive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LearnedSteps {
    step: LearnedScalars,
    /// The smallest that each becomes.
    #[serde(deserialize_with = "one_or_more")]
    least: Vec<f32>,
}

/// States from before there were steps per channel hold one number.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(f32),
        More(Vec<f32>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(value) => vec![value],
        OneOrMore::More(values) => values,
    })
}

/// Weights per piece of parallel work, and per block whose products are kept.
pub(super) const PIECE: usize = 1 << 15;
const BLOCK: usize = 32 * PIECE;

/// The runs of `stride` weights that `length` weights from `start` on touch: their numbers, and which of these weights.
pub(super) fn runs_in(
    start: usize,
    length: usize,
    stride: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let end = start + length;
    let part = move |run: usize| (run * stride).max(start) - start..((run + 1) * stride).min(end) - start;
    (start / stride..end.div_ceil(stride)).map(move |run| (run, part(run)))
}

impl LearnedSteps {
    /// Steps that start at these values, each with the mean magnitude of its weights.
    pub fn new(steps: impl IntoIterator<Item = (f32, f32)>) -> Self {
        let step = LearnedScalars::each(steps);
        Self { least: step.values.iter().copied().map(floor).collect(), step }
    }

    /// The present steps.
    pub fn values(&self) -> &[f32] {
        &self.step.values
    }

    /// Gathers the gradient of each step (LSQ, eq. 3 and section 2.2): the sum over its weights of `gradient · slope(w/s)`
    /// over √(weights · highest). `slope_of` gives a weight's slope from its index and its position on the grid, `w/s`.
    /// Runs of `stride` weights have one step.
    pub fn gather(
        &mut self,
        weights: &[f32],
        stride: usize,
        highest: i32,
        gradient: &[f32],
        slope_of: impl Fn(usize, f32) -> f32 + Sync,
    ) {
        let (steps, stride) = (&self.step.values, stride.max(1));
        if steps.is_empty() {
            return;
        }
        let mut sums = vec![0.0f64; steps.len()];
        let mut products = vec![0.0f64; BLOCK.min(weights.len())];
        let mut sum = 0.0f64;
        for (block, (weights, gradient)) in weights.chunks(BLOCK).zip(gradient.chunks(BLOCK)).enumerate() {
            let products = &mut products[..weights.len()];
            let inputs = weights.par_chunks(PIECE).zip(gradient.par_chunks(PIECE));
            products.par_chunks_mut(PIECE).zip(inputs).enumerate().for_each(
                |(piece, (products, (weights, gradient)))| {
                    let start = block * BLOCK + piece * PIECE;
                    for (run, part) in runs_in(start, weights.len(), stride) {
                        let step = steps[run % steps.len()];
                        for at in part {
                            let slope = slope_of(start + at, weights[at] / step);
                            products[at] = f64::from(gradient[at]) * f64::from(slope);
                        }
                    }
                },
            );
            // Added up one after the other, as ever: the sum depends on the order.
            for (run, part) in runs_in(block * BLOCK, products.len(), stride) {
                let end = block * BLOCK + part.end;
                products[part].iter().for_each(|product| sum += product);
                if end == (run + 1) * stride {
                    sums[run % steps.len()] += std::mem::take(&mut sum);
                }
            }
        }
        let last = weights.len().div_ceil(stride).saturating_sub(1);
        sums[last % steps.len()] += sum;
        self.add_sums(&sums, weights.len(), highest);
    }

    /// Adds the sums of `gradient · slope` of each step's weights, of which there are `weights` in all.
    pub fn add_sums(&mut self, sums: &[f64], weights: usize, highest: i32) {
        let count = self.step.values.len().max(1);
        let scale = 1.0 / ((weights / count) as f64 * f64::from(highest.max(1))).sqrt();
        for (index, sum) in sums.iter().enumerate().take(count) {
            self.step.add_gradient(index, sum * scale);
        }
    }

    /// One optimizer step.
    pub fn update(&mut self, learning_rate: f64) {
        self.step.update_above(learning_rate, &self.least);
    }

    /// The gathered gradients, for checks.
    #[cfg(test)]
    pub fn gradients(&self) -> &[f64] {
        self.step.gradients()
    }

    /// Adds to the gradient of a step, for checks.
    #[cfg(test)]
    pub fn add_gradient(&mut self, index: usize, gradient: f64) {
        self.step.add_gradient(index, gradient);
    }
}

/// Mean magnitude of the finite values; 0 for none.
pub fn mean_magnitude(values: impl IntoIterator<Item = f32>) -> f32 {
    let (mut sum, mut count) = (0.0f64, 0usize);
    for value in values.into_iter().filter(|value| value.is_finite()) {
        sum += f64::from(value.abs());
        count += 1;
    }
    if count == 0 { 0.0 } else { (sum / count as f64) as f32 }
}
