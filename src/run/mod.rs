//! One run: baseline, quantization, encoding, evaluation, record.

mod adopt;
mod baseline;
mod baseline_only;
mod energy;
pub mod execute;
pub mod insight;
mod log;
mod measure;
pub mod provenance;
mod resume;

pub use adopt::Adoption;
pub use baseline_only::make_baseline;
pub use execute::{Context, execute};
pub use provenance::peak_memory;
