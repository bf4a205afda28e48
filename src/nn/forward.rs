//! The forward walk over the layer graph: training, evaluation with all values, and inference that keeps none.

use super::backend::{self, Backend};
use super::layer::{Layer, Operation};
use super::network::Network;
use super::ops::{self, BatchNormOutput, Conv2dGeometry, ConvAlgorithm, Pool2dGeometry};
use super::parameters::Parameters;
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;

/// Whether a forward pass trains or evaluates.
pub enum Mode<'a> {
    /// Batch norm uses running statistics, dropout does nothing; convolutions are this exact.
    Evaluation(ConvAlgorithm),
    /// Batch norm uses the batch and updates its running statistics in place; dropout draws from the generator;
    /// convolutions and their gradients are this exact.
    Training(&'a mut Rng, ConvAlgorithm),
    /// As `Training`, but batch norm stays frozen on its running statistics.
    TrainingFrozenNorm(&'a mut Rng, ConvAlgorithm),
}

impl Mode<'_> {
    fn algorithm(&self) -> ConvAlgorithm {
        match self {
            Self::Evaluation(algorithm)
            | Self::Training(_, algorithm)
            | Self::TrainingFrozenNorm(_, algorithm) => *algorithm,
        }
    }
}

/// The values of one forward pass.
pub struct Trace {
    /// `values[0]` is the input, `values[i + 1]` the output of layer i. In training, a linear layer, batch norm or addition whose
    /// output only a ReLU reads is computed with it: both places then hold the ReLU's output.
    pub values: Vec<Tensor>,
    /// What the gradient of each layer needs besides inputs, output and parameters.
    pub(super) saved: Vec<Saved>,
    /// How exact the gradients of convolutions are.
    pub(super) algorithm: ConvAlgorithm,
}

/// What one layer keeps for its gradient.
pub(super) enum Saved {
    /// Nothing.
    Nothing,
    /// Mean and biased variance that a batch norm took from the batch.
    Statistics(Tensor, Tensor),
    /// The factors of a dropout.
    Mask(Tensor),
    /// The layer was computed together with the one before it.
    Fused,
}

impl Trace {
    /// The last layer's output, (batch, classes).
    pub fn logits(&self) -> &Tensor {
        // A trace always holds at least the input.
        &self.values[self.values.len() - 1]
    }
}

impl Network {
    /// Runs the layers on `input` (batch, …).
    ///
    /// # Errors
    /// When the input or a parameter does not fit, or memory runs out.
    pub fn forward(&self, parameters: &Parameters, input: &Tensor, mut mode: Mode<'_>) -> Result<Trace> {
        backend::in_pool(input.device(), || self.forward_here(parameters, input, &mut mode))
    }

    fn forward_here(&self, parameters: &Parameters, input: &Tensor, mode: &mut Mode<'_>) -> Result<Trace> {
        let mut values = Vec::with_capacity(self.layers.len() + 1);
        let mut saved = Vec::with_capacity(self.layers.len());
        values.push(input.clone());
        let mut fused = false;
        for (index, (layer, sources)) in self.layers.iter().zip(&self.sources).enumerate() {
            if std::mem::take(&mut fused) {
                values.push(values[index].clone());
                saved.push(Saved::Fused);
                continue;
            }
            fused = self.takes_relu(index, mode);
            let inputs: Vec<&Tensor> = sources.iter().map(|&source| &values[source]).collect();
            let (out, kept) = run_layer(layer, parameters, &inputs, mode, fused)?;
            values.push(out);
            saved.push(kept);
        }
        Ok(Trace { values, saved, algorithm: mode.algorithm() })
    }

    /// Whether a ReLU alone reads the output of layer `index`.
    fn relu_follows(&self, index: usize) -> bool {
        self.chained[index] && matches!(self.layers[index + 1].operation, Operation::Relu)
    }

    /// Whether layer `index` is trained together with the ReLU behind it.
    fn takes_relu(&self, index: usize, mode: &Mode<'_>) -> bool {
        let able = match (&self.layers[index].operation, mode) {
            (_, Mode::Evaluation(_)) => false,
            (Operation::BatchNorm { .. }, Mode::Training(..)) => true,
            (Operation::Linear { .. }, _) => true,
            (Operation::Add, _) => self.sources[index].len() == 2,
            _ => false,
        };
        able && self.relu_follows(index)
    }

