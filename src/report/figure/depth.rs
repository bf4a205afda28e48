//! What λ does layer by layer: zeros and entropy by depth.

use super::accuracy::{bits_name, main_line};
use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::record::LayerRecord;
use crate::report::records::STRENGTH;
use crate::report::tables::WorkingPoint;
use std::collections::BTreeSet;

pub(super) const SPARSITY: Figure = Figure {
    name: "sparsity_by_depth",
    about: "zeros of each layer from the input on, one line per λ, for ECQ and ECQx at one bit width; first seed",
    draw: Source::Records(|group| {
        let zeros = |layer: &LayerRecord| Some(100.0 * layer.zeros as f64 / layer.weights.max(1) as f64);
        draw(group, "zeros, %", "zeros_percent", zeros)
    }),
};

pub(super) const ENTROPY: Figure = Figure {
    name: "entropy_by_depth",
    about: "entropy of each layer's levels from the input on, one line per λ, for ECQ and ECQx at one bit width; first seed",
    draw: Source::Records(|group| {
        draw(group, "entropy, bits per weight", "entropy_bits", |layer| layer.entropy)
    }),
};

/// Lines that one picture holds: more λ are thinned out evenly.
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
        .filter(|point| matches!(point.method.as_str(), "ecq" | "ecqx") && point.lambda.is_some())
        .copied()
        .collect();
    // The middle bit width shows the effect best; the first seed stands for all.
    let widths: BTreeSet<Option<u32>> = constrained.iter().map(|point| point.bits).collect();
    let Some(&bits) = widths.iter().nth(widths.len() / 2) else { return Ok(None) };
    let mut panels = Vec::new();
    for method in ["ecq", "ecqx"] {
        let own: Vec<_> =
            constrained.iter().filter(|p| p.method == method && p.bits == bits).copied().collect();
        let mut own = main_line(&own, &STRENGTH);
        own.sort_by(|a, b| a.lambda.partial_cmp(&b.lambda).unwrap_or(std::cmp::Ordering::Equal));
        let count = own.len().min(LINES);
        let lines = (0..count).filter_map(|index| {
            let point = own[if count > 1 { index * (own.len() - 1) / (count - 1) } else { 0 }];
            let record = group.runs(point).min_by_key(|record| record.seed)?;
            let spots = record.layers.iter().enumerate().filter_map(|(depth, layer)| {
                value(layer).map(|y| Spot::plain((depth + 1) as f64, y, layer.name.clone()))
            });
            Some(Line {
                name: format!("λ {}", point.lambda.unwrap_or_default()),
                style: Style::along(index, count),
                spots: spots.collect(),
                joined: true,
            })
        });
        panels.push(Panel::new(format!("{method}, {}", bits_name(bits)), lines.collect()));
    }
    Chart {
        title: &group.title,
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
