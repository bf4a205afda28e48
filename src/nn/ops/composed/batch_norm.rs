//! Batch normalisation and its gradients.

use super::{channel_sum, per_channel, relu, relu_backward};
use crate::nn::ops::batch_norm::{BatchNormGradients, BatchNormOutput};
use candle_core::{Result, Tensor, bail};

/// Normalises with the statistics of this batch of `count` values per channel.
pub fn training(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    with_relu: bool,
    count: usize,
) -> Result<BatchNormOutput> {
    let channels = weight.elem_count();
    let mean = x.transpose(0, 1)?.reshape((channels, ()))?.mean(1)?;
    let centred = x.broadcast_sub(&per_channel(&mean, x)?)?;
    // Squared in f32 after the mean is gone: no cancellation far from zero.
    let biased = centred.sqr()?.transpose(0, 1)?.reshape((channels, ()))?.mean(1)?;
    let scale = (biased.affine(1.0, epsilon)?.sqrt()?.recip()? * weight.detach())?;
    let output = centred.broadcast_mul(&per_channel(&scale, x)?)?.broadcast_add(&per_channel(bias, x)?)?;
    let output = if with_relu { relu(&output)? } else { output };
    let variance = biased.affine(count as f64 / (count - 1) as f64, 0.0)?;
    Ok(BatchNormOutput { output, mean, variance, biased })
}

/// Gradients of a normalisation with these statistics; they carry gradients themselves where they are `of_batch`. `relu` is
/// the shift of a normalisation behind which the gradient is masked.
pub fn gradients(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    relu: Option<&Tensor>,
    (mean, variance): (&Tensor, &Tensor),
    epsilon: f64,
    of_batch: bool,
) -> Result<BatchNormGradients> {
    let channels = weight.elem_count();
    let is_unfit = grad.dims() != x.dims() || x.rank() < 2 || x.dim(1)? != channels || channels == 0;
    if is_unfit || mean.elem_count() != channels || variance.elem_count() != channels {
        bail!("batch norm: a gradient of shape {:?} does not fit the input {:?}", grad.dims(), x.dims());
    }
    let inverse = variance.detach().affine(1.0, epsilon)?.sqrt()?.recip()?;
    let centred = x.detach().broadcast_sub(&per_channel(mean, x)?)?;
    let normalised = centred.broadcast_mul(&per_channel(&inverse, x)?)?;
    let grad = match relu {
        Some(shift) => {
            let scaled = normalised.broadcast_mul(&per_channel(weight, x)?)?;
            relu_backward(grad, &scaled.broadcast_add(&per_channel(shift, x)?)?)?
        }
        None => grad.clone(),
    };
    let of_shift = channel_sum(&grad)?;
    let of_scale = channel_sum(&(&grad * &normalised)?)?;
    let scale = (weight.detach() * inverse)?;
    let grad = if of_batch {
        let count = (x.elem_count() / channels) as f64;
        let share = |sum: &Tensor| per_channel(&sum.affine(1.0 / count, 0.0)?, x);
        (grad.broadcast_sub(&share(&of_shift)?)? - normalised.broadcast_mul(&share(&of_scale)?)?)?
    } else {
        grad
    };
    let input = grad.broadcast_mul(&per_channel(&scale, x)?)?;
    Ok(BatchNormGradients { input, weight: of_scale, bias: of_shift })
}
