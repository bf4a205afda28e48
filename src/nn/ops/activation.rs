//! ReLU, dropout, and the addition of a bias per channel.

use super::{composed, is_native, output, read_values, values};
use crate::nn::kernels::{elementwise, norm};
use crate::nn::transfer;
use crate::rng::Rng;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// max(x, 0), any shape.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if is_native(x) { x.contiguous()?.apply_op1(Relu) } else { composed::relu(x) }
}

/// min(x, 0), any shape. Without a gradient.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for devices that fail.
pub fn negative_part(x: &Tensor) -> Result<Tensor> {
    if is_native(x) { x.minimum(&x.zeros_like()?) } else { composed::negative_part(x) }
}

/// Gradient of ReLU from its output (positive exactly where the input was): `grad` where `out > 0`, else 0.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn relu_backward(grad: &Tensor, out: &Tensor) -> Result<Tensor> {
    if is_native(grad) {
        return grad.contiguous()?.apply_op2_no_bwd(&out.contiguous()?, &ReluBackward);
    }
    composed::relu_backward(grad, out)
}

/// A comparison instead of `max`: what is not a number stays visible.
#[inline(always)]
fn rectified(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        output(elementwise::mapped(x, rectified), layout.shape())
    }

    fn bwd(&self, _: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(relu_backward(grad, out)?))
    }
}

struct ReluBackward;

impl CustomOp2 for ReluBackward {
    fn name(&self) -> &'static str {
        "relu_backward"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        gl: &Layout,
        o: &CpuStorage,
        ol: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if gl.dims() != ol.dims() {
            bail!("relu: a gradient of shape {:?} does not fit the output {:?}", gl.dims(), ol.dims());
        }
        let (grad, out) = (values(g, gl)?, values(o, ol)?);
        output(elementwise::zipped(grad, out, |g, o| if o > 0.0 { g } else { 0.0 }), gl.shape())
    }
}

/// `x + y`, equal shapes. Differentiable in both.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if is_native(x) { x.contiguous()?.apply_op2(&y.contiguous()?, Add { relu: false }) } else { x + y }
}

/// `max(x + y, 0)`, equal shapes. Differentiable in both.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn add_relu(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if is_native(x) {
        return x.contiguous()?.apply_op2(&y.contiguous()?, Add { relu: true });
    }
    composed::relu(&(x + y)?)
}

/// [`relu_backward`] of the sum of two gradients, in one pass.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn relu_backward_sum(first: &Tensor, second: &Tensor, out: &Tensor) -> Result<Tensor> {
    if !is_native(out) || first.dims() != out.dims() || second.dims() != out.dims() {
        return relu_backward(&(first + second)?, out);
    }
    let tensors = [&first.contiguous()?, &second.contiguous()?, &out.contiguous()?];
    let result = read_values(tensors, |[first, second, out]| {
        elementwise::zipped3(first, second, out, |a, b, o| if o > 0.0 { a + b } else { 0.0 })
    })?;
    Tensor::from_vec(result, out.shape(), out.device())
}

struct Add {
    relu: bool,
}

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if xl.dims() != yl.dims() {
            bail!("cannot add {:?} to {:?}", yl.dims(), xl.dims());
        }
        let (x, y) = (values(x, xl)?, values(y, yl)?);
        let out = if self.relu {
            elementwise::zipped(x, y, |x, y| rectified(x + y))
        } else {
            elementwise::zipped(x, y, |x, y| x + y)
        };
        output(out, xl.shape())
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = if self.relu { relu_backward(grad, out)? } else { grad.clone() };
        Ok((Some(grad.clone()), Some(grad)))
    }
}

/// Zeroes a share `rate` of the values and scales the rest by 1 / (1 − rate); draws one number per value from `rng`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn dropout(x: &Tensor, rate: f64, rng: &mut Rng) -> Result<Tensor> {
    if rate <= 0.0 {
        return Ok(x.clone());
    }
    x * dropout_mask(x, rate, rng)?
}

/// The factors of [`dropout`] for a tensor shaped as `x`: 0 for a share `rate`, else 1 / (1 − rate).
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn dropout_mask(x: &Tensor, rate: f64, rng: &mut Rng) -> Result<Tensor> {
    let scale = (1.0 / (1.0 - rate)) as f32;
    let mask: Vec<f32> =
        (0..x.elem_count()).map(|_| if f64::from(rng.uniform()) < rate { 0.0 } else { scale }).collect();
    transfer::tensor(mask, x.shape(), x.device())
}

/// `x + bias` with one bias per channel (second axis). Differentiable in both.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn add_channel_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if is_native(x) {
        return x.contiguous()?.apply_op2(&bias.contiguous()?, ChannelBias);
    }
    let mut shape = vec![1; x.rank()];
    shape[1] = bias.elem_count();
    x.broadcast_add(&bias.reshape(shape)?)
}

/// Sum over all axes but the second: the gradient of a bias per channel.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn channel_sum(grad: &Tensor) -> Result<Tensor> {
    let channels = grad.dim(1)?;
    if is_native(grad) && channels > 0 {
        let inner = grad.dims()[2..].iter().product();
        let sums = read_values([&grad.contiguous()?], |[grad]| norm::channel_sums(grad, channels, inner))?;
        return Tensor::from_vec(sums, channels, grad.device());
    }
    composed::channel_sum(grad)
}

struct ChannelBias;

impl CustomOp2 for ChannelBias {
    fn name(&self) -> &'static str {
        "add_channel_bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, bias) = (values(x, xl)?, values(b, bl)?);
        if xl.dims().len() < 2 || xl.dims()[1] != bias.len() {
            bail!("a bias of shape {:?} does not fit {:?}", bl.dims(), xl.dims());
        }
        let inner = xl.dims()[2..].iter().product();
        output(norm::affine(x, &vec![1.0; bias.len()], bias, inner, false), xl.shape())
    }

    fn bwd(
        &self,
        _: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_bias = bias.track_op().then(|| channel_sum(grad)).transpose()?;
        Ok((Some(grad.clone()), grad_bias))
    }
}
