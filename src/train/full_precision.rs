//! Training at full precision: the baselines.

use super::batches;
use super::checkpoints::Checkpoints;
use super::evaluate::evaluate_validation;
use super::observer::Observer;
use super::optimizer::Optimizer;
use super::pass::{forward_backward, trained};
use super::position::{CurrentEpoch, Position, after_epoch, after_step};
use super::schedule::learning_rate;
use super::settings::{Selection, TrainingSpec};
use crate::Result;
use crate::data::{Dataset, Split};
use crate::nn::{Backend, Network, Parameters};
use crate::record::EpochMetrics;
use crate::snapshot::Snapshot;

/// What training gave.
pub struct Trained {
    /// The kept weights.
    pub parameters: Parameters,
    /// One entry per epoch.
    pub epochs: Vec<EpochMetrics>,
}

/// The loop's state at `position`.
fn snapshot(
    position: &Position,
    parameters: &Parameters,
    optimizer: &Optimizer,
    best: Option<&Parameters>,
) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    position.put(&mut snapshot)?;
    snapshot.put_parameters("model", parameters)?;
    snapshot.put_optimizer("optimizer", optimizer)?;
    if let Some(best) = best {
        snapshot.put_parameters("best", best)?;
    }
    Ok(snapshot)
}

/// Trains a copy of `parameters` and returns the weights that the recipe's selection keeps. Continues from what
/// `checkpoints` has.
///
/// # Errors
/// [`Error::Diverged`](crate::Error::Diverged) when the loss leaves the finite numbers, [`Error::Cancelled`](crate::Error::Cancelled) when the observer asked to stop,
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
    spec.check_for(dataset, Backend::on(parameters.device()))?;
    let steps = spec.steps(dataset.len(Split::Train));
    let fresh = || -> Result<_> {
        Ok((Position::begin(1, Vec::new(), None), parameters.deep_copy()?, Optimizer::new(spec), None))
    };
    let continued = |snapshot: &Snapshot| -> Result<_> {
        let position = Position::restore(snapshot, spec, steps)?;
        let (_, restored, mut optimizer, mut best) = fresh()?;
        snapshot.restore_parameters("model", &restored)?;
        snapshot.restore_optimizer("optimizer", &mut optimizer)?;
        if let Some(value) = position.best {
            let kept = parameters.deep_copy()?;
            snapshot.restore_parameters("best", &kept)?;
            best = Some((value, kept));
        }
        Ok((position, restored, optimizer, best))
    };
    let found = checkpoints
        .load()
        .and_then(|snapshot| continued(&snapshot).inspect_err(|error| checkpoints.reject(error)).ok());
    let (mut position, parameters, mut optimizer, mut best): (Position, _, _, Option<(f64, Parameters)>) =
        found.map_or_else(fresh, Ok)?;
    let device = parameters.device().clone();
    for epoch in position.epoch..=spec.epochs {
        let mut current = CurrentEpoch::enter(&position, seed);
        let batches = position.batches(spec, seed, steps);
        batches::training_epoch(dataset, &batches, &device, |step, batch, augmentation| {
            let pass = forward_backward(network, &parameters, &batch, spec, &mut current.dropout)?;
            let measured = pass.read()?;
            current.running.add(measured, batch.len(), epoch, step)?;
            current.rate = learning_rate(spec, (epoch - 1) * steps + step, steps);
            optimizer.begin_step();
            for (name, weights, gradient) in trained(&parameters, &pass.gradients) {
                optimizer.update(name, weights, gradient, current.rate, spec.weight_decay.unwrap_or(0.0))?;
            }
            observer.step(epoch, spec.epochs, step + 1, steps, measured.loss);
            after_step(checkpoints, observer, step, steps, || {
                let here = current.position(&position, step + 1, augmentation);
                snapshot(&here, &parameters, &optimizer, best.as_ref().map(|(_, kept)| kept))
            })
        })?;
        let validation = evaluate_validation(network, &parameters, dataset, observer)?;
        let metrics = current.metrics(&position, validation.as_ref(), None);
        observer.epoch(&metrics);
        let mut epochs = std::mem::take(&mut position.epochs);
        epochs.push(metrics);
        if let (Selection::BestValidation, Some(validation)) = (spec.select, &validation)
            && best.as_ref().is_none_or(|(value, _)| validation.value() > *value)
        {
            best = Some((validation.value(), parameters.deep_copy()?));
        }
        position = Position::begin(epoch + 1, epochs, best.as_ref().map(|(value, _)| *value));
        after_epoch(checkpoints, observer, || {
            snapshot(&position, &parameters, &optimizer, best.as_ref().map(|(_, kept)| kept))
        })?;
    }
    Ok(Trained { parameters: best.map_or(parameters, |(_, kept)| kept), epochs: position.epochs })
}
