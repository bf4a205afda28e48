//! The layer graph: checked once when built, then walked (forward here, relevance in [`crate::relevance`]).

use super::layer::{INPUT, Layer};
use super::parameters::{ParameterShape, Parameters};
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;

/// Whether a forward pass trains or evaluates.
pub enum Mode<'a> {
    /// Batch norm uses running statistics, dropout does nothing.
    Evaluation,
    /// Batch norm uses the batch and updates its running statistics in place; dropout draws from the generator.
    Training(&'a mut Rng),
    /// As `Training`, but batch norm stays frozen on its running statistics.
    TrainingFrozenNorm(&'a mut Rng),
}

/// A network: layers in topological order with explicit inputs; the last layer gives the logits.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it is called in tables.
    pub name: String,
    /// Shape of one input without the batch axis.
    pub input_shape: Vec<usize>,
    /// Number of classes: the length of the logits.
    pub classes: usize,
    layers: Vec<Layer>,
    /// For each layer, the positions of its inputs: 0 is the network input, i + 1 the output of layer i.
    sources: Vec<Vec<usize>>,
    /// Output shape of each layer without the batch axis.
    shapes: Vec<Vec<usize>>,
}

/// The values of one forward pass.
pub struct Trace {
    /// `values[0]` is the input, `values[i + 1]` the output of layer i.
    pub values: Vec<Tensor>,
}

impl Trace {
    /// The last layer's output, (batch, classes).
    pub fn logits(&self) -> &Tensor {
        // A trace always holds at least the input.
        &self.values[self.values.len() - 1]
    }
}

impl Network {
    /// Checks names, order and shapes and builds the graph.
    ///
    /// # Errors
    /// [`Error::Input`] naming the layer: unknown or later input, duplicate name, shapes that do not fit, or a last
    /// layer whose output is not `[classes]`.
    pub fn new(name: &str, input_shape: &[usize], layers: Vec<Layer>) -> Result<Self> {
        let _ = (name, input_shape, layers, INPUT);
        Err(Error::Internal("not built yet".into()))
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Positions in a [`Trace`] of the inputs of layer `index`.
    pub fn sources(&self, index: usize) -> &[usize] {
        &self.sources[index]
    }

    /// Output shape of layer `index` without the batch axis.
    pub fn output_shape(&self, index: usize) -> &[usize] {
        &self.shapes[index]
    }

    /// All parameters and running statistics in layer order.
    pub fn parameter_shapes(&self) -> Vec<ParameterShape> {
        Vec::new()
    }

    /// Runs the layers on `input` (batch, …).
    pub fn forward(&self, parameters: &Parameters, input: &Tensor, mode: Mode<'_>) -> Result<Trace> {
        let _ = (parameters, input, mode);
        Err(Error::Internal("not built yet".into()))
    }
}
