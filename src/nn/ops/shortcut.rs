//! The parameter-free shortcut of CIFAR ResNets (He et al. 2015, option A): strided slice, channels padded with zeros.

use super::{composed, is_native, output, values};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Every `stride`-th row and column of x (batch, in, height, width), with zero channels added evenly before and after
/// until there are `out_channels`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn shortcut(x: &Tensor, stride: usize, out_channels: usize) -> Result<Tensor> {
    let op = Shortcut { stride, out_channels };
    if is_native(x) {
        return x.contiguous()?.apply_op1(op);
    }
    composed::shortcut::forward(x, stride, op.plan(x.dims())?)
}

/// Gradient of [`shortcut`] with respect to its input of shape `input_shape`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn shortcut_backward(grad: &Tensor, input_shape: &[usize], stride: usize) -> Result<Tensor> {
    let out_channels = grad.dim(1)?;
    let op = ShortcutBackward { inner: Shortcut { stride, out_channels }, input: input_shape.to_vec() };
    if is_native(grad) {
        return grad.contiguous()?.apply_op1_no_bwd(&op);
    }
    let (before, _, [height, width]) = op.inner.plan(input_shape)?;
    if grad.dims() != [input_shape[0], out_channels, height, width] {
        bail!("shortcut: a gradient of shape {:?} does not fit input {input_shape:?}", grad.dims());
    }
    composed::shortcut::backward(grad, stride, before, [input_shape[1], input_shape[2], input_shape[3]])
}

struct Shortcut {
    stride: usize,
    out_channels: usize,
}

impl Shortcut {
    /// Zero channels before and after, and the output's height and width.
    fn plan(&self, input: &[usize]) -> Result<(usize, usize, [usize; 2])> {
        let &[_, channels, height, width] = input else {
            bail!("a shortcut needs an image batch, found shape {input:?}")
        };
        let Some(extra) = self.out_channels.checked_sub(channels).filter(|_| self.stride > 0) else {
            bail!("a shortcut from {channels} to {} channels with stride {}", self.out_channels, self.stride)
        };
        Ok((extra / 2, extra - extra / 2, [height.div_ceil(self.stride), width.div_ceil(self.stride)]))
    }

    /// Calls `visit(input row, output row)`, both as ranges inside one sample, for every row that is passed on.
    fn each_row(&self, input: &[usize], mut visit: impl FnMut(Range<usize>, Range<usize>)) -> Result<()> {
        let (before, _, [out_height, out_width]) = self.plan(input)?;
        let (channels, height, width) = (input[1], input[2], input[3]);
        for channel in 0..channels {
            for y in 0..out_height {
                let from = (channel * height + y * self.stride) * width;
                let to = ((before + channel) * out_height + y) * out_width;
                visit(from..from + width, to..to + out_width);
            }
        }
        Ok(())
    }
}

impl CustomOp1 for Shortcut {
    fn name(&self) -> &'static str {
        "shortcut"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, _, [height, width]) = self.plan(layout.dims())?;
        let shape = Shape::from((layout.dims()[0], self.out_channels, height, width));
        let x = values(x, layout)?;
        let mut out = vec![0.0; shape.elem_count()];
        let sizes = [x.len(), out.len()].map(|length| (length / layout.dims()[0].max(1)).max(1));
        out.par_chunks_mut(sizes[1]).zip(x.par_chunks(sizes[0])).try_for_each(|(out, x)| {
            self.each_row(layout.dims(), |from, to| {
                let values = x[from].iter().step_by(self.stride);
                out[to].iter_mut().zip(values).for_each(|(out, &x)| *out = x);
            })
        })?;
        output(out, shape)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(shortcut_backward(grad, x.dims(), self.stride)?))
    }
}

struct ShortcutBackward {
    inner: Shortcut,
    input: Vec<usize>,
}

impl CustomOp1 for ShortcutBackward {
    fn name(&self) -> &'static str {
        "shortcut_backward"
    }

    fn cpu_fwd(&self, grad: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, _, [height, width]) = self.inner.plan(&self.input)?;
        if layout.dims() != [self.input[0], self.inner.out_channels, height, width] {
            bail!("shortcut: a gradient of shape {:?} does not fit input {:?}", layout.dims(), self.input);
        }
        let grad = values(grad, layout)?;
        let mut out = vec![0.0; self.input.iter().product()];
        let sizes = [out.len(), grad.len()].map(|length| (length / self.input[0].max(1)).max(1));
        out.par_chunks_mut(sizes[0]).zip(grad.par_chunks(sizes[1])).try_for_each(|(out, grad)| {
            self.inner.each_row(&self.input, |from, to| {
                let values = out[from].iter_mut().step_by(self.inner.stride);
                values.zip(&grad[to]).for_each(|(out, &g)| *out = g);
            })
        })?;
        output(out, self.input.as_slice())
    }
}
