//! Model files: bitstreams with step sizes and codebooks, read as full-precision values.

use super::{Raw, levels};
use crate::codec::model_file;
use crate::{Error, Result};
use std::path::Path;

/// The start unit with which every stream begins: a size of four bytes, the type, the profile.
const START: [u8; 4] = [0, 4, 2, 0];

pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&START)
}

/// The decoded values of all tensors.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Raw> {
    let entries =
        model_file::read(bytes).map_err(|error| Error::format(path, error.offset as u64, error.message))?;
    Ok(Raw { tensors: levels::from_entries(entries, false)?, ..Raw::default() })
}
