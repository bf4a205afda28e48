//! Accuracy over sparsity, over file size and over p: one line per method and bit width, the baseline dashed, error bars
//! over seeds.

use super::chart::{Chart, Line, Spot};
use super::{Drawing, Figure, Group};
use crate::Result;
use crate::report::statistics::{Point, Summary, pareto_front};
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;

pub(super) const OVER_SPARSITY: Figure = Figure {
    name: "accuracy_over_sparsity",
    about: "top-1 accuracy over the share of zeros, one line per method and bit width",
    draw: |group| draw(group, Axis::Sparsity),
};

pub(super) const OVER_SIZE: Figure = Figure {
    name: "accuracy_over_size",
    about: "top-1 accuracy over the size of the written file, with the Pareto front",
    draw: |group| draw(group, Axis::Size),
};

pub(super) const EFFECT_OF_P: Figure = Figure {
    name: "effect_of_p",
    about: "top-1 accuracy over p, one line per bit width and λ",
    draw: |group| draw(group, Axis::P),
};

#[derive(Clone, Copy, PartialEq)]
enum Axis {
    Sparsity,
    Size,
    P,
}

fn deviation(summary: &Summary) -> f64 {
    summary.std.unwrap_or(0.0)
}

/// `method b bit`.
pub(super) fn line_name(method: &str, bits: Option<u32>) -> String {
    bits.map_or_else(|| method.to_owned(), |bits| format!("{method} {bits} bit"))
}

/// Lines by method and bit width, points from left to right.
fn lines(points: &[&WorkingPoint], axis: Axis) -> Vec<Line> {
    let mut lines: IndexMap<String, Vec<Spot>> = IndexMap::new();
    for point in points {
        let mut name = line_name(&point.method, point.bits);
        let x = match axis {
            Axis::Sparsity => point.sparsity.map(|s| (s.mean, deviation(&s))),
            Axis::Size => point.file_bytes.map(|s| (s.mean / 1000.0, deviation(&s) / 1000.0)),
            Axis::P => {
                name += &point.lambda.map_or(String::new(), |lambda| format!(", λ {lambda}"));
                point.p.map(|p| (p, 0.0))
            }
        };
        let Some((x, x_deviation)) = x else { continue };
        lines.entry(name).or_default().push(Spot {
            x,
            x_deviation,
            y: point.top1.mean,
            y_deviation: deviation(&point.top1),
            label: point.label.clone(),
            seeds: point.seeds.len(),
        });
    }
    lines.values_mut().for_each(|line| line.sort_by(|a, b| a.x.total_cmp(&b.x)));
    lines.into_iter().map(|(name, spots)| Line { name, spots }).collect()
}

fn draw(group: &Group<'_>, axis: Axis) -> Result<Option<Drawing>> {
    let mut lines = lines(&group.points, axis);
    if axis == Axis::P {
        // A single value of p shows no effect.
        lines.retain(|line| line.spots.windows(2).any(|pair| pair[0].x != pair[1].x));
    }
    let baseline = group.points.iter().find_map(|point| point.baseline_top1.as_ref()).map(|s| s.mean);
    let front = (axis == Axis::Size).then(|| {
        let spots = lines.iter().flat_map(|line| &line.spots);
        let points: Vec<Point> = spots.map(|s| Point { size: s.x, accuracy: s.y }).collect();
        pareto_front(&points).into_iter().map(|point| (point.size, point.accuracy)).collect::<Vec<_>>()
    });
    let (x_label, x_column) = match axis {
        Axis::Sparsity => ("zeros, % of the quantized weights", "zeros_percent"),
        Axis::Size => ("file size, kB", "file_kilobytes"),
        Axis::P => ("p", "p"),
    };
    Chart {
        title: &group.title,
        x_label,
        y_label: "top-1 accuracy, %",
        lines,
        baseline: baseline.map(|height| (height, "full precision")),
        backdrop: front.map(|points| (points, "Pareto front")),
        columns: [x_column, "top1_percent"],
    }
    .draw()
}
