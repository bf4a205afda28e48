//! Markdown tables, best values in bold.

use super::{Exporter, best, cell, heading};
use crate::Result;
use crate::report::tables::Table;

/// GitHub-flavoured Markdown.
pub struct Markdown;

impl Exporter for Markdown {
    fn extension(&self) -> &'static str {
        "md"
    }

    fn for_readers(&self) -> bool {
        true
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        let frame = &table.frame;
        let best = best(table)?;
        let is_best = |column: usize, row: usize| best[column][row];
        let numeric: Vec<bool> = frame.columns().iter().map(|c| c.dtype().is_numeric()).collect();
        let names = frame.columns().iter().map(|c| heading(c.name()).to_string()).collect::<Vec<_>>();
        let rules: Vec<String> =
            numeric.iter().map(|n| if *n { "---:".into() } else { "---".into() }).collect();
        let mut text = format!("{}\n\n", table.title);
        let mut line = |cells: Vec<String>| text.push_str(&format!("| {} |\n", cells.join(" | ")));
        line(names);
        line(rules);
        for row in 0..frame.height() {
            let mut cells = Vec::with_capacity(frame.width());
            for column in 0..frame.width() {
                let shown = match cell(frame, column, row)? {
                    empty if empty.is_empty() && table.dash => "–".into(),
                    text => text,
                };
                let shown = shown.replace('|', "\\|").replace('\n', " ");
                cells.push(if is_best(column, row) { format!("**{shown}**") } else { shown });
            }
            line(cells);
        }
        if !table.note.is_empty() {
            text.push_str(&format!("\n{}\n", table.note));
        }
        Ok(text.into_bytes())
    }
}
