//! Reading of texts and writing of files, for every part above: what is read is bounded and its faults are named, what
//! stands at a path after writing is whole or untouched. `atomic` is for files that the program names, `output` for those
//! that a user names.
//!
//! Not here: formats, except for YAML, which many parts read. Those are with what they hold.

mod atomic;
mod name;
mod operands;
mod output;
mod text;
pub mod yaml;

pub use atomic::write_atomically;
pub use name::file_name;
pub use operands::Operands;
pub use output::{Output, write_output};
pub use text::read_text;
