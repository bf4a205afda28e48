//! Layers with a weight and a bias as one thing: computed with any weight, and sent backwards to input or weight.

use super::rule::{Modifier, Term};
use crate::Result;
use crate::nn::{Layer, Operation, Parameters, ops};
use candle_core::Tensor;

/// A linear layer, a convolution, or a batch norm in evaluation mode.
pub(super) struct Affine {
    kind: Kind,
    /// Weight; of a canonized batch norm, weight / √(variance + ε).
    pub weight: Tensor,
    /// Bias; of a canonized batch norm, with the mean folded in.
    pub bias: Option<Tensor>,
}

enum Kind {
    Linear,
    Conv2d(ops::Conv2dGeometry),
    /// `(x − mean) · inverse · weight + bias` per channel; canonized ones have neither mean nor inverse deviation.
    BatchNorm {
        statistics: Option<(Tensor, Tensor)>,
    },
}

impl Affine {
    /// The layer with its present parameters, or `None` for other operations.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn of(
        layer: &Layer,
        parameters: &Parameters,
        canonize: bool,
        algorithm: ops::ConvAlgorithm,
    ) -> Result<Option<Self>> {
        let parameter =
            |suffix: &str| parameters.tensor(&format!("{}.{suffix}", layer.name)).map(Tensor::detach);
        let optional = |wanted: bool| wanted.then(|| parameter("bias")).transpose();
        Ok(Some(match layer.operation {
            Operation::Linear { bias, .. } => {
                Self { kind: Kind::Linear, weight: parameter("weight")?, bias: optional(bias)? }
            }
            Operation::Conv2d { stride, padding, dilation, groups, bias, .. } => Self {
                kind: Kind::Conv2d(ops::Conv2dGeometry { stride, padding, dilation, groups, algorithm }),
                weight: parameter("weight")?,
                bias: optional(bias)?,
            },
            Operation::BatchNorm { epsilon, .. } => {
                let (weight, bias) = (parameter("weight")?, parameter("bias")?);
                let (mean, variance) = (parameter("running_mean")?, parameter("running_var")?);
                let inverse = (variance + epsilon)?.sqrt()?.recip()?;
                if canonize {
                    let scale = (weight * inverse)?;
                    let bias = (bias - (mean * &scale)?)?;
                    Self { kind: Kind::BatchNorm { statistics: None }, weight: scale, bias: Some(bias) }
                } else {
                    let statistics = Some((mean, inverse));
                    Self { kind: Kind::BatchNorm { statistics }, weight, bias: Some(bias) }
                }
            }
            _ => return Ok(None),
        }))
    }

    /// Whether this is a batch norm.
    pub fn is_batch_norm(&self) -> bool {
        matches!(self.kind, Kind::BatchNorm { .. })
    }

    /// The layer's output with this weight and bias.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn forward(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(match &self.kind {
            Kind::Linear => ops::linear(x, weight, bias)?,
            Kind::Conv2d(geometry) => ops::conv2d(x, weight, bias, geometry)?,
            Kind::BatchNorm { .. } => {
                let zeros;
                let bias = match bias {
                    Some(bias) => bias,
                    None => {
                        zeros = weight.zeros_like()?;
                        &zeros
                    }
                };
                ops::affine(&self.normalised(x)?, weight, bias)?
            }
        })
    }

    /// The output of one modified copy of the layer, whose modified weight is given.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn copy(&self, x: &Tensor, weight: &Tensor, term: Term, bounds: (f32, f32)) -> Result<Tensor> {
        self.forward(&term.input.apply(x, bounds)?, weight, self.modified_bias(term, bounds)?.as_ref())
    }

    /// The bias of a modified copy.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn modified_bias(&self, term: Term, bounds: (f32, f32)) -> Result<Option<Tensor>> {
        let Some(bias) = &self.bias else { return Ok(None) };
        let bias = term.parameter.apply(bias, bounds)?;
        Ok(Some(match term.input.bias_factor() {
            1.0 => bias,
            factor => (bias * factor)?,
        }))
    }

    /// Gradient of `⟨gradient, output⟩` with respect to the input, which has the shape `input`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn backward_input(&self, gradient: &Tensor, weight: &Tensor, input: &[usize]) -> Result<Tensor> {
        Ok(match &self.kind {
            Kind::Linear => ops::linear_backward_input(gradient, weight)?,
            Kind::Conv2d(geometry) => ops::conv2d_backward_input(gradient, weight, input, geometry)?,
            Kind::BatchNorm { statistics } => {
                let scale = match statistics {
                    Some((_, inverse)) => (weight * inverse)?,
                    None => weight.clone(),
                };
                ops::affine(gradient, &scale, &scale.zeros_like()?)?
            }
        })
    }

    /// Gradient with respect to the weight, summed over the batch and positions.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn backward_weight(&self, gradient: &Tensor, x: &Tensor) -> Result<Tensor> {
        Ok(match &self.kind {
            Kind::Linear => ops::linear_backward_weight(gradient, x)?,
            Kind::Conv2d(geometry) => ops::conv2d_backward_weight(gradient, x, self.weight.dims(), geometry)?,
            Kind::BatchNorm { .. } => {
                ops::channel_sum(&super::elementwise::product(gradient, &self.normalised(x)?)?)?
            }
        })
    }

    /// x without mean and deviation, where this is a batch norm that was not canonized.
    fn normalised(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match &self.kind {
            Kind::BatchNorm { statistics: Some((mean, inverse)) } => {
                ops::affine(x, inverse, &(mean * inverse)?.neg()?)?
            }
            _ => x.clone(),
        })
    }
}

/// Whether a term is the unmodified layer, whose output the forward pass already has.
pub(super) fn is_plain(term: Term) -> bool {
    term.input == Modifier::Identity && term.parameter == Modifier::Identity
}
