//! The backward walk over the layer graph: gradients of all parameters from the gradient of the logits.
//!
//! It calls the same backward functions as automatic differentiation, but adds gradients up only where a value has
//! several readers, frees values as soon as no earlier layer needs them, and skips the network's input.

use super::backend;
use super::forward::{Saved, Trace};
use super::layer::{Layer, Operation};
use super::network::Network;
use super::ops::{self, BatchNormGradients, Conv2dGeometry, ConvAlgorithm, Pool2dGeometry};
use super::parameters::Parameters;
use crate::{Error, Result};
use candle_core::Tensor;
use indexmap::IndexMap;

/// Gradients of trained parameters by name.
#[derive(Debug, Default)]
pub struct Gradients {
    by_name: IndexMap<String, Tensor>,
}

impl Gradients {
    /// The gradient of the parameter called `name`, in its shape; `None` for running statistics.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    /// Names and gradients, last layer first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.by_name.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}

impl Network {
    /// The gradients of `⟨gradient, logits⟩` with respect to all parameters but running statistics; `trace` is what
    /// [`forward`](Network::forward) gave for the same `parameters`, in the mode that counts (statistics of the batch
    /// carry gradients, running ones do not).
    ///
    /// # Errors
    /// When `trace`, `parameters` and `gradient` do not belong together.
    pub fn backward(&self, parameters: &Parameters, trace: Trace, gradient: &Tensor) -> Result<Gradients> {
        backend::in_pool(gradient.device(), || self.backward_here(parameters, trace, gradient))
    }

    fn backward_here(&self, parameters: &Parameters, trace: Trace, gradient: &Tensor) -> Result<Gradients> {
        let Trace { mut values, mut saved, algorithm } = trace;
        if values.len() != self.layers().len() + 1 || saved.len() != self.layers().len() {
            return Err(Error::Internal("a trace of another network".into()));
        }
        let mut gradients = Gradients::default();
        // What the readers of each value have sent back so far.
        let mut of_values: Vec<Vec<Tensor>> = vec![Vec::new(); values.len()];
        of_values[self.layers().len()].push(gradient.detach());
        let mut fused = false;
        for (index, layer) in self.layers().iter().enumerate().rev() {
            let (output, kept) = (values.pop(), saved.pop());
            let arrived = std::mem::take(&mut of_values[index + 1]);
            let (Some(output), Some(kept), false) = (output, kept, arrived.is_empty()) else { continue };
            let sources = self.sources(index);
            if let Saved::Fused = kept {
                // The layer before takes the ReLU into account.
                of_values[sources[0]] = arrived;
                fused = true;
                continue;
            }
            let relu = std::mem::take(&mut fused);
            // The native batch norm masks by itself, in the pass that it makes anyway.
            let masks = matches!(layer.operation, Operation::BatchNorm { .. }) && backend::is_native(&output);
            let masked = relu && !masks;
            let relu = relu && masks;
            let gradient = sum(arrived, masked.then_some(&output))?;
            let inputs: Vec<&Tensor> = sources.iter().map(|&source| &values[source]).collect();
            let several = several_inputs(layer, &gradient, &inputs)?;
            let step = Step { layer, parameters, gradient, x: inputs[0], output, kept, relu, algorithm };
            let wanted = sources.iter().any(|&source| source > 0);
            let of_inputs = match several {
                Some(parts) => parts,
                None => {
                    vec![step.run(wanted, &mut gradients)?; sources.len()].into_iter().flatten().collect()
                }
            };
            for (&source, part) in sources.iter().zip(of_inputs).filter(|(source, _)| **source > 0) {
                of_values[source].push(part);
            }
        }
        Ok(gradients)
    }
}

/// The sum of gradients, passed back through the ReLU that gave `output` where there is one.
fn sum(mut gradients: Vec<Tensor>, output: Option<&Tensor>) -> Result<Tensor> {
    let Some(mut last) = gradients.pop() else {
        return Err(Error::Internal("a sum of no gradients".into()));
    };
    while let Some(next) = gradients.pop() {
        match output.filter(|_| gradients.is_empty()) {
            Some(output) => return Ok(ops::relu_backward_sum(&next, &last, output)?),
            None => last = ops::add(&next, &last)?,
        }
    }
    Ok(match output {
        Some(output) => ops::relu_backward(&last, output)?,
        None => last,
    })
}

/// The gradient of each input of a layer whose inputs get different ones; `None` for all other layers.
fn several_inputs(layer: &Layer, gradient: &Tensor, inputs: &[&Tensor]) -> Result<Option<Vec<Tensor>>> {
    Ok(match (&layer.operation, inputs) {
        (Operation::Multiply, [signal, gate]) => {
            Some(ops::multiply_backward(gradient, signal, gate)?.to_vec())
        }
        (Operation::Concat, inputs) => Some(ops::concat_parts(gradient, inputs)?),
        _ => None,
    })
}

/// One layer of the walk.
struct Step<'a> {
    layer: &'a Layer,
    parameters: &'a Parameters,
    gradient: Tensor,
    /// The first input.
    x: &'a Tensor,
    output: Tensor,
    kept: Saved,
    /// Whether a ReLU is part of the layer whose gradient the layer itself masks: native batch norms. The others get a gradient that
    /// has passed it.
    relu: bool,
    algorithm: ConvAlgorithm,
}

