//! Optimizers, schedules, batches, the training loop, the quantization-aware loop, metrics.
//!
//! Not here: what a quantizer or a relevance measure computes ([`crate::quant`], [`crate::relevance`]).

pub mod allocation;
mod average_precision;
pub mod batches;
pub mod calibration;
pub mod checkpoints;
mod device_state;
mod device_step;
pub mod evaluate;
pub mod full_precision;
mod latent;
mod loop_state;
pub mod observer;
pub mod optimizer;
mod pass;
mod position;
#[cfg(test)]
mod precision_checks;
pub mod quantized;
#[cfg(test)]
mod resume_checks;
pub mod schedule;
pub mod settings;
mod snapshot;
#[cfg(test)]
mod transfer_checks;

pub use checkpoints::{Checkpoints, Moment, NoCheckpoints};
pub use evaluate::{evaluate, evaluate_validation};
pub use observer::{Observer, Silent};
pub use settings::{OptimizerKind, Precision, Schedule, Selection, TrainingSpec};
