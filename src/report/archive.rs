//! Records as one compact file, to commit and to share: a Parquet table with a row per run and the whole record as JSON in
//! the column `record`. Reports made from it equal those made from the store; model files are not in it.

use super::export::{Exporter as _, Parquet, read_parquet};
use super::tables::{Table, frame, from_raw, text};
use crate::record::RunRecord;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// The file's name without extension.
pub const NAME: &str = "records";

/// The file's content, in the order of `records`.
///
/// # Errors
/// [`Error::Internal`] only on a defect.
pub fn write(records: &[RunRecord]) -> Result<Vec<u8>> {
    let json = records
        .par_iter()
        .map(|record| serde_json::to_string(record).map(|json| (record, json)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Internal(format!("record: {error}")))?;
    let columns = vec![
        text("id", &json, |(record, _)| Some(&record.id)),
        text("status", &json, |(record, _)| Some(record.outcome.name())),
        text("label", &json, |(record, _)| Some(&record.label)),
        text("record", &json, |(_, json)| Some(json)),
    ];
    Parquet.export(&Table::data(NAME, "Records", frame(columns)?))
}

/// Records of a file that [`write()`] made, or (without layers, epochs, times and provenance) of a `raw.parquet`.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] or [`Error::Input`] naming the file and, where it is one, the run.
pub fn read(path: &Path) -> Result<Vec<RunRecord>> {
    let table = read_parquet(path)?;
    if table.column("record").is_err() {
        return from_raw(&table).map_err(|error| error.at(path.display()));
    }
    whole(&table, path)
}

/// Records of a file that [`write()`] made.
///
/// # Errors
/// As [`read`], and [`Error::Input`] for a table without whole records.
pub fn read_whole(path: &Path) -> Result<Vec<RunRecord>> {
    whole(&read_parquet(path)?, path)
}

fn whole(table: &polars::prelude::DataFrame, path: &Path) -> Result<Vec<RunRecord>> {
    let column = table.column("record").map_err(|_| {
        Error::input_hint(
            format!("{}: there are no whole records in it", path.display()),
            "give a records.parquet that `ecqx report` or `ecqx store export` wrote",
        )
    })?;
    let column = column.str().map_err(|error| Error::format(path, 0, format!("column record: {error}")))?;
    column
        .iter()
        .enumerate()
        .map(|(row, json)| {
            let json = json.ok_or_else(|| Error::format(path, 0, format!("row {row} has no record")))?;
            serde_json::from_str(json).map_err(|error| Error::format(path, 0, format!("row {row}: {error}")))
        })
        .collect()
}
