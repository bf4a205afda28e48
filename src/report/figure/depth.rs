//! What Λ does layer by layer: zeros and entropy by depth.

use super::accuracy::{bits_name, main_line};
use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::record::LayerRecord;
use crate::report::tables::WorkingPoint;
use indexmap::IndexSet;
use std::collections::BTreeSet;

pub(super) static SPARSITY: Figure = Figure {
    name: "sparsity_by_depth",
    about: "zeros of each layer from the input on, one line per Λ, for the methods that have it at one bit width; first seed",
    draw: Source::Records(|group| {
        let zeros = |layer: &LayerRecord| Some(100.0 * layer.zeros as f64 / layer.weights.max(1) as f64);
        draw(group, "zeros, %", "zeros_percent", zeros)
    }),
};

pub(super) static ENTROPY: Figure = Figure {
    name: "entropy_by_depth",
    about: "entropy of each layer's levels from the input on, one line per Λ, for the methods that have it at one bit width; \
            first seed",
    draw: Source::Records(|group| {
        draw(group, "entropy, bits per weight", "entropy_bits", |layer| layer.entropy)
    }),
};

/// Lines that one picture holds: more Λ are thinned out evenly.
const LINES: usize = 6;

fn draw(
    group: &Group<'_>,
    y_label: &str,
    column: &str,
    value: impl Fn(&LayerRecord) -> Option<f64>,
) -> Result<Option<Drawing>> {
    let constrained: Vec<&WorkingPoint> = group
        .points
        .iter()
        .filter(|point| group.methods.has_lambda(&point.method) && point.lambda().is_some())
        .copied()
        .collect();
    // The middle bit width shows the effect best, methods without one stand in where there is none; the first seed stands
    // for all.
    let all: BTreeSet<Option<u32>> = constrained.iter().map(|point| point.bits).collect();
    let widths: Vec<Option<u32>> = match all.len() {
        1 => all.into_iter().collect(),
        _ => all.into_iter().filter(Option::is_some).collect(),
    };
    let Some(&bits) = widths.get(widths.len() / 2) else { return Ok(None) };
    let methods: IndexSet<&str> =
        constrained.iter().filter(|p| p.bits == bits).map(|p| p.method.as_str()).collect();
    let mut panels = Vec::new();
    for method in methods {
        let own: Vec<_> =
            constrained.iter().filter(|p| p.method == method && p.bits == bits).copied().collect();
        let mut own = main_line(&own, &group.methods.strengths(method));
        own.sort_by(|a, b| a.lambda().partial_cmp(&b.lambda()).unwrap_or(std::cmp::Ordering::Equal));
        let count = own.len().min(LINES);
        let lines = (0..count).filter_map(|index| {
            let point = own[if count > 1 { index * (own.len() - 1) / (count - 1) } else { 0 }];
            let record = group.runs(point).min_by_key(|record| record.seed)?;
            let spots = record.layers().iter().enumerate().filter_map(|(depth, layer)| {
                value(layer).map(|y| Spot::plain((depth + 1) as f64, y, layer.name.clone()))
            });
            Some(Line {
                name: format!("Λ {}", point.lambda().unwrap_or_default()),
                style: Style::along(index, count),
                spots: spots.collect(),
                joined: true,
            })
        });
        panels.push(Panel::new(format!("{}, {}", group.name(method), bits_name(bits)), lines.collect()));
    }
    Chart {
        title: &group.title,
        style: group.layout,
        x_label: "layer",
        y_label,
        panels,
        baseline: "",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["layer", column],
    }
    .draw()
}
