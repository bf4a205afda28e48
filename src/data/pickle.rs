//! Just enough of Python's pickle to read the batches of CIFAR: dictionaries of byte strings, lists of numbers, and numpy
//! arrays. Nothing is imported or called; what needs more is refused.
//!
//! Values lie in one arena and refer to each other by index, so that copies of copies cost nothing and no tower of values
//! can exhaust the stack. Byte strings stay in the file's bytes. The operations are in [`super::pickle_machine`].

use super::pickle_machine::{Fault, Machine};
use super::pickle_value::{Id, Value};
use crate::{Error, Result};
use std::path::Path;

/// What was read.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

/// Values of an array of bytes, row by row.
pub(super) struct ByteArray<'p> {
    /// Rows: the first dimension.
    pub rows: usize,
    /// All values.
    pub values: &'p [u8],
}

impl<'a> Pickle<'a> {
    /// Reads `bytes`; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Format`] with the byte for what is damaged or needs more than this reader understands.
    pub(super) fn read(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let mut machine = Machine::new(bytes);
        let mut start = 0;
        loop {
            match machine.step() {
                Ok(None) => start = machine.position(),
                Ok(Some(root)) => return Ok(Self { values: machine.into_values(), root }),
                Err(Fault(what)) => {
                    return Err(Error::format(path, start as u64, format!("pickle: {what}")));
                }
            }
        }
    }

    fn value(&self, id: Id) -> &Value<'a> {
        // Ids are made by the reader alone, each for a value that it has stored.
        self.values.get(id).unwrap_or(&Value::Nothing)
    }

    /// The value under `key` of the outermost dictionary; Python 2 and 3 write keys as bytes or as text.
    fn get(&self, key: &str) -> Option<Id> {
        let Value::Pairs(pairs) = self.value(self.root) else { return None };
        let is_key = |id: Id| match self.value(id) {
            Value::Bytes(bytes) => bytes.as_ref() == key.as_bytes(),
            Value::Text(text) => *text == key,
            _ => false,
        };
        pairs.iter().rev().find(|(id, _)| is_key(*id)).map(|(_, value)| *value)
    }

    /// The array of bytes under `key`: one or more dimensions, in C order.
    pub(super) fn byte_array(&self, key: &str) -> Option<ByteArray<'_>> {
        let (shape, kind, values) = self.array(self.get(key)?)?;
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side))?;
        (kind == "u1" && values.len() == count).then(|| ByteArray { rows: shape[0], values })
    }

    /// Shape (never empty), type without byte order, and content of an array; `None` for a big-endian one or one by
    /// columns.
    fn array(&self, id: Id) -> Option<(Vec<usize>, &str, &[u8])> {
        let Value::Array(Some(state)) = self.value(id) else { return None };
        let (Value::Items(shape), Value::Dtype(name), Value::Bytes(data)) =
            (self.value(state.shape), self.value(state.dtype), self.value(state.data))
        else {
            return None;
        };
        let shape: Option<Vec<usize>> = shape
            .iter()
            .map(|id| match self.value(*id) {
                Value::Number(side) => usize::try_from(*side).ok(),
                _ => None,
            })
            .collect();
        let kind = match self.value(*name) {
            Value::Text(kind) => kind,
            Value::Bytes(kind) => std::str::from_utf8(kind).ok()?,
            _ => return None,
        };
        let kind = if kind == "uint8" { "u1" } else { kind.trim_start_matches(['|', '<', '=']) };
        shape.filter(|shape| !shape.is_empty() && !state.by_columns).map(|shape| (shape, kind, data.as_ref()))
    }

    /// The labels under `key`: a list of numbers, or an array of integers.
    pub(super) fn labels(&self, key: &str) -> Option<Vec<i64>> {
        let id = self.get(key)?;
        if let Value::Items(items) = self.value(id) {
            let number = |id: &Id| match self.value(*id) {
                Value::Number(number) => Some(*number),
                _ => None,
            };
            return items.iter().map(number).collect();
        }
        let (_, kind, data) = self.array(id)?;
        let width = match kind {
            "u1" => 1,
            "i4" | "u4" => 4,
            "i8" | "u8" => 8,
            _ => return None,
        };
        // Labels are small: the lowest bytes say all of a valid one, and the others make an invalid one large.
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Some(data.chunks_exact(width).map(number).collect())
    }

    /// The strings under `key`.
    pub(super) fn strings(&self, key: &str) -> Option<Vec<String>> {
        let Value::Items(items) = self.value(self.get(key)?) else { return None };
        let string = |id: &Id| match self.value(*id) {
            Value::Text(text) => Some((*text).to_owned()),
            Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        };
        items.iter().map(string).collect()
    }
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
pub(super) mod tests;
