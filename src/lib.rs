//! `ecqx`: a benchmark harness for explainability-driven quantization (ECQx) and the methods it is compared with.
//!
//! Data flows one way: [`spec`] → plan → [`run`] → [`store`] → `report`; nothing below reaches back up.
//! The domain lives in [`quant`], [`relevance`] and [`codec`]; [`nn`], [`model`], [`data`] and [`train`] carry the networks.
//! The command line is in `cli`; the binary only calls it. Without the features `cli` and `report` (both on by default)
//! the library has neither, and none of their dependencies.

#[cfg(feature = "cli")]
pub mod cli;
pub mod codec;
pub mod data;
pub mod engine;
pub mod error;
pub mod external;
pub mod insight;
pub mod io;
pub mod model;
pub mod nn;
pub mod plan;
pub mod quant;
pub mod record;
pub mod registry;
pub mod relevance;
#[cfg(feature = "report")]
pub mod report;
pub mod rng;
pub mod run;
pub mod selftest;
pub mod snapshot;
pub mod spec;
pub mod store;
pub mod testing;
pub mod train;

#[cfg(feature = "cli")]
pub use cli::App;
pub use error::{Error, Result};
pub use spec::Registry;
