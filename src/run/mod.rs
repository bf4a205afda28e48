//! Runs: one from specification to record (baseline, quantization, encoding, evaluation), and many of them ([`scheduler`]).
//! Nothing here prints; who looks on is told through [`crate::train::Observer`] and [`scheduler::Watch`].

mod adopt;
mod allocate;
mod baseline;
mod baseline_only;
pub mod context;
mod energy;
pub mod execute;
pub mod insight;
mod log;
mod measure;
pub mod memory;
pub mod provenance;
mod quantized_checkpoint;
mod resume;
pub mod scheduler;

pub use adopt::Adoption;
pub use baseline::PHASE as BASELINE_PHASE;
pub use baseline_only::make_baseline;
pub use context::Context;
pub use execute::{Executed, execute};
pub use provenance::peak_memory;
