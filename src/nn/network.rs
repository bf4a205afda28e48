//! The layer graph: checked once when built, then walked (forward here, relevance in [`crate::relevance`]).

use super::layer::{INPUT, Layer, Operation};
use super::ops::{self, BatchNormOutput, Conv2dGeometry, Pool2dGeometry};
use super::parameters::{ParameterShape, Parameters, Role};
use crate::rng::Rng;
use crate::{Error, Result, error::closest};
use candle_core::Tensor;
use std::collections::HashMap;

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
    /// What the gradient of each layer needs besides inputs, output and parameters.
    pub(super) saved: Vec<Saved>,
}

/// What one layer keeps for its gradient.
pub(super) enum Saved {
    /// Nothing.
    Nothing,
    /// Mean and biased variance that a batch norm took from the batch.
    Statistics(Tensor, Tensor),
    /// The factors of a dropout.
    Mask(Tensor),
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
    /// layer whose output is not a vector of classes.
    pub fn new(name: &str, input_shape: &[usize], layers: Vec<Layer>) -> Result<Self> {
        let mut positions: HashMap<&str, usize> = HashMap::from([(INPUT, 0)]);
        let mut sources = Vec::with_capacity(layers.len());
        let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let wrong = |what: String| Error::input(format!("model {name}: layer {}: {what}", layer.name));
            let mut from = Vec::with_capacity(layer.inputs.len());
            for input in &layer.inputs {
                let position = positions.get(input.as_str()).copied().ok_or_else(|| Error::Input {
                    message: format!(
                        "model {name}: layer {}: no earlier layer is called '{input}'",
                        layer.name
                    ),
                    hint: closest(input, positions.keys().copied())
                        .map(|near| format!("did you mean '{near}'?")),
                })?;
                from.push(position);
            }
            let inputs: Vec<&[usize]> = from
                .iter()
                .map(|&position| if position == 0 { input_shape } else { shapes[position - 1].as_slice() })
                .collect();
            shapes.push(output_shape(&layer.operation, &inputs).map_err(wrong)?);
            sources.push(from);
            if layer.name.is_empty() || positions.insert(&layer.name, index + 1).is_some() {
                return Err(wrong("the name is empty or already taken".into()));
            }
        }
        let Some(&[classes]) = shapes.last().map(Vec::as_slice) else {
            return Err(Error::input(format!("model {name}: the last layer must give a vector of logits")));
        };
        Ok(Self { name: name.into(), input_shape: input_shape.to_vec(), classes, layers, sources, shapes })
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
        let mut all = Vec::new();
        for layer in &self.layers {
            let mut add = |suffix: &str, shape: &[usize], role| {
                all.push(ParameterShape {
                    name: format!("{}.{suffix}", layer.name),
                    shape: shape.to_vec(),
                    role,
                });
            };
            match layer.operation {
                Operation::Linear { inputs, outputs, bias } => {
                    add("weight", &[outputs, inputs], Role::Weight);
                    if bias {
                        add("bias", &[outputs], Role::Bias);
                    }
                }
                Operation::Conv2d { in_channels, out_channels, kernel, groups, bias, .. } => {
                    add("weight", &[out_channels, in_channels / groups, kernel[0], kernel[1]], Role::Weight);
                    if bias {
                        add("bias", &[out_channels], Role::Bias);
                    }
                }
                Operation::BatchNorm { features, .. } => {
                    add("weight", &[features], Role::Affine);
                    add("bias", &[features], Role::Affine);
                    add("running_mean", &[features], Role::Statistic);
                    add("running_var", &[features], Role::Statistic);
                }
                _ => {}
            }
        }
        all
    }

    /// Runs the layers on `input` (batch, …).
    ///
    /// # Errors
    /// When the input or a parameter does not fit, or memory runs out.
    pub fn forward(&self, parameters: &Parameters, input: &Tensor, mut mode: Mode<'_>) -> Result<Trace> {
        let mut values = Vec::with_capacity(self.layers.len() + 1);
        let mut saved = Vec::with_capacity(self.layers.len());
        values.push(input.clone());
        for (layer, sources) in self.layers.iter().zip(&self.sources) {
            let inputs: Vec<&Tensor> = sources.iter().map(|&source| &values[source]).collect();
            let (out, kept) = run_layer(layer, parameters, &inputs, &mut mode)?;
            values.push(out);
            saved.push(kept);
        }
        Ok(Trace { values, saved })
    }

    /// The logits alone, in evaluation mode: each value is dropped as soon as no later layer reads it.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn infer(&self, parameters: &Parameters, input: &Tensor) -> Result<Tensor> {
        let mut last_use = vec![0; self.layers.len() + 1];
        for (index, sources) in self.sources.iter().enumerate() {
            sources.iter().for_each(|&source| last_use[source] = index);
        }
        let mut values: Vec<Option<Tensor>> = vec![Some(input.detach())];
        for (index, (layer, sources)) in self.layers.iter().zip(&self.sources).enumerate() {
            let inputs: Vec<&Tensor> = sources.iter().filter_map(|&source| values[source].as_ref()).collect();
            if inputs.len() != sources.len() {
                return Err(Error::Internal(format!("layer {} reads a value that is gone", layer.name)));
            }
            // Detached, or the tensor would keep its inputs alive.
            let out = run_layer(layer, parameters, &inputs, &mut Mode::Evaluation)?.0.detach();
            for &source in sources.iter().filter(|&&source| last_use[source] == index) {
                values[source] = None;
            }
            values.push(Some(out));
        }
        values.pop().flatten().ok_or_else(|| Error::Internal("a network without layers".into()))
    }
}

