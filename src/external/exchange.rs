//! Tensors that a program is given: safetensors files with one header for all steps of a run.

use crate::{Error, Result};
use serde_json::{Map, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Writes over what stands there: new pages for every step would cost several times the copying.
fn overwrite(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)
}

/// Makes what an earlier step left in a program's output no answer to the next question, without giving up its pages.
///
/// # Errors
/// [`Error::Io`] when it can't be written.
pub(super) fn invalidate(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => file.write_all(&UNANSWERED).map_err(Error::io(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// How an output begins that nobody wrote: as no safetensors file does, whose header is not empty.
pub(super) const UNANSWERED: [u8; 8] = [0; 8];

/// Writes tensors of the same names and shapes again and again.
#[derive(Default)]
pub(super) struct TensorFile {
    /// Names with their counts of values that the header is for.
    layout: Vec<(String, usize)>,
    /// The file's content; values behind the header are overwritten.
    bytes: Vec<u8>,
    /// Length of the header.
    head: usize,
}

impl TensorFile {
    /// Writes float tensors; what stands at `path` is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be written.
    pub fn write(&mut self, path: &Path, tensors: &[(&str, &[usize], &[f32])]) -> Result<()> {
        let is_same = self.layout.len() == tensors.len()
            && self.layout.iter().zip(tensors).all(|(a, b)| a.0 == b.0 && a.1 == b.2.len());
        if !is_same {
            self.lay_out(tensors);
        }
        let (mut rest, _) = self.bytes[self.head..].as_chunks_mut::<4>();
        for (_, _, values) in tensors {
            // One tensor at a time, so that the loop is a copy.
            let (places, others) = rest.split_at_mut(values.len());
            places.iter_mut().zip(*values).for_each(|(place, value)| *place = value.to_le_bytes());
            rest = others;
        }
        overwrite(path, &self.bytes).map_err(Error::io(path))
    }

    fn lay_out(&mut self, tensors: &[(&str, &[usize], &[f32])]) {
        self.layout = tensors.iter().map(|(name, _, values)| ((*name).to_owned(), values.len())).collect();
        let mut header = Map::new();
        let mut start = 0;
        for (name, shape, values) in tensors {
            let end = start + 4 * values.len();
            header.insert(
                (*name).into(),
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}),
            );
            start = end;
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        self.bytes = (header.len() as u64).to_le_bytes().to_vec();
        self.bytes.extend(header);
        self.head = self.bytes.len();
        self.bytes.resize(self.head + start, 0);
    }
}
