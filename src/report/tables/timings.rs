//! What differs between two runs of the same thing: time, memory, machine. Kept apart so that the other tables can be
//! compared byte for byte.

use super::{Table, frame, integer, key_columns, real, text};
use crate::Result;
use crate::record::RunRecord;
use indexmap::IndexMap;

/// Wall time and peak memory, one row per run.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn timings(records: &[RunRecord]) -> Result<Table> {
    let columns = vec![
        text("id", records, |r| Some(&r.id)),
        text("dataset", records, |r| Some(&r.dataset)),
        text("model", records, |r| Some(&r.model)),
        text("label", records, |r| Some(&r.label)),
        integer("bits", records, |r| r.bits.map(u64::from)),
        integer("seed", records, |r| Some(r.seed)),
        real("seconds", records, |r| Some(r.seconds)),
        real("seconds_per_epoch", records, seconds_per_epoch),
        integer("peak_memory_bytes", records, |r| r.peak_memory),
        integer("threads", records, |r| Some(r.provenance.threads as u64)),
        text("device", records, |r| Some(&r.provenance.device)),
    ];
    Ok(Table { reproducible: false, ..Table::data("timings", "Time and memory", frame(columns)?) })
}

/// Mean time of the training epochs, seconds; `None` without training.
pub(crate) fn seconds_per_epoch(record: &RunRecord) -> Option<f64> {
    let epochs: Vec<f64> = record.epochs.iter().filter(|e| e.epoch > 0).map(|e| e.seconds).collect();
    (!epochs.is_empty()).then(|| epochs.iter().sum::<f64>() / epochs.len() as f64)
}

/// Who made the results with what: one row per combination, with how many runs it made.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn origins(records: &[RunRecord]) -> Result<Table> {
    let mut groups: IndexMap<[String; 11], (u64, String, String)> = IndexMap::new();
    for record in records {
        let p = &record.provenance;
        let key = [
            record.dataset.clone(),
            record.model.clone(),
            p.git_revision.clone().unwrap_or_default(),
            p.version.clone(),
            p.rustc.clone(),
            p.features.join(" "),
            p.cpu.clone(),
            p.device.clone(),
            p.threads.to_string(),
            p.dataset_digest.clone(),
            p.baseline_digest.clone(),
        ];
        let (runs, first, last) = groups.entry(key).or_insert((0, p.started.clone(), p.started.clone()));
        *runs += 1;
        *first = first.clone().min(p.started.clone());
        *last = last.clone().max(p.started.clone());
    }
    let rows: Vec<_> = groups.into_iter().collect();
    const NAMES: [&str; 11] = [
        "dataset",
        "model",
        "git_revision",
        "version",
        "rustc",
        "features",
        "cpu",
        "device",
        "threads",
        "dataset_digest",
        "baseline_digest",
    ];
    let mut columns = vec![integer("runs", &rows, |(_, (runs, ..))| Some(*runs))];
    columns.extend(key_columns(NAMES, &rows));
    columns.push(text("first_started", &rows, |(_, (_, first, _))| Some(first.clone())));
    columns.push(text("last_started", &rows, |(_, (.., last))| Some(last.clone())));
    Ok(Table { reproducible: false, ..Table::new("origins", "Provenance", frame(columns)?) })
}

/// Who made each result with what, one row per run.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn provenance(records: &[RunRecord]) -> Result<Table> {
    let field = |read: fn(&RunRecord) -> String| move |r: &RunRecord| Some(read(r));
    let columns = vec![
        text("id", records, field(|r| r.id.clone())),
        text("git_revision", records, |r| r.provenance.git_revision.clone()),
        text("git_changes", records, |r| r.provenance.git_changes.clone()),
        text("folder_revision", records, |r| r.provenance.folder_revision.clone()),
        text("version", records, field(|r| r.provenance.version.clone())),
        text("rustc", records, field(|r| r.provenance.rustc.clone())),
        text("features", records, field(|r| r.provenance.features.join(" "))),
        text("cpu", records, field(|r| r.provenance.cpu.clone())),
        text("device", records, field(|r| r.provenance.device.clone())),
        integer("threads", records, |r| Some(r.provenance.threads as u64)),
        text("host", records, field(|r| r.provenance.host.clone())),
        text("dataset_digest", records, field(|r| r.provenance.dataset_digest.clone())),
        text("baseline_digest", records, field(|r| r.provenance.baseline_digest.clone())),
        text("command", records, field(|r| r.provenance.command.join(" "))),
        text("started", records, field(|r| r.provenance.started.clone())),
        text("finished", records, field(|r| r.provenance.finished.clone())),
        integer("attempts", records, |r| Some(u64::from(r.attempts))),
        integer("interruptions", records, |r| Some(r.interrupted.len() as u64)),
        real("checkpoint_seconds", records, |r| Some(r.provenance.checkpoint_seconds)),
        real("energy_joules", records, |r| r.provenance.energy_joules),
    ];
    Ok(Table { reproducible: false, ..Table::data("provenance", "Provenance of each run", frame(columns)?) })
}
