//! Where a checkpoint's file is.

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The first of the places at which a file lies; `name` is what the user wrote.
///
/// # Errors
/// [`Error::Input`] that says where was looked.
pub fn locate(name: &str, places: impl IntoIterator<Item = PathBuf>) -> Result<PathBuf> {
    let mut tried: Vec<PathBuf> = places.into_iter().collect();
    tried.dedup();
    // Not only regular files: pipes are read too, and folders are told apart by the reader.
    let exists = |path: &&PathBuf| path.as_path() == Path::new("-") || path.exists();
    match tried.iter().find(exists) {
        Some(path) => Ok(path.clone()),
        None => {
            let places: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
            Err(Error::input_hint(
                format!("checkpoint {name}: not found (tried {})", places.join(", ")),
                "correct the path, or say where the data lie with --data-dir or ECQX_DATA",
            ))
        }
    }
}
