//! Values with their spread as dots on lines of text, in sections: ablations, paired comparisons.

use super::Drawing;
use super::axis::Axis;
use super::canvas::{TEXT, stroke, title_room, wide, width, write, write_title};
use super::layers::Layers;
use super::style::Style;
use crate::Result;
use crate::report::column::fixed;
use crate::spec::FigureStyle;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// One line.
pub(super) struct Dot {
    pub label: String,
    /// What stands in the CSV.
    pub detail: String,
    pub value: f64,
    /// Lower and upper end of the bar.
    pub bar: Option<(f64, f64)>,
    pub seeds: usize,
    /// Index into [`DotPlot::kinds`].
    pub kind: usize,
}

/// Lines below a heading.
pub(super) struct Section {
    pub title: String,
    pub dots: Vec<Dot>,
    /// Where a dotted line crosses the section.
    pub line: Option<f64>,
}

/// What to draw.
pub(super) struct DotPlot<'a> {
    pub title: &'a str,
    pub style: FigureStyle,
    pub x_label: &'a str,
    pub sections: Vec<Section>,
    /// What dots are, with their looks.
    pub kinds: Vec<(&'static str, Style)>,
    /// Range of the axis; else all that is drawn.
    pub range: Option<(f64, f64)>,
    /// Name of the value in the CSV.
    pub column: &'a str,
}

const LINE: i32 = 58;
const SMALL: i32 = TEXT * 9 / 10;
/// Letters of a label.
const LONGEST: usize = 34;

fn cut(text: &str) -> String {
    match text.chars().count() > LONGEST {
        true => text.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

impl DotPlot<'_> {
    /// The drawing; `None` without a dot.
    pub fn draw(self) -> Result<Option<Drawing>> {
        let dots = || self.sections.iter().flat_map(|section| &section.dots);
        let ends = |dot: &Dot| dot.bar.map_or([dot.value; 2], |(low, high)| [low, high]);
        let values: Vec<f64> = match self.range {
            Some((low, high)) => vec![low, high],
            None => dots().flat_map(ends).chain(self.sections.iter().filter_map(|s| s.line)).collect(),
        };
        let Some(x) = Axis::around(values.into_iter(), false).filter(|_| dots().next().is_some()) else {
            return Ok(None);
        };
        let longest = dots().map(|dot| width(&cut(&dot.label), SMALL)).max().unwrap_or(0);
        let (left, right) = (60 + longest + 30, wide(self.style) - 50);
        let lines = self.sections.iter().map(|s| s.dots.len() as i32 + 1).sum::<i32>();
        let top = title_room(self.style) + 20;
        let bottom = top + lines * LINE + 16;
        let size =
            (wide(self.style) as u32, (bottom + 3 * TEXT + 40 + LINE * self.kinds.len() as i32) as u32);
        let mut layers = Layers::new(size)?;
        let place = |value: f64| x.place(value.clamp(x.low, x.high), left, right);
        let mut tips = Vec::new();
        layers.add("", |area| {
            write_title(area, self.title, self.style)?;
            for (value, text) in x.ticks(((right - left) / (TEXT * 5 / 2)).clamp(2, 7) as usize) {
                let at = place(value);
                stroke(area, vec![(at, top), (at, bottom)], RGBColor(228, 228, 228), 2)?;
                write(area, &text, (at, bottom + 12), TEXT, (HPos::Center, VPos::Top))?;
            }
            let mut y = top + LINE / 2;
            for section in &self.sections {
                write(area, &section.title, (40, y), TEXT, (HPos::Left, VPos::Center))?;
                let from = y + LINE / 2;
                if let Some(line) = section.line {
                    let end = from + LINE * section.dots.len() as i32;
                    let mut at = from;
                    while at < end {
                        stroke(area, vec![(place(line), at), (place(line), (at + 14).min(end))], BLACK, 3)?;
                        at += 26;
                    }
                }
                y += LINE;
                for dot in &section.dots {
                    write(area, &cut(&dot.label), (left - 24, y), SMALL, (HPos::Right, VPos::Center))?;
                    let style = self.kinds[dot.kind].1;
                    if let Some((low, high)) = dot.bar {
                        stroke(area, vec![(place(low), y), (place(high), y)], style.colour, 5)?;
                    }
                    if (x.low..=x.high).contains(&dot.value) {
                        style.mark(area, (place(dot.value), y), 15)?;
                    }
                    let bar = dot
                        .bar
                        .map_or(String::new(), |(l, h)| format!(" ({} … {})", fixed(l, 2), fixed(h, 2)));
                    tips.push((
                        (place(dot.value), y),
                        format!("{}: {}{bar}", dot.detail, fixed(dot.value, 2)),
                    ));
                    y += LINE;
                }
            }
            stroke(area, vec![(left, bottom), (right, bottom)], RGBColor(90, 90, 90), 3)?;
            write(
                area,
                self.x_label,
                ((left + right) / 2, bottom + TEXT + 20),
                TEXT,
                (HPos::Center, VPos::Top),
            )?;
            for (index, (name, style)) in self.kinds.iter().enumerate() {
                let y = bottom + 2 * TEXT + 60 + LINE * index as i32;
                style.mark(area, (60, y), 15)?;
                write(area, name, (90, y), TEXT, (HPos::Left, VPos::Center))?;
            }
            Ok(())
        })?;
        layers.tips("class=\"dots\"", &tips);
        Ok(Some(Drawing { svg: layers.finish(), csv: self.csv() }))
    }

    fn csv(&self) -> String {
        let x = self.column;
        let mut text = format!("panel,line,label,position,{x},{x}_low,{x}_high,seeds,reference\n");
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        for section in &self.sections {
            let line = section.line.map_or(String::new(), |line| line.to_string());
            for (index, dot) in section.dots.iter().enumerate() {
                let (title, label) =
                    (quoted(&section.title), quoted(&format!("{}: {}", dot.label, dot.detail)));
                let kind = quoted(self.kinds[dot.kind].0);
                let [low, high] = match dot.bar {
                    Some((low, high)) => [low.to_string(), high.to_string()],
                    None => Default::default(),
                };
                text += &format!(
                    "{title},{kind},{label},{},{},{low},{high},{},{line}\n",
                    index + 1,
                    dot.value,
                    dot.seeds
                );
            }
        }
        text
    }
}
