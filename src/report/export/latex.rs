//! LaTeX tables for `booktabs`, best values in bold, intervals in brackets.

use super::{Exporter, best, cell, heading};
use crate::Result;
use crate::report::tables::{Table, operating_points};
use indexmap::IndexMap;

/// One `table*` environment for each group of equal data set and model (and bit width, where values are compared within
/// it), so that each fits a page; needs `\usepackage{booktabs}` and nothing else.
pub struct Latex;

/// Columns of sentences and digests, which no page is wide enough for, and the one that a title names.
const HIDDEN: [&str; 7] =
    ["verdict", "size_verdict", "configuration", "differs", "dataset_digest", "baseline_digest", "reference"];

/// Tables that no page is wide enough for, or that have a form of their own.
const TOO_WIDE: [&str; 6] = ["main", "pareto", "working_points", "sweeps", "origins", operating_points::NAME];

/// Columns that become part of the caption.
const CAPTION: [&str; 2] = ["dataset", "model"];

/// Columns that name a method.
const METHODS: [&str; 2] = ["method", "other"];

/// What is set in one place of a row.
#[derive(Clone, Copy)]
enum Place {
    Cell(usize),
    /// The ends of an interval.
    Interval(usize, usize),
}

impl Exporter for Latex {
    fn extension(&self) -> &'static str {
        "tex"
    }

    fn for_readers(&self) -> bool {
        true
    }

    fn takes(&self, table: &Table) -> bool {
        !TOO_WIDE.contains(&table.name.as_str())
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        let frame = &table.frame;
        let best = best(table)?;
        let (captions, shown): (Vec<usize>, Vec<usize>) = (0..frame.width()).partition(|&column| {
            let name = frame.columns()[column].name().as_str();
            CAPTION.contains(&name) || name == "bits" && table.compare_within.contains(&name)
        });
        let shown: Vec<usize> = shown
            .into_iter()
            .filter(|&column| !HIDDEN.contains(&frame.columns()[column].name().as_str()))
            .collect();
        let places = places(table, &shown);
        let mut groups: IndexMap<Vec<String>, Vec<usize>> = IndexMap::new();
        for row in 0..frame.height() {
            let key =
                captions.iter().map(|&column| caption_part(table, column, row)).collect::<Result<_>>()?;
            groups.entry(key).or_default().push(row);
        }
        let mut text = String::from("% Needs \\usepackage{booktabs}.\n");
        for (index, (key, rows)) in groups.iter().enumerate() {
            let parts: Vec<&str> = key.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
            let caption = match parts.as_slice() {
                [] => escape(&table.title),
                parts => format!("{}: {}", escape(&table.title), escape(&parts.join(", "))),
            };
            let label = if index == 0 { table.name.clone() } else { format!("{}-{}", table.name, index + 1) };
            text += &environment(table, &best, &places, rows, &caption, &label)?;
        }
        Ok(text.into_bytes())
    }
}

/// What the caption says of one column.
fn caption_part(table: &Table, column: usize, row: usize) -> Result<String> {
    let value = cell(&table.frame, column, row)?;
    Ok(match (table.frame.columns()[column].name().as_str(), value.as_str()) {
        ("bits", "") => "methods without bit width".into(),
        ("bits", bits) => format!("{bits} bit"),
        _ => value,
    })
}

/// The columns in order, the two ends of an interval as one.
fn places(table: &Table, shown: &[usize]) -> Vec<Place> {
    let name = |column: usize| table.frame.columns()[column].name().as_str();
    let mut places = Vec::with_capacity(shown.len());
    let mut rest = shown;
    while let [column, behind @ ..] = rest {
        rest = behind;
        places.push(match behind.first() {
            // No two columns have one name, so this one has a "low" in it.
            Some(&high) if name(*column).replace("low", "high") == name(high) => {
                rest = &behind[1..];
                Place::Interval(*column, high)
            }
            _ => Place::Cell(*column),
        });
    }
    places
}

