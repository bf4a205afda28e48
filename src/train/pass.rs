//! One pass through the network and back, and the sums over an epoch's passes: what both loops share.

use super::batches::Batch;
use super::settings::TrainingSpec;
use crate::nn::{Gradients, Mode, Network, Parameters, ops, transfer};
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// One forward and backward pass in training mode.
pub(super) struct Pass {
    /// Gradients of all trained parameters.
    pub gradients: Gradients,
    /// Mean loss and samples whose highest logit is the true class (NaN in tasks of several labels), where the network is.
    pub measured: Tensor,
}

/// What a pass measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Mean loss.
    pub loss: f64,
    /// Samples whose highest logit is the true class; `None` in tasks of several labels.
    pub correct: Option<usize>,
}

impl Measured {
    /// From the two values of [`Pass::measured`].
    pub fn new(values: &[f64]) -> Self {
        let value = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
        Self {
            loss: value(0),
            correct: Some(value(1)).filter(|value| !value.is_nan()).map(|value| value as usize),
        }
    }
}

impl Pass {
    /// Reads what was measured.
    pub fn read(&self) -> Result<Measured> {
        Ok(Measured::new(&transfer::values(&self.measured.to_dtype(candle_core::DType::F64)?)?))
    }
}

/// Runs a batch through the network in training mode and back.
pub(super) fn forward_backward(
    network: &Network,
    parameters: &Parameters,
    batch: &Batch,
    spec: &TrainingSpec,
    rng: &mut Rng,
) -> Result<Pass> {
    let mode = match spec.frozen_batch_norm {
        true => Mode::TrainingFrozenNorm(rng, spec.convolutions()),
        false => Mode::Training(rng, spec.convolutions()),
    };
    let trace = network.forward(parameters, &batch.inputs, mode)?;
    let logits = trace.logits().detach();
    let loss = ops::training_loss(&logits, &batch.targets)?;
    let gradient = match spec.label_smoothing {
        Some(smoothing) => ops::smooth_labels(&loss.gradient, &batch.targets, smoothing)?,
        None => loss.gradient,
    };
    let gradients = network.backward(parameters, trace, &gradient)?;
    Ok(Pass { gradients, measured: loss.measured })
}

/// Sums over an epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Running {
    loss: f64,
    correct: usize,
    /// Samples that can be correct.
    samples: usize,
    batches: usize,
}

impl Running {
    /// Counts a batch.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is not finite.
    pub fn add(&mut self, measured: Measured, samples: usize, epoch: usize, step: usize) -> Result<()> {
        if !measured.loss.is_finite() {
            return Err(Error::Diverged(format!(
                "training diverged: the loss is {} at epoch {epoch}, step {}; a smaller learning rate may help",
                measured.loss,
                step + 1
            )));
        }
        self.loss += measured.loss;
        if let Some(correct) = measured.correct {
            self.correct += correct;
            self.samples += samples;
        }
        self.batches += 1;
        Ok(())
    }

    pub fn loss(&self) -> f64 {
        self.loss / self.batches.max(1) as f64
    }

    /// Training accuracy, percent; `None` in tasks of several labels.
    pub fn top1(&self) -> Option<f64> {
        (self.samples > 0).then(|| 100.0 * self.correct as f64 / self.samples as f64)
    }
}

/// The parameters that have a gradient, in layer order.
pub(super) fn trained<'a>(
    parameters: &'a Parameters,
    gradients: &'a Gradients,
) -> impl Iterator<Item = (&'a str, &'a Tensor, &'a Tensor)> {
    parameters.iter().filter_map(|(name, parameter)| {
        gradients.get(name).map(|gradient| (name, parameter.var.as_tensor(), gradient))
    })
}
