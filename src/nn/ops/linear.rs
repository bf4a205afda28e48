//! Linear layers: `x Wᵀ + b` and its backward functions.

use super::{output, values};
use crate::nn::kernels::gemm::{Matrix, multiply};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// `x Wᵀ + bias`: x (batch, inputs), weight (outputs, inputs), bias (outputs). Differentiable in all three.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let out = if x.device().is_cpu() {
        x.contiguous()?.apply_op2(&weight.contiguous()?, Linear)?
    } else {
        x.matmul(&weight.t()?)?
    };
    match bias {
        Some(bias) => super::activation::add_channel_bias(&out, bias),
        None => Ok(out),
    }
}

/// Gradient with respect to x: `grad · W`, (batch, inputs).
pub fn linear_backward_input(grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if grad.device().is_cpu() {
        return grad.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &BackwardInput);
    }
    grad.matmul(weight)
}

/// Gradient with respect to the weight: `gradᵀ · x`, (outputs, inputs), summed over the batch.
pub fn linear_backward_weight(grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    if grad.device().is_cpu() {
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

struct Linear;

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
        let ((batch, inputs), (outputs, expected)) = (matrix(xl)?, matrix(wl)?);
        if inputs != expected {
            bail!("linear: input {:?} does not fit weight {:?}", xl.dims(), wl.dims());
        }
        let mut out = vec![0.0; batch * outputs];
        let weight = Matrix::new(values(w, wl)?, outputs, inputs);
        multiply(&mut out, Matrix::new(values(x, xl)?, batch, inputs), weight.transposed(), false, true);
        output(out, (batch, outputs))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_x = x.track_op().then(|| linear_backward_input(grad, w)).transpose()?;
        let grad_w = w.track_op().then(|| linear_backward_weight(grad, x)).transpose()?;
        Ok((grad_x, grad_w))
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
        let mut out = vec![0.0; batch * inputs];
        let weight = Matrix::new(values(w, wl)?, outputs, inputs);
        multiply(&mut out, Matrix::new(values(g, gl)?, batch, outputs), weight, false, true);
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
        let mut out = vec![0.0; outputs * inputs];
        let grad = Matrix::new(values(g, gl)?, batch, outputs);
        multiply(&mut out, grad.transposed(), Matrix::new(values(x, xl)?, batch, inputs), false, true);
        output(out, (outputs, inputs))
    }
}
