//! The position of a training loop between two steps, and what it has measured so far: the part of its state that both loops
//! share.

use super::batches::Epoch;
use super::checkpoints::{Checkpoints, Moment};
use super::pass::Running;
use super::settings::TrainingSpec;
use crate::record::{EpochMetrics, Metric, Metrics};
use crate::rng::{Rng, RngState};
use crate::snapshot::Snapshot;
use crate::train::Observer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A position in the data with everything that belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Position {
    /// The epoch, from 1; one more than there are when all are done.
    pub epoch: usize,
    /// Steps done in it.
    pub step: usize,
    /// Sums over these steps.
    pub running: Running,
    /// Learning rate of the last of them.
    pub rate: f64,
    /// Dropout's randomness after them; absent where an epoch begins.
    pub dropout: Option<RngState>,
    /// The augmentation's randomness after them; absent where an epoch begins.
    pub augmentation: Option<RngState>,
    /// Wall time spent on them, seconds.
    pub seconds: f64,
    /// The epochs before; in a snapshot they stand by themselves.
    #[serde(skip)]
    pub epochs: Vec<EpochMetrics>,
    /// Validation accuracy of the best weights so far, percent, where the best are kept.
    pub best: Option<f64>,
}

impl Position {
    /// Before the first step of an epoch.
    pub fn begin(epoch: usize, epochs: Vec<EpochMetrics>, best: Option<f64>) -> Self {
        Self {
            epoch,
            step: 0,
            running: Running::default(),
            rate: 0.0,
            dropout: None,
            augmentation: None,
            seconds: 0.0,
            epochs,
            best,
        }
    }

    /// The batches from here on.
    pub fn batches(&self, spec: &TrainingSpec, seed: u64, steps: usize) -> Epoch {
        Epoch {
            seed,
            number: self.epoch,
            batch_size: spec.batch_size,
            steps,
            done: self.step,
            augmentation: self.augmentation.clone(),
        }
    }

    /// Adds it to a snapshot.
    ///
    /// # Errors
    /// None in practice: it is plain numbers.
    pub fn put(&self, snapshot: &mut Snapshot) -> Result<()> {
        snapshot.epochs.clone_from(&self.epochs);
        snapshot.put("position", self)
    }

    /// The position that a snapshot describes, checked against the recipe.
    pub fn restore(snapshot: &Snapshot, spec: &TrainingSpec, steps: usize) -> Result<Self> {
        let position = Self { epochs: snapshot.epochs.clone(), ..snapshot.get("position")? };
        let fits = (1..=spec.epochs + 1).contains(&position.epoch)
            && position.step < steps
            && position.epochs.len() + 1 == position.epoch;
        match fits {
            true => Ok(position),
            false => Err(Error::Internal(format!(
                "cannot resume from the checkpoint: it is at epoch {} step {} of {} × {steps}",
                position.epoch, position.step, spec.epochs
            ))),
        }
    }
}

/// The epoch that a loop is in.
pub(super) struct CurrentEpoch {
    start: Instant,
    /// Sums over its steps.
    pub running: Running,
    /// Dropout's randomness.
    pub dropout: Rng,
    /// Learning rate of the last step.
    pub rate: f64,
}

impl CurrentEpoch {
    /// The epoch from `position` on.
    pub fn enter(position: &Position, seed: u64) -> Self {
        let dropout = match &position.dropout {
            Some(state) => Rng::restore(state),
            None => Rng::stream(seed, &format!("dropout epoch {}", position.epoch)),
        };
        Self { start: Instant::now(), running: position.running.clone(), dropout, rate: position.rate }
    }

    /// Wall time with what was spent before `began`, seconds.
    fn seconds(&self, began: &Position) -> f64 {
        began.seconds + self.start.elapsed().as_secs_f64()
    }

    /// The position after `steps` of its steps; it was entered at `began`.
    pub fn position(&self, began: &Position, steps: usize, augmentation: &RngState) -> Position {
        Position {
            step: steps,
            running: self.running.clone(),
            rate: self.rate,
            dropout: Some(self.dropout.state()),
            augmentation: Some(augmentation.clone()),
            seconds: self.seconds(began),
            ..began.clone()
        }
    }

    /// What it measured once all steps are done; it was entered at `began`.
    pub fn metrics(
        &self,
        began: &Position,
        validation: Option<&Metrics>,
        sparsity: Option<f64>,
    ) -> EpochMetrics {
        EpochMetrics {
            epoch: began.epoch,
            train_loss: Some(self.running.loss()),
            train_top1: self.running.top1(),
            validation_top1: validation.filter(|v| v.metric() == Metric::Top1).map(Metrics::value),
            validation_map: validation.filter(|v| v.metric() == Metric::Map).map(Metrics::value),
            validation_loss: validation.map(|v| v.loss),
            sparsity,
            learning_rate: Some(self.rate),
            seconds: self.seconds(began),
        }
    }
}

/// Called after step `step` (from 0) of an epoch of `steps`: saves the state where it is due, and stops there when there
/// is no time to finish the epoch.
///
/// # Errors
/// [`Error::Cancelled`] when the observer asked to stop at once, and those of `snapshot`.
pub(super) fn after_step(
    checkpoints: &dyn Checkpoints,
    observer: &dyn Observer,
    step: usize,
    steps: usize,
    snapshot: impl FnOnce() -> Result<Snapshot>,
) -> Result<()> {
    // The epoch's end saves by itself.
    if step + 1 == steps {
        return Ok(());
    }
    let stopping = observer.cancelled_now();
    if checkpoints.due(if stopping { Moment::Stopping } else { Moment::Step }) {
        checkpoints.save(&snapshot()?);
    }
    if stopping { Err(Error::Cancelled) } else { Ok(()) }
}

/// Called after an epoch: saves the state where it is due, and stops where that was asked for.
///
/// # Errors
/// [`Error::Cancelled`] when the observer asked to stop, and those of `snapshot`.
pub(super) fn after_epoch(
    checkpoints: &dyn Checkpoints,
    observer: &dyn Observer,
    snapshot: impl FnOnce() -> Result<Snapshot>,
) -> Result<()> {
    let stopping = observer.cancelled();
    if checkpoints.due(if stopping { Moment::Stopping } else { Moment::Epoch }) {
        checkpoints.save(&snapshot()?);
    }
    if stopping { Err(Error::Cancelled) } else { Ok(()) }
}
