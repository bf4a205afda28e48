//! Content-addressed results on a plain folder, which may be a network file system; no database.
//!
//! Everything is written to a temporary file beside its place, flushed, and renamed: a reader sees nothing or all.

mod atomic;

pub use atomic::write_atomically;
