//! EC2T: three levels per tensor that are trained, entropy-constrained assignment (Marban et al. 2020, "Learning sparse
//! and ternary neural networks with entropy-constrained trained ternarization").

use super::distribution::PmfKind;
use super::ecq::{LAMBDA, LAMBDA_MAX, PMF, PROFILE, STE_SCALE};
use super::entropy::{EntropyTerm, LambdaMax, costs, decay};
use super::options::{Profile, SteScale, from_state, settings, to_state};
use super::quantizer::{QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::registry::{Method, Parameter};
use super::ternary_levels::{TernaryLevels, side_means};
use super::trained::mean_magnitude;
use crate::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ec2t",
    about: "entropy-constrained trained ternarization: levels −a, 0, +c that are learned",
    bits: None,
    bits_optional: true,
    needs_relevance: false,
    parameters: &[
        LAMBDA,
        PROFILE,
        PMF,
        LAMBDA_MAX,
        STE_SCALE,
        Parameter {
            name: "initial",
            about: "levels at the start: means (default) of the weights above 0.7 mean |w| on each side, or extremes",
            range: None,
        },
        Parameter {
            name: "levels_epochs",
            about: "epochs at the end that train levels only; default a fifth of the epochs, rounded down",
            range: Some((0.0, 10_000.0)),
        },
    ],
    build: |method, _, parameters| {
        let settings: Settings = settings(method, parameters)?;
        let reference = settings.profile == Profile::Reference;
        let choose = |ours, theirs| if reference { theirs } else { ours };
        Ok(Box::new(Ec2t {
            term: EntropyTerm {
                lambda: settings.lambda,
                pmf: settings.pmf.unwrap_or(if reference { PmfKind::Reference } else { PmfKind::Exact }),
                lambda_max: settings.lambda_max.unwrap_or(LambdaMax::Reference),
            },
            ste_scale: settings.ste_scale.unwrap_or(choose(SteScale::CentroidAbs, SteScale::CentroidSigned)),
            initial: settings.initial.unwrap_or(if reference { Initial::Extremes } else { Initial::Means }),
            levels_epochs: settings.levels_epochs,
            levels: TernaryLevels::default(),
            assigned: Vec::new(),
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
    #[serde(default = "default_lambda")]
    lambda: f64,
    #[serde(default)]
    profile: Profile,
    pmf: Option<PmfKind>,
    lambda_max: Option<LambdaMax>,
    ste_scale: Option<SteScale>,
    initial: Option<Initial>,
    levels_epochs: Option<usize>,
}

fn default_lambda() -> f64 {
    0.05
}

struct Ec2t {
    term: EntropyTerm,
    ste_scale: SteScale,
    initial: Initial,
    levels_epochs: Option<usize>,
    levels: TernaryLevels,
    /// The latest assignment of each tensor, kept while only levels train.
    assigned: Vec<Vec<u8>>,
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct State {
    levels: TernaryLevels,
    assigned: Vec<Vec<u8>>,
}

impl Ec2t {
    fn assign_all(&mut self, weights: &[WeightTensor<'_>]) -> Vec<QuantizedTensor> {
        let largest = weights.iter().map(|tensor| tensor.values.len()).max().unwrap_or(0);
        self.assigned.clear();
        let mut tensors = Vec::with_capacity(weights.len());
        for (index, tensor) in weights.iter().enumerate() {
            let mut positions = vec![1; tensor.values.len()];
            if let Some(codebook) = self.levels.codebook(index) {
                let found = costs(tensor.values, &codebook, &self.term, decay(tensor.values.len(), largest));
                let warning = found.warning.map(|warning| format!("{}: {warning}", tensor.name));
                positions = found.boundaries.assign(tensor.values);
                self.warnings.extend(warning.filter(|warning| !self.warnings.contains(warning)));
            }
            self.assigned.push(positions.clone());
            tensors.push(self.levels.quantized(index, tensor, positions));
        }
        tensors
    }
}

impl Quantizer for Ec2t {
    fn method(&self) -> &'static str {
        METHOD.name
    }

    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<Vec<QuantizedTensor>> {
        self.levels = TernaryLevels::default();
        for tensor in weights {
            let finite = || tensor.values.iter().copied().filter(|w| w.is_finite());
            let (low, high) = match self.initial {
                Initial::Extremes => (-finite().fold(0.0, f32::min), finite().fold(0.0, f32::max)),
                Initial::Means => side_means(tensor.values, THRESHOLD * mean_magnitude(finite())),
            };
            self.levels.push(tensor.values, low, high);
            if self.levels.codebook(self.levels.0.len() - 1).is_none() {
                self.warnings.push(format!(
                    "{}: no finite weight differs from zero: the layer is all zeros",
                    tensor.name
                ));
            }
        }
        Ok(self.assign_all(weights))
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
            .map(|(index, tensor)| self.levels.quantized(index, tensor, self.assigned[index].clone()))
            .collect())
    }

    fn backward(
        &mut self,
        index: usize,
        _: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        self.levels.backward(index, quantized, gradient, self.ste_scale);
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        self.levels.update(learning_rate);
        Ok(())
    }

    fn trains_weights(&self, at: StepInfo) -> bool {
        // A run of one epoch has none to spare.
        let levels_only = self.levels_epochs.unwrap_or(at.epochs / 5);
        at.epochs == 0 || at.epoch + levels_only < at.epochs
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn state(&self) -> Result<Value> {
        to_state(&State { levels: self.levels.clone(), assigned: self.assigned.clone() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let State { levels, assigned } = from_state(state)?;
        (self.levels, self.assigned) = (levels, assigned);
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
            let mut levels = TernaryLevels::default();
            let (low, high) = side_means(weights, 0.02);
            levels.push(weights, low, high);
            levels
        });
    }

    /// In the last epochs the assignment stays while levels move.
    #[test]
    fn levels_only_epochs_keep_the_assignment() {
        let mut quantizer = ec2t();
        let values: Vec<f32> = (0..200).map(|i| ((i * 37 % 200) as f32 - 99.5) / 100.0).collect();
        let before = quantizer.initialize(&[tensor(&values)]).unwrap();
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
