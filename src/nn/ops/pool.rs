//! Max, average and global average pooling with their backward functions.

use super::{composed, is_native, output, values};
use crate::nn::kernels::pool::{self as kernel, PoolShape};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Window, stride and padding of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2dGeometry {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding on each side.
    pub padding: [usize; 2],
}

impl Pool2dGeometry {
    /// Output height and width, or `None` when the window does not fit.
    pub fn output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let mut size = [0; 2];
        for axis in 0..2 {
            if self.stride[axis] == 0 || self.kernel[axis] == 0 || 2 * self.padding[axis] > self.kernel[axis]
            {
                return None;
            }
            size[axis] = (input[axis] + 2 * self.padding[axis]).checked_sub(self.kernel[axis])?
                / self.stride[axis]
                + 1;
        }
        Some(size)
    }

    fn shape(&self, input: &[usize]) -> Result<PoolShape> {
        let &[_, _, height, width] = input else {
            bail!("pooling needs an image batch, found shape {input:?}")
        };
        let Some(output) = self.output_size([height, width]) else {
            bail!("pooling window {:?} does not fit input {input:?}", self.kernel)
        };
        let Self { kernel, stride, padding } = *self;
        Ok(PoolShape { input: [height, width], output, kernel, stride, padding })
    }
}

fn pooled(input: &[usize], shape: &PoolShape) -> Shape {
    Shape::from((input[0], input[1], shape.output[0], shape.output[1]))
}

/// Largest value of each window. x (batch, channels, height, width).
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn max_pool2d(x: &Tensor, geometry: &Pool2dGeometry) -> Result<Tensor> {
    if is_native(x) {
        return x.contiguous()?.apply_op1(MaxPool(*geometry));
    }
    composed::pool::max_pool2d(x, &geometry.shape(x.dims())?)
}

/// Gradient of [`max_pool2d`]: all of it goes to the first maximum of each window.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn max_pool2d_backward(grad: &Tensor, x: &Tensor, geometry: &Pool2dGeometry) -> Result<Tensor> {
    if is_native(grad) {
        return grad.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &MaxPoolBackward(*geometry));
    }
    let shape = geometry.shape(x.dims())?;
    check_grad(grad.layout(), &pooled(x.dims(), &shape))?;
    composed::pool::max_pool2d_backward(grad, x, &shape)
}

/// Mean of each window; padded zeros count. x (batch, channels, height, width).
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn avg_pool2d(x: &Tensor, geometry: &Pool2dGeometry) -> Result<Tensor> {
    if is_native(x) {
        return x.contiguous()?.apply_op1(AvgPool(*geometry));
    }
    composed::pool::avg_pool2d(x, &geometry.shape(x.dims())?)
}

/// Gradient of [`avg_pool2d`] with respect to its input of shape `input_shape`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn avg_pool2d_backward(
    grad: &Tensor,
    input_shape: &[usize],
    geometry: &Pool2dGeometry,
) -> Result<Tensor> {
    if is_native(grad) {
        let op = AvgPoolBackward { geometry: *geometry, input: input_shape.to_vec() };
        return grad.contiguous()?.apply_op1_no_bwd(&op);
    }
    let shape = geometry.shape(input_shape)?;
    check_grad(grad.layout(), &pooled(input_shape, &shape))?;
    composed::pool::avg_pool2d_backward(grad, input_shape, &shape)
}

/// The average pooling whose window is the whole image.
fn whole(input: &[usize]) -> Result<Pool2dGeometry> {
    let &[_, _, height, width] = input else { bail!("pooling needs an image batch, found shape {input:?}") };
    Ok(Pool2dGeometry { kernel: [height, width], stride: [height, width], padding: [0, 0] })
}

/// Mean over height and width: (batch, channels, 1, 1).
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    if is_native(x) { avg_pool2d(x, &whole(x.dims())?) } else { x.mean_keepdim((2, 3)) }
}

/// Gradient of [`global_avg_pool`] with respect to its input of shape `input_shape`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn global_avg_pool_backward(grad: &Tensor, input_shape: &[usize]) -> Result<Tensor> {
    if is_native(grad) {
        return avg_pool2d_backward(grad, input_shape, &whole(input_shape)?);
    }
    let count = (input_shape[2] * input_shape[3]) as f64;
    grad.affine(1.0 / count, 0.0)?.broadcast_as(input_shape)?.contiguous()
}

/// Repeats every value `factor` times along height and width. Differentiable: the gradient is the sum over the copies.
///
/// # Errors
/// When `x` is no image batch or `factor` is zero.
pub fn upsample_nearest2d(x: &Tensor, factor: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if factor == 0 {
        bail!("upsampling needs a factor of at least 1");
    }
    let copies = x.reshape((batch, channels, height, 1, width, 1))?;
    let copies = copies.broadcast_as((batch, channels, height, factor, width, factor))?;
    copies.contiguous()?.reshape((batch, channels, height * factor, width * factor))
}

struct MaxPool(Pool2dGeometry);

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = self.0.shape(layout.dims())?;
        let out_shape = pooled(layout.dims(), &shape);
        output(kernel::max_forward(&shape, values(x, layout)?), out_shape)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(max_pool2d_backward(grad, x, &self.0)?))
    }
}

struct MaxPoolBackward(Pool2dGeometry);

impl CustomOp2 for MaxPoolBackward {
    fn name(&self) -> &'static str {
        "max_pool2d_backward"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        gl: &Layout,
        x: &CpuStorage,
        xl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.0.shape(xl.dims())?;
        check_grad(gl, &pooled(xl.dims(), &shape))?;
        output(kernel::max_backward(&shape, values(g, gl)?, values(x, xl)?), xl.shape())
    }
}

struct AvgPool(Pool2dGeometry);

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = self.0.shape(layout.dims())?;
        let out_shape = pooled(layout.dims(), &shape);
        output(kernel::average_forward(&shape, values(x, layout)?), out_shape)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(avg_pool2d_backward(grad, x.dims(), &self.0)?))
    }
}

struct AvgPoolBackward {
    geometry: Pool2dGeometry,
    input: Vec<usize>,
}

impl CustomOp1 for AvgPoolBackward {
    fn name(&self) -> &'static str {
        "avg_pool2d_backward"
    }

    fn cpu_fwd(&self, grad: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = self.geometry.shape(&self.input)?;
        check_grad(layout, &pooled(&self.input, &shape))?;
        output(kernel::average_backward(&shape, values(grad, layout)?), self.input.as_slice())
    }
}

fn check_grad(grad: &Layout, expected: &Shape) -> Result<()> {
    if grad.shape() != expected {
        bail!("pooling: a gradient of shape {:?} does not fit {expected:?}", grad.dims());
    }
    Ok(())
}
