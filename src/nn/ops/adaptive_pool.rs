//! Average pooling to a given height and width.

use super::{is_native, output as finished, values};
use crate::nn::kernels::adaptive_pool::{self as kernel, AdaptiveShape};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

fn shape(input: &[usize], output: [usize; 2]) -> Result<AdaptiveShape> {
    match *input {
        [_, _, height, width] if height > 0 && width > 0 && !output.contains(&0) => {
            Ok(AdaptiveShape { input: [height, width], output })
        }
        _ => bail!("adaptive pooling to {output:?} does not fit input {input:?}"),
    }
}

/// Means over windows such that x (batch, channels, height, width) becomes (batch, channels, output…); smaller images
/// are spread out. Differentiable.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn adaptive_avg_pool2d(x: &Tensor, output: [usize; 2]) -> Result<Tensor> {
    if is_native(x) { x.contiguous()?.apply_op1(Pool { output }) } else { composed(x, output) }
}

/// The same by candle's operations alone, as products with one matrix per axis: rows of outputs, columns of inputs.
pub(super) fn composed(x: &Tensor, output: [usize; 2]) -> Result<Tensor> {
    let shape = shape(x.dims(), output)?;
    let (batch, channels, height, width) = x.dims4()?;
    let matrix = |axis: usize| {
        let mut values = vec![0f32; shape.output[axis] * shape.input[axis]];
        for (index, row) in values.chunks_exact_mut(shape.input[axis]).enumerate() {
            let window = shape.window(axis, index);
            let share = 1.0 / window.len() as f32;
            row[window].fill(share);
        }
        Tensor::from_vec(values, (shape.output[axis], shape.input[axis]), x.device())
    };
    let lines = x.reshape((batch * channels * height, width))?.matmul(&matrix(1)?.t()?)?;
    let planes = lines.reshape((batch * channels, height, output[1]))?.transpose(1, 2)?.contiguous()?;
    let lines = planes.reshape((batch * channels * output[1], height))?.matmul(&matrix(0)?.t()?)?;
    let planes = lines.reshape((batch * channels, output[1], output[0]))?.transpose(1, 2)?.contiguous()?;
    planes.reshape((batch, channels, output[0], output[1]))
}

/// Gradient of [`adaptive_avg_pool2d`] with respect to its input of shape `input_shape`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn adaptive_avg_pool2d_backward(grad: &Tensor, input_shape: &[usize]) -> Result<Tensor> {
    let (_, _, height, width) = grad.dims4()?;
    if is_native(grad) {
        return grad.contiguous()?.apply_op1_no_bwd(&Backward { input: input_shape.to_vec() });
    }
    let x = Tensor::zeros(input_shape, grad.dtype(), grad.device())?;
    super::pointwise::vector_jacobian(&x, grad, |x| composed(x, [height, width]))
}

struct Pool {
    output: [usize; 2],
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (dims, [height, width]) = (layout.dims(), self.output);
        let out = kernel::forward(&shape(dims, self.output)?, values(x, layout)?);
        finished(out, (dims[0], dims[1], height, width))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        adaptive_avg_pool2d_backward(grad, x.dims()).map(Some)
    }
}

struct Backward {
    input: Vec<usize>,
}

impl CustomOp1 for Backward {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d_backward"
    }

    fn cpu_fwd(&self, grad: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[batch, channels, height, width] = layout.dims() else {
            bail!("adaptive pooling: a gradient of shape {:?}", layout.dims())
        };
        let shape = shape(&self.input, [height, width])?;
        if self.input[..2] != [batch, channels] {
            bail!("adaptive pooling: a gradient of shape {:?} does not fit {:?}", layout.dims(), self.input);
        }
        finished(kernel::backward(&shape, values(grad, layout)?), self.input.as_slice())
    }
}
