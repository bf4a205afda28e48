//! The parameter-free shortcut of CIFAR ResNets: a strided slice with zero channels around.

use super::strided::{spread, strided};
use candle_core::{Result, Tensor};

/// Every `stride`-th row and column, `before` and `after` zero channels; height and width of the output.
pub fn forward(
    x: &Tensor,
    stride: usize,
    (before, after, [height, width]): (usize, usize, [usize; 2]),
) -> Result<Tensor> {
    let x = strided(&strided(x, 2, 0, stride, height)?, 3, 0, stride, width)?;
    x.pad_with_zeros(1, before, after)?.contiguous()
}

/// The gradient for an input of `channels`, `height` and `width`, of whose output the first `before` channels are zeros.
pub fn backward(
    grad: &Tensor,
    stride: usize,
    before: usize,
    [channels, height, width]: [usize; 3],
) -> Result<Tensor> {
    let grad = grad.narrow(1, before, channels)?.contiguous()?;
    spread(&spread(&grad, 2, 0, stride, height)?, 3, 0, stride, width)?.contiguous()
}
