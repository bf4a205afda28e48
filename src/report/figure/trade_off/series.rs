//! What is drawn: working points by method and bit width, their fronts, published results, and all of it as CSV.

use super::super::Group;
use super::super::accuracy::{baseline, bits_name, widths};
use super::super::style::Style;
use crate::report::statistics::{Point, Summary, pareto_front};
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;
use plotters::prelude::*;

/// What a figure has on its horizontal axis; more is better.
pub(super) struct Savings {
    pub label: &'static str,
    pub column: &'static str,
    pub logarithmic: bool,
    pub of: fn(&WorkingPoint) -> Option<Summary>,
    /// Of a published row, given our full-precision size in bytes.
    pub published: fn(&crate::report::published::Row, Option<f64>) -> Option<f64>,
    /// Whether a second axis shows the size of the file.
    pub kilobytes: bool,
}

/// A working point in the picture.
pub(super) struct Mark<'a> {
    pub x: Summary,
    pub point: &'a WorkingPoint,
    /// No other setting of its method is better in both.
    pub on_front: bool,
}

impl Mark<'_> {
    /// Half the length of its bar, percentage points; pale marks have none.
    pub fn bar(&self) -> Option<f64> {
        self.point.score.std.filter(|std| *std > 0.0 && self.on_front)
    }
}

/// The marks of one method at one bit width.
pub(super) struct Series<'a> {
    pub name: String,
    pub bits: Option<u32>,
    pub style: Style,
    pub marks: Vec<Mark<'a>>,
}

/// A published result.
pub(super) struct Other {
    pub x: f64,
    pub y: f64,
    pub label: String,
    pub colour: RGBColor,
}

/// The marks from the accuracy `from` up.
pub(super) fn marks_from<'a, 'b>(series: &'b [Series<'a>], from: f64) -> impl Iterator<Item = &'b Mark<'a>> {
    series.iter().flat_map(|s| &s.marks).filter(move |m| m.point.score.mean >= from)
}

/// The points that no other one beats in both, by ascending x.
pub(super) fn front(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    // A front of sizes, where less is better.
    let points: Vec<Point> = points.map(|(x, y)| Point { size: -x, accuracy: y }).collect();
    pareto_front(&points).into_iter().rev().map(|p| (-p.size, p.accuracy)).collect()
}

/// The front as what is reached: from each point on, the next one's accuracy up to its place.
pub(super) fn steps(front: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut path: Vec<(f64, f64)> = Vec::new();
    for (x, y) in front {
        if let Some((before, _)) = path.last().copied() {
            path.push((before, *y));
        }
        path.push((*x, *y));
    }
    path
}

pub(super) fn all_series<'a>(group: &Group<'a>, savings: &Savings) -> Vec<Series<'a>> {
    let all = widths_of_all(group);
    let marker = |bits: Option<u32>| all.iter().position(|width| *width == bits).unwrap_or(0);
    let mut methods: IndexMap<&str, Vec<(&WorkingPoint, Summary)>> = IndexMap::new();
    for point in group.points.iter().copied() {
        let x = (savings.of)(point).filter(|x| !savings.logarithmic || x.mean > 0.0);
        methods.entry(&point.method).or_default().extend(x.map(|x| (point, x)));
    }
    let mut series = Vec::new();
    for (method, points) in methods {
        let best = front(points.iter().map(|(point, x)| (x.mean, point.score.mean)));
        let mut by_width: IndexMap<Option<u32>, Vec<Mark>> = IndexMap::new();
        for (point, x) in points {
            let on_front = best.contains(&(x.mean, point.score.mean));
            by_width.entry(point.bits).or_default().push(Mark { x, point, on_front });
        }
        for (bits, mut marks) in by_width {
            marks.sort_by(|a, b| a.x.mean.total_cmp(&b.x.mean));
            let style = Style { marker: marker(bits), ..group.style(method) };
            series.push(Series { name: group.name(method), bits, style, marks });
        }
    }
    series
}

/// Bit widths in ascending order, methods without one last.
pub(super) fn widths_of_all(group: &Group<'_>) -> Vec<Option<u32>> {
    let mut all = widths(&group.points);
    all.sort_by_key(|bits| (bits.is_none(), *bits));
    all.dedup();
    all
}

pub(super) fn others(group: &Group<'_>, savings: &Savings) -> Vec<Other> {
    let full = group.points.iter().find_map(|point| point.full_precision).map(|full| full.mean);
    let rows = group.published.iter().filter(|(_, row)| row.method != crate::report::methods::BASELINE);
    let other = |(citation, row): &(&str, &crate::report::published::Row)| {
        let known = group.methods.get(&row.method).is_some();
        let colour = if known { group.style(&row.method).colour } else { BLACK };
        let (x, y) = ((savings.published)(row, full)?, row.score_percent()?);
        Some(Other { x, y, label: format!("{} ({citation})", row.label), colour })
    };
    rows.filter_map(other).filter(|other| other.x > 0.0).collect()
}

/// The data behind a figure.
pub(super) fn csv(group: &Group<'_>, savings: &Savings, series: &[Series<'_>], others: &[Other]) -> String {
    let (x, y) = (savings.column, group.metric().key());
    let mut text = format!("panel,line,label,{x},{x}_std,{y}_percent,{y}_percent_std,seeds,baseline\n");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let baseline = baseline(group).map_or(String::new(), |height| height.to_string());
    for one in series {
        let bits = quoted(&bits_name(one.bits));
        for Mark { x, point, .. } in &one.marks {
            let (name, label, score) = (quoted(&one.name), quoted(&point.label), point.score);
            let std = |summary: Summary| summary.std.unwrap_or(0.0);
            text += &format!(
                "{bits},{name},{label},{},{},{},{},{},{baseline}\n",
                x.mean,
                std(*x),
                score.mean,
                std(score),
                score.n
            );
        }
    }
    for other in others {
        text += &format!("\"\",\"published\",{},{},,{},,,\n", quoted(&other.label), other.x, other.y);
    }
    text
}
