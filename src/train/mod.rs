//! Optimizers, schedules, batches, the training loop, the quantization-aware loop, metrics.
//!
//! Not here: what a quantizer or a relevance measure computes ([`crate::quant`], [`crate::relevance`]).

pub mod batches;
pub mod evaluate;
pub mod observer;
pub mod optimizer;
mod place;
pub mod plain;
pub mod quantized;
#[cfg(test)]
mod resume_checks;
pub mod schedule;
pub mod settings;
pub mod snapshot;
mod state;

pub use evaluate::evaluate;
pub use observer::{Observer, Silent};
pub use settings::{OptimizerKind, Schedule, Selection, TrainingSpec};
pub use snapshot::{Checkpoints, Moment, NoCheckpoints, Snapshot};
