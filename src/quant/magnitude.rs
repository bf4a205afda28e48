//! Pruning: the smallest weights, or those that another criterion ranks lowest, become zero, at once or along the cubic
//! schedule of Zhu & Gupta 2017; the rest keep their values, or take the nearest non-zero level of a uniform grid.

use super::codebook::Codebook;
use super::criterion::{Criterion, MEASURES, lamp, smallest};
use super::method::{Method, Role};
use super::quantizer::{Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::relevance_schedule::{RELEVANCE_EVERY, RELEVANCE_SAMPLES, RelevanceSchedule};
use super::scope::{Bits, Scope};
use super::state::{from_state, to_state};
use crate::nn::kernels::elementwise::update;
use crate::registry::{Choice, Parameter};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "magnitude",
    display: "Pruning",
    about: "pruning to a target sparsity by magnitude or relevance, with uniform levels where a bit width is given",
    bits: Bits::Optional(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        Parameter::number("sparsity", "target sparsity: share of zero weights", (0.0, 0.999), 0.5),
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
        Parameter::word(
            "criterion",
            "what ranks weights: magnitude, a relevance measure, or lamp (magnitude normalised for a global threshold)",
            &["magnitude", "lrp", "taylor", "fisher", "lamp", "random"],
            "magnitude",
        )
        .added(Choice::Word("magnitude"))
        .measures(&MEASURES),
        RELEVANCE_EVERY,
        RELEVANCE_SAMPLES,
    ],
    strength: Some("sparsity"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        Ok(Box::new(Magnitude {
            settings: setup.settings()?,
            relevance_schedule: setup.settings()?,
            scope: setup.scope,
            codebooks: Vec::new(),
            scores: Vec::new(),
            masks: None,
        }))
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
    criterion: Criterion,
}

/// Share of the earlier scores in `(1 − α) s + α s_before`: the scores of one batch alone are mostly noise.
const SCORE_MOMENTUM: f32 = 0.9;

struct Magnitude {
    scope: Scope,
    settings: Settings,
    relevance_schedule: RelevanceSchedule,
    codebooks: Vec<Option<Codebook>>,
    /// Signed scores so far of criteria that are measured, per tensor; none before the first measurement.
    scores: Vec<Vec<f32>>,
    /// The weights that these scores prune, and the target for which: kept while neither changes.
    masks: Option<(f64, Vec<Vec<bool>>)>,
}

#[derive(Serialize, Deserialize)]
struct State {
    codebooks: Vec<Option<Codebook>>,
    /// Absent in states from before there were criteria.
    #[serde(default)]
    scores: Vec<Vec<f32>>,
}

impl Magnitude {
    /// Share of zeros due at a step.
    fn target(&self, at: StepInfo) -> f64 {
        if self.settings.schedule == Schedule::OneShot || at.total_steps == 0 {
            return self.settings.sparsity;
        }
        let left = 1.0 - (at.step as f64 / self.ramp(at)).min(1.0);
        self.settings.sparsity * (1.0 - left * left * left)
    }

    /// Steps after which a gradual schedule has arrived.
    fn ramp(&self, at: StepInfo) -> f64 {
        (self.settings.ramp * at.total_steps as f64).max(1.0)
    }

    /// Blends the scores of a batch into the running ones. A random order stays the first that was drawn.
    fn blend(&mut self, weights: &[WeightTensor<'_>], batch: &Relevances) -> Result<()> {
        let criterion = self.settings.criterion;
        let of_tensor = |tensor: &WeightTensor<'_>| {
            let values = batch.get(tensor.name).filter(|values| values.len() == tensor.values.len());
            values.map(|values| criterion.scores(tensor, values)).ok_or_else(|| {
                Error::input_hint(
                    format!("no relevance of {} values for {}", tensor.values.len(), tensor.name),
                    "a relevance file must come from the same model; `ecqx explain` writes one",
                )
            })
        };
        let new: Vec<Vec<f32>> = weights.iter().map(of_tensor).collect::<Result<_>>()?;
        if self.scores.is_empty() {
            self.scores = new;
        } else if criterion != Criterion::Random {
            self.scores.par_iter_mut().zip(&new).for_each(|(running, new)| {
                update(running, new, |running, new| (1.0 - SCORE_MOMENTUM) * new + SCORE_MOMENTUM * running);
            });
        }
        self.masks = None;
        Ok(())
    }

    /// Prunes by scores; nothing before the first measurement.
    fn prune(&mut self, weights: &[WeightTensor<'_>], target: f64) -> Vec<QuantizedTensor> {
        let global = self.settings.threshold == Threshold::Global;
        let masks = match self.settings.criterion {
            Criterion::Lamp => {
                let scores: Vec<Vec<f32>> = weights.iter().map(|tensor| lamp(tensor.values)).collect();
                smallest(&scores, target, global)
            }
            _ => match self.masks.take() {
                Some((kept, masks)) if kept == target => masks,
                _ => smallest(&self.scores, target, global),
            },
        };
        let of_tensor = |(index, tensor): (usize, &WeightTensor<'_>)| {
            let mask = masks.get(index).map_or(&[][..], Vec::as_slice);
            let pruned = |at: usize, w: f32| w == 0.0 || mask.get(at).copied().unwrap_or(false);
            self.quantized(index, tensor, pruned)
        };
        let tensors = weights.iter().enumerate().map(of_tensor).collect();
        self.masks = Some((target, masks));
        tensors
    }

    /// The tensor with those weights zero of which `pruned(position, weight)` says so.
    fn quantized(
        &self,
        index: usize,
        tensor: &WeightTensor<'_>,
        pruned: impl Fn(usize, f32) -> bool,
    ) -> QuantizedTensor {
        let weights = tensor.values.iter().copied().enumerate();
        let content = match self.codebooks.get(index).and_then(Option::as_ref) {
            None => Content::Values(weights.map(|(at, w)| if pruned(at, w) { 0.0 } else { w }).collect()),
            Some(codebook) => {
                let level = |(at, w)| if pruned(at, w) { 0 } else { kept(w, codebook) };
                let positions = weights.map(|weight| codebook.position(level(weight))).collect();
                Content::Levels { positions, codebook: codebook.clone() }
            }
        };
        tensor.quantized(content)
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
                self.quantized(index, tensor, |_, w| w.abs() < limit || w == 0.0)
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
        self.scores.clear();
        self.masks = None;
        Ok(())
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        relevance: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        if let Some(batch) = relevance {
            self.blend(weights, batch)?;
        }
        let target = self.target(at);
        Ok(match self.settings.criterion {
            Criterion::Magnitude => self.quantize(weights, target),
            _ => self.prune(weights, target),
        })
    }

    fn wants_relevance(&self) -> bool {
        self.settings.criterion.is_measured()
    }

    /// At once means from the trained weights: scores of calibration samples, which stay.
    fn wants_relevance_first(&self) -> bool {
        self.wants_relevance() && self.settings.schedule == Schedule::OneShot
    }

    /// While the target rises; the weights that are pruned then stay pruned.
    fn wants_relevance_at(&self, at: StepInfo) -> bool {
        let rising = self.settings.schedule == Schedule::Gradual && (at.step as f64) < self.ramp(at) + 1.0;
        let is_drawn = self.settings.criterion == Criterion::Random && !self.scores.is_empty();
        self.wants_relevance() && rising && !is_drawn && self.relevance_schedule.due(at)
    }

    fn relevance_samples(&self) -> Option<usize> {
        self.relevance_schedule.samples()
    }

    fn state(&self) -> Result<Value> {
        to_state(&State { codebooks: self.codebooks.clone(), scores: self.scores.clone() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = from_state(state)?;
        (self.codebooks, self.scores, self.masks) = (state.codebooks, state.scores, None);
        Ok(())
    }
}
