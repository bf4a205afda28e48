//! Softmax and the mean cross entropy of logits.

use super::{Targets, composed, is_native, output, values};
use crate::nn::transfer;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// Softmax over the last axis of (batch, classes).
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?.exp()?;
    shifted.broadcast_div(&shifted.sum_keepdim(1)?)
}

/// Mean over the batch of −log softmax(logits)_target, nats, as a scalar. Differentiable in the logits.
///
/// # Errors
/// When there is not one target below the number of classes per row.
pub fn softmax_cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    check(logits, targets)?;
    if is_native(logits) {
        return logits.contiguous()?.apply_op1(CrossEntropy { targets: targets.to_vec() });
    }
    composed::loss::cross_entropy(logits, targets)
}

/// The classes of the logits, of which `targets` must name one per row.
fn check(logits: &Tensor, targets: &[u32]) -> Result<usize> {
    let (batch, classes) = logits.dims2()?;
    if batch != targets.len() || targets.iter().any(|&t| t as usize >= classes) {
        bail!("cross entropy: {} targets do not fit logits {:?}", targets.len(), logits.dims());
    }
    Ok(classes)
}

struct CrossEntropy {
    targets: Vec<u32>,
}

/// Softmax of one row into `out`; returns the log of the normaliser, shift included.
fn softmax_row(row: &[f32], out: &mut [f32]) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for (out, &v) in out.iter_mut().zip(row) {
        *out = (v - max).exp();
        sum += f64::from(*out);
    }
    out.iter_mut().for_each(|v| *v = (f64::from(*v) / sum) as f32);
    f64::from(max) + sum.ln()
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = values(logits, layout)?;
        let classes = layout.dims()[1];
        let mut scratch = vec![0.0; classes];
        let total: f64 = logits
            .chunks_exact(classes)
            .zip(&self.targets)
            .map(|(row, &target)| softmax_row(row, &mut scratch) - f64::from(row[target as usize]))
            .sum();
        output(vec![(total / self.targets.len() as f64) as f32], ())
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        softmax_cross_entropy_backward(logits, &self.targets, transfer::scalar::<f32>(grad)?).map(Some)
    }
}

/// Gradient of `factor` times [`softmax_cross_entropy`] with respect to the logits: factor · (softmax − one-hot) / batch.
///
/// # Errors
/// When there is not one target below the number of classes per row.
pub fn softmax_cross_entropy_backward(logits: &Tensor, targets: &[u32], factor: f32) -> Result<Tensor> {
    let classes = check(logits, targets)?;
    if !is_native(logits) {
        return composed::loss::backward(logits, targets, factor);
    }
    let scale = factor / targets.len() as f32;
    let rows = transfer::values::<f32>(logits)?;
    let mut out = vec![0.0; rows.len()];
    let pairs = rows.chunks_exact(classes).zip(out.chunks_exact_mut(classes)).zip(targets);
    for ((row, out), &target) in pairs {
        softmax_row(row, out);
        out[target as usize] -= 1.0;
        out.iter_mut().for_each(|v| *v *= scale);
    }
    Tensor::from_vec(out, logits.shape(), logits.device())
}

/// The gradient of the mean cross entropy, from [`training_loss`], with smoothed labels (Szegedy et al. 2016, section 7): the
/// targets are `(1 − smoothing) · one-hot + smoothing / classes` in place of one-hot.
///
/// # Errors
/// When there is not one target below the number of classes per row.
pub fn smooth_labels(gradient: &Tensor, targets: &[u32], smoothing: f64) -> Result<Tensor> {
    let classes = check(gradient, targets)?;
    let share = smoothing / targets.len() as f64;
    let columns = transfer::tensor(targets.to_vec(), (targets.len(), 1), gradient.device())?;
    let hits = Tensor::full(share as f32, columns.shape(), gradient.device())?;
    gradient.affine(1.0, -share / classes as f64)?.scatter_add(&columns, &hits, 1)
}

/// What a training step takes from its logits.
pub struct TrainingLoss {
    /// Mean loss and number of samples whose highest logit is the true class (NaN for labels): two values, where the
    /// logits are.
    pub measured: Tensor,
    /// Gradient of the mean loss with respect to the logits.
    pub gradient: Tensor,
}

/// Loss ([`super::loss()`]), number of correct answers and gradient together; nothing is read back from the device.
///
/// # Errors
/// When the targets do not fit the logits.
pub fn training_loss(logits: &Tensor, targets: &[u32]) -> Result<TrainingLoss> {
    if let Targets::Labels(labels) = Targets::of_logits(targets, logits)? {
        let loss = super::binary_cross_entropy(logits, labels)?.detach().reshape(1)?;
        let unknown = (loss.zeros_like()? + f64::NAN)?;
        let gradient = super::binary_cross_entropy_backward(logits, labels, 1.0)?;
        return Ok(TrainingLoss { measured: Tensor::cat(&[loss, unknown], 0)?, gradient });
    }
    check(logits, targets)?;
    if !is_native(logits) {
        let (measured, gradient) = composed::loss::training(logits, targets)?;
        return Ok(TrainingLoss { measured, gradient });
    }
    let loss = softmax_cross_entropy(logits, targets)?.to_dtype(candle_core::DType::F64)?;
    let predicted = transfer::values::<u32>(&logits.argmax(1)?)?;
    let correct = predicted.iter().zip(targets).filter(|(p, t)| p == t).count();
    let measured = Tensor::new(&[transfer::scalar::<f64>(&loss)?, correct as f64], logits.device())?;
    Ok(TrainingLoss { measured, gradient: softmax_cross_entropy_backward(logits, targets, 1.0)? })
}
