//! One plot: axes, fronts, marks with their spread, and published results.

use super::super::axis::Axis;
use super::super::canvas::{Area, TEXT, stroke, width, write, write_upwards};
use super::super::layers::{Layers, xml};
use super::super::style::Style;
use super::series::{Mark, Other, Savings, Series, front, marks_from, steps};
use crate::Result;
use crate::record::Metric;
use crate::report::column::{fixed, short};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// Height of a plot.
pub(super) const HEIGHT: i32 = 860;
/// How far below the marks a bar may stretch the axis, as a share of the height they take.
const STRETCH: f64 = 0.25;
/// Size of a mark.
pub(super) const SIZE: i32 = 14;

/// Where plots begin: right of the labels of their vertical axis.
pub(super) fn plots_left() -> i32 {
    90 + width("99.99", TEXT)
}

/// One plot: its place in the picture and its axes.
pub(super) struct Plot {
    pub left: i32,
    pub right: i32,
    pub top: i32,
    pub bottom: i32,
    pub x: Axis,
    pub y: Axis,
    /// Accuracy from which marks are drawn; all above it lie within the axes.
    pub from: f64,
}

impl Plot {
    /// Of the marks from the accuracy `from` up; their bars can make room for others below.
    pub fn new(
        series: &[Series<'_>],
        others: &[Other],
        savings: &Savings,
        (from, baseline): (f64, Option<f64>),
        (start, top): (i32, i32),
        share: i32,
    ) -> Option<Self> {
        let marks = |from: f64| marks_from(series, from);
        let theirs = |from: f64| others.iter().filter(move |other| other.y >= from);
        let means =
            || marks(from).map(|m| m.point.score.mean).chain(theirs(from).map(|o| o.y)).chain(baseline);
        let stretched = from - STRETCH * (means().fold(from, f64::max) - from);
        let reach = |mark: &Mark<'_>| {
            let (mean, bar) = (mark.point.score.mean, mark.bar().unwrap_or(0.0));
            [(mean - bar).max(stretched), mean + bar]
        };
        let ends = || marks(from).flat_map(reach).chain(means());
        let y = Axis::around(ends(), false)?;
        // What lies beside a stretched bar is shown too, or the axis would look empty where it is not.
        let from = ends().fold(from, f64::min);
        let places = marks(from).map(|m| m.x.mean).chain(theirs(from).map(|o| o.x));
        let x = Axis::around(places, savings.logarithmic)?;
        let (left, right) = (start + plots_left(), start + share - 40);
        Some(Self { left, right, top, bottom: top + HEIGHT, x, y, from })
    }

    fn place(&self, x: f64, y: f64) -> (i32, i32) {
        (self.x.place(x, self.left, self.right), self.y.place(y, self.bottom, self.top))
    }

    pub fn path(&self, points: &[(f64, f64)]) -> Vec<(i32, i32)> {
        points.iter().map(|(x, y)| self.place(*x, *y)).collect()
    }

    /// The axes of `metric` over the savings; `full` in kilobytes, where the size of the file is shown above.
    pub fn axes(
        &self,
        area: &Area<'_>,
        metric: Metric,
        letter: Option<&str>,
        full: Option<f64>,
    ) -> Result<()> {
        let Self { left, right, top, bottom, .. } = *self;
        let light = RGBColor(228, 228, 228);
        for (value, text) in self.y.ticks(7) {
            let at = self.y.place(value, bottom, top);
            stroke(area, vec![(left, at), (right, at)], light, 2)?;
            // The unit of the upper axis stands at its end.
            if full.is_none() || at - TEXT / 2 >= top - 12 {
                write(area, &text, (left - 14, at), TEXT, (HPos::Right, VPos::Center))?;
            }
        }
        for (value, text) in self.x.ticks(7) {
            let at = self.x.place(value, left, right);
            stroke(area, vec![(at, top), (at, bottom)], light, 2)?;
            write(area, &text, (at, bottom + 12), TEXT, (HPos::Center, VPos::Top))?;
            if let Some(full) = full {
                write(area, &rounded(full / value), (at, top - 12), TEXT, (HPos::Center, VPos::Bottom))?;
            }
        }
        if full.is_some() {
            write(area, "kB", (left - 60, top - 12), TEXT, (HPos::Right, VPos::Bottom))?;
        }
        let start = left - plots_left();
        if let Some(letter) = letter {
            // Beside the axis: nothing is drawn there, whatever the data.
            let (y, anchor) = if full.is_some() { (top - 12, VPos::Bottom) } else { (top, VPos::Top) };
            write(area, letter, (start + 12, y), TEXT, (HPos::Left, anchor))?;
        }
        write_upwards(
            area,
            &format!("{}, %", metric.long_name()),
            (start + TEXT / 2 + 8, (top + bottom) / 2),
            TEXT,
        )?;
        let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        stroke(area, corners, RGBColor(90, 90, 90), 3)
    }

