//! Linear layers: `x Wᵀ + b` and its backward functions.

use super::{composed, is_native, output, values};
use crate::nn::kernels::epilogue::Epilogue;
use crate::nn::kernels::gemm::{Matrix, multiply};
use crate::nn::kernels::linear as kernel;
use crate::nn::transfer;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// `x Wᵀ + bias`: x (batch, inputs), weight (outputs, inputs), bias (outputs). Differentiable in all three.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    finished(x, weight, bias, false)
}

/// `max(x Wᵀ + bias, 0)` in one pass; shapes as in [`linear`]. Differentiable in all three.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn linear_relu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    finished(x, weight, bias, true)
}

fn finished(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Result<Tensor> {
    if is_native(x) {
        let (x, weight, op) = (x.contiguous()?, weight.contiguous()?, Linear { relu });
        return match bias {
            Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op),
            None => x.apply_op2(&weight, op),
        };
    }
    let out = x.matmul(&weight.t()?)?;
    let out = match bias {
        Some(bias) => super::activation::add_channel_bias(&out, bias)?,
        None => out,
    };
    if relu { composed::relu(&out) } else { Ok(out) }
}

/// 2 Xᵀ X of x (batch, inputs) as one matrix (inputs, inputs), row-major, in a list as of one group. Computed on the CPU
/// wherever `x` is.
///
/// # Errors
/// When x has other axes.
pub fn linear_moments(x: &Tensor) -> Result<Vec<Vec<f64>>> {
    let (batch, inputs) = x.dims2()?;
    let values = transfer::values::<f32>(x)?;
    let mut product = vec![0.0f32; inputs * inputs];
    let x = Matrix::new(&values, batch, inputs);
    multiply(&mut product, x.transposed(), x, false, true);
    Ok(vec![product.into_iter().map(|value| 2.0 * f64::from(value)).collect()])
}

/// Gradient with respect to x: `grad · W`, (batch, inputs).
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn linear_backward_input(grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if is_native(grad) {
        return grad.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &BackwardInput);
    }
    grad.matmul(weight)
}

/// Gradient with respect to the weight: `gradᵀ · x`, (outputs, inputs), summed over the batch.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn linear_backward_weight(grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    if is_native(grad) {
        return grad.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &BackwardWeight);
    }
    grad.t()?.matmul(x)
}

/// Rows and columns of a matrix.
fn matrix(layout: &Layout) -> Result<(usize, usize)> {
    match *layout.dims() {
        [rows, columns] => Ok((rows, columns)),
        ref other => bail!("linear: expected a matrix, found shape {other:?}"),
    }
}

struct Linear {
    relu: bool,
}

impl Linear {
    fn forward(
        &self,
        (x, xl): (&CpuStorage, &Layout),
        (w, wl): (&CpuStorage, &Layout),
        bias: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let ((batch, inputs), (outputs, expected)) = (matrix(xl)?, matrix(wl)?);
        if inputs != expected || bias.is_some_and(|bias| bias.len() != outputs) {
            bail!("linear: input {:?} does not fit weight {:?} or bias", xl.dims(), wl.dims());
        }
        let epilogue = Epilogue { relu: self.relu, ..Epilogue::bias(bias) };
        let out = kernel::forward(values(x, xl)?, values(w, wl)?, [batch, inputs, outputs], &epilogue);
        output(out, (batch, outputs))
    }

    fn backward(&self, x: &Tensor, w: &Tensor, out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let grad = if self.relu { super::activation::relu_backward(grad, out)? } else { grad.clone() };
        let grad_x = x.track_op().then(|| linear_backward_input(&grad, w)).transpose()?;
        let grad_w = w.track_op().then(|| linear_backward_weight(&grad, x)).transpose()?;
        Ok([grad_x, grad_w, Some(grad)])
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, xl), (w, wl), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [grad_x, grad_w, _] = self.backward(x, w, out, grad)?;
        Ok((grad_x, grad_w))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, xl), (w, wl), Some(values(b, bl)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [grad_x, grad_w, grad] = self.backward(x, w, out, grad)?;
        let of_bias = |grad: Tensor| super::activation::channel_sum(&grad);
        Ok((grad_x, grad_w, grad.filter(|_| b.track_op()).map(of_bias).transpose()?))
    }
}

struct BackwardInput;

impl CustomOp2 for BackwardInput {
    fn name(&self) -> &'static str {
        "linear_backward_input"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        gl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((batch, outputs), (expected, inputs)) = (matrix(gl)?, matrix(wl)?);
        if outputs != expected {
            bail!("linear: gradient {:?} does not fit weight {:?}", gl.dims(), wl.dims());
        }
        let out = kernel::backward_input(values(g, gl)?, values(w, wl)?, [batch, inputs, outputs]);
        output(out, (batch, inputs))
    }
}

struct BackwardWeight;

impl CustomOp2 for BackwardWeight {
    fn name(&self) -> &'static str {
        "linear_backward_weight"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        gl: &Layout,
        x: &CpuStorage,
        xl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((batch, outputs), (expected, inputs)) = (matrix(gl)?, matrix(xl)?);
        if batch != expected {
            bail!("linear: gradient {:?} does not fit input {:?}", gl.dims(), xl.dims());
        }
        let out = kernel::backward_weight(values(g, gl)?, values(x, xl)?, [batch, inputs, outputs]);
        output(out, (outputs, inputs))
    }
}