/// A cell as LaTeX sets it: a hyphen in front of a number as a minus sign, a method by its name.
fn set(table: &Table, column: usize, row: usize) -> Result<String> {
    let of = &table.frame.columns()[column];
    let value = cell(&table.frame, column, row)?;
    Ok(match value.strip_prefix('-') {
        Some(rest) if of.dtype().is_numeric() => format!("$-${rest}"),
        _ if METHODS.contains(&of.name().as_str()) => {
            escape(table.names.get(&value).map_or(value.as_str(), |name| name))
        }
        _ => escape(&value),
    })
}

fn environment(
    table: &Table,
    best: &[Vec<bool>],
    places: &[Place],
    rows: &[usize],
    caption: &str,
    label: &str,
) -> Result<String> {
    let frame = &table.frame;
    let alignment = places.iter().map(|place| match *place {
        Place::Cell(column) if !frame.columns()[column].dtype().is_numeric() => 'l',
        Place::Cell(_) | Place::Interval(..) => 'r',
    });
    let names = places.iter().map(|place| match *place {
        Place::Cell(column) => escape(heading(frame.columns()[column].name())),
        Place::Interval(..) => "95 \\% interval".into(),
    });
    let mut text = format!(
        "\\begin{{table*}}\n\\centering\n\\footnotesize\n\\setlength{{\\tabcolsep}}{{3.5pt}}\n\\caption{{{caption}}}\n\
         \\label{{tab:{label}}}\n\\begin{{tabular}}{{{}}}\n\\toprule\n{} \\\\\n\\midrule\n",
        alignment.collect::<String>(),
        names.collect::<Vec<String>>().join(" & ")
    );
    let mut last = None;
    for &row in rows {
        // A little space between the working points of the main table, and between bit widths.
        let block = match places.first() {
            Some(&Place::Cell(column))
                if matches!(frame.columns()[column].name().as_str(), "point" | "bits" | "at") =>
            {
                Some(cell(frame, column, row)?)
            }
            _ => None,
        };
        if last.is_some() && last != block {
            text += "\\addlinespace\n";
        }
        last = block;
        let mut cells = Vec::with_capacity(places.len());
        for place in places {
            cells.push(match *place {
                Place::Cell(column) if best[column][row] => {
                    format!("\\textbf{{{}}}", set(table, column, row)?)
                }
                Place::Cell(column) => set(table, column, row)?,
                Place::Interval(low, high) => match (set(table, low, row)?, set(table, high, row)?) {
                    (low, high) if low.is_empty() && high.is_empty() => String::new(),
                    (low, high) => format!("[{low}, {high}]"),
                },
            });
        }
        text += &format!("{} \\\\\n", cells.join(" & "));
    }
    text += "\\bottomrule\n\\end{tabular}\n\\end{table*}\n";
    Ok(text)
}

/// Characters that LaTeX reads as commands, and the few outside ASCII that our tables use.
pub(super) fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\\' => "\\textbackslash{}".into(),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
            '~' => "\\textasciitilde{}".into(),
            '^' => "\\textasciicircum{}".into(),
            '<' => "$<$".into(),
            '>' => "$>$".into(),
            '|' => "$|$".into(),
            '"' => "''".into(),
            'λ' => "$\\lambda$".into(),
            'Λ' => "$\\Lambda$".into(),
            'β' => "$\\beta$".into(),
            'α' => "$\\alpha$".into(),
            'γ' => "$\\gamma$".into(),
            'ε' => "$\\varepsilon$".into(),
            '±' => "$\\pm$".into(),
            '×' => "$\\times$".into(),
            '≤' => "$\\leq$".into(),
            '≥' => "$\\geq$".into(),
            '−' => "$-$".into(),
            '–' => "--".into(),
            '…' => "\\ldots{}".into(),
            '\n' => " ".into(),
            other => other.to_string(),
        })
        .collect()
}
