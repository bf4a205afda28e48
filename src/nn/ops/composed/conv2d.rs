//! Convolutions as matrix products: candle's own where one stride and one dilation serve both axes, else one product per
//! tap of the kernel.

use super::strided::{resized, spaced, strided};
use crate::nn::kernels::conv2d::ConvShape;
use candle_core::{Result, Tensor};

/// `conv(x, weight)`.
pub fn conv2d(x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let [py, px] = shape.padding;
    if let (true, Some((stride, dilation))) = (py == px, even(shape)) {
        return x.conv2d(weight, py, stride, dilation, shape.groups);
    }
    let x = padded(x, shape)?;
    match even(shape) {
        Some((stride, dilation)) => x.conv2d(weight, 0, stride, dilation, shape.groups),
        None => by_taps(&x, weight, shape),
    }
}

/// The gradient for x: a convolution of the gradient, zeros between its values where the stride left some out, with the
/// weight turned round. candle's transposed convolution is a plain loop per value on a GPU.
pub fn backward_input(grad: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let mut grad = grad.clone();
    for axis in 0..2 {
        let reach = shape.dilation[axis] * (shape.kernel[axis] - 1);
        let before = reach as isize - shape.padding[axis] as isize;
        grad = spaced(&grad, axis + 2, shape.stride[axis])?;
        let after = (shape.input[axis + 1] + reach) as isize - before - grad.dim(axis + 2)? as isize;
        grad = resized(&grad, axis + 2, before, after)?;
    }
    let [out, per_group] = [shape.output[0], shape.input[0]].map(|channels| channels / shape.groups);
    let [kh, kw] = shape.kernel;
    let weight = weight.detach().reshape((shape.groups, out, per_group, kh, kw))?.transpose(1, 2)?;
    let weight = weight.reshape((shape.input[0], out, kh, kw))?;
    let weight = turned(&turned(&weight, 2)?, 3)?.contiguous()?;
    let [channels, height, width] = shape.input;
    let whole = ConvShape {
        batch: shape.batch,
        input: [shape.output[0], grad.dim(2)?, grad.dim(3)?],
        output: [channels, height, width],
        kernel: shape.kernel,
        stride: [1, 1],
        padding: [0, 0],
        dilation: shape.dilation,
        groups: shape.groups,
    };
    conv2d(&grad.contiguous()?, &weight, &whole)?.contiguous()
}

/// The gradient for the weight: a convolution of x with the gradient, batch and channels exchanged, stride and dilation
/// exchanged.
pub fn backward_weight(grad: &Tensor, x: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let [out, per_group] = [shape.output[0], shape.input[0]].map(|channels| channels / shape.groups);
    let (even, x) = (even(shape), padded(x, shape)?);
    let mut parts = Vec::with_capacity(shape.groups);
    for group in 0..shape.groups {
        let grad = grad.narrow(1, group * out, out)?.transpose(0, 1)?.contiguous()?;
        let x = x.narrow(1, group * per_group, per_group)?;
        let [kh, kw] = shape.kernel;
        parts.push(match even {
            Some((stride, dilation)) => {
                let x = x.transpose(0, 1)?.contiguous()?;
                let part = x.conv2d(&grad, 0, dilation, stride, 1)?.transpose(0, 1)?;
                part.narrow(2, 0, kh)?.narrow(3, 0, kw)?
            }
            None => {
                // (out, batch · pixels) times (batch · pixels, in), for every tap.
                let grad = grad.flatten_from(1)?;
                let of_tap = |place| {
                    let view = tap(&x, shape, place)?.transpose(0, 1)?.contiguous()?.flatten_from(1)?;
                    grad.matmul(&view.t()?)
                };
                let taps: Vec<Tensor> = places(shape).map(of_tap).collect::<Result<_>>()?;
                Tensor::stack(&taps, 2)?.reshape((out, per_group, kh, kw))?
            }
        });
    }
    Tensor::cat(&parts, 0)?.contiguous()
}

/// The stride and the dilation, where one serves both axes.
fn even(shape: &ConvShape) -> Option<(usize, usize)> {
    let ([s, s2], [d, d2]) = (shape.stride, shape.dilation);
    (s == s2 && d == d2).then_some((s, d))
}

fn padded(x: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let [py, px] = shape.padding;
    x.pad_with_zeros(2, py, py)?.pad_with_zeros(3, px, px)?.contiguous()
}

/// Mirrored along `axis`.
fn turned(x: &Tensor, axis: usize) -> Result<Tensor> {
    let size = x.dim(axis)?;
    if size == 1 {
        return Ok(x.clone());
    }
    let slices: Vec<Tensor> = (0..size).rev().map(|at| x.narrow(axis, at, 1)).collect::<Result<_>>()?;
    Tensor::cat(&slices, axis)
}

/// The taps of a kernel, row by row.
fn places(shape: &ConvShape) -> impl Iterator<Item = [usize; 2]> {
    let [rows, columns] = shape.kernel;
    (0..rows).flat_map(move |ky| (0..columns).map(move |kx| [ky, kx]))
}

/// What a tap sees of a padded x.
fn tap(x: &Tensor, shape: &ConvShape, [ky, kx]: [usize; 2]) -> Result<Tensor> {
    let [_, height, width] = shape.output;
    let rows = strided(x, 2, ky * shape.dilation[0], shape.stride[0], height)?;
    strided(&rows, 3, kx * shape.dilation[1], shape.stride[1], width)
}

/// The convolution of a padded x as a sum of matrix products, one per tap and group.
fn by_taps(x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let [out, per_group] = [shape.output[0], shape.input[0]].map(|channels| channels / shape.groups);
    let [_, height, width] = shape.output;
    let mut parts = Vec::with_capacity(shape.groups);
    for group in 0..shape.groups {
        let x = x.narrow(1, group * per_group, per_group)?;
        let weight = weight.narrow(0, group * out, out)?;
        let mut sum: Option<Tensor> = None;
        for [ky, kx] in places(shape) {
            let view = tap(&x, shape, [ky, kx])?.contiguous()?.flatten_from(2)?;
            let weight = weight.narrow(2, ky, 1)?.narrow(3, kx, 1)?.reshape((1, out, per_group))?;
            let product = weight.broadcast_matmul(&view)?;
            sum = Some(match sum {
                None => product,
                Some(sum) => (sum + product)?,
            });
        }
        parts.extend(sum);
    }
    Tensor::cat(&parts, 1)?.reshape((shape.batch, shape.output[0], height, width))
}
