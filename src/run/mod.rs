//! One run: baseline, quantization, encoding, evaluation, record.

pub mod record;

pub use record::{EpochMetrics, LayerRecord, Metrics, Provenance, RunRecord, Sizes, Status};