    /// Runs several batches side by side in evaluation mode, layer by layer. `visit` sees each layer that has a weight with its
    /// input of every batch before it runs, and may change the weight. Values that no later layer reads are dropped.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and those of `visit`.
    pub fn visit(
        &self,
        parameters: &Parameters,
        batches: Vec<Tensor>,
        visit: &mut dyn FnMut(&Layer, &[Tensor]) -> Result<()>,
    ) -> Result<()> {
        let mut last_use = vec![0; self.layers.len() + 1];
        for (index, sources) in self.sources.iter().enumerate() {
            sources.iter().for_each(|&source| last_use[source] = index);
        }
        // By position, then by batch.
        let mut values: Vec<Vec<Tensor>> = vec![batches];
        let mut mode = Mode::Evaluation(ConvAlgorithm::Auto);
        for (index, (layer, sources)) in self.layers.iter().zip(&self.sources).enumerate() {
            if matches!(layer.operation, Operation::Linear { .. } | Operation::Conv2d { .. }) {
                visit(layer, &values[sources[0]])?;
            }
            let of_batch = |batch: usize| {
                let inputs: Vec<&Tensor> = sources.iter().map(|&source| &values[source][batch]).collect();
                // Detached, or the tensor would keep its inputs alive.
                Ok(run_layer(layer, parameters, &inputs, &mut mode, false)?.0.detach())
            };
            let out = (0..values[sources[0]].len()).map(of_batch).collect::<Result<Vec<_>>>()?;
            for &source in sources.iter().filter(|&&source| last_use[source] == index) {
                values[source] = Vec::new();
            }
            values.push(out);
        }
        Ok(())
    }

    /// The logits alone, in evaluation mode: each value is dropped as soon as no later layer reads it.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn infer(&self, parameters: &Parameters, input: &Tensor) -> Result<Tensor> {
        backend::in_pool(input.device(), || self.infer_here(parameters, &input.detach()))
    }

    fn infer_here(&self, parameters: &Parameters, input: &Tensor) -> Result<Tensor> {
        let mut last_use = vec![0; self.layers.len() + 1];
        for (index, sources) in self.sources.iter().enumerate() {
            sources.iter().for_each(|&source| last_use[source] = index);
        }
        let mut values: Vec<Option<Tensor>> = vec![Some(input.clone())];
        while values.len() <= self.layers.len() {
            let index = values.len() - 1;
            let (layer, sources) = (&self.layers[index], &self.sources[index]);
            let inputs: Vec<&Tensor> = sources.iter().filter_map(|&source| values[source].as_ref()).collect();
            if inputs.len() != sources.len() {
                return Err(Error::Internal(format!("layer {} reads a value that is gone", layer.name)));
            }
            let (out, together) = self.infer_chain(index, parameters, &inputs)?;
            for &source in sources.iter().filter(|&&source| last_use[source] == index) {
                values[source] = None;
            }
            values.resize(index + together, None);
            // Detached, or the tensor would keep its inputs alive.
            values.push(Some(out.detach()));
        }
        values.pop().flatten().ok_or_else(|| Error::Internal("a network without layers".into()))
    }

    /// The output of layer `index` and of those behind it that are computed with it; how many they are together.
    fn infer_chain(
        &self,
        index: usize,
        parameters: &Parameters,
        inputs: &[&Tensor],
    ) -> Result<(Tensor, usize)> {
        let layer = &self.layers[index];
        if let Operation::Conv2d { stride, padding, dilation, groups, bias, .. } = &layer.operation {
            let parameter = |layer: &Layer, suffix: &str| {
                parameters.tensor(&format!("{}.{suffix}", layer.name)).map(Tensor::detach)
            };
            let (mut last, mut scale) = (index, None);
            let mut shift = bias.then(|| parameter(layer, "bias")).transpose()?;
            if let (true, Some(norm)) = (self.chained[index], self.layers.get(index + 1))
                && let Operation::BatchNorm { epsilon, .. } = norm.operation
            {
                let of_norm = |suffix: &str| parameter(norm, suffix);
                let (mean, variance) = (of_norm("running_mean")?, of_norm("running_var")?);
                let (weight, bias) = (of_norm("weight")?, of_norm("bias")?);
                let (factor, summand) = ops::channel_affine(&weight, &bias, &mean, &variance, epsilon)?;
                shift = Some(match shift {
                    Some(bias) => (summand + (bias * &factor)?)?,
                    None => summand,
                });
                (last, scale) = (index + 1, Some(factor));
            }
            let relu = self.relu_follows(last);
            let geometry = Conv2dGeometry {
                stride: *stride,
                padding: *padding,
                dilation: *dilation,
                groups: *groups,
                algorithm: ConvAlgorithm::Auto,
            };
            let weight = parameter(layer, "weight")?;
            let out =
                ops::conv2d_finished(inputs[0], &weight, scale.as_ref(), shift.as_ref(), relu, &geometry)?;
            return Ok((out, last - index + 1 + usize::from(relu)));
        }
        let pair = matches!(layer.operation, Operation::Add) && inputs.len() == 2;
        let relu = (pair || matches!(layer.operation, Operation::Linear { .. })) && self.relu_follows(index);
        let out = run_layer(layer, parameters, inputs, &mut Mode::Evaluation(ConvAlgorithm::Auto), relu)?.0;
        Ok((out, 1 + usize::from(relu)))
    }
}

