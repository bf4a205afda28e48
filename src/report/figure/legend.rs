//! The legend below a chart's plots: one entry per series, in columns.

use super::canvas::{Area, GREY, MARKER, TEXT, dashes, stroke, width, write};
use super::series::Panel;
use super::style::Style;
use crate::Result;
use plotters::style::text_anchor::{HPos, VPos};

/// Height of an entry.
pub(super) const LINE: i32 = 68;

/// What an entry of the legend shows.
enum Sign {
    Series(Style, bool),
    Dashes,
    Wide,
}

/// Entries below the plots, in columns.
pub(super) struct Legend {
    entries: Vec<(String, Sign)>,
    columns: i32,
    wide: i32,
}

impl Legend {
    /// The series of `panels` below a drawing of a width; `baseline` and `backdrop` name the dashed line and the grey one, where there are any.
    pub fn new(panels: &[Panel], baseline: &str, backdrop: &str, wide: i32) -> Self {
        let mut entries: Vec<(String, Sign)> = Vec::new();
        for line in panels.iter().flat_map(|panel| &panel.lines) {
            if !line.name.is_empty() && !entries.iter().any(|(name, _)| *name == line.name) {
                entries.push((line.name.clone(), Sign::Series(line.style, line.joined)));
            }
        }
        if panels.iter().any(|panel| panel.baseline.is_some()) {
            entries.push((baseline.into(), Sign::Dashes));
        }
        if panels.iter().any(|panel| panel.backdrop.len() > 1) {
            entries.push((backdrop.into(), Sign::Wide));
        }
        let longest = entries.iter().map(|(name, _)| width(name, TEXT)).max().unwrap_or(0);
        let columns = ((wide - 60) / (longest + 130)).clamp(1, entries.len().max(1) as i32);
        Self { entries, columns, wide }
    }

    pub fn height(&self) -> i32 {
        (self.entries.len() as i32 + self.columns - 1) / self.columns * LINE + 24
    }

    pub fn draw(&self, area: &Area<'_>, top: i32) -> Result<()> {
        let wide = (self.wide - 60) / self.columns;
        for (index, (name, sign)) in self.entries.iter().enumerate() {
            let (row, column) = (index as i32 / self.columns, index as i32 % self.columns);
            let (x, y) = (40 + column * wide, top + row * LINE + LINE / 2);
            match sign {
                Sign::Series(style, joined) => {
                    if *joined {
                        stroke(area, vec![(x, y), (x + 90, y)], style.colour, 6)?;
                    }
                    style.mark(area, (x + 45, y), MARKER)?;
                }
                Sign::Dashes => dashes(area, x, x + 90, y)?,
                Sign::Wide => stroke(area, vec![(x, y), (x + 90, y)], GREY, 16)?,
            }
            write(area, name, (x + 110, y), TEXT, (HPos::Left, VPos::Center))?;
        }
        Ok(())
    }
}
