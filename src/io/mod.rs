//! Reading of texts and writing of files, for every part above: what is read is bounded and its faults are named, what
//! stands at a path after writing is whole or untouched.
//!
//! Not here: formats, except for YAML, which many parts read. Those are with what they hold.

mod atomic;
mod name;
mod text;
pub mod yaml;

pub use atomic::write_atomically;
pub use name::file_name;
pub use text::read_text;
