//! The interface of every method: what a training loop or a post-training pass asks of a quantizer.

use super::calibration::{CalibrationNeeds, LayerCalibration};
use super::device::DeviceQuantizer;
pub(crate) use super::tensor::ALL_ZEROS;
pub use super::tensor::{Content, QuantizedTensor, StepInfo, WeightTensor, replace_undefined};
use crate::Result;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How the codec writes quantized tensors that hold values instead of levels: their values are multiples of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatCoding {
    /// Quantization parameter.
    pub qp: i32,
    /// Whether dependent quantization is used.
    pub dependent: bool,
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

    /// The method's steps on tensors of a device; `None` for a method that computes on the host, whose tensors then visit
    /// it at every step.
    fn on_device(&mut self) -> Option<&mut dyn DeviceQuantizer> {
        None
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
