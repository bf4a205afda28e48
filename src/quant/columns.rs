//! The optimal brain surgeon's column procedure, as OPTQ orders it: weights of a row take their levels one after the other,
//! and each one's error is spread over those that are still free. With a rate term a level costs bits too. The methods `optq`
//! and `cerwu` are this with settings of their own.

use super::Setup;
use super::calibration::Moments;
use super::codebook::Codebook;
use super::hessian::{damped, permuted, times_inverse, upper_of_inverse};
use super::layerwise::{LayerWise, Prepared, Procedure, defined, mean_square, nearest};
use super::quantizer::{Quantizer, WeightTensor};
use super::rate::{RateModel, neighbour};
use crate::Result;
use crate::registry::Parameter;
use rayon::prelude::*;
use serde::Deserialize;

/// Attempts at a factor, each with ten times the damping.
const ATTEMPTS: i32 = 6;

pub(super) const DAMPING: Parameter =
    Parameter::number("damping", "added to the diagonal of H, as a share of its mean", (1e-6, 10.0), 0.01);
pub(super) const BLOCK: Parameter = Parameter::whole(
    "block",
    "columns after which errors are spread over the rest of a row; changes sums by rounding alone",
    (1, 65_536),
    128,
);
pub(super) const ORDER: Parameter = Parameter::word(
    "order",
    "columns in natural order, or by descending diagonal of H",
    &["natural", "diagonal"],
    "natural",
);
pub(super) const RATE_SCALE: Parameter = Parameter::word(
    "rate_scale",
    "layer: a bit costs the strength times what a wrong step of one weight costs the layer on average; global: the strength \
     in half the squared error of the outputs per sample",
    &["layer", "global"],
    "layer",
);

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Natural,
    Diagonal,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RateScale {
    Layer,
    Global,
}

/// The settings that both methods have.
#[derive(Clone, Copy, Deserialize)]
struct Settings {
    damping: f64,
    block: usize,
    order: Order,
    rate_scale: RateScale,
}

/// The procedure with its settings.
struct Columns {
    settings: Settings,
    /// Strength of the rate term; 0 for none.
    strength: f64,
    /// Whether the quadratic part of the rate goes into H (CERWU).
    quadratic: bool,
}

/// A layer-wise quantizer of columns.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) naming method and parameter.
pub(super) fn boxed(setup: Setup, strength: f64, quadratic: bool) -> Result<Box<dyn Quantizer>> {
    let settings = setup.settings()?;
    LayerWise::boxed(setup, Box::new(Columns { settings, strength, quadratic }))
}

/// What is known of a layer.
struct Layer {
    /// Columns after which errors are spread over the rest of a row.
    block: usize,
    /// Weights of one output.
    size: usize,
    groups: Vec<Group>,
    /// λ: squared error that a bit is worth.
    lambda: f64,
    /// γ: bits per squared weight of the quadratic rate; 0 where there is none.
    gamma: f64,
}

/// One group of outputs, which see the same inputs.
struct Group {
    /// Column by place in the procedure.
    order: Vec<usize>,
    /// `U`, upper triangular, in that order: `Uᵀ U` is the inverse of H damped (and with λγ on its diagonal).
    upper: Vec<f64>,
}

impl Procedure for Columns {
    fn prepare(
        &self,
        codebook: &Codebook,
        weights: &WeightTensor<'_>,
        moments: &Moments,
        samples: usize,
        warn: &mut dyn FnMut(String),
    ) -> Box<dyn Prepared> {
        let size = moments.size;
        let samples = samples.max(1) as f64;
        let matrices: Vec<Vec<f64>> =
            moments.groups.iter().map(|h| h.iter().map(|value| value / samples).collect()).collect();
        let mut factor = |added: f64| -> Vec<Group> {
            matrices.iter().map(|matrix| self.group(matrix, size, added, weights.name, warn)).collect()
        };
        let mut groups = factor(0.0);
        let unit = match self.settings.rate_scale {
            RateScale::Global => 1.0,
            RateScale::Layer => 0.5 * curvature(&groups, size) * mean_square(codebook.steps()),
        };
        let lambda = self.strength * unit;
        let gamma = if self.quadratic && lambda > 0.0 { quadratic_rate(weights.values) } else { 0.0 };
        if gamma > 0.0 {
            groups = factor(lambda * gamma);
        }
        Box::new(Layer { block: self.settings.block, size, groups, lambda, gamma })
    }
}

impl Columns {
    fn group(
        &self,
        matrix: &[f64],
        size: usize,
        added: f64,
        name: &str,
        warn: &mut dyn FnMut(String),
    ) -> Group {
        let mut order: Vec<usize> = (0..size).collect();
        if self.settings.order == Order::Diagonal {
            // Stable: equal ones stay in natural order.
            order.sort_by(|&a, &b| matrix[b * size + b].total_cmp(&matrix[a * size + a]));
        }
        let matrix = permuted(matrix, &order);
        for attempt in 0..ATTEMPTS {
            let damping = self.settings.damping * 10f64.powi(attempt);
            let mut sum = damped(&matrix, size, damping);
            sum.iter_mut().step_by(size + 1).for_each(|value| *value += added);
            if let Some(upper) = upper_of_inverse(&sum, size) {
                if attempt > 0 {
                    warn(format!("{name}: H needed a damping of {damping}"));
                }
                return Group { order, upper };
            }
        }
        warn(format!("{name}: H is not finite: every weight takes its nearest level"));
        let mut upper = vec![0.0; size * size];
        upper.iter_mut().step_by(size + 1).for_each(|value| *value = 1.0);
        Group { order, upper }
    }
}