/// One layer, with the ReLU behind it where `relu` says so: linear layers, additions of two, batch norms in training.
fn run_layer(
    layer: &Layer,
    parameters: &Parameters,
    inputs: &[&Tensor],
    mode: &mut Mode<'_>,
    relu: bool,
) -> Result<(Tensor, Saved)> {
    let x = inputs[0];
    // Our own walk goes back: a graph of candle's would keep every intermediate value of a composed operation.
    let is_composed = Backend::of(x) == Backend::Composed;
    let detached;
    let x = if is_composed {
        detached = x.detach();
        &detached
    } else {
        x
    };
    let parameter = |suffix: &str| {
        let tensor = parameters.tensor(&format!("{}.{suffix}", layer.name))?;
        Ok::<_, Error>(if is_composed { tensor.detach() } else { tensor.clone() })
    };
    let out = match layer.operation {
        Operation::Linear { bias, .. } => {
            let bias = if bias { Some(parameter("bias")?) } else { None };
            let run = if relu { ops::linear_relu } else { ops::linear };
            run(x, &parameter("weight")?, bias.as_ref())?
        }
        Operation::Conv2d { stride, padding, dilation, groups, bias, .. } => {
            let bias = if bias { Some(parameter("bias")?) } else { None };
            let algorithm = mode.algorithm();
            let geometry = Conv2dGeometry { stride, padding, dilation, groups, algorithm };
            ops::conv2d(x, &parameter("weight")?, bias.as_ref(), &geometry)?
        }
        Operation::BatchNorm { epsilon, momentum, .. } => {
            let (weight, bias) = (parameter("weight")?, parameter("bias")?);
            let (mean, variance) = (parameter("running_mean")?, parameter("running_var")?);
            if let Mode::Training(..) = mode {
                let normalised = ops::batch_norm_training(x, &weight, &bias, epsilon, relu)?;
                for (name, running, batch) in [
                    ("running_mean", &mean, &normalised.mean),
                    ("running_var", &variance, &normalised.variance),
                ] {
                    let blended = ((running.detach() * (1.0 - momentum))? + (batch * momentum)?)?;
                    parameters.set_tensor(&format!("{}.{name}", layer.name), &blended)?;
                }
                let BatchNormOutput { output, mean, biased, .. } = normalised;
                return Ok((output, Saved::Statistics(mean, biased)));
            } else {
                ops::batch_norm_evaluation(x, &weight, &bias, &mean.detach(), &variance.detach(), epsilon)?
            }
        }
        Operation::GroupNorm { .. } | Operation::LayerNorm { .. } => {
            let Some((norm, epsilon)) = layer.operation.row_norm() else {
                return Err(Error::Internal(format!("{} is no row norm", layer.name)));
            };
            ops::row_norm(x, &parameter("weight")?, &parameter("bias")?, norm, epsilon)?
        }
        Operation::Relu => ops::relu(x)?,
        Operation::Activation(activation) => ops::activate(x, activation)?,
        Operation::MaxPool2d { kernel, stride, padding } => {
            ops::max_pool2d(x, &Pool2dGeometry { kernel, stride, padding })?
        }
        Operation::AvgPool2d { kernel, stride, padding } => {
            ops::avg_pool2d(x, &Pool2dGeometry { kernel, stride, padding })?
        }
        Operation::GlobalAvgPool => ops::global_avg_pool(x)?,
        Operation::AdaptiveAvgPool2d { output } => ops::adaptive_avg_pool2d(x, output)?,
        Operation::Flatten => x.flatten_from(1)?,
        Operation::Add if relu => ops::add_relu(x, inputs[1])?,
        Operation::Add => {
            let mut sum = x.clone();
            for other in &inputs[1..] {
                sum = ops::add(&sum, other)?;
            }
            sum
        }
        Operation::Multiply => ops::multiply(x, inputs[1])?,
        Operation::Concat => ops::concat(inputs)?,
        Operation::Shortcut { stride, out_channels, .. } => ops::shortcut(x, stride, out_channels)?,
        Operation::Dropout { rate } => match mode {
            Mode::Evaluation(_) => x.clone(),
            Mode::Training(rng, _) | Mode::TrainingFrozenNorm(rng, _) => {
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
