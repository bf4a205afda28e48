//! Scalars that a method learns besides the weights (levels, step sizes): values, gathered gradients and Adam's moments.

use serde::{Deserialize, Serialize};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
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
        let relative = |value: &f32| match f64::from(value.abs()) / f64::from(typical) {
            scale if scale.is_finite() => scale,
            _ => 1.0,
        };
        let scales = values.iter().map(relative).collect();
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

    /// The gathered gradients, for checks.
    pub fn gradients(&self) -> &[f64] {
        &self.gradients
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
