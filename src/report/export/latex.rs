//! LaTeX tables for `booktabs`, best values in bold.

use super::{Exporter, best, cell, heading};
use crate::Result;
use crate::report::tables::Table;

/// A `table*` environment; needs `\usepackage{booktabs}` and nothing else.
pub struct Latex;

impl Exporter for Latex {
    fn extension(&self) -> &'static str {
        "tex"
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        let frame = &table.frame;
        let best = best(table)?;
        let is_best = |column: usize, row: usize| best[column][row];
        let alignment: String =
            frame.columns().iter().map(|c| if c.dtype().is_numeric() { 'r' } else { 'l' }).collect();
        let names: Vec<String> = frame.columns().iter().map(|c| escape(heading(c.name()))).collect();
        let mut text = format!(
            "% Needs \\usepackage{{booktabs}}.\n\\begin{{table*}}\n\\centering\n\\caption{{{}}}\n\\label{{tab:{}}}\n\
             \\begin{{tabular}}{{{alignment}}}\n\\toprule\n{} \\\\\n\\midrule\n",
            escape(&table.title),
            table.name,
            names.join(" & ")
        );
        for row in 0..frame.height() {
            let mut cells = Vec::with_capacity(frame.width());
            for column in 0..frame.width() {
                let shown = cell(frame, column, row)?;
                let numeric = frame.columns()[column].dtype().is_numeric();
                // A hyphen in front of a number must be set as a minus sign.
                let set = match shown.strip_prefix('-') {
                    Some(rest) if numeric => format!("$-${rest}"),
                    _ => escape(&shown),
                };
                cells.push(if is_best(column, row) { format!("\\textbf{{{set}}}") } else { set });
            }
            text.push_str(&format!("{} \\\\\n", cells.join(" & ")));
        }
        text.push_str("\\bottomrule\n\\end{tabular}\n\\end{table*}\n");
        Ok(text.into_bytes())
    }
}

/// Characters that LaTeX reads as commands, and the few outside ASCII that our tables use.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\\' => "\\textbackslash{}".into(),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
            '~' => "\\textasciitilde{}".into(),
            '^' => "\\textasciicircum{}".into(),
            'λ' | 'Λ' => "$\\lambda$".into(),
            'β' => "$\\beta$".into(),
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