/// What the other weights cannot undo: the mean of `1 / U_jj²`, by which an error in one weight counts.
fn curvature(groups: &[Group], size: usize) -> f64 {
    let diagonal = groups.iter().flat_map(|group| group.upper.iter().step_by(size + 1));
    let (sum, count) = diagonal.fold((0.0, 0usize), |(sum, count), u| (sum + 1.0 / (u * u), count + 1));
    sum / count.max(1) as f64
}

/// γ of a normal distribution's rate in bits, `w² / (2 σ² ln 2)` and a constant: `1 / (σ² ln 2)`.
fn quadratic_rate(weights: &[f32]) -> f64 {
    let finite = || weights.iter().filter(|w| w.is_finite()).map(|&w| f64::from(w));
    let count = finite().count().max(1) as f64;
    let mean = finite().sum::<f64>() / count;
    let variance = finite().map(|w| (w - mean).powi(2)).sum::<f64>() / count;
    if variance > 0.0 { 1.0 / (variance * std::f64::consts::LN_2) } else { 0.0 }
}

impl Prepared for Layer {
    fn levels(&self, codebook: &Codebook, weights: &[f32]) -> Vec<i32> {
        let (steps, (lowest, highest)) = (codebook.steps(), codebook.range());
        let grid = |row: usize| (f64::from(steps[row.min(steps.len() - 1)]), lowest, highest);
        let mut levels = vec![0; weights.len()];
        let of_group = (weights.len() / self.size / self.groups.len()).max(1);
        let group = |row: usize| &self.groups[(row / of_group).min(self.groups.len() - 1)];
        if self.lambda <= 0.0 {
            let rows = weights.par_chunks(self.size).zip(levels.par_chunks_mut(self.size)).enumerate();
            rows.for_each(|(row, (weights, out))| {
                let grid = grid(row);
                self.row(group(row), weights, grid, out, &mut |w, _, _| nearest(w, grid));
            });
            return levels;
        }
        // In the order in which the codec will see them, so that the estimate adapts as the coder does.
        let mut model = RateModel::new(1);
        let mut before = 0;
        for (row, weights) in weights.chunks(self.size).enumerate() {
            for &w in weights.iter().filter(|w| w.is_finite()) {
                let level = nearest(f64::from(w), grid(row));
                model.update(level, 0, before);
                before = neighbour(level);
            }
        }
        before = 0;
        for (row, (weights, out)) in weights.chunks(self.size).zip(levels.chunks_mut(self.size)).enumerate() {
            let grid = grid(row);
            let mut choose = |w: f64, spread: f64, is_next: bool| {
                let behind = if is_next { before } else { 0 };
                let level = self.cheapest(w, spread, grid, &model, behind);
                model.update(level, 0, behind);
                before = neighbour(level);
                level
            };
            self.row(group(row), weights, grid, out, &mut choose);
        }
        levels
    }
}

impl Layer {
    /// The level with the smallest `(w − kΔ)² / (2 d²) + λ (bits − γ/2 (kΔ)²)`, where `d²` is what the inverse of H leaves of
    /// the weight's freedom: the increase of `½ δ H δᵀ`. What γ takes away here is in H already.
    fn cheapest(&self, w: f64, spread: f64, grid: (f64, i32, i32), model: &RateModel, before: usize) -> i32 {
        let (step, lowest, highest) = grid;
        let best = nearest(w, grid);
        let (from, to) = (best.min(0) - 1, best.max(0) + 1);
        let weight = 0.5 / (spread * spread);
        let cost = |level: i32| {
            let value = f64::from(level) * step;
            let bits = model.bits(level, 0, before) - 0.5 * self.gamma * value * value;
            weight * (w - value).powi(2) + self.lambda * bits
        };
        let mut found = (f64::INFINITY, 0);
        for level in from.max(lowest)..=to.min(highest) {
            let cost = cost(level);
            if cost < found.0 {
                found = (cost, level);
            }
        }
        found.1
    }

    /// Levels of one row. `choose` gets a weight as earlier errors have moved it, the diagonal of `U` there, and whether the
    /// column follows the one before it in the file.
    fn row(
        &self,
        group: &Group,
        weights: &[f32],
        grid: (f64, i32, i32),
        out: &mut [i32],
        choose: &mut dyn FnMut(f64, f64, bool) -> i32,
    ) {
        let (step, _, _) = grid;
        let (size, block) = (self.size, self.block);
        let mut rest: Vec<f64> = group.order.iter().map(|&column| defined(weights[column], grid)).collect();
        if self.gamma > 0.0 {
            // The minimum of the error and the quadratic rate: w H (H + λγ)⁻¹ = w − λγ w (H + λγ)⁻¹.
            let pulled = times_inverse(&rest, &group.upper);
            let factor = self.lambda * self.gamma;
            rest.iter_mut().zip(pulled).for_each(|(w, pull)| *w -= factor * pull);
        }
        let mut errors = vec![0.0; block.min(size)];
        for start in (0..size).step_by(block) {
            let end = (start + block).min(size);
            for at in start..end {
                let line = &group.upper[at * size..][..size];
                let column = group.order[at];
                let is_next = column == 0 || (at > 0 && group.order[at - 1] + 1 == column);
                let level = choose(rest[at], line[at], is_next);
                out[column] = level;
                let error = (rest[at] - f64::from(level) * step) / line[at];
                errors[at - start] = error;
                rest[at + 1..end].iter_mut().zip(&line[at + 1..end]).for_each(|(w, u)| *w -= error * u);
            }
            for (error, at) in errors.iter().zip(start..end) {
                let line = &group.upper[at * size + end..][..size - end];
                rest[end..].iter_mut().zip(line).for_each(|(w, u)| *w -= error * u);
            }
        }
    }
}
