//! ECQ: uniform codebook, entropy-constrained assignment (spec ECQ). Also the core that ECQx builds on.

use super::codebook::Codebook;
use super::device::{
    DeviceContent, DeviceQuantizer, DeviceTensor, EntropyMethod, Readings, Weighting, scaled_gradient,
};
use super::entropy::{EntropyCosts, EntropyTerm, costs, decay};
use super::entropy_settings::{EntropySettings, LAMBDA, LAMBDA_MAX, PMF, STE_SCALE};
use super::granularity::{GRANULARITY, Granularity};
use super::method::{Method, PROFILE, Role, Setup};
use super::quantizer::{ALL_ZEROS, Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::scope::{Bits, Scope};
use super::state::{from_state, to_state};
use super::ste::SteScale;
use super::step_rule::{LearnedStep, STEP, StepRule};
use crate::Result;
use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ecq",
    display: "ECQ",
    about: "entropy-constrained quantization on a uniform codebook",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[LAMBDA, PROFILE, PMF, LAMBDA_MAX, STE_SCALE, STEP, GRANULARITY],
    strength: Some("lambda"),
    role: Role::Ablation,
    revision: 1,
    build: |setup| Ok(Box::new(Ecq(Core::new(&setup)?))),
};

/// What happens to Λ where a grid ends far inside the weights.
const BEYOND_THE_GRID: &str = "λ grows with the weights beyond the grid, of which `step: mse` and `learned` leave many at few \
                               bits: `lambda_max: grid` counts Λ in the grid's own reach";

/// What ECQ and ECQx share: codebooks, the entropy term, gradient scaling, warnings.
pub(super) struct Core {
    scope: Scope,
    term: EntropyTerm,
    ste_scale: SteScale,
    step_rule: StepRule,
    granularity: Granularity,
    /// One per tensor; `None` where there is no valid step size and everything is zero.
    pub codebooks: Vec<Option<Codebook>>,
    /// Learned steps, one per tensor where steps are learned.
    steps: Vec<Option<LearnedStep>>,
    /// Gradients of learned steps that are still on the device, by tensor.
    pending: Vec<(usize, Tensor)>,
    /// Names and sizes of the tensors, for warnings and learned steps on a device.
    names: Vec<String>,
    counts: Vec<usize>,
    warnings: Vec<String>,
}

/// The part of [`Core`] that a resumed run needs.
#[derive(Serialize, Deserialize)]
pub(super) struct CoreState {
    codebooks: Vec<Option<Codebook>>,
    steps: Vec<Option<LearnedStep>>,
}

#[derive(Deserialize)]
struct GridSettings {
    step: StepRule,
    granularity: Granularity,
}

