//! The backward walk over the layer graph: gradients of all parameters from the gradient of the logits.
//!
//! It calls the same backward functions as automatic differentiation, but adds gradients up only where a value has
//! several readers, frees values as soon as no earlier layer needs them, and skips the network's input.

use super::layer::{Layer, Operation};
use super::network::{Network, Saved, Trace};
use super::ops::{self, BatchNormGradients, Conv2dGeometry, Pool2dGeometry};
use super::parameters::{Parameters, Role};
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
        if !gradient.device().is_cpu() {
            return automatic(parameters, &trace, gradient);
        }
        let Trace { mut values, mut saved } = trace;
        if values.len() != self.layers().len() + 1 || saved.len() != self.layers().len() {
            return Err(Error::Internal("a trace of another network".into()));
        }
        let mut gradients = Gradients::default();
        let mut of_values: Vec<Option<Tensor>> = vec![None; values.len()];
        of_values[self.layers().len()] = Some(gradient.detach());
        for (index, layer) in self.layers().iter().enumerate().rev() {
            let output = values.pop();
            let kept = saved.pop();
            let (Some(output), Some(kept), Some(gradient)) = (output, kept, of_values[index + 1].take())
            else {
                continue;
            };
            let sources = self.sources(index);
            let step = Step { layer, parameters, gradient, x: &values[sources[0]], output, kept };
            let wanted = sources.iter().any(|&source| source > 0);
            let of_input = step.run(wanted, &mut gradients)?;
            for &source in sources.iter().filter(|&&source| source > 0) {
                let Some(of_input) = &of_input else { continue };
                let slot = &mut of_values[source];
                *slot = Some(match slot.take() {
                    None => of_input.clone(),
                    Some(sum) => ops::add(&sum, of_input)?,
                });
            }
        }
        Ok(gradients)
    }
}

/// The gradients by candle's automatic differentiation: on other devices than the processor.
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

/// One layer of the walk.
struct Step<'a> {
    layer: &'a Layer,
    parameters: &'a Parameters,
    gradient: Tensor,
    /// The first input.
    x: &'a Tensor,
    output: Tensor,
    kept: Saved,
}

impl Step<'_> {
    fn parameter(&self, suffix: &str) -> Result<&Tensor> {
        self.parameters.tensor(&format!("{}.{suffix}", self.layer.name))
    }

    /// Adds the parameters' gradients; gives the gradient of every input (they are equal where there are several),
    /// where `wanted`.
    fn run(self, wanted: bool, gradients: &mut Gradients) -> Result<Option<Tensor>> {
        let (gradient, x) = (&self.gradient, self.x);
        let mut set = |suffix: &str, value: Tensor| {
            gradients.by_name.insert(format!("{}.{suffix}", self.layer.name), value);
        };
        if let Operation::Linear { .. } | Operation::Conv2d { .. } | Operation::BatchNorm { .. } =
            self.layer.operation
        {
        } else if !wanted {
            return Ok(None);
        }
        let of_input = match self.layer.operation {
            Operation::Linear { bias, .. } => {
                let weight = self.parameter("weight")?;
                set("weight", ops::linear_backward_weight(gradient, x)?);
                if bias {
                    set("bias", ops::channel_sum(gradient)?);
                }
                return Ok(wanted.then(|| ops::linear_backward_input(gradient, weight)).transpose()?);
            }
            Operation::Conv2d { stride, padding, dilation, groups, bias, .. } => {
                let weight = self.parameter("weight")?;
                let geometry = Conv2dGeometry { stride, padding, dilation, groups };
                set("weight", ops::conv2d_backward_weight(gradient, x, weight.dims(), &geometry)?);
                if bias {
                    set("bias", ops::channel_sum(gradient)?);
                }
                let of_input = || ops::conv2d_backward_input(gradient, weight, x.dims(), &geometry);
                return Ok(wanted.then(of_input).transpose()?);
            }
            Operation::BatchNorm { epsilon, .. } => {
                let weight = self.parameter("weight")?;
                let BatchNormGradients { input, weight, bias } = match &self.kept {
                    Saved::Statistics(mean, variance) => {
                        ops::batch_norm_training_backward(gradient, x, weight, mean, variance, epsilon)?
                    }
                    _ => {
                        let (mean, variance) =
                            (self.parameter("running_mean")?, self.parameter("running_var")?);
                        ops::batch_norm_evaluation_backward(gradient, x, weight, mean, variance, epsilon)?
                    }
                };
                set("weight", weight);
                set("bias", bias);
                input
            }
            Operation::Relu => ops::relu_backward(gradient, &self.output)?,
            Operation::MaxPool2d { kernel, stride, padding } => {
                ops::max_pool2d_backward(gradient, x, &Pool2dGeometry { kernel, stride, padding })?
            }
            Operation::AvgPool2d { kernel, stride, padding } => {
                ops::avg_pool2d_backward(gradient, x.dims(), &Pool2dGeometry { kernel, stride, padding })?
            }
            Operation::GlobalAvgPool => ops::global_avg_pool_backward(gradient, x.dims())?,
            Operation::Flatten => gradient.reshape(x.dims())?,
            Operation::Add => gradient.clone(),
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
    use crate::nn::{Mode, init::initialise};
    use crate::rng::Rng;
    use candle_core::{DType, Device};

    /// The walk gives what automatic differentiation gives, for every kind of layer and in all modes.
    #[test]
    fn walk_agrees_with_automatic_differentiation() {
        let image = |size| vec![3, size, size];
        let shapes =
            [("resnet20", image(12)), ("vgg16", image(32)), ("resnet18", image(32)), ("mlp-gsc", vec![490])];
        for (name, shape) in shapes {
            let mut options = model::Options::new();
            if name == "mlp-gsc" {
                options.insert("dropout".into(), 0.3.into());
                options.insert("batch_norm".into(), true.into());
            }
            let network = model::build(name, &shape, 10, &options).unwrap();
            let mut rng = Rng::stream(2, name);
            let count = 4 * shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|_| rng.normal()).collect();
            let input = Tensor::from_vec(values, [vec![4], shape].concat(), &Device::Cpu).unwrap();
            for frozen in [false, true] {
                let parameters = initialise(&network, &Device::Cpu, 1).unwrap();
                let mut dropout = Rng::stream(3, "dropout");
                let mode = if frozen {
                    Mode::TrainingFrozenNorm(&mut dropout)
                } else {
                    Mode::Training(&mut dropout)
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
}
