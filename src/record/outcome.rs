//! How a run ended, and what it came to.

use super::{LayerRecord, Metrics, Sizes};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With a result.
    Done(Box<Measurements>),
    /// With an error.
    Failed(Failure),
}

impl Outcome {
    /// `done` or `failed`, as tables and files name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
        }
    }
}

/// What was measured of the quantized model. All of it is of the decoded file.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurements {
    /// On the test split. The headline.
    pub test: Metrics,
    /// On the validation split, where there is one.
    pub validation: Option<Metrics>,
    /// Share of zeros over the quantized weights, 0–1.
    pub sparsity: f64,
    /// Mean entropy over the quantized weights, bits per weight; absent where a tensor has no codebook.
    pub entropy: Option<f64>,
    /// Quantized tensors in layer order.
    pub layers: Vec<LayerRecord>,
    /// Sizes in bytes.
    pub sizes: Sizes,
}

/// Why there is no result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// The error.
    pub error: String,
    /// The last lines of the run's log.
    pub log: Vec<String>,
}
