//! The record of one run and its parts: what a run produces, the store keeps and every report reads. A leaf: it knows
//! nothing of who makes or reads records. The file format is in [`RunRecord`]'s JSON form alone.

mod json;
mod layers;
mod metric;
mod metrics;
mod outcome;
mod provenance;
mod run_record;

pub use layers::{LayerRecord, Sizes, emptied};
pub use metric::{Better, Metric, Score, Unit};
pub use metrics::{EpochMetrics, Metrics, SampleCounts};
pub use outcome::{Failure, Measurements, Outcome};
pub use provenance::{Provenance, Session};
pub use run_record::RunRecord;

/// Version of the record's format, part of every run's id.
pub const SCHEMA: u32 = 2;