impl Step<'_> {
    fn parameter(&self, suffix: &str) -> Result<Tensor> {
        self.parameters.tensor(&format!("{}.{suffix}", self.layer.name)).map(Tensor::detach)
    }

    /// Adds the parameters' gradients; gives the gradient of every input (they are equal where there are several, but
    /// for [`several_inputs`]), where `wanted`.
    fn run(self, wanted: bool, gradients: &mut Gradients) -> Result<Option<Tensor>> {
        let (gradient, x) = (&self.gradient, self.x);
        let mut set = |suffix: &str, value: Tensor| {
            gradients.by_name.insert(format!("{}.{suffix}", self.layer.name), value);
        };
        let has_parameters = matches!(
            self.layer.operation,
            Operation::Linear { .. }
                | Operation::Conv2d { .. }
                | Operation::BatchNorm { .. }
                | Operation::GroupNorm { .. }
                | Operation::LayerNorm { .. }
        );
        if !has_parameters && !wanted {
            return Ok(None);
        }
        let of_input = match self.layer.operation {
            Operation::Linear { bias, .. } => {
                let weight = self.parameter("weight")?;
                set("weight", ops::linear_backward_weight(gradient, x)?);
                if bias {
                    set("bias", ops::channel_sum(gradient)?);
                }
                return Ok(wanted.then(|| ops::linear_backward_input(gradient, &weight)).transpose()?);
            }
            Operation::Conv2d { stride, padding, dilation, groups, bias, .. } => {
                let weight = self.parameter("weight")?;
                let geometry =
                    Conv2dGeometry { stride, padding, dilation, groups, algorithm: self.algorithm };
                set("weight", ops::conv2d_backward_weight(gradient, x, weight.dims(), &geometry)?);
                if bias {
                    set("bias", ops::channel_sum(gradient)?);
                }
                let of_input = || ops::conv2d_backward_input(gradient, &weight, x.dims(), &geometry);
                return Ok(wanted.then(of_input).transpose()?);
            }
            Operation::BatchNorm { epsilon, .. } => {
                let weight = self.parameter("weight")?;
                let BatchNormGradients { input, weight, bias } = match &self.kept {
                    Saved::Statistics(mean, variance) => {
                        let shift = self.relu.then(|| self.parameter("bias")).transpose()?;
                        let statistics = (mean, variance);
                        ops::batch_norm_training_backward(
                            gradient,
                            x,
                            &weight,
                            shift.as_ref(),
                            statistics,
                            epsilon,
                        )?
                    }
                    _ => {
                        let (mean, variance) =
                            (self.parameter("running_mean")?, self.parameter("running_var")?);
                        ops::batch_norm_evaluation_backward(gradient, x, &weight, &mean, &variance, epsilon)?
                    }
                };
                set("weight", weight);
                set("bias", bias);
                input
            }
            Operation::GroupNorm { .. } | Operation::LayerNorm { .. } => {
                let Some((norm, epsilon)) = self.layer.operation.row_norm() else {
                    return Err(Error::Internal(format!("{} is no row norm", self.layer.name)));
                };
                let of_norm = ops::row_norm_backward(gradient, x, &self.parameter("weight")?, norm, epsilon)?;
                set("weight", of_norm.weight);
                set("bias", of_norm.bias);
                of_norm.input
            }
            Operation::Relu => ops::relu_backward(gradient, &self.output)?,
            Operation::Activation(activation) => {
                ops::activate_backward(gradient, x, &self.output, activation)?
            }
            Operation::MaxPool2d { kernel, stride, padding } => {
                ops::max_pool2d_backward(gradient, x, &Pool2dGeometry { kernel, stride, padding })?
            }
            Operation::AvgPool2d { kernel, stride, padding } => {
                ops::avg_pool2d_backward(gradient, x.dims(), &Pool2dGeometry { kernel, stride, padding })?
            }
            Operation::GlobalAvgPool => ops::global_avg_pool_backward(gradient, x.dims())?,
            Operation::AdaptiveAvgPool2d { .. } => ops::adaptive_avg_pool2d_backward(gradient, x.dims())?,
            Operation::Flatten => gradient.reshape(x.dims())?,
            Operation::Add | Operation::Multiply | Operation::Concat => gradient.clone(),
            Operation::Shortcut { stride, .. } => ops::shortcut_backward(gradient, x.dims(), stride)?,
            Operation::Dropout { .. } => match &self.kept {
                Saved::Mask(mask) => (gradient * mask)?,
                _ => gradient.clone(),
            },
        };
        Ok(Some(of_input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::nn::{Mode, Role, init::initialise};
    use crate::rng::Rng;
    use candle_core::{DType, Device};

    /// The gradients by candle's automatic differentiation.
    fn automatic(parameters: &Parameters, trace: &Trace, gradient: &Tensor) -> Result<Gradients> {
        let store = (trace.logits() * gradient.detach())?.sum_all()?.backward()?;
        let mut gradients = Gradients::default();
        for (name, parameter) in parameters.iter().filter(|(_, p)| p.role != Role::Statistic) {
            if let Some(gradient) = store.get(parameter.var.as_tensor()) {
                gradients.by_name.insert(name.to_owned(), gradient.detach());
            }
        }
        Ok(gradients)
    }

    /// The walk gives what automatic differentiation gives, for every kind of layer and in all modes.
    #[test]
    fn walk_agrees_with_automatic_differentiation() {
        let image = |size| vec![3, size, size];
        let shapes = [
            ("resnet20", image(12)),
            ("vgg16", image(32)),
            ("resnet18", image(32)),
            ("mlp-gsc", vec![490]),
            ("mobilenet_v2", image(32)),
            ("layers", vec![3, 9, 11]),
        ];
        for (name, shape) in shapes {
            let mut options = model::Options::new();
            if name == "mlp-gsc" {
                options.insert("dropout".into(), 0.3.into());
                options.insert("batch_norm".into(), true.into());
            }
            let network = match name {
                "layers" => {
                    let text = include_str!("../../tests/golden/torch/layers.yaml");
                    model::yaml::parse(text, std::path::Path::new("layers.yaml")).unwrap()
                }
                _ => model::build(name, &shape, 10, &options).unwrap(),
            };
            let mut rng = Rng::stream(2, name);
            let count = 4 * shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|_| rng.normal()).collect();
            let input = Tensor::from_vec(values, [vec![4], shape].concat(), &Device::Cpu).unwrap();
            for frozen in [false, true] {
                let parameters = initialise(&network, &Device::Cpu, 1).unwrap();
                let mut dropout = Rng::stream(3, "dropout");
                let mode = if frozen {
                    Mode::TrainingFrozenNorm(&mut dropout, ConvAlgorithm::Auto)
                } else {
                    Mode::Training(&mut dropout, ConvAlgorithm::Auto)
                };
                let trace = network.forward(&parameters, &input, mode).unwrap();
                let direction = Tensor::ones(trace.logits().shape(), DType::F32, &Device::Cpu).unwrap();
                let direction = (direction + trace.logits().detach()).unwrap();
                let expected = automatic(&parameters, &trace, &direction).unwrap();
                let actual = network.backward(&parameters, trace, &direction).unwrap();
                assert_eq!(actual.by_name.len(), expected.by_name.len(), "{name}");
                for (parameter, expected) in expected.iter() {
                    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    let (actual, expected) = (flat(actual.get(parameter).unwrap()), flat(expected));
                    let largest = expected.iter().fold(1e-6f32, |l, v| l.max(v.abs()));
                    let error = actual.iter().zip(&expected).fold(0.0f32, |l, (a, e)| l.max((a - e).abs()));
                    // Frozen normalisation sums its two gradient parts in another order.
                    assert!(error <= 1e-4 * largest, "{name} {parameter}: {error} of {largest}");
                }
            }
        }
    }

    /// Inference, which computes layers together and drops values, gives the logits of the layer-by-layer pass.
    #[test]
    fn inference_agrees_with_the_layers() {
        let mut options = model::Options::new();
        options.insert("batch_norm".into(), true.into());
        let plain = model::Options::new();
        let image = vec![3, 32, 32];
        let models =
            [("resnet20", &image, &plain), ("vgg16", &image, &plain), ("mlp-gsc", &vec![490], &options)];
        for (name, shape, options) in models {
            let network = model::build(name, shape, 10, options).unwrap();
            let parameters = initialise(&network, &Device::Cpu, 1).unwrap();
            let mut rng = Rng::stream(5, name);
            for (name, parameter) in parameters.iter() {
                if parameter.role == Role::Statistic || parameter.role == Role::Affine {
                    let count = parameter.var.elem_count();
                    let values: Vec<f32> = (0..count).map(|_| rng.range(0.5, 1.5)).collect();
                    parameters.set_values(name, &values).unwrap();
                }
            }
            let values: Vec<f32> = (0..3 * shape.iter().product::<usize>()).map(|_| rng.normal()).collect();
            let input = Tensor::from_vec(values, [vec![3], shape.clone()].concat(), &Device::Cpu).unwrap();
            let logits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let expected = logits(
                network
                    .forward(&parameters, &input, Mode::Evaluation(ops::ConvAlgorithm::Auto))
                    .unwrap()
                    .logits(),
            );
            let actual = logits(&network.infer(&parameters, &input).unwrap());
            let largest = expected.iter().fold(0.0f32, |l, v| l.max(v.abs()));
            for (a, e) in actual.iter().zip(&expected) {
                assert!((a - e).abs() <= 1e-5 * largest, "{name}: {a} instead of {e}");
            }
        }
    }
}
