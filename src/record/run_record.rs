//! The record of one run, and how readers ask it.

use super::json::Flat;
use super::{EpochMetrics, Failure, LayerRecord, Measurements, Metrics, Outcome, Provenance, Session, Sizes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A finished or failed run. Its JSON form (`record.json`) is flat and stable; a change of meaning raises
/// [`SCHEMA`](super::SCHEMA).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
pub struct RunRecord {
    /// [`SCHEMA`](super::SCHEMA) of the writer.
    pub schema: u32,
    /// Content-addressed id: 32 hex digits.
    pub id: String,
    /// Names of the experiments this run was part of when it was computed (not part of the id).
    pub experiment: String,
    /// Data set name.
    pub dataset: String,
    /// Model name.
    pub model: String,
    /// Method name in the quantizer registry; `baseline` for the full-precision model.
    pub method: String,
    /// Label of the method with its distinguishing parameters, for legends.
    pub label: String,
    /// Bit width; absent for full precision and pruning without levels.
    pub bits: Option<u32>,
    /// The method's parameters, as the specification has them: since schema 2 with every default written out.
    pub parameters: Map<String, Value>,
    /// Seed.
    pub seed: u64,
    /// The resolved specification.
    pub spec: Value,
    /// How it ended.
    pub outcome: Outcome,
    /// How often the run was tried, this time included.
    pub attempts: u32,
    /// Earlier processes whose checkpoint this one continued from.
    pub interrupted: Vec<Session>,
    /// Things worth knowing: degenerate layers and the like.
    pub warnings: Vec<String>,
    /// Which split and rule chose the weights: `last epoch`, `best epoch on validation`, `post-training`.
    pub selection: String,
    /// Full-precision baseline on the test split; a failed run may have come that far.
    pub baseline: Option<Metrics>,
    /// Full-precision baseline on the validation split; absent without one, and in records made before it was kept.
    pub baseline_validation: Option<Metrics>,
    /// Epochs in order; a failed run may have come that far.
    pub epochs: Vec<EpochMetrics>,
    /// Wall time, seconds; that of earlier processes up to their checkpoint included.
    pub seconds: f64,
    /// Peak resident memory of the process during the run, bytes.
    pub peak_memory: Option<u64>,
    /// What made it.
    pub provenance: Provenance,
}

impl RunRecord {
    /// Whether it finished with a result.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_))
    }

    /// Whether it ended with an error.
    pub fn is_failed(&self) -> bool {
        !self.is_done()
    }

    /// What was measured, of a finished run.
    pub fn measurements(&self) -> Option<&Measurements> {
        match &self.outcome {
            Outcome::Done(measurements) => Some(measurements),
            Outcome::Failed(_) => None,
        }
    }

    /// Why there is no result, of a failed run.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(failure) => Some(failure),
        }
    }

    /// The decoded model on the test split.
    pub fn test(&self) -> Option<&Metrics> {
        self.measurements().map(|m| &m.test)
    }

    /// The decoded model on the validation split.
    pub fn validation(&self) -> Option<&Metrics> {
        self.measurements().and_then(|m| m.validation.as_ref())
    }

    /// Share of zeros over the quantized weights, 0–1.
    pub fn sparsity(&self) -> Option<f64> {
        self.measurements().map(|m| m.sparsity)
    }

    /// Mean entropy over the quantized weights, bits per weight.
    pub fn entropy(&self) -> Option<f64> {
        self.measurements().and_then(|m| m.entropy)
    }

    /// Sizes in bytes.
    pub fn sizes(&self) -> Option<&Sizes> {
        self.measurements().map(|m| &m.sizes)
    }

    /// Quantized tensors in layer order; none of a failed run.
    pub fn layers(&self) -> &[LayerRecord] {
        self.measurements().map_or(&[], |m| &m.layers)
    }

    /// The error of a failed run.
    pub fn error(&self) -> Option<&str> {
        self.failure().map(|failure| failure.error.as_str())
    }

    /// The last lines of a failed run's log.
    pub fn log(&self) -> &[String] {
        self.failure().map_or(&[], |failure| &failure.log)
    }

    /// Seed with which the baseline was trained; `None` where it is a checkpoint.
    pub fn baseline_seed(&self) -> Option<u64> {
        let trained = ["train", "fine_tune"].iter().find_map(|kind| self.spec.get("baseline")?.get(kind));
        trained?.get("seed")?.as_u64()
    }

    /// Λ, where the method has one.
    pub fn lambda(&self) -> Option<f64> {
        self.number("lambda")
    }

    /// p, where the method has one.
    pub fn p(&self) -> Option<f64> {
        self.number("p")
    }

    /// The method's parameter `name`.
    pub fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters.get(name)
    }

    /// The method's parameter `name`, where it is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.parameter(name).and_then(Value::as_f64)
    }
}
