//! How far a run in flight is: the epochs in the head of its checkpoint, without reading the tensors behind it.

use crate::record::EpochMetrics;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest head that is looked at, bytes; real ones have kilobytes.
const LONGEST: u64 = 16 << 20;

/// The epochs that a checkpoint has; `None` where there is none or it cannot be read: progress is for people, whoever
/// continues from the file checks it.
pub(super) fn epochs(path: &Path) -> Option<Vec<EpochMetrics>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut head = Vec::new();
    file.take(length.min(LONGEST)).read_to_end(&mut head).ok()?;
    let head: Value = serde_json::from_slice(&head).ok()?;
    let values: Value = serde_json::from_str(head["__metadata__"]["values"].as_str()?).ok()?;
    serde_json::from_value(values["place"]["epochs"].clone()).ok()
}
