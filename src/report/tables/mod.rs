//! Tables as Polars frames: one file per table. Cells keep full precision; [`super::export`] formats them.

pub(crate) mod by_metric;
mod comparison;
mod epochs;
mod fronts;
mod layers;
mod main_table;
pub(crate) mod operating_points;
mod published;
mod raw;
mod sweeps;
mod timings;
mod variants;
mod working_points;

pub use comparison::{comparison, nothing_compared};
pub use epochs::epochs;
pub use fronts::{at_equal_table, hypervolume_table, pareto};
pub use layers::layers;
pub use main_table::main_table;
pub use operating_points::operating_points;
pub use published::published;
pub use raw::{from_raw, raw};
pub use sweeps::sweeps;
pub(crate) use timings::seconds_per_epoch;
pub use timings::{origins, provenance, timings};
pub use variants::variants_table;
pub use working_points::{SeedResult, WorkingPoint, working_points, working_points_table};

use super::statistics::Interval;
use crate::{Error, Result};
use indexmap::IndexMap;
use polars::prelude::{Column, DataFrame, IntoColumn as _, StringChunkedBuilder};

/// A table with what a reader needs beside its cells.
#[derive(Clone, Debug)]
pub struct Table {
    /// File name without extension.
    pub name: String,
    /// Caption.
    pub title: String,
    /// What must be known to read it; empty if nothing.
    pub note: String,
    /// The cells; column names as in [`super::column`].
    pub frame: DataFrame,
    /// Columns within whose equal values the best is found (and set in bold); empty: nothing is compared.
    pub compare_within: Vec<&'static str>,
    /// 95 % intervals of the means in some columns, row by row, in the unit of the cells: a value is the best only where its
    /// interval lies apart from every other, and in these columns alone.
    pub intervals: Vec<(&'static str, Vec<Option<Interval>>)>,
    /// Methods by the names that papers print; the cells have the ones that experiments use.
    pub names: IndexMap<String, &'static str>,
    /// Whether it is a function of the results alone; false for times and provenance.
    pub reproducible: bool,
    /// Whether a missing cell is a dash where people read it.
    pub dash: bool,
    /// Whether people read it; a long table of data is written as CSV and Parquet alone.
    pub for_readers: bool,
}

impl Table {
    /// A reproducible table of data.
    pub fn data(name: impl Into<String>, title: impl Into<String>, frame: DataFrame) -> Self {
        Self { for_readers: false, ..Self::new(name, title, frame) }
    }

    /// A reproducible table without comparison.
    pub fn new(name: impl Into<String>, title: impl Into<String>, frame: DataFrame) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            note: String::new(),
            frame,
            compare_within: Vec::new(),
            intervals: Vec::new(),
            names: IndexMap::new(),
            reproducible: true,
            dash: false,
            for_readers: true,
        }
    }
}

/// A frame from columns of equal length.
pub(crate) fn frame(columns: Vec<Column>) -> Result<DataFrame> {
    DataFrame::new_infer_height(columns).map_err(polars_error)
}

/// A Polars error means a defect here: frames are built by this crate alone.
pub(crate) fn polars_error(error: polars::prelude::PolarsError) -> Error {
    Error::Internal(format!("table: {error}"))
}

/// Text column, of texts or of references to some.
pub(crate) fn text<'a, T, S: AsRef<str>>(
    name: &str,
    rows: &'a [T],
    cell: impl Fn(&'a T) -> Option<S>,
) -> Column {
    let mut column = StringChunkedBuilder::new(name.into(), rows.len());
    rows.iter().for_each(|row| column.append_option(cell(row)));
    column.finish().into_column()
}

/// Text columns called `names`, of the parts of each row's key.
fn key_columns<T, const N: usize>(
    names: [&str; N],
    rows: &[([String; N], T)],
) -> impl Iterator<Item = Column> {
    names.into_iter().enumerate().map(|(index, name)| text(name, rows, |(key, _)| Some(&key[index])))
}

/// Real column; values that are not finite become missing.
pub(crate) fn real<T>(name: &str, rows: &[T], cell: impl Fn(&T) -> Option<f64>) -> Column {
    Column::new(
        name.into(),
        rows.iter().map(|row| cell(row).filter(|v| v.is_finite())).collect::<Vec<Option<f64>>>(),
    )
}

/// Integer column.
pub(crate) fn integer<T>(name: &str, rows: &[T], cell: impl Fn(&T) -> Option<u64>) -> Column {
    Column::new(name.into(), rows.iter().map(cell).collect::<Vec<Option<u64>>>())
}
