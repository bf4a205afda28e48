//! One run: baseline, quantization, encoding, evaluation, record.

pub mod provenance;
pub mod record;

pub use record::{EpochMetrics, LayerRecord, Metrics, Provenance, RunRecord, Sizes, Status};
