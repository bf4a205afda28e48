//! Accuracy over p, and what figures of accuracy share.

use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::report::statistics::Summary;
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;

pub(super) static EFFECT_OF_P: Figure = Figure {
    name: "effect_of_p",
    about: "top-1 accuracy (or the task's metric) over p, one line per bit width and Λ",
    draw: Source::Records(effect_of_p),
};

fn deviation(summary: &Summary) -> f64 {
    summary.std.unwrap_or(0.0)
}

/// `b bit`.
pub(super) fn bits_name(bits: Option<u32>) -> String {
    bits.map_or_else(|| "without bit width".to_owned(), |bits| format!("{bits} bit"))
}

/// The point at `x`, its score as y.
pub(super) fn spot(point: &WorkingPoint, x: f64, x_deviation: f64) -> Spot {
    Spot {
        x,
        x_deviation,
        y: point.score.mean,
        y_deviation: deviation(&point.score),
        label: point.label.clone(),
        seeds: point.score.n,
    }
}

pub(super) fn baseline(group: &Group<'_>) -> Option<f64> {
    group.points.iter().find_map(|point| point.baseline.as_ref()).map(|summary| summary.mean)
}

/// Points lost below which a picture does not go: broken networks would squeeze everything else together.
const DEPTH: f64 = 15.0;

pub(super) fn floor(group: &Group<'_>) -> Option<f64> {
    // Where the baseline itself is poor there is nothing to hide.
    baseline(group).map(|height| height - DEPTH).filter(|floor| *floor > DEPTH)
}

/// Bit widths in ascending order, methods without one last.
pub(super) fn widths(points: &[&WorkingPoint]) -> Vec<Option<u32>> {
    let mut widths: Vec<Option<u32>> = points.iter().map(|point| point.bits).collect();
    widths.sort_by_key(|bits| (bits.is_none(), *bits));
    widths.dedup();
    widths
}

/// Working points that differ in the parameters `swept` alone: of the settings of everything else, the most frequent one.
/// Otherwise a line would mix settings.
pub(super) fn main_line<'a>(points: &[&'a WorkingPoint], swept: &[&str]) -> Vec<&'a WorkingPoint> {
    let mut settings: IndexMap<String, Vec<&WorkingPoint>> = IndexMap::new();
    for point in points {
        settings.entry(point.setting_without(swept)).or_default().push(point);
    }
    // The first of the most frequent.
    let largest = settings.values().map(Vec::len).max().unwrap_or(0);
    settings.into_values().find(|group| group.len() == largest).unwrap_or_default()
}

fn effect_of_p(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut lines: IndexMap<String, Vec<&WorkingPoint>> = IndexMap::new();
    for point in group.points.iter().filter(|point| point.p().is_some()) {
        let lambda = point.lambda().map_or(String::new(), |lambda| format!(", Λ {lambda}"));
        lines.entry(format!("{}{lambda}", bits_name(point.bits))).or_default().push(point);
    }
    let lines = lines.into_iter().enumerate().map(|(index, (name, points))| {
        let points = main_line(&points, &["p"]);
        let mut spots: Vec<Spot> =
            points.iter().filter_map(|point| point.p().map(|p| spot(point, p, 0.0))).collect();
        spots.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { name, style: Style::nth(index), spots, joined: true }
    });
    // A single value of p shows no effect.
    let lines: Vec<Line> =
        lines.filter(|line| line.spots.windows(2).any(|pair| pair[0].x != pair[1].x)).collect();
    Chart {
        title: &group.title,
        style: group.layout,
        x_label: "p",
        y_label: &format!("{}, %", group.metric().long_name()),
        panels: vec![Panel { baseline: baseline(group), ..Panel::new("", lines) }],
        baseline: "full precision",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["p", &format!("{}_percent", group.metric().key())],
    }
    .draw()
}
