//! Layer-wise quantization on calibrated second moments: what its methods share. How the weights of a layer take their levels
//! is a [`Procedure`]: columns in turn (`optq`, `cerwu`), or learned rounding (`adaround`).

use super::Setup;
use super::calibration::{CalibrationKind, CalibrationNeeds, LayerCalibration, Moments};
use super::codebook::Codebook;
use super::granularity::Granularity;
use super::quantizer::{ALL_ZEROS, Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::scope::Scope;
use super::state::{from_state, to_state};
use super::step_rule::StepRule;
use crate::registry::Parameter;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Inputs {
    Quantized,
    Full,
}

/// The settings that all layer-wise methods have.
#[derive(Clone, Copy, Deserialize)]
struct Settings {
    inputs: Inputs,
    step: StepRule,
    granularity: Granularity,
}

/// How the weights of a layer take their levels.
pub(super) trait Procedure: Send + Sync {
    /// What has to be known of a layer: its moments have one matrix of `size` at least, and `size` and the number of groups
    /// divide the weights. `warn` takes what a user should know.
    fn prepare(
        &self,
        codebook: &Codebook,
        weights: &WeightTensor<'_>,
        moments: &Moments,
        samples: usize,
        warn: &mut dyn FnMut(String),
    ) -> Box<dyn Prepared>;
}

/// A layer that is ready to be quantized.
pub(super) trait Prepared: Send + Sync {
    /// Levels of all weights, row-major, inside the codebook's range. The codebook has steps.
    fn levels(&self, codebook: &Codebook, weights: &[f32]) -> Vec<i32>;

    /// The same between the first and the last step of a training.
    fn levels_in_training(&self, codebook: &Codebook, weights: &[f32]) -> Vec<i32> {
        self.levels(codebook, weights)
    }
}

/// A layer-wise quantizer.
pub(super) struct LayerWise {
    scope: Scope,
    settings: Settings,
    procedure: Box<dyn Procedure>,
    codebooks: Vec<Option<Codebook>>,
    /// One per tensor, once calibrated.
    layers: Vec<Option<Box<dyn Prepared>>>,
    /// What `calibrate` found, for the first assignment.
    first: Vec<Option<QuantizedTensor>>,
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct State {
    codebooks: Vec<Option<Codebook>>,
}

impl LayerWise {
    /// With the shared settings from `setup`.
    ///
    /// # Errors
    /// [`Error::Input`] naming method and parameter.
    pub fn boxed(setup: Setup, procedure: Box<dyn Procedure>) -> Result<Box<dyn Quantizer>> {
        let settings = setup.settings()?;
        let (codebooks, layers, first, warnings) = Default::default();
        Ok(Box::new(Self { scope: setup.scope, settings, procedure, codebooks, layers, first, warnings }))
    }

    fn prepare(
        &mut self,
        codebook: &Codebook,
        weights: &WeightTensor<'_>,
        layer: &LayerCalibration,
    ) -> Result<Box<dyn Prepared>> {
        let wrong = || Error::Internal(format!("{}: calibration of another layer", weights.name));
        let moments = layer.moments().ok_or_else(wrong)?;
        let (size, groups) = (moments.size, moments.groups.len());
        if size == 0 || groups == 0 || !weights.values.len().is_multiple_of(size * groups) {
            return Err(wrong());
        }
        let mut warnings = Vec::new();
        let mut warn = |warning| warnings.push(warning);
        let prepared = self.procedure.prepare(codebook, weights, moments, layer.samples, &mut warn);
        warnings.into_iter().for_each(|warning| self.warn(warning));
        Ok(prepared)
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn quantize(&self, index: usize, weights: &WeightTensor<'_>, at: StepInfo) -> Result<Content> {
        let Some(codebook) = self.codebooks.get(index).and_then(Option::as_ref) else {
            return Ok(Content::zeros(weights.values.len()));
        };
        let layer = self.layers.get(index).and_then(Option::as_ref).ok_or_else(|| {
            Error::input_hint(
                format!("{}: the method needs calibration, and there was none", weights.name),
                "`ecqx quantize` calibrates with --model and --dataset",
            )
        })?;
        let levels = match at.step < at.total_steps {
            true => layer.levels_in_training(codebook, weights.values),
            false => layer.levels(codebook, weights.values),
        };
        let positions = levels.into_iter().map(|level| codebook.position(level)).collect();
        Ok(Content::Levels { positions, codebook: codebook.clone() })
    }
}

/// The nearest level of a uniform grid.
pub(super) fn nearest(w: f64, (step, lowest, highest): (f64, i32, i32)) -> i32 {
    (w / step).round_ties_even().clamp(f64::from(lowest), f64::from(highest)) as i32
}

/// A weight as the procedures take it: NaN is zero, infinities are the ends of the grid.
pub(super) fn defined(w: f32, (step, lowest, highest): (f64, i32, i32)) -> f64 {
    match w {
        w if w.is_finite() => f64::from(w),
        w if w.is_nan() => 0.0,
        w => step * f64::from(if w > 0.0 { highest } else { lowest }),
    }
}

/// Mean square of the steps of a codebook.
pub(super) fn mean_square(steps: &[f32]) -> f64 {
    steps.iter().map(|&step| f64::from(step).powi(2)).sum::<f64>() / steps.len().max(1) as f64
}

impl Quantizer for LayerWise {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.codebooks.clear();
        for tensor in weights {
            let bits = self.scope.required_bits(tensor.name)?;
            let codebook = self.settings.step.codebook(tensor, bits, self.settings.granularity);
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
            self.layers[index] = Some(self.prepare(&codebook, &weights, &layer)?);
        }
        let quantized = weights.quantized(self.quantize(index, &weights, StepInfo::POST_TRAINING)?);
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
                None => Ok(tensor.quantized(this.quantize(index, tensor, at)?)),
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
