//! LaTeX tables for `booktabs`, best values in bold.

use super::{Exporter, best, cell, heading};
use crate::Result;
use crate::report::tables::{Table, operating_points};
use indexmap::IndexMap;

/// One `table*` environment for each group of equal data set, model and bit width, so that each fits a page; needs
/// `\usepackage{booktabs}` and nothing else.
pub struct Latex;

/// Columns of sentences and digests, which no page is wide enough for.
const HIDDEN: [&str; 6] =
    ["verdict", "size_verdict", "configuration", "differs", "dataset_digest", "baseline_digest"];

/// Tables that no page is wide enough for, or that have a form of their own.
const TOO_WIDE: [&str; 5] = ["main", "pareto", "working_points", "origins", operating_points::NAME];

/// Columns that become part of the caption where a table has them among those it compares within.
const CAPTION: [&str; 3] = ["dataset", "model", "bits"];

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
            CAPTION.contains(&name) && table.compare_within.contains(&name)
        });
        let shown: Vec<usize> = shown
            .into_iter()
            .filter(|&column| !HIDDEN.contains(&frame.columns()[column].name().as_str()))
            .collect();
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
            text += &environment(table, &best, &shown, rows, &caption, &label)?;
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

fn environment(
    table: &Table,
    best: &[Vec<bool>],
    shown: &[usize],
    rows: &[usize],
    caption: &str,
    label: &str,
) -> Result<String> {
    let frame = &table.frame;
    let numeric = |column: usize| frame.columns()[column].dtype().is_numeric();
    let alignment: String = shown.iter().map(|&c| if numeric(c) { 'r' } else { 'l' }).collect();
    let names: Vec<String> = shown.iter().map(|&c| escape(heading(frame.columns()[c].name()))).collect();
    let mut text = format!(
        "\\begin{{table*}}\n\\centering\n\\footnotesize\n\\setlength{{\\tabcolsep}}{{3.5pt}}\n\\caption{{{caption}}}\n\
         \\label{{tab:{label}}}\n\\begin{{tabular}}{{{alignment}}}\n\\toprule\n{} \\\\\n\\midrule\n",
        names.join(" & ")
    );
    let mut last = None;
    for &row in rows {
        // A little space between the working points of the main table.
        let block = match shown.first() {
            Some(&column) if frame.columns()[column].name() == "point" => Some(cell(frame, column, row)?),
            _ => None,
        };
        if last.is_some() && last != block {
            text += "\\addlinespace\n";
        }
        last = block;
        let mut cells = Vec::with_capacity(shown.len());
        for &column in shown {
            let value = cell(frame, column, row)?;
            // A hyphen in front of a number must be set as a minus sign.
            let set = match value.strip_prefix('-') {
                Some(rest) if numeric(column) => format!("$-${rest}"),
                _ => escape(&value),
            };
            cells.push(if best[column][row] { format!("\\textbf{{{set}}}") } else { set });
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
