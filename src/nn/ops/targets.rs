//! What samples should be (one class, or any number of labels), and the loss of logits against it.

use super::{is_native, output, values};
use crate::nn::transfer;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// A label that a sample has not.
pub const ABSENT: u32 = 0;
/// A label that a sample has.
pub const PRESENT: u32 = 1;
/// A label that counts neither way: of an object that is hard to recognise.
pub const IGNORED: u32 = 2;

/// The targets of a batch. They travel as one slice of numbers, whose length tells which they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// The class of each sample.
    Classes(&'a [u32]),
    /// For each sample and class [`ABSENT`], [`PRESENT`] or [`IGNORED`].
    Labels(&'a [u32]),
}

impl<'a> Targets<'a> {
    /// The targets of `batch` samples of a network with `classes` outputs (two or more).
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn of(targets: &'a [u32], batch: usize, classes: usize) -> std::result::Result<Self, String> {
        let fits = |limit: usize| targets.iter().all(|&target| (target as usize) < limit);
        match targets.len() {
            length if length == batch && fits(classes) => Ok(Self::Classes(targets)),
            length if length == batch * classes && fits(IGNORED as usize + 1) => Ok(Self::Labels(targets)),
            _ => Err(format!(
                "one true class below {classes} for each of the {batch} inputs, or one label for each input and class"
            )),
        }
    }

    pub(super) fn of_logits(targets: &'a [u32], logits: &Tensor) -> Result<Self> {
        let (batch, classes) = logits.dims2()?;
        match Self::of(targets, batch, classes) {
            Ok(targets) => Ok(targets),
            Err(expected) => bail!("loss: {} targets do not fit: expected {expected}", targets.len()),
        }
    }

    /// How many numbers stand for one of `batch` samples.
    pub fn per_sample(targets: &[u32], batch: usize) -> usize {
        targets.len() / batch.max(1)
    }
}

/// The loss of logits (batch, classes) against targets, a scalar: the mean cross entropy of classes, the mean binary
/// cross entropy of labels. Nats. Differentiable in the logits.
///
/// # Errors
/// When the targets do not fit the logits.
pub fn loss(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    match Targets::of_logits(targets, logits)? {
        Targets::Classes(classes) => super::softmax_cross_entropy(logits, classes),
        Targets::Labels(labels) => binary_cross_entropy(logits, labels),
    }
}

/// Gradient of [`loss`] with respect to the logits.
///
/// # Errors
/// When the targets do not fit the logits.
pub fn loss_backward(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    match Targets::of_logits(targets, logits)? {
        Targets::Classes(classes) => super::softmax_cross_entropy_backward(logits, classes, 1.0),
        Targets::Labels(labels) => binary_cross_entropy_backward(logits, labels, 1.0),
    }
}

/// Labels as tensors: 1 where present, and the share of each label in the mean (0 where it is ignored).
fn tensors(logits: &Tensor, labels: &[u32]) -> Result<[Tensor; 2]> {
    if logits.elem_count() != labels.len() {
        bail!("binary cross entropy: {} labels do not fit logits {:?}", labels.len(), logits.dims());
    }
    let counted = labels.iter().filter(|&&label| label != IGNORED).count().max(1);
    let of = |f: &dyn Fn(u32) -> f32| {
        let values: Vec<f32> = labels.iter().map(|&label| f(label)).collect();
        transfer::tensor(values, logits.shape(), logits.device())
    };
    let share = 1.0 / counted as f32;
    Ok([
        of(&|label| if label == PRESENT { 1.0 } else { 0.0 })?,
        of(&|label| if label == IGNORED { 0.0 } else { share })?,
    ])
}

/// Mean over all labels that are not ignored of −log p where a label is present and −log (1 − p) where it is absent,
/// p = sigmoid(logit); nats, a scalar. Differentiable in the logits (batch, classes).
///
/// # Errors
/// When there is not one label per logit.
pub fn binary_cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let [present, shares] = tensors(logits, labels)?;
    if is_native(logits) {
        return logits.contiguous()?.apply_op1(BinaryCrossEntropy { labels: labels.to_vec() });
    }
    ((composed(logits, &present)? * shares)?).sum_all()
}

/// The terms of the sum: max(x, 0) − x y + log(1 + e^−|x|), which no logit makes overflow.
pub(super) fn composed(logits: &Tensor, present: &Tensor) -> Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    (logits.relu()? - (logits * present)?)? + tail
}

/// Gradient of `factor` times [`binary_cross_entropy`]: factor · (sigmoid(logit) − label) / number of labels, 0 for
/// ignored ones.
///
/// # Errors
/// When there is not one label per logit.
pub fn binary_cross_entropy_backward(logits: &Tensor, labels: &[u32], factor: f32) -> Result<Tensor> {
    let [present, shares] = tensors(logits, labels)?;
    let probability = super::activate(&logits.detach(), super::Activation::Sigmoid)?;
    ((probability - present)? * shares)? * f64::from(factor)
}

struct BinaryCrossEntropy {
    labels: Vec<u32>,
}

impl CustomOp1 for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        "binary_cross_entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (mut sum, mut count) = (0.0, 0usize);
        for (&logit, &label) in values(logits, layout)?.iter().zip(&self.labels) {
            if label == IGNORED {
                continue;
            }
            sum += term(logit, label == PRESENT);
            count += 1;
        }
        output(vec![(sum / count.max(1) as f64) as f32], ())
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        binary_cross_entropy_backward(logits, &self.labels, transfer::scalar::<f32>(grad)?).map(Some)
    }
}

/// The binary cross entropy of one logit, nats.
pub fn term(logit: f32, present: bool) -> f64 {
    let x = f64::from(logit);
    let signed = if present { -x } else { x };
    signed.max(0.0) + (-x.abs()).exp().ln_1p()
}
