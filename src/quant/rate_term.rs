//! The rate term of entropy-penalised training: a grid with a learned step, a learned table of level probabilities, the
//! bits that both give a tensor, and their exact gradients.
//!
//! A latent φ = w/s between two levels costs the linear interpolation of their code lengths: the expected bits when it is
//! rounded up with the probability of its fractional part. On the levels that is the code length itself.

use super::learned::LearnedScalars;
use serde::{Deserialize, Serialize};

/// Levels `lowest … highest` times a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Distance of neighbouring levels, positive.
    pub step: f32,
    /// Lowest level index, not positive.
    pub lowest: i32,
    /// Highest level index, not negative.
    pub highest: i32,
}

/// A latent inside the grid: the level below it, and its share of the way to the next.
struct Between {
    below: usize,
    share: f64,
}

impl Grid {
    /// The nearest level; a weight that is not a number takes zero.
    pub fn level(&self, weight: f32) -> i32 {
        (weight / self.step).clamp(self.lowest as f32, self.highest as f32).round_ties_even() as i32
    }

    fn levels(&self) -> usize {
        (self.highest - self.lowest + 1).max(1) as usize
    }

    /// Where a weight lies between levels; at the grid's ends and beyond its level alone.
    fn place(&self, weight: f32) -> Result<Between, usize> {
        let position = f64::from(weight / self.step) - f64::from(self.lowest);
        let last = (self.levels() - 1) as f64;
        if position.is_nan() {
            // Counts as zero.
            return Err(-self.lowest as usize);
        }
        if position <= 0.0 {
            return Err(0);
        }
        if position >= last {
            return Err(last as usize);
        }
        Ok(Between { below: position as usize, share: position.fract() })
    }

    /// The gradient of the step through the quantized weights, rounding passed straight through: `k − w/s` inside the grid,
    /// `k` beyond (Esser et al. 2020, eq. 3); the gradient of weights beyond the grid becomes zero.
    pub fn step_gradient(&self, weights: &[f32], gradient: &mut [f32]) -> f64 {
        let (low, high) = (self.lowest as f32, self.highest as f32);
        let mut sum = 0.0f64;
        for (&w, gradient) in weights.iter().zip(gradient.iter_mut()) {
            let position = w / self.step;
            let is_inside = position > low && position < high;
            let slope = if is_inside {
                position.round_ties_even() - position
            } else if position.is_nan() {
                0.0
            } else {
                position.clamp(low, high)
            };
            sum += f64::from(*gradient) * f64::from(slope);
            if !is_inside {
                *gradient = 0.0;
            }
        }
        sum
    }
}

/// Probabilities of the levels of one tensor, as logits that are learned: `P_k = exp θ_k / Σ exp θ`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LevelModel {
    logits: LearnedScalars,
}

/// What every level counts at the start besides the weights on it: no level is impossible.
const SMOOTHING: f64 = 0.5;

impl LevelModel {
    /// The smoothed histogram of the weights' latents; `rate` is the logits' learning rate over the recipe's.
    pub fn fitted(grid: &Grid, weights: &[f32], rate: f64) -> Self {
        let counts = soft_counts(grid, weights);
        let total = weights.len() as f64 + SMOOTHING * counts.len() as f64;
        let logits = counts.iter().map(|count| ((count + SMOOTHING) / total).ln() as f32).collect();
        Self { logits: LearnedScalars::with_scale(logits, rate) }
    }

    /// Code length of every level, bits.
    pub fn bits(&self) -> Vec<f64> {
        let most = self.logits.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponents: Vec<f64> =
            self.logits.values.iter().map(|&logit| f64::from(logit) - f64::from(most)).collect();
        let log_sum = exponents.iter().map(|exponent| exponent.exp()).sum::<f64>().ln();
        exponents.iter().map(|exponent| (log_sum - exponent) / std::f64::consts::LN_2).collect()
    }

    /// Adds the gradient of `strength` times the tensor's bits: to `gradient` for weights inside the grid, to the logits' for
    /// the model; returns that of the step.
    pub fn backward(&mut self, grid: &Grid, weights: &[f32], gradient: &mut [f32], strength: f64) -> f64 {
        if strength == 0.0 {
            return 0.0;
        }
        let lengths = self.bits();
        let slopes: Vec<f64> =
            lengths.windows(2).map(|pair| strength * (pair[1] - pair[0]) / f64::from(grid.step)).collect();
        let mut of_step = 0.0f64;
        let mut counts = vec![0.0f64; grid.levels()];
        for (&w, gradient) in weights.iter().zip(gradient.iter_mut()) {
            let place = grid.place(w);
            count(&mut counts, &place);
            if let Ok(Between { below, .. }) = place {
                let slope = slopes[below];
                *gradient += slope as f32;
                // φ = w/s: dφ/ds = −φ/s.
                of_step -= slope * f64::from(w / grid.step);
            }
        }
        // d bits / dθ_k = (n P_k − c_k) / ln 2, c the soft counts.
        let total: f64 = counts.iter().sum();
        for (k, (count, length)) in counts.iter().zip(&lengths).enumerate() {
            let slope = (total * (-length).exp2() - count) / std::f64::consts::LN_2;
            self.logits.add_gradient(k, strength * slope);
        }
        of_step
    }

    /// One optimizer step on the logits.
    pub fn update(&mut self, learning_rate: f64) {
        self.logits.update(learning_rate);
    }
}

