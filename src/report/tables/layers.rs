//! One row per quantized tensor of each finished run.

use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::record::{LayerRecord, RunRecord};

/// Sparsity, levels, entropy and bytes of each tensor, in layer order (`depth` from 0).
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn layers(records: &[RunRecord]) -> Result<Table> {
    let rows: Vec<(&RunRecord, usize, &LayerRecord)> = records
        .iter()
        .flat_map(|r| r.layers().iter().enumerate().map(move |(depth, layer)| (r, depth, layer)))
        .collect();
    let columns = vec![
        text("id", &rows, |(r, _, _)| Some(&r.id)),
        text("dataset", &rows, |(r, _, _)| Some(&r.dataset)),
        text("model", &rows, |(r, _, _)| Some(&r.model)),
        text("label", &rows, |(r, _, _)| Some(&r.label)),
        integer("bits", &rows, |(r, _, _)| r.bits.map(u64::from)),
        real("lambda", &rows, |(r, _, _)| r.lambda()),
        integer("seed", &rows, |(r, _, _)| Some(r.seed)),
        integer("depth", &rows, |(_, depth, _)| Some(*depth as u64)),
        text("layer", &rows, |(_, _, layer)| Some(&layer.name)),
        integer("weights", &rows, |(_, _, layer)| Some(layer.weights as u64)),
        integer("zeros", &rows, |(_, _, layer)| Some(layer.zeros as u64)),
        real("sparsity_percent", &rows, |(_, _, layer)| {
            Some(100.0 * layer.zeros as f64 / layer.weights as f64)
        }),
        integer("levels_in_use", &rows, |(_, _, layer)| Some(layer.levels_in_use as u64)),
        real("entropy_bits", &rows, |(_, _, layer)| layer.entropy),
        real("step", &rows, |(_, _, layer)| layer.step.map(f64::from)),
        integer("bytes", &rows, |(_, _, layer)| layer.bytes.map(|b| b as u64)),
    ];
    Ok(Table::data("layers", "Quantized tensors", frame(columns)?))
}
