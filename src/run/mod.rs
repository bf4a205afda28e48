//! One run: baseline, quantization, encoding, evaluation, record.

mod baseline;
mod baseline_only;
pub mod execute;
mod measure;
pub mod provenance;
pub mod record;

pub use baseline_only::make_baseline;
pub use execute::{Context, execute};
pub use provenance::peak_memory;
pub use record::{EpochMetrics, LayerRecord, Metrics, Provenance, RunRecord, Sizes, Status};
