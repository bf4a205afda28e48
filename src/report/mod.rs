//! Tables, figures and exports from finished runs: everything here is a pure function of `[RunRecord]` and of what
//! the registry says of methods, so that the same records give the same bytes. Reading the store is in [`records`]; what a run measures is decided in [`crate::run`].

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

pub use choice::ChooseOn;
pub use methods::Methods;
pub use records::{Selection, load};
pub use tables::Table;
