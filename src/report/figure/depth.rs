//! What λ does layer by layer: zeros and entropy by depth.

use super::accuracy::line_name;
use super::chart::{Chart, Line, Spot};
use super::{Drawing, Figure, Group};
use crate::Result;
use crate::run::{LayerRecord, RunRecord};
use std::collections::BTreeSet;

pub(super) const SPARSITY: Figure = Figure {
    name: "sparsity_by_depth",
    about: "zeros of each layer, one line per λ, for ECQ and ECQx at one bit width",
    draw: |group| {
        let zeros = |layer: &LayerRecord| Some(100.0 * layer.zeros as f64 / layer.weights.max(1) as f64);
        draw(group, "zeros, %", "zeros_percent", zeros)
    },
};

pub(super) const ENTROPY: Figure = Figure {
    name: "entropy_by_depth",
    about: "entropy of each layer's levels, one line per λ, for ECQ and ECQx at one bit width",
    draw: |group| draw(group, "entropy, bits per weight", "entropy_bits", |layer| layer.entropy),
};

/// Lines that fit one picture.
const LINES: usize = 12;

fn draw(
    group: &Group<'_>,
    y_label: &str,
    column: &str,
    value: impl Fn(&LayerRecord) -> Option<f64>,
) -> Result<Option<Drawing>> {
    let constrained = |record: &&RunRecord| record.lambda.is_some() && record.method.starts_with("ecq");
    let records: Vec<&RunRecord> = group.records.iter().copied().filter(constrained).collect();
    // The middle bit width shows the effect best, the first seed stands for all.
    let bits: BTreeSet<Option<u32>> = records.iter().map(|record| record.bits).collect();
    let Some(&bits) = bits.iter().nth(bits.len() / 2) else { return Ok(None) };
    let seed = records.iter().map(|record| record.seed).min();
    let chosen = records.iter().filter(|record| record.bits == bits && Some(record.seed) == seed);
    let mut lines: Vec<Line> = Vec::new();
    for record in chosen {
        let lambda = record.lambda.unwrap_or_default();
        let name = format!("{}, λ {lambda}", line_name(&record.method, record.bits));
        // Runs that differ in something else would draw the same line twice.
        if lines.len() == LINES || lines.iter().any(|line| line.name == name) {
            continue;
        }
        let spots = record.layers.iter().enumerate().filter_map(|(index, layer)| {
            value(layer).map(|y| Spot::plain((index + 1) as f64, y, layer.name.clone()))
        });
        lines.push(Line { name, spots: spots.collect() });
    }
    let title = &group.title;
    Chart {
        title,
        x_label: "layer",
        y_label,
        lines,
        baseline: None,
        backdrop: None,
        columns: ["layer", column],
    }
    .draw()
}
