//! The interface through which a loop leaves its state and finds it again. Where it is kept and when it is due is
//! decided in `run`; the container and its file are in [`crate::snapshot`].

use crate::Error;
use crate::snapshot::Snapshot;

/// When a loop asks whether to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Between two steps of an epoch.
    Step,
    /// At the end of an epoch.
    Epoch,
    /// Before stopping on request: the last chance.
    Stopping,
}

/// Keeps the state of a loop, so that a killed run can continue.
pub trait Checkpoints: Sync {
    /// The state that an earlier process left, if it can be used.
    fn load(&self) -> Option<Snapshot>;
    /// The state that [`load`](Self::load) gave does not fit the loop, which starts anew.
    fn reject(&self, reason: &Error);
    /// Whether to save now.
    fn due(&self, at: Moment) -> bool;
    /// Keeps a state instead of the one before. What cannot be written is reported and costs progress, not the run.
    fn save(&self, snapshot: &Snapshot);
}

/// Keeps nothing.
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn load(&self) -> Option<Snapshot> {
        None
    }
    fn reject(&self, _: &Error) {}
    fn due(&self, _: Moment) -> bool {
        false
    }
    fn save(&self, _: &Snapshot) {}
}
