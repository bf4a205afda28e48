//! Parquet at full precision.

use super::Exporter;
use crate::Result;
use crate::report::tables::{Table, polars_error};
use polars::prelude::ParquetWriter;

/// Apache Parquet with Polars' default compression.
pub struct Parquet;

impl Exporter for Parquet {
    fn extension(&self) -> &'static str {
        "parquet"
    }

    fn for_readers(&self) -> bool {
        false
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut table.frame.clone()).map_err(polars_error)?;
        Ok(bytes)
    }
}
