//! Operations on candle tensors with public backward functions. The native backend runs each as a CustomOp of our kernels,
//! differentiable by candle's autograd; the composed one (`composed`) calls candle's own operations, avoiding those that
//! are wrong in candle 0.11, and leaves gradients to the backward functions. Who runs is decided in [`super::backend`].

pub mod activation;
pub mod adaptive_pool;
pub mod batch_norm;
pub mod combine;
mod composed;
pub mod conv2d;
pub mod in_place;
pub mod linear;
pub mod loss;
pub mod pointwise;
pub mod pool;
pub mod row_norm;
pub mod shortcut;
pub mod targets;
pub mod update;

pub use activation::{
    add, add_channel_bias, add_relu, channel_sum, dropout, dropout_mask, negative_part, relu, relu_backward,
    relu_backward_sum,
};
pub use adaptive_pool::{adaptive_avg_pool2d, adaptive_avg_pool2d_backward};
pub use batch_norm::{
    BatchNormGradients, BatchNormOutput, affine, batch_norm_evaluation, batch_norm_evaluation_backward,
    batch_norm_training, batch_norm_training_backward, channel_affine,
};
pub use combine::{concat, concat_parts, multiply, multiply_backward};
pub use conv2d::{
    Conv2dGeometry, ConvAlgorithm, conv2d, conv2d_backward_input, conv2d_backward_weight, conv2d_finished,
    conv2d_moments,
};
pub use in_place::{consume_values, into_values, overwrite_values, with_values};
pub use linear::{linear, linear_backward_input, linear_backward_weight, linear_moments, linear_relu};
pub use loss::{
    TrainingLoss, smooth_labels, softmax, softmax_cross_entropy, softmax_cross_entropy_backward,
    training_loss,
};
pub use pointwise::{Activation, activate, activate_backward};
pub use pool::{
    Pool2dGeometry, avg_pool2d, avg_pool2d_backward, global_avg_pool, global_avg_pool_backward, max_pool2d,
    max_pool2d_backward, upsample_nearest2d,
};
pub use row_norm::{Deviation, RowNorm, RowNormGradients, row_norm, row_norm_backward, row_norm_pullback};
pub use shortcut::{shortcut, shortcut_backward};

pub use targets::{
    ABSENT, IGNORED, PRESENT, Targets, binary_cross_entropy, binary_cross_entropy_backward, loss,
    loss_backward,
};

use super::backend::{check_kernel, is_native};
use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};

/// The values behind a contiguous CPU tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    check_kernel("operation")?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a kernel was given a tensor that is not contiguous"),
    }
}

/// Runs `work` on the values of contiguous CPU tensors.
fn read_values<const N: usize, R>(tensors: [&Tensor; N], work: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *slice = values(storage, layout)?,
            _ => bail!("a CPU kernel was given a tensor on another device"),
        }
    }
    Ok(work(slices))
}

/// What a CPU kernel returns.
fn output(values: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), shape.into()))
}

#[cfg(test)]
mod tests;
