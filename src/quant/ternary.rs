//! Ternary quantization by a threshold, without an entropy term: weights beyond a share of the largest keep their sign,
//! the levels are learned (Zhu et al. 2017, "Trained ternary quantization") or the mean of what they stand for.

use super::options::{SteScale, from_state, settings, to_state};
use super::quantizer::{QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::registry::{Method, Parameter};
use super::ternary_levels::{TernaryLevels, side_means};
use crate::Result;
use serde::Deserialize;
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ternary",
    about: "ternary by a threshold on |w|, without an entropy term",
    bits: None,
    bits_optional: true,
    needs_relevance: false,
    parameters: &[
        Parameter {
            name: "threshold",
            about: "share of the largest |w| below which weights are zero; default 0.05",
            range: Some((0.0, 1.0)),
        },
        Parameter {
            name: "levels",
            about: "trained (default) or mean: of the weights beyond the threshold, at every step",
            range: None,
        },
    ],
    build: |method, _, parameters| {
        let Settings { threshold, levels } = settings(method, parameters)?;
        Ok(Box::new(Ternary {
            threshold: threshold as f32,
            kind: levels,
            levels: TernaryLevels::default(),
            warnings: Vec::new(),
        }))
    },
};

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Trained,
    Mean,
}

#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    threshold: f64,
    levels: Kind,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.05, levels: Kind::Trained }
    }
}

struct Ternary {
    threshold: f32,
    kind: Kind,
    levels: TernaryLevels,
    warnings: Vec<String>,
}

impl Ternary {
    /// The magnitude below which weights of a tensor are zero.
    fn limit(&self, weights: &[f32]) -> f32 {
        self.threshold * weights.iter().filter(|w| w.is_finite()).fold(0.0, |largest, w| w.abs().max(largest))
    }

    fn lay_levels(&mut self, weights: &[WeightTensor<'_>]) {
        self.levels = TernaryLevels::default();
        for tensor in weights {
            let (low, high) = side_means(tensor.values, self.limit(tensor.values));
            self.levels.push(tensor.values, low, high);
        }
    }

    fn assign_all(&self, weights: &[WeightTensor<'_>]) -> Vec<QuantizedTensor> {
        let tensors = weights.iter().enumerate().map(|(index, tensor)| {
            let limit = self.limit(tensor.values);
            let position = |&w: &f32| 1 + u8::from(w > limit) - u8::from(w < -limit);
            self.levels.quantized(index, tensor, tensor.values.iter().map(position).collect())
        });
        tensors.collect()
    }
}

impl Quantizer for Ternary {
    fn method(&self) -> &'static str {
        METHOD.name
    }

    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<Vec<QuantizedTensor>> {
        self.lay_levels(weights);
        for (tensor, levels) in weights.iter().zip(&self.levels.0) {
            if levels.is_none() {
                self.warnings.push(format!(
                    "{}: no weight lies beyond the threshold: the layer is all zeros",
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
        _: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        if self.kind == Kind::Mean {
            self.lay_levels(weights);
        }
        Ok(self.assign_all(weights))
    }

    fn backward(
        &mut self,
        index: usize,
        _: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        self.levels.backward(index, quantized, gradient, SteScale::CentroidAbs);
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        if self.kind == Kind::Trained {
            self.levels.update(learning_rate);
        }
        Ok(())
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn state(&self) -> Result<Value> {
        to_state(&self.levels)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.levels = from_state(state)?;
        Ok(())
    }
}
