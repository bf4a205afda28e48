//! One run: baseline, quantization, encoding, evaluation, record.

mod baseline;
pub mod execute;
mod measure;
pub mod provenance;
pub mod record;

pub use execute::{Context, execute};
pub use provenance::peak_memory;
pub use record::{EpochMetrics, LayerRecord, Metrics, Provenance, RunRecord, Sizes, Status};
