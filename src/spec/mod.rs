//! YAML experiments: read and checked ([`experiment`]), expanded into runs ([`grid`]), each with a content-addressed id
//! ([`run_spec`]). Nothing here opens a data set or trains.

pub mod experiment;
pub mod figures;
pub mod grid;
pub mod run_spec;

pub use experiment::Experiment;
pub use run_spec::{BaselineRun, BaselineSpec, ModelSpec, QuantizerSpec, RunSpec};
