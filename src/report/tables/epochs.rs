//! One row per epoch of each run, without its time.

use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::record::{EpochMetrics, RunRecord};

/// Losses, accuracies and sparsity by epoch.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn epochs(records: &[RunRecord]) -> Result<Table> {
    let rows: Vec<(&RunRecord, &EpochMetrics)> =
        records.iter().flat_map(|r| r.epochs.iter().map(move |epoch| (r, epoch))).collect();
    let mut columns = vec![
        text("id", &rows, |(r, _)| Some(&r.id)),
        text("label", &rows, |(r, _)| Some(&r.label)),
        integer("bits", &rows, |(r, _)| r.bits.map(u64::from)),
        integer("seed", &rows, |(r, _)| Some(r.seed)),
        integer("epoch", &rows, |(_, e)| Some(e.epoch as u64)),
        real("train_loss_nats", &rows, |(_, e)| e.train_loss),
        real("train_top1_percent", &rows, |(_, e)| e.train_top1),
        real("validation_loss_nats", &rows, |(_, e)| e.validation_loss),
        real("validation_top1_percent", &rows, |(_, e)| e.validation_top1),
        real("sparsity_percent", &rows, |(_, e)| e.sparsity.map(|s| 100.0 * s)),
        real("learning_rate", &rows, |(_, e)| e.learning_rate),
    ];
    if rows.iter().any(|(_, e)| e.validation_map.is_some()) {
        columns.push(real("validation_map_percent", &rows, |(_, e)| e.validation_map));
    }
    Ok(Table::data("epochs", "Training by epoch", frame(columns)?))
}
