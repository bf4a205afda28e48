//! The report as one self-contained HTML file: tables that sort, figures inline, nothing loaded from elsewhere.

use super::column::describe;
use super::export::{LONG, best, cell, heading};
use super::records::finished;
use super::tables::Table;
use crate::record::RunRecord;
use crate::{Error, Result};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A figure in the report.
#[derive(Serialize)]
pub struct Picture {
    /// Heading.
    pub title: String,
    /// What it shows.
    pub about: String,
    /// The drawing.
    pub svg: String,
}

#[derive(Serialize)]
struct HtmlTable {
    name: String,
    title: String,
    note: String,
    headings: Vec<String>,
    numeric: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Serialize)]
struct Cell {
    text: String,
    best: bool,
}

/// Rows of a table that the page shows: a browser takes long over more, and nobody reads them.
const ROWS: usize = 500;

fn html_table(table: &Table) -> Result<HtmlTable> {
    let frame = &table.frame;
    let best = best(table)?;
    let shown = if frame.height() > LONG { ROWS } else { frame.height() };
    let note = match frame.height() - shown {
        0 => table.note.clone(),
        _ => {
            let cut = format!("The first {shown} of {} rows; all are in {}.csv.", frame.height(), table.name);
            [cut.as_str(), &table.note].join(" ").trim_end().into()
        }
    };
    let rows = (0..shown).map(|row| {
        let cells = (0..frame.width())
            .map(|column| Ok(Cell { text: cell(frame, column, row)?, best: best[column][row] }));
        cells.collect::<Result<Vec<Cell>>>()
    });
    Ok(HtmlTable {
        name: table.name.clone(),
        title: table.title.clone(),
        note,
        headings: frame.columns().iter().map(|column| heading(column.name()).to_owned()).collect(),
        numeric: frame
            .columns()
            .iter()
            .map(|column| column.dtype().is_numeric() && describe(column.name()).is_some())
            .collect(),
        rows: rows.collect::<Result<_>>()?,
    })
}

#[derive(Serialize)]
struct Failure {
    label: String,
    id: String,
    error: String,
}

/// Data set and model of the finished runs that have one seed only.
fn singles(records: &[RunRecord]) -> Vec<String> {
    let mut seeds: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for record in finished(records) {
        seeds.entry(format!("{}, {}", record.dataset, record.model)).or_default().insert(record.seed);
    }
    seeds.into_iter().filter(|(_, seeds)| seeds.len() == 1).map(|(pair, _)| pair).collect()
}

/// What the page shows.
pub struct Page<'a> {
    /// All runs.
    pub records: &'a [RunRecord],
    /// Sentences about our results.
    pub verdicts: &'a [String],
    /// Published statements, with their source.
    pub claims: &'a [String],
    /// In their order.
    pub tables: &'a [&'a Table],
    /// In their order.
    pub pictures: &'a [Picture],
}

/// Writes the report.
///
/// # Errors
/// [`Error::Internal`] only on a defect.
pub fn html(page: &Page<'_>) -> Result<String> {
    let Page { records, verdicts, claims, tables, pictures } = *page;
    let distinct = |value: fn(&RunRecord) -> String| -> Vec<String> {
        let set: BTreeSet<String> = records.iter().map(value).collect();
        set.into_iter().collect()
    };
    let failures: Vec<Failure> = records
        .iter()
        .filter(|record| record.is_failed())
        .map(|record| Failure {
            label: format!("{}, {}: {} seed {}", record.dataset, record.model, record.label, record.seed),
            id: record.id.clone(),
            error: record.error().unwrap_or_default().into(),
        })
        .collect();
    let warnings: BTreeSet<String> = records
        .iter()
        .flat_map(|record| record.warnings.iter().map(move |warning| format!("{}: {warning}", record.label)))
        .collect();
    let tables = tables.par_iter().map(|table| html_table(table)).collect::<Result<Vec<_>>>()?;
    let wrong = |error: minijinja::Error| Error::Internal(format!("report: {error:#}"));
    let mut environment = Environment::new();
    environment.add_template("report.html", include_str!("report.html")).map_err(wrong)?;
    let template = environment.get_template("report.html").map_err(wrong)?;
    template
        .render(context! {
            version => env!("CARGO_PKG_VERSION"),
            runs => records.len(),
            seeds => distinct(|record| record.seed.to_string()).len(),
            datasets => Value::from(Serde(distinct(|record| record.dataset.clone()))),
            models => Value::from(Serde(distinct(|record| record.model.clone()))),
            methods => Value::from(Serde(distinct(|record| record.method.clone()))),
            selections => Value::from(Serde(distinct(|record| record.selection.clone()))),
            verdicts => Value::from(Serde(verdicts)),
            claims => Value::from(Serde(claims)),
            done => records.iter().filter(|record| record.is_done()).count(),
            single => singles(records),
            tables => Value::from(Serde(tables)),
            pictures => Value::from(Serde(pictures)),
            failures => Value::from(Serde(failures)),
            warnings => Value::from(Serde(warnings)),
        })
        .map_err(wrong)
}
