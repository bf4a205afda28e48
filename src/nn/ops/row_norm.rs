//! Group and layer normalisation: every stretch of values of a sample by its own mean and variance, then a scale and a
//! shift. The same in training and evaluation.

use super::{affine, channel_sum, is_native, output, values};
use crate::nn::kernels::row_norm as kernel;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Which values are normalised together, and where their scales are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowNorm<'a> {
    /// Channels (second axis) in this many groups of neighbours (Wu & He 2018); one scale and shift per channel.
    Groups(usize),
    /// The last axes, which have this shape (Ba et al. 2016); one scale and shift per value.
    Last(&'a [usize]),
}

/// A norm with the input it is applied to.
struct Plan {
    /// Values that are normalised together; they lie side by side.
    length: usize,
    /// The input's shape such that scales go along the second axis.
    view: Vec<usize>,
}

impl RowNorm<'_> {
    fn plan(self, x: &Tensor) -> Result<Plan> {
        let dims = x.dims();
        let length = match self {
            Self::Groups(groups) if dims.len() >= 2 && groups > 0 && dims[1].is_multiple_of(groups) => {
                dims[1..].iter().product::<usize>() / groups
            }
            Self::Last(shape) if dims.len() > shape.len() && dims.ends_with(shape) => shape.iter().product(),
            _ => bail!("normalisation: {self:?} does not fit input {dims:?}"),
        };
        if length == 0 {
            bail!("normalisation: the input {dims:?} is empty");
        }
        let view = match self {
            Self::Groups(_) => dims.to_vec(),
            Self::Last(_) => vec![x.elem_count() / length, length],
        };
        Ok(Plan { length, view })
    }
}

/// Gradients of [`row_norm`].
pub struct RowNormGradients {
    /// With respect to the input, in its shape.
    pub input: Tensor,
    /// With respect to the weight (scale), in its shape.
    pub weight: Tensor,
    /// With respect to the bias (shift), in its shape.
    pub bias: Tensor,
}

/// `(x − mean) / √(variance + ε) · weight + bias`, mean and (biased) variance of the values that `norm` puts together.
/// Weight and bias have one value per channel, or the shape of the last axes. Differentiable in all three.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn row_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    norm: RowNorm<'_>,
    epsilon: f64,
) -> Result<Tensor> {
    let plan = norm.plan(x)?;
    let normalised = normalise(x, plan.length, epsilon)?.reshape(plan.view)?;
    affine(&normalised, &weight.flatten_all()?, &bias.flatten_all()?)?.reshape(x.shape())
}

/// Gradients of `⟨grad, row_norm(x)⟩`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn row_norm_backward(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    norm: RowNorm<'_>,
    epsilon: f64,
) -> Result<RowNormGradients> {
    row_norm_pullback(grad, x, weight, norm, epsilon, Deviation::Varies)
}

/// Whether a gradient passes through the standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// It does: the derivative.
    Varies,
    /// It is a constant: what relevance needs (Ali et al. 2022).
    Constant,
}

/// As [`row_norm_backward`], with the standard deviation as a constant where `deviation` says so.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn row_norm_pullback(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    norm: RowNorm<'_>,
    epsilon: f64,
    deviation: Deviation,
) -> Result<RowNormGradients> {
    let plan = norm.plan(x)?;
    let (x, scale) = (x.detach(), weight.detach().flatten_all()?);
    let grad = grad.contiguous()?.reshape(plan.view.as_slice())?;
    let normalised = normalise(&x, plan.length, epsilon)?.reshape(plan.view)?;
    let of_normalised = affine(&grad, &scale, &scale.zeros_like()?)?.reshape(x.shape())?;
    Ok(RowNormGradients {
        input: normalise_backward(&of_normalised, &x, plan.length, epsilon, deviation)?,
        weight: channel_sum(&(&grad * normalised)?)?.reshape(weight.shape())?,
        bias: channel_sum(&grad)?.reshape(weight.shape())?,
    })
}

/// Every `length` values that lie side by side, less their mean, divided by their deviation.
fn normalise(x: &Tensor, length: usize, epsilon: f64) -> Result<Tensor> {
    let x = x.contiguous()?;
    if is_native(&x) { x.apply_op1(Normalise { length, epsilon }) } else { composed(&x, length, epsilon) }
}

/// [`normalise`] by candle's operations alone: for devices without kernels of ours.
pub(super) fn composed(x: &Tensor, length: usize, epsilon: f64) -> Result<Tensor> {
    let rows = x.reshape(((), length))?;
    let centred = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let inverse = (centred.sqr()?.mean_keepdim(1)? + epsilon)?.sqrt()?.recip()?;
    centred.broadcast_mul(&inverse)?.reshape(x.shape())
}

fn normalise_backward(
    grad: &Tensor,
    x: &Tensor,
    length: usize,
    epsilon: f64,
    deviation: Deviation,
) -> Result<Tensor> {
    if is_native(grad) {
        let op = NormaliseBackward { length, epsilon, deviation };
        return grad.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &op);
    }
    composed_backward(grad, x, length, epsilon, deviation)
}

/// Its gradient by candle's operations alone.
pub(super) fn composed_backward(
    grad: &Tensor,
    x: &Tensor,
    length: usize,
    epsilon: f64,
    deviation: Deviation,
) -> Result<Tensor> {
    let (rows, grad) = (x.reshape(((), length))?, grad.reshape(((), length))?);
    let centred = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let inverse = (centred.sqr()?.mean_keepdim(1)? + epsilon)?.sqrt()?.recip()?;
    let mut sum = grad.broadcast_sub(&grad.mean_keepdim(1)?)?;
    if deviation == Deviation::Varies {
        let normalised = centred.broadcast_mul(&inverse)?;
        let product = (&grad * &normalised)?.mean_keepdim(1)?;
        sum = (sum - normalised.broadcast_mul(&product)?)?;
    }
    sum.broadcast_mul(&inverse)?.reshape(x.shape())
}

struct Normalise {
    length: usize,
    epsilon: f64,
}

impl CustomOp1 for Normalise {
    fn name(&self) -> &'static str {
        "row_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        output(kernel::forward(values(x, layout)?, self.length, self.epsilon), layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        normalise_backward(grad, x, self.length, self.epsilon, Deviation::Varies).map(Some)
    }
}

struct NormaliseBackward {
    length: usize,
    epsilon: f64,
    deviation: Deviation,
}

impl CustomOp2 for NormaliseBackward {
    fn name(&self) -> &'static str {
        "row_norm_backward"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        gl: &Layout,
        x: &CpuStorage,
        xl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if gl.dims() != xl.dims() {
            bail!("normalisation: a gradient of shape {:?} does not fit {:?}", gl.dims(), xl.dims());
        }
        let varies = self.deviation == Deviation::Varies;
        output(
            kernel::backward(values(grad, gl)?, values(x, xl)?, self.length, self.epsilon, varies),
            gl.shape(),
        )
    }
}
