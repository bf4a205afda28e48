//! Writing of files, for every part above: what stands at a path is whole or untouched. `atomic` is for files that the
//! program names, `output` for those that a user names.
//!
//! Not here: formats. Those are with what they hold.

mod atomic;
mod output;

pub use atomic::write_atomically;
pub use output::{Output, write_output};
