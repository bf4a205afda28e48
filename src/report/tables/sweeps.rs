//! What the runs of each experiment took, and on which machine.

use super::{Table, frame, integer, key_columns, real, text};
use crate::Result;
use crate::record::RunRecord;
use indexmap::IndexMap;

/// What decides a row.
const KEYS: [&str; 6] = ["experiment", "dataset", "model", "cpu", "device", "threads"];

/// One row per experiment and machine: how many runs, their hours one after the other, when the first began and the last
/// ended. Runs made side by side take as much less as the machine has room for.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn sweeps(records: &[RunRecord]) -> Result<Table> {
    let mut groups: IndexMap<[String; KEYS.len()], Vec<&RunRecord>> = IndexMap::new();
    for record in records {
        let made_by = &record.provenance;
        let key = [
            record.experiment.clone(),
            record.dataset.clone(),
            record.model.clone(),
            made_by.cpu.clone(),
            made_by.device.clone(),
            made_by.threads.to_string(),
        ];
        groups.entry(key).or_default().push(record);
    }
    let rows: Vec<_> = groups.into_iter().collect();
    let mut columns: Vec<_> = key_columns(KEYS, &rows).collect();
    columns.push(integer("runs", &rows, |(_, runs)| Some(runs.len() as u64)));
    columns.push(real("hours", &rows, |(_, runs)| {
        Some(runs.iter().map(|run| run.seconds).sum::<f64>() / 3600.0)
    }));
    columns.push(text("first_started", &rows, |(_, runs)| {
        runs.iter().map(|run| run.provenance.started.clone()).min()
    }));
    columns.push(text("last_finished", &rows, |(_, runs)| {
        runs.iter().map(|run| run.provenance.finished.clone()).max()
    }));
    let note = "Hours are those of all runs one after the other; runs side by side took less.".into();
    Ok(Table { reproducible: false, note, ..Table::new("sweeps", "Time of each sweep", frame(columns)?) })
}
