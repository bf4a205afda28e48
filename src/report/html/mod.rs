//! The report as one self-contained HTML file: tables that sort, figures inline, nothing loaded from elsewhere.

use super::column::describe;
use super::export::{ALL, LONG, best, cell, heading};
use super::methods::Methods;
use super::records::finished;
use super::tables::Table;
use crate::record::RunRecord;
use crate::{Error, Result};
use indexmap::IndexSet;
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
    /// Its files' name without extension.
    pub stem: String,
    /// The drawing.
    pub svg: String,
}

/// What the data support of one pair of methods.
#[derive(Serialize)]
pub struct Verdict {
    /// Data set and model; empty where the sentence stands for itself.
    pub title: String,
    /// At equal size.
    pub accuracy: String,
    /// At equal accuracy.
    pub size: Option<String>,
}

#[derive(Serialize)]
struct HtmlTable {
    name: String,
    title: String,
    /// What the navigation calls it.
    short: String,
    note: String,
    /// Columns that are the same in every row, in a sentence.
    constant: String,
    headings: Vec<String>,
    numeric: Vec<bool>,
    rows: Vec<Vec<Cell>>,
    long: bool,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    kind: &'static str,
    path: String,
}

#[derive(Serialize)]
struct Cell {
    text: String,
    class: String,
}

/// Rows of a table that the page shows: a browser takes long over more, and nobody reads them.
const ROWS: usize = 500;
/// Rows from which on a table is folded.
const FOLD: usize = 16;
/// Letters from which on a cell is a sentence that may break.
const SENTENCE: usize = 60;

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
    let text = |row: usize, column: usize| cell(frame, column, row);
    // What is the same everywhere says nothing in a column.
    let (mut columns, mut constant) = (Vec::new(), Vec::new());
    for (column, series) in frame.columns().iter().enumerate() {
        let first = if shown > 1 { Some(text(0, column)?) } else { None };
        let mut same = first.is_some();
        for row in 1..shown {
            same = same && Some(text(row, column)?) == first;
        }
        match first.filter(|_| same) {
            None => columns.push(column),
            Some(value) if value.is_empty() || value.chars().count() > SENTENCE => {}
            Some(value) => constant.push(format!("{}: {value}", heading(series.name()))),
        }
    }
    let numeric: Vec<bool> = columns
        .iter()
        .map(|&column| &frame.columns()[column])
        .map(|column| column.dtype().is_numeric() && describe(column.name()).is_some())
        .collect();
    let rows = (0..shown).map(|row| {
        let cells = columns.iter().zip(&numeric).map(|(&column, numeric)| {
            let mut text = text(row, column)?;
            let wide = text.chars().count() > SENTENCE;
            let class = match (numeric, best[column][row], wide) {
                (true, true, _) => "n b",
                (true, false, _) => "n",
                (false, true, _) => "b",
                (false, false, true) => "w",
                (false, false, false) => "",
            };
            if text.is_empty() && table.dash {
                text = "–".into();
            }
            Ok(Cell { text, class: class.into() })
        });
        cells.collect::<Result<Vec<Cell>>>()
    });
    let rows = rows.collect::<Result<_>>()?;
    let readable = table.for_readers && frame.height() <= LONG;
    let formats = ALL.iter().filter(|format| format.takes(table) && (readable || !format.for_readers()));
    let files = formats.filter_map(|format| {
        let kind = match format.extension() {
            "csv" => "CSV",
            "tex" => "LaTeX",
            "wide.tex" => "LaTeX, page width",
            _ => return None,
        };
        Some(File { kind, path: format!("{}.{}", table.name, format.extension()) })
    });
    Ok(HtmlTable {
        name: table.name.clone(),
        title: table.title.clone(),
        short: table.name.replace('_', " "),
        note,
        constant: constant.join(" · "),
        headings: columns.iter().map(|&c| heading(frame.columns()[c].name()).to_owned()).collect(),
        numeric,
        rows,
        long: shown > FOLD,
        files: files.collect(),
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
    /// What is known of methods.
    pub methods: &'a Methods,
    /// Sentences about our results.
    pub verdicts: &'a [Verdict],
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
    let Page { records, methods, verdicts, claims, tables, pictures } = *page;
    let distinct = |value: fn(&RunRecord) -> String| -> Vec<String> {
        let set: BTreeSet<String> = records.iter().map(value).collect();
        set.into_iter().collect()
    };
    // In the order of the records, which is that of reports.
    let names: IndexSet<&str> = records.iter().map(|record| methods.display(&record.method)).collect();
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
            methods => Value::from(Serde(names)),
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
