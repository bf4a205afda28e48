//! Where a training loop is between two steps, and what it has measured so far: the part of its state that both loops
//! share.

use super::batches::Epoch;
use super::plain::Running;
use super::settings::TrainingSpec;
use super::snapshot::{Checkpoints, Moment, Snapshot};
use crate::record::EpochMetrics;
use crate::rng::{Rng, RngState};
use crate::train::Observer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A position in the data with everything that belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
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
    /// The epochs before.
    pub epochs: Vec<EpochMetrics>,
    /// Validation accuracy of the best weights so far, percent, where the best are kept.
    pub best: Option<f64>,
}

impl Place {
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

    /// Dropout's randomness from here on.
    pub fn dropout(&self, seed: u64, epoch: usize) -> Rng {
        match &self.dropout {
            Some(state) => Rng::restore(state),
            None => Rng::stream(seed, &format!("dropout epoch {epoch}")),
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

    /// The place that a snapshot describes, checked against the recipe.
    pub fn restore(snapshot: &Snapshot, spec: &TrainingSpec, steps: usize) -> Result<Self> {
        let place: Self = snapshot.get("place")?;
        let fits = (1..=spec.epochs + 1).contains(&place.epoch)
            && place.step < steps
            && place.epochs.len() + 1 == place.epoch;
        match fits {
            true => Ok(place),
            false => Err(Error::Internal(format!(
                "checkpoint: epoch {} step {} of {} × {steps} is no place to continue from",
                place.epoch, place.step, spec.epochs
            ))),
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
