//! The layer graph, checked once when built. The walks over it are elsewhere: [`super::forward`], [`super::gradient`],
//! [`crate::relevance`].

use super::layer::{INPUT, Layer, Operation};
use super::ops::{Conv2dGeometry, Pool2dGeometry};
use super::parameters::{ParameterShape, Role};
use crate::{Error, Result, error::did_you_mean};
use std::collections::HashMap;

/// A network: layers in topological order with explicit inputs; the last layer gives the logits.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it is called in tables.
    pub name: String,
    /// Shape of one input without the batch axis.
    pub input_shape: Vec<usize>,
    /// Number of classes: the length of the logits.
    pub classes: usize,
    pub(super) layers: Vec<Layer>,
    /// For each layer, the positions of its inputs: 0 is the network input, i + 1 the output of layer i.
    pub(super) sources: Vec<Vec<usize>>,
    /// Output shape of each layer without the batch axis.
    shapes: Vec<Vec<usize>>,
    /// For each layer, whether the next one alone reads its output.
    pub(super) chained: Vec<bool>,
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
                    hint: did_you_mean(input, positions.keys().copied()),
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
        let mut readers = vec![0; layers.len() + 1];
        sources.iter().flatten().for_each(|&source: &usize| readers[source] += 1);
        let chained = (0..layers.len())
            .map(|index| {
                readers[index + 1] == 1 && sources.get(index + 1).is_some_and(|next| *next == [index + 1])
            })
            .collect();
        let input_shape = input_shape.to_vec();
        Ok(Self { name: name.into(), input_shape, classes, layers, sources, shapes, chained })
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Positions in a [`Trace`](super::Trace) of the inputs of layer `index`.
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
            match &layer.operation {
                &Operation::Linear { inputs, outputs, bias } => {
                    add("weight", &[outputs, inputs], Role::Weight);
                    if bias {
                        add("bias", &[outputs], Role::Bias);
                    }
                }
                &Operation::Conv2d { in_channels, out_channels, kernel, groups, bias, .. } => {
                    add("weight", &[out_channels, in_channels / groups, kernel[0], kernel[1]], Role::Weight);
                    if bias {
                        add("bias", &[out_channels], Role::Bias);
                    }
                }
                &Operation::BatchNorm { features, .. } => {
                    add("weight", &[features], Role::Affine);
                    add("bias", &[features], Role::Affine);
                    add("running_mean", &[features], Role::Statistic);
                    add("running_var", &[features], Role::Statistic);
                }
                &Operation::GroupNorm { features, .. } => {
                    add("weight", &[features], Role::Affine);
                    add("bias", &[features], Role::Affine);
                }
                Operation::LayerNorm { shape, .. } => {
                    add("weight", shape, Role::Affine);
                    add("bias", shape, Role::Affine);
                }
                _ => {}
            }
        }
        all
    }
}

/// Shape of a layer's output without the batch axis, or what does not fit.
fn output_shape(operation: &Operation, inputs: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
    let wanted = match operation {
        Operation::Add | Operation::Concat => inputs.len().max(1),
        Operation::Multiply => 2,
        _ => 1,
    };
    let Some(&input) = inputs.first().filter(|_| inputs.len() == wanted) else {
        let expected = if wanted == 1 { "one input" } else { "two inputs" };
        return Err(format!("{} takes {expected}, found {}", operation.kind(), inputs.len()));
    };
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
            let geometry = Conv2dGeometry {
                stride: *stride,
                padding: *padding,
                dilation: *dilation,
                groups: *groups,
                ..Conv2dGeometry::default()
            };
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
        Operation::GroupNorm { groups, features, .. } => match input {
            [channels] | [channels, _, _]
                if channels == features && *groups > 0 && features % groups == 0 && *features > 0 =>
            {
                Ok(input.to_vec())
            }
            _ => unfit(format!("{features} features or channels, in {groups} equal groups")),
        },
        Operation::LayerNorm { shape, .. } => {
            match !shape.is_empty() && !shape.contains(&0) && input.ends_with(shape) {
                true => Ok(input.to_vec()),
                false => unfit(format!("an input whose last axes are {shape:?}")),
            }
        }
        Operation::Relu | Operation::Activation(_) => Ok(input.to_vec()),
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
        Operation::AdaptiveAvgPool2d { output } => match *input {
            [channels, height, width] if height > 0 && width > 0 && !output.contains(&0) => {
                Ok(vec![channels, output[0], output[1]])
            }
            _ => unfit("[channels, height, width] and a positive output".into()),
        },
        Operation::Flatten => Ok(vec![input.iter().product()]),
        Operation::Add => match inputs.iter().find(|shape| **shape != input) {
            None => Ok(input.to_vec()),
            Some(other) => Err(format!("cannot add {other:?} to {input:?}")),
        },
        Operation::Multiply => {
            let gate = inputs[1];
            let per_channel = gate[..1] == input[..1] && gate[1..].iter().all(|&size| size == 1);
            match gate == input || per_channel {
                true => Ok(input.to_vec()),
                false => Err(format!("cannot multiply {input:?} by {gate:?}")),
            }
        }
        Operation::Concat => {
            let mut shape = input.to_vec();
            for other in &inputs[1..] {
                if other.len() != input.len() || other[1..] != input[1..] {
                    return Err(format!("cannot put {other:?} beside {input:?}"));
                }
                shape[0] += other[0];
            }
            Ok(shape)
        }
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
