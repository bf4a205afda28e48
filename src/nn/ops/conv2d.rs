//! Two-dimensional convolution (cross-correlation) and its two backward functions.

use super::{composed, is_native, output, values};
pub use crate::nn::kernels::conv2d::ConvAlgorithm;
use crate::nn::kernels::conv2d::{self as kernel, ConvShape};
use crate::nn::kernels::epilogue::Epilogue;
use crate::nn::transfer;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// What a convolution does besides its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dGeometry {
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Vertical and horizontal zero padding on each side.
    pub padding: [usize; 2],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// How exact the results have to be.
    pub algorithm: ConvAlgorithm,
}

impl Default for Conv2dGeometry {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
            algorithm: ConvAlgorithm::Direct,
        }
    }
}

impl Conv2dGeometry {
    /// Output height and width, or `None` when the kernel does not fit.
    pub fn output_size(&self, input: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let mut size = [0; 2];
        for axis in 0..2 {
            let reach = self.dilation[axis] * kernel[axis].checked_sub(1)? + 1;
            size[axis] = (input[axis] + 2 * self.padding[axis]).checked_sub(reach)? / self.stride[axis] + 1;
        }
        Some(size)
    }

    fn shape(&self, input: &[usize], weight: &[usize]) -> Result<ConvShape> {
        let (&[batch, channels, height, width], &[out, per_group, kernel_height, kernel_width]) =
            (input, weight)
        else {
            bail!("conv2d: input {input:?} and weight {weight:?} must have four axes each");
        };
        let kernel = [kernel_height, kernel_width];
        if self.groups == 0 || per_group * self.groups != channels || out % self.groups != 0 {
            bail!("conv2d: weight {weight:?} in {} groups does not fit input {input:?}", self.groups);
        }
        let Some([out_height, out_width]) = self.output_size([height, width], kernel) else {
            bail!("conv2d: kernel {kernel:?} does not fit input {input:?}");
        };
        Ok(ConvShape {
            batch,
            input: [channels, height, width],
            output: [out, out_height, out_width],
            kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        })
    }
}

/// `conv(x, weight) + bias`: x (batch, in, height, width), weight (out, in / groups, kernel height, kernel width),
/// bias (out). Differentiable in all three.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Conv2dGeometry,
) -> Result<Tensor> {
    if is_native(x) {
        let (x, weight, op) = (x.contiguous()?, weight.contiguous()?, Conv2d(*geometry));
        return match bias {
            Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op),
            None => x.apply_op2(&weight, op),
        };
    }
    let out = composed::conv2d::conv2d(x, weight, &geometry.shape(x.dims(), weight.dims())?)?;
    match bias {
        Some(bias) => super::activation::add_channel_bias(&out, bias),
        None => Ok(out),
    }
}

/// `conv(x, weight) · scale + shift` per channel, then max(·, 0) with `relu`, in one pass: a convolution with the batch
/// norm and the ReLU behind it, in evaluation. Without a gradient.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv2d_finished(
    x: &Tensor,
    weight: &Tensor,
    scale: Option<&Tensor>,
    shift: Option<&Tensor>,
    relu: bool,
    geometry: &Conv2dGeometry,
) -> Result<Tensor> {
    if !is_native(x) {
        let mut out = conv2d(x, weight, None, geometry)?;
        if let Some(scale) = scale {
            out = out.broadcast_mul(&composed::per_channel(scale, &out)?)?;
        }
        if let Some(shift) = shift {
            out = super::activation::add_channel_bias(&out, shift)?;
        }
        return if relu { composed::relu(&out) } else { Ok(out) };
    }
    let vector = |values: Option<&Tensor>| values.map(transfer::values::<f32>).transpose();
    let (scale, shift) = (vector(scale)?, vector(shift)?);
    let op = Finished { geometry: *geometry, scale, shift, relu };
    x.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &op)
}

/// Second moments of a convolution's unfolded input: how many columns X has, and 2 X Xᵀ (in / groups · kernel height · kernel
/// width, squared; row-major) of each group. Computed on the CPU wherever `x` is.
///
/// # Errors
/// When the kernel does not fit x (batch, in, height, width).
pub fn conv2d_moments(
    x: &Tensor,
    kernel: [usize; 2],
    geometry: &Conv2dGeometry,
) -> Result<(usize, Vec<Vec<f64>>)> {
    let channels = x.dim(1)?;
    let weight = [geometry.groups, channels / geometry.groups.max(1), kernel[0], kernel[1]];
    let shape = geometry.shape(x.dims(), &weight)?;
    let values = transfer::values::<f32>(x)?;
    Ok((shape.batch * shape.output[1] * shape.output[2], kernel::moments(&shape, &values)))
}

