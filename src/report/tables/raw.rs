//! The raw table: one row per run, failed ones included; and records read back from it.

use super::{Table, frame, integer, polars_error, real, text};
use crate::record::SCHEMA;
use crate::record::{Metrics, Provenance, RunRecord, Sizes, Status};
use crate::report::records::configurations;
use crate::{Error, Result};
use polars::prelude::{AnyValue, DataFrame};

/// One row per run, in the order of `records`. Shares are percent, sizes bytes, the drop is baseline − top-1 in points.
///
/// # Errors
/// [`Error::Internal`] only on a defect.
pub fn raw(records: &[RunRecord]) -> Result<Table> {
    let test = |read: fn(&Metrics) -> Option<f64>| move |r: &RunRecord| r.test.as_ref().and_then(read);
    let size = |read: fn(&Sizes) -> Option<f64>| move |r: &RunRecord| r.sizes.as_ref().and_then(read);
    let count = |read: fn(&Sizes) -> Option<usize>| {
        move |r: &RunRecord| r.sizes.as_ref().and_then(read).map(|n| n as u64)
    };
    let configurations = configurations(&records.iter().collect::<Vec<_>>());
    let columns = vec![
        text("id", records, |r| Some(&r.id)),
        text("experiment", records, |r| Some(&r.experiment)),
        text("dataset", records, |r| Some(&r.dataset)),
        text("model", records, |r| Some(&r.model)),
        text("method", records, |r| Some(&r.method)),
        text("label", records, |r| Some(&r.label)),
        integer("bits", records, |r| r.bits.map(u64::from)),
        real("lambda", records, |r| r.lambda),
        real("p", records, |r| r.p),
        integer("seed", records, |r| Some(r.seed)),
        text("status", records, |r| Some(if r.status == Status::Done { "done" } else { "failed" })),
        real("top1_percent", records, test(|m| Some(m.top1))),
        real("top5_percent", records, test(|m| m.top5)),
        real("loss_nats", records, test(|m| Some(m.loss))),
        integer("test_samples", records, |r| r.test.as_ref().map(|m| m.n as u64)),
        real("validation_top1_percent", records, |r| r.validation.as_ref().map(|m| m.top1)),
        real("baseline_top1_percent", records, |r| r.baseline.as_ref().map(|m| m.top1)),
        real("drop_points", records, drop_points),
        real("sparsity_percent", records, |r| r.sparsity.map(|s| 100.0 * s)),
        real("entropy_bits", records, |r| r.entropy),
        integer("file_bytes", records, count(|s| Some(s.file))),
        real("compression_ratio", records, size(|s| Some(s.compression_ratio()))),
        integer("full_precision_bytes", records, count(|s| Some(s.full_precision))),
        real("entropy_bound_bytes", records, size(|s| Some(s.entropy_bound))),
        real("bits_times_parameters_bytes", records, size(|s| Some(s.bits_times_parameters))),
        integer("csr_bytes", records, count(|s| s.csr)),
        integer("zstd_bytes", records, count(|s| s.zstd)),
        integer("xz_bytes", records, count(|s| s.xz)),
        text("selection", records, |r| Some(&r.selection)),
        text("configuration", &configurations, Some),
        text("warnings", records, |r| Some(r.warnings.join("; "))),
        text("error", records, |r| r.error.clone()),
    ];
    Ok(Table::data("raw", "All runs", frame(columns)?))
}

/// Baseline minus top-1, points; negative where the quantized model is better.
pub(crate) fn drop_points(record: &RunRecord) -> Option<f64> {
    Some(record.baseline.as_ref()?.top1 - record.test.as_ref()?.top1)
}

/// Records from a raw table, for making the other tables again without the store. Layers, epochs, times and provenance
/// are not in it and stay empty.
///
/// # Errors
/// [`Error::Input`] if a needed column is missing.
pub fn from_raw(frame: &DataFrame) -> Result<Vec<RunRecord>> {
    (0..frame.height()).map(|row| record(frame, row)).collect()
}

fn record(frame: &DataFrame, row: usize) -> Result<RunRecord> {
    let cell = |name: &str| -> Result<AnyValue<'_>> {
        let column = frame.column(name).map_err(|_| {
            Error::input_hint(format!("no column {name}"), "give a raw.parquet that `ecqx report` wrote")
        })?;
        column.get(row).map_err(polars_error)
    };
    let string = |name: &str| -> Result<Option<String>> { Ok(cell(name)?.get_str().map(str::to_string)) };
    let words = |name: &str| -> Result<String> { Ok(string(name)?.unwrap_or_default()) };
    let number = |name: &str| -> Result<Option<f64>> { Ok(cell(name)?.extract::<f64>()) };
    let count =
        |name: &str| -> Result<Option<usize>> { Ok(cell(name)?.extract::<u64>().map(|n| n as usize)) };
    let metrics = |top1: Option<f64>, top5, loss: Option<f64>, n: Option<usize>| {
        top1.map(|top1| Metrics { top1, top5, loss: loss.unwrap_or(f64::NAN), n: n.unwrap_or(0) })
    };
    let sizes = match (count("file_bytes")?, count("full_precision_bytes")?) {
        (Some(file), Some(full_precision)) => Some(Sizes {
            file,
            full_precision,
            entropy_bound: number("entropy_bound_bytes")?.unwrap_or(f64::NAN),
            bits_times_parameters: number("bits_times_parameters_bytes")?.unwrap_or(f64::NAN),
            csr: count("csr_bytes")?,
            zstd: count("zstd_bytes")?,
            xz: count("xz_bytes")?,
        }),
        _ => None,
    };
    Ok(RunRecord {
        schema: SCHEMA,
        id: words("id")?,
        experiment: words("experiment")?,
        dataset: words("dataset")?,
        model: words("model")?,
        method: words("method")?,
        label: words("label")?,
        bits: count("bits")?.map(|bits| bits as u32),
        lambda: number("lambda")?,
        p: number("p")?,
        seed: cell("seed")?.extract::<u64>().unwrap_or(0),
        spec: serde_json::json!({ "configuration": words("configuration")? }),
        status: if words("status")? == "done" { Status::Done } else { Status::Failed },
        error: string("error")?,
        log: Vec::new(),
        attempts: 1,
        interrupted: Vec::new(),
        warnings: Some(words("warnings")?).filter(|w| !w.is_empty()).into_iter().collect(),
        selection: words("selection")?,
        baseline: metrics(number("baseline_top1_percent")?, None, None, None),
        test: metrics(
            number("top1_percent")?,
            number("top5_percent")?,
            number("loss_nats")?,
            count("test_samples")?,
        ),
        validation: metrics(number("validation_top1_percent")?, None, None, None),
        sparsity: number("sparsity_percent")?.map(|percent| percent / 100.0),
        entropy: number("entropy_bits")?,
        layers: Vec::new(),
        sizes,
        epochs: Vec::new(),
        seconds: f64::NAN,
        peak_memory: None,
        provenance: Provenance::default(),
    })
}
