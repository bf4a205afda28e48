//! YAML experiments: read and checked ([`experiment`]), expanded into runs ([`grid`]), each with a content-addressed id
//! ([`run_spec`]). Nothing here opens a data set or trains.
//!
//! ```
//! use ecqx::spec::{Experiment, Registry, grid};
//! let yaml = "
//! name: two-methods
//! dataset: embedded-images
//! model: cnn-small
//! baseline: {train: {epochs: 1}}
//! seeds: [1, 2]
//! bits: [2, 4]
//! quantizers:
//!   - {method: uniform}
//!   - {method: ecq, lambda: [0.02, 0.1]}
//! ";
//! let registry = Registry::builtin();
//! let experiment = Experiment::parse(yaml, std::path::Path::new("two-methods.yaml"), &registry)?;
//! let grid = grid::expand(&experiment, &registry)?;
//! assert_eq!(grid.runs.len(), 2 * 2 * 3);
//! assert_eq!(grid.runs[4].label(), "ecq 2 bit Λ=0.02");
//! # Ok::<(), ecqx::Error>(())
//! ```

mod baseline_spec;
pub mod experiment;
pub mod figure_style;
pub mod grid;
mod identity;
pub mod label;
mod placeholder;
pub mod registry;
pub mod run_spec;

pub use baseline_spec::BaselineSpec;
pub use experiment::Experiment;
pub use figure_style::{FigureStyle, FigureWidth};
pub use identity::canonical;
pub use registry::Registry;
pub use run_spec::{BaselineRun, ModelSpec, QuantizerSpec, RunSpec};
