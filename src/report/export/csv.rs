//! Comma-separated values at full precision.

use super::Exporter;
use crate::Result;
use crate::report::tables::{Table, polars_error};
use polars::prelude::{CsvWriter, SerWriter as _};

/// RFC 4180, UTF-8, missing values empty.
pub struct Csv;

impl Exporter for Csv {
    fn extension(&self) -> &'static str {
        "csv"
    }

    fn for_readers(&self) -> bool {
        false
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        CsvWriter::new(&mut bytes).finish(&mut table.frame.clone()).map_err(polars_error)?;
        Ok(bytes)
    }
}
