//! Tables to files: one trait, one file per format. A format is added with its file and one line in [`ALL`].

mod csv;
mod latex;
mod markdown;
mod paper;
mod parquet;

pub use csv::Csv;
pub use latex::Latex;
pub use markdown::Markdown;
pub use paper::{Narrow, Wide};
pub use parquet::Parquet;

use super::column::{Better, describe, fixed, short};
use super::statistics::Interval;
use super::tables::{Table, polars_error};
use crate::io::write_output;
use crate::{Error, Result};
use polars::prelude::{AnyValue, DataFrame};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A table format.
pub trait Exporter: Sync {
    /// File extension without the dot.
    fn extension(&self) -> &'static str;

    /// Whether it is for people, and so left out for long tables of data.
    fn for_readers(&self) -> bool;

    /// Whether `table` is written in it.
    fn takes(&self, _table: &Table) -> bool {
        true
    }

    /// The file's content.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] only on a defect.
    fn export(&self, table: &Table) -> Result<Vec<u8>>;
}

/// Every format.
pub const ALL: &[&dyn Exporter] = &[&Csv, &Parquet, &Markdown, &Latex, &Narrow, &Wide];

/// Rows from which on a table is too long to be read, and written for programs alone.
pub const LONG: usize = 1000;

/// Writes `table` in each of `formats` into `folder`, whole files only; returns their paths. Formats for readers are left
/// out for tables of data and for those of more than [`LONG`] rows; such a file of an earlier report is removed.
///
/// # Errors
/// [`crate::Error::Io`] naming the file.
pub fn write(table: &Table, formats: &[&dyn Exporter], folder: &Path) -> Result<Vec<PathBuf>> {
    let path = |format: &dyn Exporter| folder.join(format!("{}.{}", table.name, format.extension()));
    let readable = table.for_readers && table.frame.height() <= LONG;
    let wants = |format: &dyn Exporter| format.takes(table) && (readable || !format.for_readers());
    let (wanted, unwanted): (Vec<&dyn Exporter>, Vec<&dyn Exporter>) =
        formats.iter().copied().partition(|format| wants(*format));
    let wanted_paths: Vec<PathBuf> = wanted.iter().map(|format| path(*format)).collect();
    // Two formats may share a name, of which one takes the table.
    for format in unwanted.into_iter().filter(|format| !wanted_paths.contains(&path(*format))) {
        // It is usually not there.
        let _ = std::fs::remove_file(path(format));
    }
    wanted
        .par_iter()
        .map(|format| {
            let path = path(*format);
            let bytes = format.export(table)?;
            write_output(&path, &bytes)?;
            Ok(path)
        })
        .collect()
}

/// A raw table from a Parquet or CSV file that [`write()`] made.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] naming the file.
pub fn read_parquet(path: &Path) -> Result<DataFrame> {
    use polars::prelude::{ParquetReader, SerReader as _};
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let damaged = |what: String| Error::format(path, 0, format!("not a Parquet file, or damaged: {what}"));
    // The reader panics over some damaged files.
    let read = std::panic::AssertUnwindSafe(|| ParquetReader::new(file).finish());
    match std::panic::catch_unwind(read) {
        Ok(read) => read.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("its parts contradict each other".into())),
    }
}

/// The cell as people read it: digits and scale of its column; empty where there is no value.
pub(crate) fn cell(frame: &DataFrame, column: usize, row: usize) -> Result<String> {
    let column = &frame.columns()[column];
    let value = column.get(row).map_err(polars_error)?;
    let meaning = describe(column.name());
    Ok(match &value {
        AnyValue::Null => String::new(),
        AnyValue::String(text) => (*text).to_string(),
        AnyValue::StringOwned(text) => text.to_string(),
        _ => match (value.extract::<f64>(), meaning) {
            (Some(number), Some(m)) if matches!(m.name, "lambda" | "p") => short(number),
            (Some(number), Some(m)) => fixed(number * m.scale, m.decimals),
            (Some(number), None) if number.fract() == 0.0 => fixed(number, 0),
            (Some(number), None) => fixed(number, 4),
            (None, _) => value.to_string(),
        },
    })
}

/// The column's heading.
pub(crate) fn heading(name: &str) -> &str {
    describe(name).map_or(name, |column| column.heading)
}

/// For each column and row, whether the value is the best among the rows that equal it in `compare_within`: its 95 %
/// interval lies apart from every other's on the better side. A single seed has no interval, so it is neither best nor
/// beaten; where a row has one beside rows with more, none is the best.
pub(crate) fn best(table: &Table) -> Result<Vec<Vec<bool>>> {
    let frame = &table.frame;
    let index = |name: &&str| frame.columns().iter().position(|c| c.name().as_str() == *name);
    let within: Vec<usize> = table.compare_within.iter().filter_map(index).collect();
    let mut marks = vec![vec![false; frame.height()]; frame.width()];
    if within.is_empty() {
        return Ok(marks);
    }
    let mut groups: indexmap::IndexMap<Vec<String>, Vec<usize>> = indexmap::IndexMap::new();
    for row in 0..frame.height() {
        let key = within.iter().map(|&column| cell(frame, column, row)).collect::<Result<Vec<_>>>()?;
        groups.entry(key).or_default().push(row);
    }
    for (name, intervals) in &table.intervals {
        let Some(column) = index(name) else { continue };
        let Some(better) = describe(name).and_then(|meaning| meaning.better) else { continue };
        let beats = |a: Interval, b: Interval| match better {
            Better::Higher => a.0 > b.1,
            Better::Lower => a.1 < b.0,
        };
        for rows in groups.values() {
            let mut present = Vec::new();
            for &row in rows {
                if !cell(frame, column, row)?.is_empty() {
                    present.push((row, intervals.get(row).copied().flatten()));
                }
            }
            let best = present.iter().find(|(row, own)| {
                let others = present.iter().filter(|(other, _)| other != row);
                own.is_some_and(|own| others.clone().all(|(_, other)| other.is_some_and(|o| beats(own, o))))
            });
            if let Some((row, _)) = best.filter(|_| present.len() > 1) {
                marks[column][*row] = true;
            }
        }
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::super::tables::{frame, integer};
    use super::*;

    /// A table that nobody can read is written for programs alone, and an earlier report's readable file of it goes.
    #[test]
    fn long_tables_are_for_programs() {
        let folder = tempfile::tempdir().unwrap();
        let names = |rows: usize| {
            let rows: Vec<u64> = (0..rows as u64).collect();
            let table = Table::new("t", "T", frame(vec![integer("seed", &rows, |row| Some(*row))]).unwrap());
            write(&table, ALL, folder.path()).unwrap();
            let files = std::fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<String> =
                files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(LONG), ["t.csv", "t.md", "t.parquet", "t.tex"]);
        assert_eq!(names(LONG + 1), ["t.csv", "t.parquet"]);
    }
}