/// Gradient of `⟨grad, conv(x, weight)⟩` with respect to x, which has the shape `input_shape`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn conv2d_backward_input(
    grad: &Tensor,
    weight: &Tensor,
    input_shape: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Tensor> {
    if is_native(grad) {
        let op = BackwardInput { geometry: *geometry, input: input_shape.to_vec() };
        return grad.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &op);
    }
    let shape = geometry.shape(input_shape, weight.dims())?;
    check_grad(&shape, grad.layout())?;
    composed::conv2d::backward_input(grad, weight, &shape)
}

/// Gradient of `⟨grad, conv(x, weight)⟩` with respect to the weight, which has the shape `weight_shape`; summed over the batch.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn conv2d_backward_weight(
    grad: &Tensor,
    x: &Tensor,
    weight_shape: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Tensor> {
    if is_native(grad) {
        let op = BackwardWeight { geometry: *geometry, weight: weight_shape.to_vec() };
        return grad.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &op);
    }
    let shape = geometry.shape(x.dims(), weight_shape)?;
    check_grad(&shape, grad.layout())?;
    composed::conv2d::backward_weight(grad, x, &shape)
}

struct Conv2d(Conv2dGeometry);

impl Conv2d {
    fn backward(&self, x: &Tensor, w: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // The network's input needs no gradient, and its convolution is among the widest.
        let of_x = || conv2d_backward_input(grad, w, x.dims(), &self.0);
        let grad_x = x.track_op().then(of_x).transpose()?;
        let grad_w = w.track_op().then(|| conv2d_backward_weight(grad, x, w.dims(), &self.0)).transpose()?;
        Ok((grad_x, grad_w))
    }
}

/// A convolution with its epilogue.
fn forward(
    geometry: &Conv2dGeometry,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
    epilogue: &Epilogue<'_>,
) -> Result<(CpuStorage, Shape)> {
    let shape = geometry.shape(xl.dims(), wl.dims())?;
    let [channels, height, width] = shape.output;
    if !epilogue.fits(channels) {
        bail!("conv2d: a bias or scale does not fit {channels} output channels");
    }
    let out = kernel::forward(&shape, values(x, xl)?, values(w, wl)?, epilogue, geometry.algorithm);
    output(out, (shape.batch, channels, height, width))
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        forward(&self.0, (x, xl), (w, wl), &Epilogue::default())
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, grad)
    }
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
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
        forward(&self.0, (x, xl), (w, wl), &Epilogue::bias(Some(values(b, bl)?)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (grad_x, grad_w) = self.backward(x, w, grad)?;
        Ok((grad_x, grad_w, b.track_op().then(|| super::activation::channel_sum(grad)).transpose()?))
    }
}

struct Finished {
    geometry: Conv2dGeometry,
    scale: Option<Vec<f32>>,
    shift: Option<Vec<f32>>,
    relu: bool,
}

impl CustomOp2 for Finished {
    fn name(&self) -> &'static str {
        "conv2d_finished"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (scale, shift) = (self.scale.as_deref(), self.shift.as_deref());
        forward(&self.geometry, (x, xl), (w, wl), &Epilogue { scale, shift, relu: self.relu })
    }
}

struct BackwardInput {
    geometry: Conv2dGeometry,
    input: Vec<usize>,
}

impl CustomOp2 for BackwardInput {
    fn name(&self) -> &'static str {
        "conv2d_backward_input"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        gl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.geometry.shape(&self.input, wl.dims())?;
        check_grad(&shape, gl)?;
        let out = kernel::backward_input(&shape, values(g, gl)?, values(w, wl)?, self.geometry.algorithm);
        output(out, self.input.as_slice())
    }
}

struct BackwardWeight {
    geometry: Conv2dGeometry,
    weight: Vec<usize>,
}

impl CustomOp2 for BackwardWeight {
    fn name(&self) -> &'static str {
        "conv2d_backward_weight"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        gl: &Layout,
        x: &CpuStorage,
        xl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.geometry.shape(xl.dims(), &self.weight)?;
        check_grad(&shape, gl)?;
        output(
            kernel::backward_weight(&shape, values(g, gl)?, values(x, xl)?, self.geometry.algorithm),
            self.weight.as_slice(),
        )
    }
}

fn check_grad(shape: &ConvShape, grad: &Layout) -> Result<()> {
    let [channels, height, width] = shape.output;
    if grad.dims() != [shape.batch, channels, height, width] {
        bail!("conv2d: a gradient of shape {:?} does not fit {shape:?}", grad.dims());
    }
    Ok(())
}
