//! Operations made of candle's alone: what a GPU runs. Each does what its native namesake does, gradients included, and
//! calls nothing that is wrong or slow in candle 0.11 (its pooling, its ReLU at zero and of NaN, its transposed
//! convolution). Nothing is read back from the device.

pub mod batch_norm;
pub mod conv2d;
pub mod loss;
pub mod pool;
pub mod shortcut;
mod strided;

use candle_core::{Result, Tensor};

/// max(x, 0): zero where x ≤ 0, so that NaN stays.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    // Against zeros of the device: a number would have to be sent there.
    let zeros = x.zeros_like()?;
    x.le(&zeros)?.where_cond(&zeros, x)
}

/// min(x, 0): zero where x ≥ 0, so that NaN stays.
pub fn negative_part(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    x.ge(&zeros)?.where_cond(&zeros, x)
}

/// `grad` where `out > 0`, else 0.
pub fn relu_backward(grad: &Tensor, out: &Tensor) -> Result<Tensor> {
    let zeros = out.zeros_like()?;
    out.gt(&zeros)?.where_cond(grad, &zeros)
}

/// Sum over all axes but the second.
pub fn channel_sum(grad: &Tensor) -> Result<Tensor> {
    let channels = grad.dim(1)?;
    grad.transpose(0, 1)?.reshape((channels, ()))?.sum(1)
}

/// One value per channel, shaped to be broadcast over `x`.
pub fn per_channel(values: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    shape[1] = values.elem_count();
    values.detach().reshape(shape)
}