/// Shape of a layer's output without the batch axis, or what does not fit.
fn output_shape(operation: &Operation, inputs: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
    if !matches!(operation, Operation::Add) && inputs.len() != 1 {
        return Err(format!("{} takes one input, found {}", operation.kind(), inputs.len()));
    }
    let Some(&input) = inputs.first() else { return Err("an addition needs inputs".into()) };
    let unfit =
        |expected: String| Err(format!("{} expects {expected}, its input is {input:?}", operation.kind()));
    match operation {
        Operation::Linear { inputs, outputs, .. } => match input {
            [features] if features == inputs => Ok(vec![*outputs]),
            _ => unfit(format!("[{inputs}]")),
        },
        Operation::Conv2d {
            in_channels, out_channels, kernel, stride, padding, dilation, groups, ..
        } => {
            if *groups == 0 || in_channels % groups != 0 || out_channels % groups != 0 {
                return Err(format!(
                    "{groups} groups do not divide {in_channels} and {out_channels} channels"
                ));
            }
            if stride.contains(&0) || dilation.contains(&0) || kernel.contains(&0) {
                return Err("kernel, stride and dilation must be positive".into());
            }
            let geometry =
                Conv2dGeometry { stride: *stride, padding: *padding, dilation: *dilation, groups: *groups };
            match *input {
                [channels, height, width] if channels == *in_channels => geometry
                    .output_size([height, width], *kernel)
                    .map(|[height, width]| vec![*out_channels, height, width])
                    .ok_or_else(|| format!("kernel {kernel:?} does not fit input {input:?}")),
                _ => unfit(format!("[{in_channels}, height, width]")),
            }
        }
        Operation::BatchNorm { features, .. } => match input {
            [channels] | [channels, _, _] if channels == features => Ok(input.to_vec()),
            _ => unfit(format!("{features} features or channels")),
        },
        Operation::Relu => Ok(input.to_vec()),
        Operation::Dropout { rate } if (0.0..1.0).contains(rate) => Ok(input.to_vec()),
        Operation::Dropout { rate } => Err(format!("the dropout rate must lie in [0, 1), found {rate}")),
        Operation::MaxPool2d { kernel, stride, padding }
        | Operation::AvgPool2d { kernel, stride, padding } => {
            let geometry = Pool2dGeometry { kernel: *kernel, stride: *stride, padding: *padding };
            match *input {
                [channels, height, width] => geometry
                    .output_size([height, width])
                    .map(|[height, width]| vec![channels, height, width])
                    .ok_or_else(|| format!("window {kernel:?} does not fit input {input:?}")),
                _ => unfit("[channels, height, width]".into()),
            }
        }
        Operation::GlobalAvgPool => match *input {
            [channels, _, _] => Ok(vec![channels, 1, 1]),
            _ => unfit("[channels, height, width]".into()),
        },
        Operation::Flatten => Ok(vec![input.iter().product()]),
        Operation::Add => match inputs.iter().find(|shape| **shape != input) {
            None => Ok(input.to_vec()),
            Some(other) => Err(format!("cannot add {other:?} to {input:?}")),
        },
        Operation::Shortcut { stride, in_channels, out_channels } => match *input {
            [channels, height, width]
                if channels == *in_channels && *stride > 0 && out_channels >= in_channels =>
            {
                Ok(vec![*out_channels, height.div_ceil(*stride), width.div_ceil(*stride)])
            }
            _ => unfit(format!(
                "[{in_channels}, height, width], a positive stride and no fewer output channels"
            )),
        },
    }
}

