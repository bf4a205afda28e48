//! Mean cross entropy, its gradient and the number of correct answers.

use crate::nn::transfer;
use candle_core::{DType, Result, Tensor};

/// Classes on the logits' device, (batch, 1).
fn column(targets: &[u32], logits: &Tensor) -> Result<Tensor> {
    transfer::tensor(targets.to_vec(), (targets.len(), 1), logits.device())
}

/// Logits with the largest of each row taken off, and the logarithm of the sum of their exponentials.
fn shifted(logits: &Tensor) -> Result<(Tensor, Tensor)> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(1)?.log()?;
    Ok((shifted, log_sum))
}

/// Mean cross entropy as a scalar.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (shifted, log_sum) = shifted(logits)?;
    (log_sum - shifted.gather(&column(targets, logits)?, 1)?)?.mean_all()
}

/// `factor · (softmax − one-hot) / batch`.
pub fn backward(logits: &Tensor, targets: &[u32], factor: f32) -> Result<Tensor> {
    let (shifted, log_sum) = shifted(logits)?;
    of_logits(&shifted, &log_sum, &column(targets, logits)?, factor)
}

fn of_logits(shifted: &Tensor, log_sum: &Tensor, targets: &Tensor, factor: f32) -> Result<Tensor> {
    let scale = f64::from(factor / targets.elem_count() as f32);
    let softmax = shifted.broadcast_sub(log_sum)?.exp()?;
    let hits = Tensor::full(-1f32, targets.shape(), targets.device())?;
    softmax.scatter_add(targets, &hits, 1)?.affine(scale, 0.0)
}

/// What a training step needs of its logits, nothing of which leaves the device: mean cross entropy and number of correct
/// answers in one tensor of two, and the gradient of the first for the logits.
pub fn training(logits: &Tensor, targets: &[u32]) -> Result<(Tensor, Tensor)> {
    let column = column(targets, logits)?;
    let (shifted, log_sum) = shifted(logits)?;
    let loss = (&log_sum - shifted.gather(&column, 1)?)?.mean_all()?;
    let correct = logits.argmax(1)?.eq(&column.squeeze(1)?)?.to_dtype(DType::F32)?.sum_all()?;
    Ok((Tensor::stack(&[loss, correct], 0)?, of_logits(&shifted, &log_sum, &column, 1.0)?))
}
