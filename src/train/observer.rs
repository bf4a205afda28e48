//! How a loop tells what it is doing, and how it is told to stop.

use crate::record::EpochMetrics;

/// Watches a training loop. All methods have empty defaults.
pub trait Observer: Sync {
    /// A step of an epoch (both from 1) is done; `loss` is its training loss.
    fn step(&self, epoch: usize, epochs: usize, step: usize, steps: usize, loss: f64) {
        let _ = (epoch, epochs, step, steps, loss);
    }
    /// An epoch is done.
    fn epoch(&self, metrics: &EpochMetrics) {
        let _ = metrics;
    }
    /// What the run is busy with besides steps: "baseline", "encoding", …
    fn phase(&self, what: &str) {
        let _ = what;
    }
    /// Something worth telling: a checkpoint that was found, or could not be written.
    fn note(&self, line: &str) {
        let _ = line;
    }
    /// Whether to stop at the next epoch's end.
    fn cancelled(&self) -> bool {
        false
    }
    /// Whether to stop after this step: there may be no time to finish the epoch.
    fn cancelled_now(&self) -> bool {
        false
    }
}

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {}
