//! Writing of files, for every part above: what stands at a path is whole or untouched.
//!
//! Not here: formats. Those are with what they hold.

mod atomic;

pub use atomic::write_atomically;
