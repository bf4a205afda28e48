//! EC2T: three levels per tensor that are trained, entropy-constrained assignment (Marban et al. 2020, "Learning sparse
//! and ternary neural networks with entropy-constrained trained ternarization").

use super::device::{DeviceContent, DeviceQuantizer, DeviceTensor, EntropyMethod, Readings};
use super::entropy::{EntropyTerm, costs, decay};
use super::entropy_settings::{EntropySettings, LAMBDA, LAMBDA_MAX, PMF, STE_SCALE};
use super::learned::mean_magnitude;
use super::method::{Method, PROFILE, Role};
use super::quantizer::{ALL_ZEROS, Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::scope::Bits;
use super::state::{from_state, to_state};
use super::ste::SteScale;
use super::ternary_levels::{TernaryLevels, side_means};
use crate::Result;
use crate::nn::transfer;
use crate::registry::{Choice, Parameter};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ec2t",
    display: "EC2T",
    about: "entropy-constrained trained ternarization: levels −a, 0, +c that are learned",
    bits: Bits::None,
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        LAMBDA,
        PROFILE,
        PMF,
        LAMBDA_MAX,
        STE_SCALE,
        Parameter::word(
            "initial",
            "levels at the start: means of the weights above 0.7 mean |w| on each side, or extremes",
            &["means", "extremes"],
            "means",
        )
        .reference(Choice::Word("extremes")),
        Parameter::whole(
            "levels_epochs",
            "epochs at the end that train levels only; left out: a fifth of the epochs, rounded down",
            (0, 10_000),
            0,
        )
        .open(),
    ],
    strength: Some("lambda"),
    role: Role::Rival,
    revision: 2,
    build: |setup| {
        let entropy: EntropySettings = setup.settings()?;
        let own: Settings = setup.settings()?;
        Ok(Box::new(Ec2t {
            term: entropy.term(),
            ste_scale: entropy.ste_scale,
            initial: own.initial,
            levels_epochs: own.levels_epochs,
            levels: Vec::new(),
            assigned: Vec::new(),
            on_device: Vec::new(),
            pending: Vec::new(),
            names: Vec::new(),
            warnings: Vec::new(),
        }))
    },
};

/// Share of the mean magnitude above which a weight counts for a level's start (Li et al. 2016, "Ternary weight
/// networks", eq. 6).
const THRESHOLD: f32 = 0.7;

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Initial {
    Means,
    Extremes,
}

#[derive(Deserialize)]
struct Settings {
    initial: Initial,
    levels_epochs: Option<usize>,
}

struct Ec2t {
    term: EntropyTerm,
    ste_scale: SteScale,
    initial: Initial,
    levels_epochs: Option<usize>,
    /// One per tensor; `None` where everything is zero.
    levels: Vec<Option<TernaryLevels>>,
    /// The latest assignment of each tensor, kept while only levels train.
    assigned: Vec<Vec<u8>>,
    /// The same on a device; then the host has none.
    on_device: Vec<Tensor>,
    /// Gradients of levels that are still on the device, by tensor.
    pending: Vec<(usize, Tensor)>,
    /// Names of the tensors, for warnings.
    names: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct State {
    levels: Vec<Option<TernaryLevels>>,
    assigned: Vec<Vec<u8>>,
}

impl Ec2t {
    /// A tensor at these positions; all zeros where it has no levels.
    fn quantized(&self, index: usize, tensor: &WeightTensor<'_>, positions: Vec<u8>) -> QuantizedTensor {
        tensor.quantized(match self.levels.get(index).and_then(Option::as_ref) {
            Some(levels) => Content::Levels { positions, codebook: levels.codebook() },
            None => Content::zeros(tensor.values.len()),
        })
    }