fn run_layer(
    layer: &Layer,
    parameters: &Parameters,
    inputs: &[&Tensor],
    mode: &mut Mode<'_>,
) -> Result<(Tensor, Saved)> {
    let x = inputs[0];
    let parameter = |suffix: &str| parameters.tensor(&format!("{}.{suffix}", layer.name));
    let out = match layer.operation {
        Operation::Linear { bias, .. } => {
            let bias = if bias { Some(parameter("bias")?) } else { None };
            ops::linear(x, parameter("weight")?, bias)?
        }
        Operation::Conv2d { stride, padding, dilation, groups, bias, .. } => {
            let bias = if bias { Some(parameter("bias")?) } else { None };
            let geometry = Conv2dGeometry { stride, padding, dilation, groups };
            ops::conv2d(x, parameter("weight")?, bias, &geometry)?
        }
        Operation::BatchNorm { epsilon, momentum, .. } => {
            let (weight, bias) = (parameter("weight")?, parameter("bias")?);
            let (mean, variance) = (parameter("running_mean")?, parameter("running_var")?);
            if let Mode::Training(_) = mode {
                let normalised = ops::batch_norm_training(x, weight, bias, epsilon)?;
                for (name, running, batch) in [
                    ("running_mean", mean, &normalised.mean),
                    ("running_var", variance, &normalised.variance),
                ] {
                    let blended = ((running.detach() * (1.0 - momentum))? + (batch * momentum)?)?;
                    parameters.set_tensor(&format!("{}.{name}", layer.name), &blended)?;
                }
                let BatchNormOutput { output, mean, biased, .. } = normalised;
                return Ok((output, Saved::Statistics(mean, biased)));
            } else {
                ops::batch_norm_evaluation(x, weight, bias, &mean.detach(), &variance.detach(), epsilon)?
            }
        }
        Operation::Relu => ops::relu(x)?,
        Operation::MaxPool2d { kernel, stride, padding } => {
            ops::max_pool2d(x, &Pool2dGeometry { kernel, stride, padding })?
        }
        Operation::AvgPool2d { kernel, stride, padding } => {
            ops::avg_pool2d(x, &Pool2dGeometry { kernel, stride, padding })?
        }
        Operation::GlobalAvgPool => ops::global_avg_pool(x)?,
        Operation::Flatten => x.flatten_from(1)?,
        Operation::Add => {
            let mut sum = x.clone();
            for other in &inputs[1..] {
                sum = ops::add(&sum, other)?;
            }
            sum
        }
        Operation::Shortcut { stride, out_channels, .. } => ops::shortcut(x, stride, out_channels)?,
        Operation::Dropout { rate } => match mode {
            Mode::Evaluation => x.clone(),
            Mode::Training(rng) | Mode::TrainingFrozenNorm(rng) => {
                if rate <= 0.0 {
                    return Ok((x.clone(), Saved::Nothing));
                }
                let mask = ops::dropout_mask(x, rate, rng)?;
                return Ok(((x * &mask)?, Saved::Mask(mask)));
            }
        },
    };
    Ok((out, Saved::Nothing))
}
