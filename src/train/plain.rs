//! Training at full precision: the baselines.

use super::batches::{self, Batch};
use super::evaluate::evaluate;
use super::observer::Observer;
use super::optimizer::Optimizer;
use super::place::{Place, after_epoch, after_step};
use super::schedule::learning_rate;
use super::settings::{Selection, TrainingSpec};
use super::snapshot::{Checkpoints, Snapshot};
use crate::data::{Dataset, Split};
use crate::nn::{Gradients, Mode, Network, Parameters, ops};
use crate::record::EpochMetrics;
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// One forward and backward pass in training mode.
pub(super) struct Pass {
    /// Gradients of all trained parameters.
    pub gradients: Gradients,
    /// Mean cross entropy.
    pub loss: f64,
    /// Samples whose highest logit is the true class.
    pub correct: usize,
}

/// Runs a batch through the network in training mode and back.
pub(super) fn forward_backward(
    network: &Network,
    parameters: &Parameters,
    batch: &Batch,
    frozen_norm: bool,
    rng: &mut Rng,
) -> Result<Pass> {
    let mode = if frozen_norm { Mode::TrainingFrozenNorm(rng) } else { Mode::Training(rng) };
    let trace = network.forward(parameters, &batch.inputs, mode)?;
    let logits = trace.logits().detach();
    let loss = ops::softmax_cross_entropy(&logits, &batch.targets)?;
    let predicted = logits.argmax(1)?.to_vec1::<u32>()?;
    let correct = predicted.iter().zip(&batch.targets).filter(|(p, t)| p == t).count();
    let of_logits = ops::softmax_cross_entropy_backward(&logits, &batch.targets, 1.0)?;
    let gradients = network.backward(parameters, trace, &of_logits)?;
    Ok(Pass { gradients, loss: f64::from(loss.to_scalar::<f32>()?), correct })
}

/// Sums over an epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Running {
    loss: f64,
    correct: usize,
    samples: usize,
    batches: usize,
}

impl Running {
    /// Counts a batch.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is not finite.
    pub fn add(&mut self, pass: &Pass, batch: &Batch, epoch: usize, step: usize) -> Result<()> {
        if !pass.loss.is_finite() {
            return Err(Error::Diverged(format!(
                "training diverged: the loss is {} at epoch {epoch}, step {}; a smaller learning rate may help",
                pass.loss,
                step + 1
            )));
        }
        self.loss += pass.loss;
        self.correct += pass.correct;
        self.samples += batch.targets.len();
        self.batches += 1;
        Ok(())
    }

    pub fn loss(&self) -> f64 {
        self.loss / self.batches.max(1) as f64
    }

    pub fn top1(&self) -> f64 {
        100.0 * self.correct as f64 / self.samples.max(1) as f64
    }
}

/// What training gave.
pub struct Trained {
    /// The kept weights.
    pub parameters: Parameters,
    /// One entry per epoch.
    pub epochs: Vec<EpochMetrics>,
}

/// The loop's state at `place`.
fn snapshot(
    place: &Place,
    parameters: &Parameters,
    optimizer: &Optimizer,
    best: Option<&Parameters>,
) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    snapshot.put("place", place)?;
    snapshot.put_parameters("model", parameters)?;
    snapshot.put_optimizer("optimizer", optimizer)?;
    if let Some(best) = best {
        snapshot.put_parameters("best", best)?;
    }
    Ok(snapshot)
}

