//! The interface of every method: what a training loop or a post-training pass asks of a quantizer.

use super::calibration::{CalibrationNeeds, LayerCalibration};
use super::codebook::Codebook;
use crate::Result;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One weight tensor handed to a quantizer: full-precision values (during training the latent weights).
#[derive(Clone, Copy, Debug)]
pub struct WeightTensor<'a> {
    /// Parameter name, such as `conv1.weight`.
    pub name: &'a str,
    /// Dimensions.
    pub shape: &'a [usize],
    /// Values, row-major.
    pub values: &'a [f32],
}

impl WeightTensor<'_> {
    /// The tensor with quantized content.
    pub fn quantized(&self, content: Content) -> QuantizedTensor {
        QuantizedTensor { name: self.name.into(), shape: self.shape.to_vec(), content }
    }
}

/// Makes NaN weights zero, before a method sees them; what to warn of, if any is not finite.
pub fn replace_undefined(name: &str, values: &mut [f32]) -> Option<String> {
    let count = values.iter().filter(|value| !value.is_finite()).count();
    values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
    (count > 0).then(|| {
        format!("{name}: {count} of {} weights are not finite: NaN weights count as zero", values.len())
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
    /// `count` zeros: a tensor for which no codebook can be built.
    pub fn zeros(count: usize) -> Self {
        Self::Levels { positions: vec![0; count], codebook: Codebook::ZERO }
    }

    /// Signed level indices of a codebook; `None` for one outside the codebook, or a codebook of more than 256 levels.
    pub fn of_levels(levels: &[i32], codebook: Codebook) -> Option<Self> {
        let (lowest, highest) = codebook.range();
        let position = |level: &i32| {
            let inside = (lowest..=highest).contains(level);
            inside.then(|| u8::try_from(i64::from(*level) - i64::from(lowest)).ok()).flatten()
        };
        let positions = levels.iter().map(position).collect::<Option<_>>()?;
        Some(Self::Levels { positions, codebook })
    }

    /// Whether the tensor has levels of a codebook.
    pub fn has_levels(&self) -> bool {
        matches!(self, Self::Levels { .. })
    }

    /// How many weights are zero, and how many there are.
    pub fn zeros_and_count(&self) -> (usize, usize) {
        match self {
            Self::Levels { positions, codebook } => (codebook.zeros(positions), positions.len()),
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

/// What methods warn of where a layer has nothing to fit a codebook to.
pub(crate) const ALL_ZEROS: &str = "no finite weight differs from zero: the layer is all zeros";

/// How the codec writes quantized tensors that hold values instead of levels: their values are multiples of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatCoding {
    /// Quantization parameter.
    pub qp: i32,
    /// Whether dependent quantization is used.
    pub dependent: bool,
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
    /// The latent weights.
    Background,
    /// The quantized weights as they are.
    #[default]
    Quantized,
}

/// What a method that asks somebody else has to know of its run.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    /// The run's bit width, where it has one.
    pub bits: Option<u32>,
    /// The run's seed.
    pub seed: u64,
    /// Optimizer steps in the whole run; 0 means post-training quantization.
    pub total_steps: usize,
    /// Names and shapes of the tensors to quantize, in their order.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Whether the run names a relevance measure.
    pub has_relevance: bool,
    /// Folders in which the user's files are looked for.
    pub folders: Vec<PathBuf>,
}

/// A quantization method with its state. Tensors are addressed by their position in the list given to `initialize`,
/// which stays the same for the whole run. Implementations are deterministic.
pub trait Quantizer: Send {
    /// Told once, before everything else, by runs of experiments (`ecqx quantize` has none).
    ///
    /// # Errors
    /// Those of the method.
    fn begin(&mut self, run: &RunInfo) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// Builds codebooks from the trained weights. The first assignment follows.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for settings that do not fit these tensors, such as a missing bit width.
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()>;

    /// The assignment of the current latent weights, all of which have `shape.product()` values. `relevance` is given when
    /// [`wants_relevance_at`](Self::wants_relevance_at) says so; before the first step when
    /// [`wants_relevance_first`](Self::wants_relevance_first) does.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for relevance of other tensors.
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

    /// Whether the assignment of this step needs the relevance of its batch, for methods that want relevance.
    fn wants_relevance_at(&self, at: StepInfo) -> bool {
        let _ = at;
        self.wants_relevance()
    }

    /// Whether the assignment before the first step needs the relevance of calibration samples.
    fn wants_relevance_first(&self) -> bool {
        false
    }

    /// How many samples of a training batch relevance is computed from; all where `None`.
    fn relevance_samples(&self) -> Option<usize> {
        None
    }

    /// Which weights that relevance is about.
    fn relevance_of(&self) -> RelevanceOf {
        RelevanceOf::default()
    }

    /// Whether [`gather`](Self::gather) is to be called.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// The gradients with respect to the quantized values of all tensors that have one, by index, before
    /// [`backward`](Self::backward) is called for each: for methods that look at all of them at once.
    ///
    /// # Errors
    /// Those of the method.
    fn gather(&mut self, weights: &[WeightTensor<'_>], gradients: Vec<(usize, Vec<f32>)>) -> Result<()> {
        let _ = (weights, gradients);
        Ok(())
    }

    /// What the method needs to know of each layer's inputs; `None` for nothing.
    fn wants_calibration(&self) -> Option<CalibrationNeeds> {
        None
    }

    /// Takes in the inputs of the layer of tensor `index`. Called once per tensor, in network order, after
    /// [`initialize`](Self::initialize) and before the first assignment — and before [`restore`](Self::restore) in a resumed
    /// run, so that nothing of it need be in the state. `weights` are the trained ones. A method that asks for sequential
    /// inputs returns the tensor as later layers are to see it.
    ///
    /// # Errors
    /// Those of the method.
    fn calibrate(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        layer: LayerCalibration,
    ) -> Result<Option<QuantizedTensor>> {
        let _ = (index, weights, layer);
        Ok(None)
    }

    /// Turns the gradient with respect to the quantized values of tensor `index` into the gradient for its latent
    /// weights, in place, and accumulates the gradient of the method's own parameters (levels, step sizes).
    /// The default is the plain straight-through estimator.
    ///
    /// # Errors
    /// Those of the method.
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
    ///
    /// # Errors
    /// Those of the method.
    fn update(&mut self, learning_rate: f64, at: StepInfo) -> Result<()> {
        let _ = (learning_rate, at);
        Ok(())
    }

    /// How tensors of [`Content::Values`] are written to the model file; `None` for the codec's default.
    fn coding(&self) -> Option<FloatCoding> {
        None
    }

    /// Whether the latent weights (and other parameters) are trained at this step; EC2T's last epochs train levels only.
    fn trains_weights(&self, at: StepInfo) -> bool {
        let _ = at;
        true
    }

    /// Degenerate layers and other things the run's record must mention; drained by the call.
    fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Lines for the run's log; drained by the call.
    fn take_log(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Everything needed to resume (codebooks, momentum, optimizer state) as JSON.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) for a state that JSON cannot hold.
    fn state(&self) -> Result<serde_json::Value>;

    /// Restores what [`state`](Self::state) gave, instead of `initialize`.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when it is not this method's state.
    fn restore(&mut self, state: &serde_json::Value) -> Result<()>;
}