    fn assign_all(&mut self, weights: &[WeightTensor<'_>]) -> Vec<QuantizedTensor> {
        let largest = weights.iter().map(|tensor| tensor.values.len()).max().unwrap_or(0);
        self.assigned.clear();
        let mut tensors = Vec::with_capacity(weights.len());
        for (index, tensor) in weights.iter().enumerate() {
            let mut positions = vec![1; tensor.values.len()];
            if let Some(levels) = self.levels.get(index).and_then(Option::as_ref) {
                let codebook = levels.codebook();
                let found = costs(tensor.values, &codebook, &self.term, decay(tensor.values.len(), largest));
                let warning = found.warning.map(|warning| format!("{}: {warning}", tensor.name));
                positions = found.boundaries.assign(tensor.values);
                self.warnings.extend(warning.filter(|warning| !self.warnings.contains(warning)));
            }
            self.assigned.push(positions.clone());
            tensors.push(self.quantized(index, tensor, positions));
        }
        tensors
    }
}

impl Quantizer for Ec2t {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.levels.clear();
        self.assigned.clear();
        self.on_device.clear();
        for tensor in weights {
            let finite = || tensor.values.iter().copied().filter(|w| w.is_finite());
            let (low, high) = match self.initial {
                Initial::Extremes => (-finite().fold(0.0, f32::min), finite().fold(0.0, f32::max)),
                Initial::Means => side_means(tensor.values, THRESHOLD * mean_magnitude(finite())),
            };
            let levels = TernaryLevels::new(low, high);
            if levels.is_none() {
                self.warnings.push(format!("{}: {ALL_ZEROS}", tensor.name));
            }
            self.levels.push(levels);
        }
        Ok(())
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        if self.trains_weights(at) || self.assigned.len() != weights.len() {
            return Ok(self.assign_all(weights));
        }
        let tensors = weights.iter().enumerate();
        Ok(tensors
            .map(|(index, tensor)| self.quantized(index, tensor, self.assigned[index].clone()))
            .collect())
    }

    fn backward(
        &mut self,
        index: usize,
        _: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        if let Some(Some(levels)) = self.levels.get_mut(index) {
            levels.backward(&quantized.content, gradient, self.ste_scale);
        }
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        self.levels.iter_mut().flatten().for_each(|levels| levels.update(learning_rate));
        Ok(())
    }

