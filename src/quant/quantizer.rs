//! The interface of every method: what a training loop or a post-training pass asks of a quantizer.

use super::codebook::Codebook;
use crate::Result;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// One weight tensor handed to a quantizer: full-precision values (during training the background copy).
#[derive(Clone, Copy, Debug)]
pub struct WeightTensor<'a> {
    /// Parameter name, such as `conv1.weight`.
    pub name: &'a str,
    /// Dimensions.
    pub shape: &'a [usize],
    /// Values, row-major.
    pub values: &'a [f32],
}

/// Makes weights that are not numbers zero, before a method sees them; what to warn of, if any is not finite.
pub fn replace_undefined(name: &str, values: &mut [f32]) -> Option<String> {
    let count = values.iter().filter(|value| !value.is_finite()).count();
    values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
    (count > 0).then(|| {
        format!(
            "{name}: {count} of {} weights are not finite: those that are no numbers count as zero",
            values.len()
        )
    })
}

/// A quantized weight tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedTensor {
    /// Parameter name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values or level indices.
    pub content: Content,
}

/// What a quantized tensor holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Levels of a codebook, row-major.
    Levels {
        /// Position in the codebook of each weight's level: 0 is the lowest.
        positions: Vec<u8>,
        /// What the positions stand for.
        codebook: Codebook,
    },
    /// Full-precision values with exact zeros: pruning without levels.
    Values(Vec<f32>),
}

impl Content {
    /// `count` zeros: a tensor over which no codebook can be laid.
    pub fn zeros(count: usize) -> Self {
        Self::Levels { positions: vec![0; count], codebook: Codebook::ZERO }
    }

    /// How many weights are zero, and how many there are.
    pub fn zeros_and_count(&self) -> (usize, usize) {
        match self {
            Self::Levels { positions, codebook } => {
                let zero = codebook.zero();
                (positions.iter().filter(|position| **position == zero).count(), positions.len())
            }
            Self::Values(values) => (values.iter().filter(|value| **value == 0.0).count(), values.len()),
        }
    }

    /// The values, row-major.
    pub fn values(&self) -> Vec<f32> {
        match self {
            Self::Levels { positions, codebook } => codebook.values_of(positions),
            Self::Values(values) => values.clone(),
        }
    }
}

/// Where in the schedule an assignment happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Optimizer steps done so far (0 for the first assignment and for post-training quantization).
    pub step: usize,
    /// Optimizer steps in the whole run; 0 means post-training quantization.
    pub total_steps: usize,
    /// Epoch, from 0.
    pub epoch: usize,
    /// Epochs in the whole run.
    pub epochs: usize,
}

impl StepInfo {
    /// The single assignment of post-training quantization.
    pub const POST_TRAINING: Self = Self { step: 0, total_steps: 0, epoch: 0, epochs: 0 };
}

/// Signed relevance of every weight by parameter name, summed over a batch, in the parameter's layout.
pub type Relevances = IndexMap<String, Vec<f32>>;

/// The weights that a relevance pass explains. Relevance is proportional to the weight, so an exactly quantized zero has
/// none and could never leave zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelevanceOf {
    /// Quantized weights after one optimizer step on them (the reference).
    Stepped,
    /// The full-precision background copy.
    Background,
    /// The quantized weights as they are.
    #[default]
    Quantized,
}

/// A quantization method with its state. Tensors are addressed by their position in the list given to `initialize`,
/// which stays the same for the whole run. Implementations are deterministic.
pub trait Quantizer: Send {
    /// The method's name in the registry.
    fn method(&self) -> &'static str;

    /// Sets codebooks from the trained weights and makes the first assignment, which uses no relevance.
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<Vec<QuantizedTensor>>;

    /// The assignment of the current background weights. `relevance` is given when
    /// [`wants_relevance`](Self::wants_relevance) says so.
    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        relevance: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>>;

    /// Whether every assignment needs the relevance of the current batch.
    fn wants_relevance(&self) -> bool {
        false
    }

    /// Which weights that relevance is about.
    fn relevance_of(&self) -> RelevanceOf {
        RelevanceOf::default()
    }

    /// Turns the gradient with respect to the quantized values of tensor `index` into the gradient for its background
    /// weights, in place, and accumulates the gradient of the method's own parameters (levels, step sizes).
    /// The default is the plain straight-through estimator.
    fn backward(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        let _ = (index, weights, quantized, gradient);
        Ok(())
    }

    /// One optimizer step on the method's own parameters from the gradients gathered by `backward`.
    fn update(&mut self, learning_rate: f64, at: StepInfo) -> Result<()> {
        let _ = (learning_rate, at);
        Ok(())
    }

    /// Whether the background weights (and other parameters) are trained at this step; EC2T's last epochs train levels only.
    fn trains_weights(&self, at: StepInfo) -> bool {
        let _ = at;
        true
    }

    /// Degenerate layers and other things the run's record must mention; drained by the call.
    fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Everything needed to resume (codebooks, momentum, optimizer state) as JSON.
    fn state(&self) -> Result<serde_json::Value>;

    /// Restores what [`state`](Self::state) gave, instead of `initialize`.
    fn restore(&mut self, state: &serde_json::Value) -> Result<()>;
}
