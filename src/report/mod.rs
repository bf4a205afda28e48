//! Tables, figures and exports from finished runs: everything here is a pure function of `[RunRecord]` and of what
//! the registry says of methods, so that the same records give the same bytes. Reading the store is in [`records`]; what a
//! run measures is decided in [`crate::run`].
//!
//! ```
//! use ecqx::report::export::{Csv, Exporter};
//! use ecqx::report::{ChooseOn, Methods, archive, tables};
//! let records = archive::read(std::path::Path::new("results/voc2012-resnet18/records.parquet"))?;
//! let methods = Methods::new(&ecqx::Registry::builtin());
//! let points = tables::working_points(&records, &methods);
//! let table = tables::main_table(&points, ChooseOn::Validation)?;
//! assert!(String::from_utf8_lossy(&Csv.export(&table)?).starts_with("dataset,model"));
//! # Ok::<(), ecqx::Error>(())
//! ```

pub mod archive;
pub mod assemble;
pub mod choice;
pub mod column;
pub mod expected;
pub mod export;
pub mod figure;
#[cfg(test)]
mod golden;
pub mod html;
pub mod methods;
pub mod published;
pub mod records;
pub mod settings;
pub mod statistics;
pub mod tables;
mod variants;
mod verdicts;

pub use choice::ChooseOn;
pub use methods::Methods;
pub use records::{Selection, load};
pub use tables::Table;
