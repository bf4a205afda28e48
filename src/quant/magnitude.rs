//! Magnitude pruning: the smallest weights become zero, at once or along the cubic schedule of Zhu & Gupta 2017; the
//! rest keep their values, or take the nearest non-zero level of a uniform grid.

use super::codebook::Codebook;
use super::method::{Method, Role};
use super::quantizer::{Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::scope::{Bits, Scope};
use super::state::{from_state, to_state};
use crate::Result;
use crate::registry::Parameter;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "magnitude",
    display: "Pruning",
    about: "magnitude pruning to a target sparsity, with uniform levels where a bit width is given",
    bits: Bits::Optional(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        Parameter::number("sparsity", "share of zeros", (0.0, 0.999), 0.5),
        Parameter::word(
            "schedule",
            "gradual (with training) or one_shot",
            &["gradual", "one_shot"],
            "gradual",
        ),
        Parameter::number(
            "ramp",
            "share of the training after which a gradual schedule has arrived",
            (0.0, 1.0),
            0.6,
        ),
        Parameter::word(
            "threshold",
            "layer: each layer alike; global: one threshold",
            &["layer", "global"],
            "layer",
        ),
    ],
    strength: Some("sparsity"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        Ok(Box::new(Magnitude { settings: setup.settings()?, scope: setup.scope, codebooks: Vec::new() }))
    },
};

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Schedule {
    Gradual,
    OneShot,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Threshold {
    Layer,
    Global,
}

#[derive(Deserialize)]
struct Settings {
    sparsity: f64,
    schedule: Schedule,
    ramp: f64,
    threshold: Threshold,
}

struct Magnitude {
    scope: Scope,
    settings: Settings,
    codebooks: Vec<Option<Codebook>>,
}

#[derive(Serialize, Deserialize)]
struct State {
    codebooks: Vec<Option<Codebook>>,
}

impl Magnitude {
    /// Share of zeros due at a step.
    fn target(&self, at: StepInfo) -> f64 {
        if self.settings.schedule == Schedule::OneShot || at.total_steps == 0 {
            return self.settings.sparsity;
        }
        let ramp = (self.settings.ramp * at.total_steps as f64).max(1.0);
        let left = 1.0 - (at.step as f64 / ramp).min(1.0);
        self.settings.sparsity * (1.0 - left * left * left)
    }

    fn quantize(&self, weights: &[WeightTensor<'_>], target: f64) -> Vec<QuantizedTensor> {
        let global = match self.settings.threshold {
            Threshold::Layer => None,
            Threshold::Global => {
                let mut all: Vec<f32> =
                    weights.iter().flat_map(|t| t.values.iter().map(|w| w.abs())).collect();
                Some(cut(&mut all, target))
            }
        };
        weights
            .iter()
            .enumerate()
            .map(|(index, tensor)| {
                let limit = global.unwrap_or_else(|| {
                    let mut magnitudes: Vec<f32> = tensor.values.iter().map(|w| w.abs()).collect();
                    cut(&mut magnitudes, target)
                });
                let pruned = |w: f32| w.abs() < limit || w == 0.0;
                let content = match self.codebooks.get(index).and_then(Option::as_ref) {
                    None => Content::Values(
                        tensor.values.iter().map(|&w| if pruned(w) { 0.0 } else { w }).collect(),
                    ),
                    Some(codebook) => {
                        let level = |w| if pruned(w) { 0 } else { kept(w, codebook) };
                        let positions = tensor.values.iter().map(|&w| codebook.position(level(w))).collect();
                        Content::Levels { positions, codebook: codebook.clone() }
                    }
                };
                tensor.quantized(content)
            })
            .collect()
    }
}

/// The magnitude below which a share `target` of the values lies.
fn cut(magnitudes: &mut [f32], target: f64) -> f32 {
    let count = (target * magnitudes.len() as f64).round() as usize;
    match count {
        0 => 0.0,
        count if count >= magnitudes.len() => f32::INFINITY,
        count => *magnitudes.select_nth_unstable_by(count, f32::total_cmp).1,
    }
}

/// The nearest level that is not zero and has the weight's sign (a side without levels gives zero).
fn kept(w: f32, codebook: &Codebook) -> i32 {
    let Codebook::Uniform { step, lowest, highest } = *codebook else { return 0 };
    let level = (w / step).round().clamp(lowest as f32, highest as f32) as i32;
    let least = if w > 0.0 { 1.min(highest) } else { (-1).max(lowest) };
    if level == 0 { least } else { level }
}

impl Quantizer for Magnitude {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.codebooks = weights
            .iter()
            .map(|tensor| {
                self.scope.bits(tensor.name).and_then(|bits| Codebook::from_weights(tensor.values, bits))
            })
            .collect();
        Ok(())
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        Ok(self.quantize(weights, self.target(at)))
    }

    fn state(&self) -> Result<Value> {
        to_state(&State { codebooks: self.codebooks.clone() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.codebooks = from_state::<State>(state)?.codebooks;
        Ok(())
    }
}
