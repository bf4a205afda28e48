//! Layer-wise quantization on calibrated second moments (the optimal brain surgeon's column procedure, as OPTQ orders it):
//! weights of a row take their levels one after the other, and each one's error is spread over those that are still free.
//! With a rate term a level costs bits too. The methods `optq` and `cerwu` are this with settings of their own.

use super::calibration::{CalibrationKind, CalibrationNeeds, LayerCalibration};
use super::codebook::Codebook;
use super::granularity::Granularity;
use super::hessian::{damped, permuted, times_inverse, upper_of_inverse};
use super::quantizer::{ALL_ZEROS, Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::rate::{RateModel, neighbour};
use super::scope::Scope;
use super::state::{from_state, to_state};
use super::step_rule::StepRule;
use crate::registry::Parameter;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
pub(super) const INPUTS: Parameter = Parameter::word(
    "inputs",
    "a layer's inputs come from earlier layers as quantized (sequential), or in full precision",
    &["quantized", "full"],
    "quantized",
);
pub(super) const STEP: Parameter = Parameter::word(
    "step",
    "step size: percentile of |w| (as uniform), or mse (smallest squared error of nearest levels)",
    &["percentile", "mse"],
    "percentile",
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
enum Inputs {
    Quantized,
    Full,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RateScale {
    Layer,
    Global,
}

/// The settings that both methods have.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Settings {
    damping: f64,
    block: usize,
    order: Order,
    inputs: Inputs,
    step: StepRule,
    rate_scale: RateScale,
}

/// A layer-wise quantizer.
pub(super) struct LayerWise {
    scope: Scope,
    settings: Settings,
    /// Strength of the rate term; 0 for none.
    strength: f64,
    /// Whether the quadratic part of the rate goes into H (CERWU).
    quadratic: bool,
    codebooks: Vec<Option<Codebook>>,
    /// One per tensor, once calibrated.
    layers: Vec<Option<Layer>>,
    /// What `calibrate` found, for the first assignment.
    first: Vec<Option<QuantizedTensor>>,
    warnings: Vec<String>,
}

/// What is known of a layer.
struct Layer {
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

#[derive(Serialize, Deserialize)]
struct State {
    codebooks: Vec<Option<Codebook>>,
}

impl LayerWise {
    pub fn boxed(scope: Scope, settings: Settings, strength: f64, quadratic: bool) -> Box<dyn Quantizer> {
        let (codebooks, layers, first, warnings) = Default::default();
        Box::new(Self { scope, settings, strength, quadratic, codebooks, layers, first, warnings })
    }

    /// Factors a layer's moments.
    fn layer(
        &mut self,
        codebook: &Codebook,
        weights: &WeightTensor<'_>,
        layer: &LayerCalibration,
    ) -> Result<Layer> {
        let wrong = || Error::Internal(format!("{}: calibration of another layer", weights.name));
        let moments = layer.moments().ok_or_else(wrong)?;
        let (size, groups) = (moments.size, moments.groups.len());
        if size == 0 || groups == 0 || !weights.values.len().is_multiple_of(size * groups) {
            return Err(wrong());
        }
        let Codebook::Uniform { step, .. } = *codebook else { return Err(wrong()) };
        let samples = layer.samples.max(1) as f64;
        let matrices: Vec<Vec<f64>> =
            moments.groups.iter().map(|h| h.iter().map(|value| value / samples).collect()).collect();
        let factor = |this: &mut Self, added: f64| -> Vec<Group> {
            matrices.iter().map(|matrix| this.group(matrix, size, added, weights.name)).collect()
        };
        let mut groups = factor(self, 0.0);
        let unit = match self.settings.rate_scale {
            RateScale::Global => 1.0,
            RateScale::Layer => 0.5 * curvature(&groups, size) * f64::from(step).powi(2),
        };
        let lambda = self.strength * unit;
        let gamma = if self.quadratic && lambda > 0.0 { quadratic_rate(weights.values) } else { 0.0 };
        if gamma > 0.0 {
            groups = factor(self, lambda * gamma);
        }
        Ok(Layer { size, groups, lambda, gamma })
    }

    fn group(&mut self, matrix: &[f64], size: usize, added: f64, name: &str) -> Group {
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
                    self.warn(format!("{name}: H needed a damping of {damping}"));
                }
                return Group { order, upper };
            }
        }
        self.warn(format!("{name}: H is not finite: every weight takes its nearest level"));
        let mut upper = vec![0.0; size * size];
        upper.iter_mut().step_by(size + 1).for_each(|value| *value = 1.0);
        Group { order, upper }
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn quantize(&self, index: usize, weights: &WeightTensor<'_>) -> Result<Content> {
        let Some(codebook) = self.codebooks.get(index).and_then(Option::as_ref) else {
            return Ok(Content::zeros(weights.values.len()));
        };
        let layer = self.layers.get(index).and_then(Option::as_ref).ok_or_else(|| {
            Error::input_hint(
                format!("{}: the method needs calibration, and there was none", weights.name),
                "`ecqx quantize` calibrates with --model and --dataset",
            )
        })?;
        let levels = layer.levels(codebook, weights.values, self.settings.block);
        let positions = levels.into_iter().map(|level| codebook.position(level)).collect();
        Ok(Content::Levels { positions, codebook: codebook.clone() })
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

/// The nearest level of a uniform grid.
fn nearest(w: f64, (step, lowest, highest): (f64, i32, i32)) -> i32 {
    (w / step).round_ties_even().clamp(f64::from(lowest), f64::from(highest)) as i32
}

impl Layer {
    /// Levels of all weights, row-major.
    fn levels(&self, codebook: &Codebook, weights: &[f32], block: usize) -> Vec<i32> {
        let Codebook::Uniform { step, lowest, highest } = *codebook else { return vec![0; weights.len()] };
        let grid = (f64::from(step), lowest, highest);
        let mut levels = vec![0; weights.len()];
        let of_group = (weights.len() / self.size / self.groups.len()).max(1);
        let group = |row: usize| &self.groups[(row / of_group).min(self.groups.len() - 1)];
        if self.lambda <= 0.0 {
            let rows = weights.par_chunks(self.size).zip(levels.par_chunks_mut(self.size)).enumerate();
            rows.for_each(|(row, (weights, out))| {
                self.row(group(row), weights, grid, block, out, &mut |w, _, _| nearest(w, grid));
            });
            return levels;
        }
        // In the order in which the codec will see them, so that the estimate adapts as the coder does.
        let mut model = RateModel::new(1);
        let mut before = 0;
        for &w in weights.iter().filter(|w| w.is_finite()) {
            let level = nearest(f64::from(w), grid);
            model.update(level, 0, before);
            before = neighbour(level);
        }
        before = 0;
        for (row, (weights, out)) in weights.chunks(self.size).zip(levels.chunks_mut(self.size)).enumerate() {
            let mut choose = |w: f64, spread: f64, is_next: bool| {
                let behind = if is_next { before } else { 0 };
                let level = self.cheapest(w, spread, grid, &model, behind);
                model.update(level, 0, behind);
                before = neighbour(level);
                level
            };
            self.row(group(row), weights, grid, block, out, &mut choose);
        }
        levels
    }

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
        block: usize,
        out: &mut [i32],
        choose: &mut dyn FnMut(f64, f64, bool) -> i32,
    ) {
        let (step, lowest, highest) = grid;
        let size = self.size;
        let defined = |w: f32| match w {
            w if w.is_finite() => f64::from(w),
            w if w.is_nan() => 0.0,
            w => step * f64::from(if w > 0.0 { highest } else { lowest }),
        };
        let mut rest: Vec<f64> = group.order.iter().map(|&column| defined(weights[column])).collect();
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

impl Quantizer for LayerWise {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.codebooks.clear();
        for tensor in weights {
            let bits = self.scope.required_bits(tensor.name)?;
            let codebook = self.settings.step.codebook(tensor, bits, Granularity::Tensor);
            if codebook.is_none() {
                self.warn(format!("{}: {ALL_ZEROS}", tensor.name));
            }
            self.codebooks.push(codebook);
        }
        self.layers = weights.iter().map(|_| None).collect();
        self.first = vec![None; weights.len()];
        Ok(())
    }

    fn wants_calibration(&self) -> Option<CalibrationNeeds> {
        let sequential = self.settings.inputs == Inputs::Quantized;
        Some(CalibrationNeeds { kind: CalibrationKind::Moments, sequential })
    }

    fn calibrate(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        layer: LayerCalibration,
    ) -> Result<Option<QuantizedTensor>> {
        if let Some(Some(codebook)) = self.codebooks.get(index).cloned() {
            self.layers[index] = Some(self.layer(&codebook, &weights, &layer)?);
        }
        let quantized = weights.quantized(self.quantize(index, &weights)?);
        if let Some(first) = self.first.get_mut(index) {
            *first = Some(quantized.clone());
        }
        Ok(Some(quantized))
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        let first = std::mem::replace(&mut self.first, vec![None; weights.len()]);
        let this: &Self = self;
        let of_tensor =
            |(index, (tensor, first)): (usize, (&WeightTensor<'_>, Option<QuantizedTensor>))| match first
                .filter(|_| at.step == 0)
            {
                Some(first) => Ok(first),
                None => Ok(tensor.quantized(this.quantize(index, tensor)?)),
            };
        weights.par_iter().zip(first).enumerate().map(of_tensor).collect()
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn state(&self) -> Result<Value> {
        to_state(&State { codebooks: self.codebooks.clone() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.codebooks = from_state::<State>(state)?.codebooks;
        Ok(())
    }
}
