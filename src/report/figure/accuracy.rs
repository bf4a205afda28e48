//! Accuracy over sparsity, over file size and over p, the baseline dashed, error bars over seeds.

use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::report::statistics::{Point, Summary, pareto_front};
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;

pub(super) static OVER_SPARSITY: Figure = Figure {
    name: "accuracy_over_sparsity",
    about: "top-1 accuracy over the share of zeros along Λ, methods that have it at each bit width (where none has: every \
            method); bars: standard deviation over seeds",
    draw: Source::Records(over_sparsity),
};

pub(super) static OVER_SIZE: Figure = Figure {
    name: "accuracy_over_size",
    about: "top-1 accuracy over the size of the written file; marks: all working points; lines: each method's Pareto \
            front; grey: the front of all",
    draw: Source::Records(over_size),
};

pub(super) static EFFECT_OF_P: Figure = Figure {
    name: "effect_of_p",
    about: "top-1 accuracy over p, one line per bit width and Λ",
    draw: Source::Records(effect_of_p),
};

fn deviation(summary: &Summary) -> f64 {
    summary.std.unwrap_or(0.0)
}

/// `b bit`.
pub(super) fn bits_name(bits: Option<u32>) -> String {
    bits.map_or_else(|| "without bit width".to_owned(), |bits| format!("{bits} bit"))
}

/// The point at `x`, top-1 as y.
pub(super) fn spot(point: &WorkingPoint, x: f64, x_deviation: f64) -> Spot {
    Spot {
        x,
        x_deviation,
        y: point.top1.mean,
        y_deviation: deviation(&point.top1),
        label: point.label.clone(),
        seeds: point.top1.n,
    }
}

pub(super) fn baseline(group: &Group<'_>) -> Option<f64> {
    group.points.iter().find_map(|point| point.baseline_top1.as_ref()).map(|summary| summary.mean)
}

/// Points lost below which a picture does not go: broken networks would squeeze everything else together.
const DEPTH: f64 = 15.0;

fn floor(group: &Group<'_>) -> Option<f64> {
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

fn over_sparsity(group: &Group<'_>) -> Result<Option<Drawing>> {
    let has_lambda = |point: &WorkingPoint| group.methods.has_lambda(&point.method);
    let any = group.points.iter().any(|point| has_lambda(point));
    let points: Vec<_> = group.points.iter().filter(|point| !any || has_lambda(point)).copied().collect();
    let mut panels = Vec::new();
    for bits in widths(&points) {
        let mut methods: IndexMap<&str, Vec<&WorkingPoint>> = IndexMap::new();
        for point in points.iter().filter(|point| point.bits == bits) {
            methods.entry(&point.method).or_default().push(point);
        }
        let lines = methods.into_iter().map(|(method, points)| {
            let points = main_line(&points, &group.methods.strengths(method));
            let mut spots: Vec<Spot> = points
                .iter()
                .filter_map(|point| point.sparsity.map(|s| spot(point, s.mean, deviation(&s))))
                .collect();
            spots.sort_by(|a, b| a.x.total_cmp(&b.x));
            Line { name: group.name(method), style: group.style(method), spots, joined: true }
        });
        panels.push(Panel { baseline: baseline(group), ..Panel::new(bits_name(bits), lines.collect()) });
    }
    Chart {
        title: &group.title,
        x_label: "zeros, % of the quantized weights",
        y_label: "top-1 accuracy, %",
        panels,
        baseline: "full precision",
        backdrop: "",
        logarithmic: false,
        floor: floor(group),
        columns: ["zeros_percent", "top1_percent"],
    }
    .draw()
}

fn over_size(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut methods: IndexMap<&str, Vec<Spot>> = IndexMap::new();
    for point in &group.points {
        let Some(size) = point.file_bytes else { continue };
        let spot = spot(point, size.mean / 1000.0, deviation(&size) / 1000.0);
        methods.entry(&point.method).or_default().push(spot);
    }
    let front = |spots: &[&Spot]| -> Vec<Point> {
        pareto_front(&spots.iter().map(|s| Point { size: s.x, accuracy: s.y }).collect::<Vec<_>>())
    };
    let all: Vec<&Spot> = methods.values().flatten().collect();
    let backdrop = front(&all).into_iter().map(|point| (point.size, point.accuracy)).collect();
    // Every working point as a mark; those on the method's front joined.
    let mut lines = Vec::new();
    for (method, spots) in methods {
        let best = front(&spots.iter().collect::<Vec<_>>());
        let (mut on, off): (Vec<Spot>, Vec<Spot>) =
            spots.into_iter().partition(|s| best.iter().any(|p| p.size == s.x && p.accuracy == s.y));
        on.sort_by(|a, b| a.x.total_cmp(&b.x));
        let style = group.style(method);
        for (spots, joined) in [(on, true), (off, false)] {
            lines.push(Line { name: group.name(method), style, spots, joined });
        }
    }
    Chart {
        title: &group.title,
        x_label: "file size, kB (logarithmic)",
        y_label: "top-1 accuracy, %",
        panels: vec![Panel { baseline: baseline(group), backdrop, ..Panel::new("", lines) }],
        baseline: "full precision",
        backdrop: "Pareto front",
        logarithmic: true,
        floor: floor(group),
        columns: ["file_kilobytes", "top1_percent"],
    }
    .draw()
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
        x_label: "p",
        y_label: "top-1 accuracy, %",
        panels: vec![Panel { baseline: baseline(group), ..Panel::new("", lines) }],
        baseline: "full precision",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["p", "top1_percent"],
    }
    .draw()
}
