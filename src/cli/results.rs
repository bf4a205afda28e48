//! `ecqx results`: the runs of a store as rows.

use super::Global;
use super::experiments;
use super::listing;
use crate::error::count;
use crate::record::{Metric, Metrics, RunRecord};
use crate::report::Methods;
use crate::report::records::{Selection, load};
use std::path::PathBuf;

/// List runs with their results, one row each
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Experiments (YAML files); without any, everything in the store
    #[arg(value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Only runs whose label, method, model, data set, experiment or id matches, such as 'ecq*'
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// Order of the rows: report order (method, bits, strength), or best first
    #[arg(long, value_name = "COLUMN", default_value = "report")]
    sort: Sort,
    /// Only failed runs, with their errors
    #[arg(long)]
    failed: bool,
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sort {
    Report,
    Accuracy,
    Size,
    Sparsity,
    Time,
}

/// Larger comes first; what is missing, last.
fn key(record: &RunRecord, sort: Sort) -> Option<f64> {
    match sort {
        Sort::Report => None,
        Sort::Accuracy => record.test().map(Metrics::value),
        Sort::Size => record.sizes().map(|sizes| -(sizes.file as f64)),
        Sort::Sparsity => record.sparsity(),
        Sort::Time => Some(record.seconds),
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let methods = Methods::new(&global.registry);
    let ids = experiments::ids(&args.specs, &args.store, global)?;
    let (mut records, damaged) = load(&args.store, &Selection::new(ids, args.filter.as_deref())?, &methods)?;
    damaged.iter().for_each(|message| eprintln!("warning: {message}; left out"));
    if args.failed {
        records.retain(RunRecord::is_failed);
    }
    records.sort_by(|a, b| {
        let [a, b] = [a, b].map(|record| key(record, args.sort).unwrap_or(f64::NEG_INFINITY));
        b.total_cmp(&a)
    });
    if global.json {
        let list: Vec<_> = records.iter().map(json).collect();
        println!("{}", serde_json::json!({ "runs": list }));
        return Ok(super::DONE);
    }
    let failed = records.iter().filter(|record| record.is_failed()).count();
    if !records.is_empty() {
        listing::runs(&records, &methods).lines().iter().for_each(|line| println!("{line}"));
    }
    for record in records.iter().filter(|record| record.is_failed()) {
        let id: String = record.id.chars().take(8).collect();
        println!("{id} {}: {}", record.label, record.error().unwrap_or_default());
    }
    println!("{}, {failed} failed; `ecqx show ID` prints one", count(records.len(), "run"));
    Ok(super::DONE)
}

/// What scripts read of a run.
fn json(record: &RunRecord) -> serde_json::Value {
    let sizes = record.sizes();
    let of = |metrics: Option<&Metrics>, metric: Metric| {
        metrics.filter(|metrics| metrics.metric() == metric).map(Metrics::value)
    };
    let (test, baseline) = (record.test(), record.baseline.as_ref());
    let mut json = serde_json::json!({
        "id": record.id, "experiment": record.experiment, "dataset": record.dataset, "model": record.model,
        "method": record.method, "label": record.label, "bits": record.bits, "parameters": record.parameters,
        "seed": record.seed, "status": record.outcome.name(), "error": record.error(),
        "top1": of(test, Metric::Top1), "baseline_top1": of(baseline, Metric::Top1),
        "sparsity": record.sparsity(), "file_bytes": sizes.map(|sizes| sizes.file),
        "compression_ratio": sizes.map(|sizes| sizes.compression_ratio()), "seconds": record.seconds,
    });
    if let Some(map) = of(test, Metric::Map) {
        json["map"] = map.into();
        json["baseline_map"] = of(baseline, Metric::Map).into();
    }
    json
}