/// How many weights lie on each level; one between two levels counts for both, by its distance.
fn soft_counts(grid: &Grid, weights: &[f32]) -> Vec<f64> {
    let mut counts = vec![0.0f64; grid.levels()];
    weights.iter().for_each(|&w| count(&mut counts, &grid.place(w)));
    counts
}

fn count(counts: &mut [f64], place: &Result<Between, usize>) {
    match *place {
        Ok(Between { below, share }) => {
            counts[below] += 1.0 - share;
            counts[below + 1] += share;
        }
        Err(level) => counts[level] += 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    const GRID: Grid = Grid { step: 0.13, lowest: -3, highest: 4 };

    /// Some beyond both ends, none within the difference's reach of a level.
    fn weights() -> Vec<f32> {
        (0..301).map(|i| ((i * 71 % 301) as f32 - 140.37) / 201.0).collect()
    }

    /// The bits of all weights, computed afresh in f64 from the definition.
    fn rate(model: &LevelModel, weights: &[f64], step: f64) -> f64 {
        let lengths = model.bits();
        let of = |w: &f64| {
            let position = (w / step).clamp(f64::from(GRID.lowest), f64::from(GRID.highest));
            let at = position - f64::from(GRID.lowest);
            let below = (at.floor() as usize).min(lengths.len() - 2);
            let share = at - below as f64;
            (1.0 - share) * lengths[below] + share * lengths[below + 1]
        };
        weights.iter().map(of).sum()
    }

    fn model() -> LevelModel {
        // Not the fitted one: there the logits' gradient is zero.
        let mut model = LevelModel::fitted(&GRID, &weights(), 1.0);
        for (k, logit) in model.logits.values.iter_mut().enumerate() {
            *logit += (k as f32 * 1.7).sin();
        }
        model
    }

    /// The rate's gradient for every weight, the step and every logit is the difference quotient of the bits.
    #[test]
    fn rate_gradients_match_finite_differences() {
        let (weights, strength) = (weights(), 0.7);
        let exact: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        let step = f64::from(GRID.step);
        let mut found = model();
        let mut gradient = vec![0.0f32; weights.len()];
        let of_step = found.backward(&GRID, &weights, &mut gradient, strength);
        let model = model();
        for index in (0..weights.len()).step_by(7) {
            let loss = |w: f64| strength * rate(&model, &[w], step);
            // The interpolation has kinks on the levels: none may lie inside the difference.
            check_gradient("a weight", f64::from(gradient[index]), loss, exact[index], 1e-6, 1e-3);
        }
        let loss = |s: f64| strength * rate(&model, &exact, s);
        check_gradient("the step", of_step, loss, step, 1e-8, 1e-3);
        for k in 0..model.logits.values.len() {
            let loss = |logit: f64| {
                let mut moved = model.clone();
                moved.logits.values[k] = logit as f32;
                strength * rate(&moved, &exact, step)
            };
            let at = f64::from(model.logits.values[k]);
            check_gradient("a logit", found.logits.gradients()[k], loss, at, 1e-2, 1e-3);
        }
    }

    /// The loss's gradient for the step is the slope of the quantized weights with rounding's remainder held.
    #[test]
    fn step_gradient_matches_finite_differences() {
        let weights = weights();
        let size = f64::from(GRID.step);
        let target = |i: usize| (i as f64 * 0.13).sin();
        let (low, high) = (f64::from(GRID.lowest), f64::from(GRID.highest));
        let quantized = |w: f32, s: f64| {
            let position = f64::from(w) / size;
            match position {
                p if p <= low => s * low,
                p if p >= high => s * high,
                _ => f64::from(w) + s * (position.round_ties_even() - position),
            }
        };
        let loss = |s: f64| -> f64 {
            let squares = weights.iter().enumerate().map(|(i, &w)| (quantized(w, s) - target(i)).powi(2));
            0.5 * squares.sum::<f64>()
        };
        let mut gradient: Vec<f32> =
            weights.iter().enumerate().map(|(i, &w)| (quantized(w, size) - target(i)) as f32).collect();
        let before = gradient.clone();
        let found = GRID.step_gradient(&weights, &mut gradient);
        check_gradient("the step", found, loss, size, 1e-3 * size, 1e-3);
        for ((&w, after), before) in weights.iter().zip(&gradient).zip(before) {
            let inside = f64::from(w) / size > low && f64::from(w) / size < high;
            assert_eq!(*after, if inside { before } else { 0.0 });
        }
    }

    /// On the levels the rate is the code length, probabilities sum to one, and the fitted model is a stationary point: its
    /// logits have no gradient but the smoothing's.
    #[test]
    fn fitted_model_codes_its_own_levels() {
        let weights: Vec<f32> = (0..400).map(|i| GRID.step * (i * i % 8 + GRID.lowest) as f32).collect();
        let mut model = LevelModel::fitted(&GRID, &weights, 1.0);
        let lengths = model.bits();
        assert!((lengths.iter().map(|length| (-length).exp2()).sum::<f64>() - 1.0).abs() < 1e-6);
        let levels: Vec<i32> = weights.iter().map(|&w| GRID.level(w)).collect();
        let bound = crate::codec::comparison::entropy_bits(&levels);
        let exact: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        let found = rate(&model, &exact, f64::from(GRID.step));
        assert!(found >= bound - 1e-2 && found < bound + 20.0, "{found} {bound}");
        let mut gradient = vec![0.0; weights.len()];
        model.backward(&GRID, &weights, &mut gradient, 1.0);
        assert!(model.logits.gradients().iter().all(|gradient| gradient.abs() < 4.0));
    }
}