    pub fn series(&self, layers: &mut Layers, series: &Series<'_>, marks: &[&Mark<'_>]) -> Result<()> {
        let bits = series.bits.map_or("–".into(), |bits| bits.to_string());
        let attributes =
            format!("class=\"series\" data-method=\"{}\" data-bits=\"{bits}\"", xml(&series.name));
        let colour = series.style.colour;
        layers.add(&attributes, |area| {
            let path = steps(&front(marks.iter().map(|m| (m.x.mean, m.point.score.mean))));
            if path.len() > 1 {
                stroke(area, self.path(&path), colour, 4)?;
            }
            for mark in marks {
                let (x, y) = (mark.x.mean, mark.point.score.mean);
                let colour = if mark.on_front { colour } else { pale(colour) };
                let inside = |y: f64| y.clamp(self.y.low, self.y.high);
                if let Some(bar) = mark.bar() {
                    let ends = vec![self.place(x, inside(y - bar)), self.place(x, inside(y + bar))];
                    stroke(area, ends, colour, 3)?;
                }
                Style { colour, ..series.style }.mark(area, self.place(x, y), SIZE)?;
            }
            Ok(())
        })?;
        let tip = |mark: &&Mark<'_>| {
            let point = mark.point;
            let spread = point.score.std.map_or(String::new(), |std| format!(" ± {}", fixed(std, 2)));
            let size =
                point.file_bytes.map_or(String::new(), |s| format!(", {} kB", fixed(s.mean / 1000.0, 1)));
            let ids: Vec<&str> = point.ids.iter().filter_map(|id| id.get(..8)).collect();
            let text = format!(
                "{}: {}{spread} %{size}, {} seed(s), id {}",
                point.label,
                fixed(point.score.mean, 2),
                point.score.n,
                ids.join(" ")
            );
            (self.place(mark.x.mean, point.score.mean), text)
        };
        layers.tips(&attributes, &marks.iter().map(tip).collect::<Vec<_>>());
        Ok(())
    }

    pub fn others(&self, layers: &mut Layers, others: &[Other]) -> Result<()> {
        let shown: Vec<&Other> = others.iter().filter(|other| other.y >= self.from).collect();
        if shown.is_empty() {
            return Ok(());
        }
        layers.add("class=\"published\"", |area| {
            shown.iter().try_for_each(|other| hollow(area, self.place(other.x, other.y), other.colour))
        })?;
        let tips: Vec<_> =
            shown.iter().map(|other| (self.place(other.x, other.y), other.label.clone())).collect();
        layers.tips("class=\"published\"", &tips);
        Ok(())
    }
}

fn pale(colour: RGBColor) -> RGBColor {
    let mix = |c: u8| (f64::from(c) * 0.3 + 255.0 * 0.7) as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

/// Three digits that count.
fn rounded(value: f64) -> String {
    let digits = (2 - value.abs().log10().floor() as i32).clamp(-9, 9);
    let power = 10f64.powi(digits);
    short((value * power).round() / power)
}

/// The mark of a published number: an open diamond, larger than ours.
pub(super) fn hollow(area: &Area<'_>, (x, y): (i32, i32), colour: RGBColor) -> Result<()> {
    let size = SIZE * 3 / 2;
    let outline = vec![(x - size, y), (x, y - size), (x + size, y), (x, y + size), (x - size, y)];
    stroke(area, outline, colour, 5)
}