impl Core {
    pub fn new(setup: &Setup) -> Result<Self> {
        let settings: EntropySettings = setup.settings()?;
        let grid: GridSettings = setup.settings()?;
        Ok(Self {
            scope: setup.scope.clone(),
            term: settings.term(),
            ste_scale: settings.ste_scale,
            step_rule: grid.step,
            granularity: grid.granularity,
            codebooks: Vec::new(),
            steps: Vec::new(),
            pending: Vec::new(),
            names: Vec::new(),
            counts: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Builds the codebooks; those without a learned step stay fixed.
    pub fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.know(weights);
        if self.step_rule != StepRule::Percentile && self.term.grows_beyond_the_grid() {
            self.warnings.push(BEYOND_THE_GRID.into());
        }
        self.codebooks.clear();
        self.steps.clear();
        for tensor in weights {
            let bits = self.scope.required_bits(tensor.name)?;
            let codebook = self.step_rule.codebook(tensor, bits, self.granularity);
            if codebook.is_none() {
                self.warn(tensor.name, ALL_ZEROS);
            }
            if self.step_rule == StepRule::Learned {
                self.steps.push(codebook.as_ref().map(|codebook| LearnedStep::new(codebook, tensor.values)));
            }
            self.codebooks.push(codebook);
        }
        Ok(())
    }

    /// Notes a peculiarity of a layer once.
    pub fn warn(&mut self, name: &str, what: &str) {
        let warning = format!("{name}: {what}");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Assigns all tensors at once: `assign` gives the positions of tensor `index` from its weights, its codebook and its
    /// costs without relevance, and a warning. Tensors without a codebook become zeros.
    ///
    /// With a step per channel, errors count in units of the channel's step and there is one distribution per tensor: the
    /// weights are brought to one scale, of which a batch norm behind the layer leaves nothing anyway.
    pub fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        assign: impl Fn(usize, &[f32], &Codebook, &EntropyCosts) -> (Vec<u8>, Option<&'static str>) + Sync,
    ) -> Vec<QuantizedTensor> {
        let largest = weights.iter().map(|tensor| tensor.values.len()).max().unwrap_or(0);
        let of_tensor = |(index, tensor): (usize, &WeightTensor<'_>)| {
            let codebook = self.codebooks.get(index).and_then(Option::as_ref)?;
            let (values, pooled) = (codebook.equalised(tensor.values), codebook.pooled());
            let costs = costs(&values, &pooled, &self.term, decay(values.len(), largest));
            let (positions, warning) = assign(index, &values, &pooled, &costs);
            let content = Content::Levels { positions, codebook: codebook.clone() };
            Some((content, [costs.warning, warning]))
        };
        let found: Vec<_> = weights.par_iter().enumerate().map(of_tensor).collect();
        let mut tensors = Vec::with_capacity(weights.len());
        for (tensor, found) in weights.iter().zip(found) {
            let (content, warnings) =
                found.unwrap_or_else(|| (Content::zeros(tensor.values.len()), [None; 2]));
            warnings.into_iter().flatten().for_each(|warning| self.warn(tensor.name, warning));
            tensors.push(tensor.quantized(content));
        }
        tensors
    }

    /// Gathers the gradient of a learned step, then scales the gradient by the level in use (spec, training loop, step 2).
    pub fn backward(
        &mut self,
        index: usize,
        weights: &WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) {
        if let (Some(Some(step)), Content::Levels { positions, codebook }) =
            (self.steps.get_mut(index), &quantized.content)
        {
            step.backward(codebook, positions, weights.values, gradient);
        }
        if let (Content::Levels { positions, codebook }, false) =
            (&quantized.content, self.ste_scale == SteScale::None)
        {
            codebook.scale_gradient(positions, gradient, self.ste_scale);
        }
    }

    /// One optimizer step on learned steps.
    pub fn update(&mut self, learning_rate: f64) {
        for (step, codebook) in self.steps.iter_mut().zip(&mut self.codebooks) {
            if let (Some(step), Some(codebook)) = (step, codebook) {
                step.update(codebook, learning_rate);
            }
        }
    }

    /// As [`assign`](Self::assign), on the device; `names` are taken from the tensors of [`initialize`](Self::initialize).
    pub fn assign_on_device(
        &mut self,
        weights: &[Tensor],
        weighting: Option<&Weighting<'_>>,
        readings: &mut Readings,
    ) -> Result<Vec<DeviceTensor>> {
        let method = EntropyMethod { term: &self.term, codebooks: &self.codebooks };
        let found = method.assign(weights, weighting, readings)?;
        let mut tensors = Vec::with_capacity(weights.len());
        for (index, (tensor, (positions, warnings))) in weights.iter().zip(found).enumerate() {
            let name = self.names.get(index).cloned().unwrap_or_default();
            warnings.into_iter().flatten().for_each(|warning| self.warn(&name, warning));
            let codebook = self.codebooks.get(index).cloned().flatten();
            tensors.push(match (positions, codebook) {
                (Some(positions), Some(codebook)) => {
                    DeviceTensor::at_levels(positions, codebook, tensor.dims())?
                }
                _ => DeviceTensor::zeros(tensor)?,
            });
        }
        Ok(tensors)
    }

    /// As [`backward`](Self::backward), on the device.
    pub fn backward_on_device(
        &mut self,
        index: usize,
        weights: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let DeviceContent::Levels { positions, codebook } = &quantized.content else {
            return Ok(gradient.clone());
        };
        if let Some(Some(_)) = self.steps.get(index) {
            self.pending.push((index, LearnedStep::device_sums(codebook, positions, weights, gradient)?));
        }
        scaled_gradient(gradient, &quantized.values, self.ste_scale)
    }

    /// As [`update`](Self::update), with the gradients that are still on the device.
    pub fn update_on_device(&mut self, learning_rate: f64, readings: &mut Readings) -> Result<()> {
        for (index, sums) in readings.read_each(std::mem::take(&mut self.pending))? {
            if let (Some(Some(step)), Some(count)) = (self.steps.get_mut(index), self.counts.get(index))
                && let Some(Some(codebook)) = self.codebooks.get(index)
            {
                step.add_sums(codebook, &sums, *count);
            }
        }
        self.update(learning_rate);
        Ok(())
    }

    /// Learns which tensors there are; codebooks of resumed runs come without.
    pub fn know(&mut self, weights: &[WeightTensor<'_>]) {
        self.names = weights.iter().map(|tensor| tensor.name.to_owned()).collect();
        self.counts = weights.iter().map(|tensor| tensor.values.len()).collect();
    }

    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    pub fn state(&self) -> CoreState {
        CoreState { codebooks: self.codebooks.clone(), steps: self.steps.clone() }
    }

    pub fn restore(&mut self, state: CoreState) {
        self.codebooks = state.codebooks;
        self.steps = state.steps;
    }
}

struct Ecq(Core);

impl Quantizer for Ecq {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.0.initialize(weights)
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        _: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        Ok(self.0.assign(weights, |_, values, _, costs| (costs.boundaries.assign(values), None)))
    }

    fn backward(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        self.0.backward(index, &weights, quantized, gradient);
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        self.0.update(learning_rate);
        Ok(())
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceQuantizer> {
        Some(self)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.0.take_warnings()
    }

    fn state(&self) -> Result<Value> {
        to_state(&self.0.state())
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.0.restore(from_state(state)?);
        Ok(())
    }
}

impl DeviceQuantizer for Ecq {
    fn begin(&mut self, weights: &[WeightTensor<'_>]) {
        self.0.know(weights);
    }

    fn assign(
        &mut self,
        weights: &[Tensor],
        _: Option<&[Tensor]>,
        _: StepInfo,
        readings: &mut Readings,
    ) -> Result<Vec<DeviceTensor>> {
        self.0.assign_on_device(weights, None, readings)
    }

    fn backward(
        &mut self,
        index: usize,
        weights: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        self.0.backward_on_device(index, weights, quantized, gradient)
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo, readings: &mut Readings) -> Result<()> {
        self.0.update_on_device(learning_rate, readings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A Λ that grows with weights beyond the grid is warned of where the rule leaves weights there, and nowhere else.
    #[test]
    fn warns_of_lambda_that_grows_beyond_the_grid() {
        let warnings = |parameters: Value| {
            let resolved = METHOD.resolve(parameters.as_object().unwrap()).unwrap();
            let mut quantizer = METHOD.quantizer(Some(2), &resolved).unwrap().0;
            quantizer.initialize(&[WeightTensor { name: "w", shape: &[2], values: &[0.1, -0.3] }]).unwrap();
            quantizer.take_warnings()
        };
        for step in ["mse", "learned"] {
            assert_eq!(warnings(json!({"step": step})), [BEYOND_THE_GRID]);
            assert!(warnings(json!({"step": step, "lambda_max": "grid"})).is_empty());
            assert!(warnings(json!({"step": step, "lambda": 0})).is_empty());
        }
        assert!(warnings(json!({})).is_empty());
    }
}
