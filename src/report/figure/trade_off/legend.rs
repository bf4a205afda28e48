//! The legend.

use super::super::Group;
use super::super::canvas::{Area, GREY, TEXT, dashes, stroke, wide, width, write};
use super::super::style::Style;
use super::LINE;
use super::plot::{SIZE, hollow};
use super::series::{Series, widths_of_all};
use crate::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// What stands before a name.
enum Sign {
    Method(RGBColor),
    Bits(usize),
    Dashes,
    Wide,
    Published,
}

/// Colours of methods, markers of bit widths, and the lines.
pub(super) struct Legend {
    entries: Vec<(String, Sign)>,
    columns: i32,
    wide: i32,
}

impl Legend {
    pub fn new(
        series: &[Series<'_>],
        baseline: bool,
        front: bool,
        published: bool,
        group: &Group<'_>,
    ) -> Self {
        let mut entries: Vec<(String, Sign)> = Vec::new();
        for one in series {
            if !entries.iter().any(|(name, _)| *name == one.name) {
                entries.push((one.name.clone(), Sign::Method(one.style.colour)));
            }
        }
        for (marker, bits) in widths_of_all(group).into_iter().enumerate() {
            if series.iter().any(|one| one.bits == bits) {
                entries
                    .push((bits.map_or("no bit width".into(), |b| format!("{b} bit")), Sign::Bits(marker)));
            }
        }
        entries.extend(baseline.then(|| ("full precision".into(), Sign::Dashes)));
        entries.extend(front.then(|| ("front of all".into(), Sign::Wide)));
        entries.extend(published.then(|| ("published".into(), Sign::Published)));
        let longest = entries.iter().map(|(name, _)| width(name, TEXT)).max().unwrap_or(0);
        let wide = wide(group.layout);
        let columns = ((wide - 60) / (longest + 120)).clamp(1, entries.len().max(1) as i32);
        Self { entries, columns, wide }
    }

    pub fn height(&self) -> i32 {
        (self.entries.len() as i32 + self.columns - 1) / self.columns * LINE + 20
    }

    pub fn draw(&self, area: &Area<'_>, top: i32) -> Result<()> {
        let wide = (self.wide - 60) / self.columns;
        for (index, (name, sign)) in self.entries.iter().enumerate() {
            let (row, column) = (index as i32 / self.columns, index as i32 % self.columns);
            let (x, y) = (40 + column * wide, top + row * LINE + LINE / 2);
            let line = vec![(x, y), (x + 70, y)];
            match sign {
                Sign::Method(colour) => stroke(area, line, *colour, 12)?,
                Sign::Bits(marker) => {
                    Style { colour: BLACK, marker: *marker }.mark(area, (x + 35, y), SIZE)?
                }
                Sign::Dashes => dashes(area, x, x + 70, y)?,
                Sign::Wide => stroke(area, line, GREY, 14)?,
                Sign::Published => hollow(area, (x + 35, y), BLACK)?,
            }
            write(area, name, (x + 88, y), TEXT, (HPos::Left, VPos::Center))?;
        }
        Ok(())
    }
}