    fn trains_weights(&self, at: StepInfo) -> bool {
        // A run of one epoch has none to spare.
        let levels_only = self.levels_epochs.unwrap_or(at.epochs / 5);
        at.epochs == 0 || at.epoch + levels_only < at.epochs
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceQuantizer> {
        Some(self)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn state(&self) -> Result<Value> {
        let assigned = match self.on_device.is_empty() {
            true => self.assigned.clone(),
            false => self.on_device.iter().map(transfer::values).collect::<candle_core::Result<_>>()?,
        };
        to_state(&State { levels: self.levels.clone(), assigned })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let State { levels, assigned } = from_state(state)?;
        (self.levels, self.assigned) = (levels, assigned);
        self.on_device.clear();
        Ok(())
    }
}

impl DeviceQuantizer for Ec2t {
    fn begin(&mut self, weights: &[WeightTensor<'_>]) {
        self.names = weights.iter().map(|tensor| tensor.name.to_owned()).collect();
    }

    fn assign(
        &mut self,
        weights: &[Tensor],
        _: Option<&[Tensor]>,
        at: StepInfo,
        readings: &mut Readings,
    ) -> Result<Vec<DeviceTensor>> {
        let codebooks: Vec<_> =
            self.levels.iter().map(|levels| levels.as_ref().map(TernaryLevels::codebook)).collect();
        if self.on_device.is_empty() && self.assigned.len() == weights.len() {
            // Of a resumed run, or of the first assignment.
            let send = |(positions, like): (Vec<u8>, &Tensor)| {
                let count = positions.len();
                transfer::tensor(positions, count, like.device())
            };
            let assigned = std::mem::take(&mut self.assigned).into_iter().zip(weights);
            self.on_device = assigned.map(send).collect::<candle_core::Result<_>>()?;
        }
        if self.trains_weights(at) || self.on_device.len() != weights.len() {
            self.assigned.clear();
            self.on_device.clear();
            let method = EntropyMethod { term: &self.term, codebooks: &codebooks };
            for (index, (positions, warnings)) in
                method.assign(weights, None, readings)?.into_iter().enumerate()
            {
                let name = self.names.get(index).cloned().unwrap_or_default();
                for warning in warnings.into_iter().flatten().map(|warning| format!("{name}: {warning}")) {
                    if !self.warnings.contains(&warning) {
                        self.warnings.push(warning);
                    }
                }
                let zeros = || {
                    Tensor::ones(weights[index].elem_count(), candle_core::DType::U8, weights[index].device())
                };
                self.on_device.push(positions.map_or_else(zeros, Ok)?);
            }
        }
        let tensors = weights.iter().zip(&self.on_device).zip(codebooks);
        tensors
            .map(|((tensor, positions), codebook)| match codebook {
                Some(codebook) => DeviceTensor::at_levels(positions.clone(), codebook, tensor.dims()),
                None => DeviceTensor::zeros(tensor),
            })
            .collect()
    }

    fn backward(
        &mut self,
        index: usize,
        _: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        match (self.levels.get(index), &quantized.content) {
            (Some(Some(_)), DeviceContent::Levels { positions, .. }) => {
                let (sums, gradient) = TernaryLevels::backward_on_device(
                    positions,
                    &quantized.values,
                    gradient,
                    self.ste_scale,
                )?;
                self.pending.push((index, sums));
                Ok(gradient)
            }
            _ => Ok(gradient.clone()),
        }
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo, readings: &mut Readings) -> Result<()> {
        for (index, sums) in readings.read_each(std::mem::take(&mut self.pending))? {
            if let Some(Some(levels)) = self.levels.get_mut(index) {
                levels.add_sums(&sums);
            }
        }
        self.levels.iter_mut().flatten().for_each(|levels| levels.update(learning_rate));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::build;
    use crate::quant::checks::{finite_difference_of_levels, tensor};
    use crate::quant::quantizer::Content;
    use serde_json::json;

    fn ec2t() -> Box<dyn Quantizer> {
        build("ec2t", None, json!({"lambda": 0.02}).as_object().unwrap()).unwrap().0
    }

    /// The gradient of both levels is that of the loss with the assignment held.
    #[test]
    fn level_gradients_match_finite_differences() {
        finite_difference_of_levels(|weights| {
            let (low, high) = side_means(weights, 0.02);
            TernaryLevels::new(low, high).unwrap()
        });
    }

    /// In the last epochs the assignment stays while levels move.
    #[test]
    fn levels_only_epochs_keep_the_assignment() {
        let mut quantizer = ec2t();
        let values: Vec<f32> = (0..200).map(|i| ((i * 37 % 200) as f32 - 99.5) / 100.0).collect();
        quantizer.initialize(&[tensor(&values)]).unwrap();
        let before = quantizer.assign(&[tensor(&values)], None, StepInfo::POST_TRAINING).unwrap();
        let at = StepInfo { step: 9, total_steps: 10, epoch: 9, epochs: 10 };
        assert!(!quantizer.trains_weights(at));
        quantizer.backward(0, tensor(&values), &before[0], &mut vec![0.5; 200]).unwrap();
        quantizer.update(0.1, at).unwrap();
        // Other weights would be assigned otherwise.
        let changed: Vec<f32> = values.iter().map(|w| -w).collect();
        let after = quantizer.assign(&[tensor(&changed)], None, at).unwrap();
        let (Content::Levels { positions: a, codebook: x }, Content::Levels { positions: b, codebook: y }) =
            (&before[0].content, &after[0].content)
        else {
            panic!("levels")
        };
        assert_eq!(a, b);
        assert_ne!(x, y);
    }
}