/// Trains `parameters` in place of a copy and returns the weights that the recipe's selection keeps. Continues from what
/// `checkpoints` has.
///
/// # Errors
/// [`Error::Diverged`] when the loss leaves the finite numbers, [`Error::Cancelled`] when the observer asked to stop,
/// and errors of the data set.
pub fn train(
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    spec: &TrainingSpec,
    seed: u64,
    observer: &dyn Observer,
    checkpoints: &dyn Checkpoints,
) -> Result<Trained> {
    spec.check()?;
    spec.check_selection(!dataset.is_empty(Split::Validation))?;
    let steps = spec.steps(dataset.len(Split::Train));
    let fresh = || -> Result<_> {
        Ok((Place::begin(1, Vec::new(), None), parameters.deep_copy()?, Optimizer::new(spec), None))
    };
    let continued = |snapshot: &Snapshot| -> Result<_> {
        let place = Place::restore(snapshot, spec, steps)?;
        let (_, restored, mut optimizer, mut best) = fresh()?;
        snapshot.restore_parameters("model", &restored)?;
        snapshot.restore_optimizer("optimizer", &mut optimizer)?;
        if let Some(top1) = place.best {
            let kept = parameters.deep_copy()?;
            snapshot.restore_parameters("best", &kept)?;
            best = Some((top1, kept));
        }
        Ok((place, restored, optimizer, best))
    };
    let found = checkpoints
        .load()
        .and_then(|snapshot| continued(&snapshot).inspect_err(|error| checkpoints.reject(error)).ok());
    let (mut place, parameters, mut optimizer, mut best): (Place, _, _, Option<(f64, Parameters)>) =
        found.map_or_else(fresh, Ok)?;
    let device = parameters.device().clone();
    for epoch in place.epoch..=spec.epochs {
        let start = Instant::now();
        let mut running = place.running.clone();
        let mut dropout = place.dropout(seed, epoch);
        let mut rate = place.rate;
        let batches = place.batches(spec, seed, steps);
        batches::training_epoch(dataset, &batches, &device, |step, batch, augmentation| {
            let pass = forward_backward(network, &parameters, &batch, spec.frozen_batch_norm, &mut dropout)?;
            running.add(&pass, &batch, epoch, step)?;
            rate = learning_rate(spec, (epoch - 1) * steps + step, steps);
            optimizer.begin_step();
            for (name, weights, gradient) in trained(&parameters, &pass.gradients) {
                optimizer.update(name, weights, gradient, rate, spec.weight_decay.unwrap_or(0.0))?;
            }
            observer.step(epoch, spec.epochs, step + 1, steps, pass.loss);
            after_step(checkpoints, observer, step, steps, || {
                let here = Place {
                    step: step + 1,
                    running: running.clone(),
                    rate,
                    dropout: Some(dropout.state()),
                    augmentation: Some(augmentation.clone()),
                    seconds: place.seconds + start.elapsed().as_secs_f64(),
                    ..place.clone()
                };
                snapshot(&here, &parameters, &optimizer, best.as_ref().map(|(_, kept)| kept))
            })
        })?;
        let validation = match dataset.is_empty(Split::Validation) {
            true => None,
            false => Some(evaluate(network, &parameters, dataset, Split::Validation, observer)?),
        };
        let metrics = EpochMetrics {
            epoch,
            train_loss: Some(running.loss()),
            train_top1: Some(running.top1()),
            validation_top1: validation.as_ref().map(|v| v.top1),
            validation_loss: validation.as_ref().map(|v| v.loss),
            sparsity: None,
            learning_rate: Some(rate),
            seconds: place.seconds + start.elapsed().as_secs_f64(),
        };
        observer.epoch(&metrics);
        let mut epochs = std::mem::take(&mut place.epochs);
        epochs.push(metrics);
        if let (Selection::BestValidation, Some(validation)) = (spec.select, &validation)
            && best.as_ref().is_none_or(|(top1, _)| validation.top1 > *top1)
        {
            best = Some((validation.top1, parameters.deep_copy()?));
        }
        place = Place::begin(epoch + 1, epochs, best.as_ref().map(|(top1, _)| *top1));
        after_epoch(checkpoints, observer, || {
            snapshot(&place, &parameters, &optimizer, best.as_ref().map(|(_, kept)| kept))
        })?;
    }
    Ok(Trained { parameters: best.map_or(parameters, |(_, kept)| kept), epochs: place.epochs })
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
