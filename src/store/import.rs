//! Records from elsewhere into a store: what was committed or sent is not computed again. Their model files stay where they
//! were made.

use super::{Lookup, Store};
use crate::record::{RunRecord, SCHEMA};
use crate::store::Files;
use crate::{Error, Result};

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records that are new in the store.
    pub new: usize,
    /// Records that the store had already, finished.
    pub known: usize,
}

impl Store {
    /// Takes `records` in, except those that are finished here already. All are checked before the first is written.
    ///
    /// # Errors
    /// [`Error::Input`] for a record of another schema or with an invalid id; [`Error::Io`] from writing.
    pub fn import(&self, records: &[RunRecord]) -> Result<Imported> {
        for record in records {
            if record.schema != SCHEMA {
                return Err(Error::input(format!(
                    "run {}: its record has schema {}, this program has {SCHEMA}",
                    record.id, record.schema
                )));
            }
            // The id becomes the name of a folder.
            if record.id.len() != 32 || !record.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(Error::input(format!(
                    "'{}' is not a run's id (32 hexadecimal digits)",
                    record.id
                )));
            }
        }
        records.iter().try_for_each(|record| self.refuse_foreign(&record.id))?;
        let mut imported = Imported::default();
        for record in records {
            match self.find(&record.id) {
                Lookup::Found(own) if own.is_done() => imported.known += 1,
                _ => {
                    self.save(record, &Files::new())?;
                    imported.new += 1;
                }
            }
        }
        Ok(imported)
    }
}
