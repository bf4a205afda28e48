//! The raw table: one row per run, failed ones included; and records read back from it.

use super::{Table, frame, integer, polars_error, real, text};
use crate::record::{
    Failure, Measurements, Metric, Metrics, Outcome, Provenance, RunRecord, SCHEMA, Score, Sizes,
};
use crate::report::methods::Methods;
use crate::report::settings::{resolved, setting};
use crate::spec::canonical;
use crate::{Error, Result};
use polars::prelude::{AnyValue, DataFrame};
use rayon::prelude::*;
use serde_json::{Map, Value};

/// One row per run, in the order of `records`. Shares are percent, sizes bytes, the drop is baseline − score in points.
///
/// # Errors
/// [`Error::Internal`] only on a defect.
pub fn raw(records: &[RunRecord], methods: &Methods) -> Result<Table> {
    let test = |read: fn(&Metrics) -> Option<f64>| move |r: &RunRecord| r.test().and_then(read);
    let size = |read: fn(&Sizes) -> Option<f64>| move |r: &RunRecord| r.sizes().and_then(read);
    let count =
        |read: fn(&Sizes) -> Option<usize>| move |r: &RunRecord| r.sizes().and_then(read).map(|n| n as u64);
    let configuration = |r: &RunRecord| setting(r, &resolved(r, methods)).configuration;
    let configurations: Vec<String> = records.par_iter().map(configuration).collect();
    let parameters = |r: &RunRecord| canonical(&Value::Object(r.parameters.clone()));
    let mut columns = vec![
        text("id", records, |r| Some(&r.id)),
        text("experiment", records, |r| Some(&r.experiment)),
        text("dataset", records, |r| Some(&r.dataset)),
        text("model", records, |r| Some(&r.model)),
        text("method", records, |r| Some(&r.method)),
        text("label", records, |r| Some(&r.label)),
        integer("bits", records, |r| r.bits.map(u64::from)),
        real("lambda", records, RunRecord::lambda),
        real("p", records, RunRecord::p),
        text("parameters", records, |r| Some(parameters(r))),
        integer("seed", records, |r| Some(r.seed)),
        integer("baseline_seed", records, RunRecord::baseline_seed),
        text("status", records, |r| Some(r.outcome.name())),
        real("top1_percent", records, test(|m| Some(m.value()))),
        real("top5_percent", records, test(|m| other(m, Metric::Top5))),
        real("loss_nats", records, test(|m| Some(m.loss))),
        integer("test_samples", records, |r| r.test().map(|m| m.n as u64)),
        real("validation_top1_percent", records, |r| r.validation().map(Metrics::value)),
        real("baseline_top1_percent", records, |r| r.baseline.as_ref().map(Metrics::value)),
        real("baseline_validation_top1_percent", records, |r| {
            r.baseline_validation.as_ref().map(Metrics::value)
        }),
        real("drop_points", records, drop_points),
        real("sparsity_percent", records, |r| r.sparsity().map(|s| 100.0 * s)),
        real("entropy_bits", records, RunRecord::entropy),
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
        text("error", records, RunRecord::error),
    ];
    if records.iter().any(|r| r.test().is_some_and(|m| m.metric() == Metric::Map)) {
        columns.push(real("map11_percent", records, test(|m| other(m, Metric::Map11))));
    }
    Ok(Table::data("raw", "All runs", frame(columns)?))
}

/// Another of the task's metrics.
fn other(metrics: &Metrics, wanted: Metric) -> Option<f64> {
    metrics.score.list().into_iter().find(|(metric, _)| *metric == wanted).map(|(_, value)| value)
}

/// Baseline minus score, points; negative where the quantized model is better.
pub(crate) fn drop_points(record: &RunRecord) -> Option<f64> {
    Some(record.baseline.as_ref()?.value() - record.test()?.value())
}

/// Records from a raw table, for making the other tables again without the store. Layers, epochs, times and provenance
/// are not in it and stay empty.
///
/// # Errors
/// [`Error::Input`] if a needed column is missing.
pub fn from_raw(frame: &DataFrame) -> Result<Vec<RunRecord>> {
    (0..frame.height()).map(|row| record(frame, row)).collect()
}

/// The method's parameters; of a table from before there was a column of them Λ and p alone.
fn parameters(
    frame: &DataFrame,
    row: usize,
    lambda: Option<f64>,
    p: Option<f64>,
) -> Result<Map<String, Value>> {
    let Ok(column) = frame.column("parameters") else {
        let known = [("lambda", lambda), ("p", p)].into_iter();
        return Ok(known.filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect());
    };
    match column.get(row).map_err(polars_error)?.get_str() {
        None => Ok(Map::new()),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| Error::input(format!("row {row}: parameters: invalid JSON: {error}"))),
    }
}

/// Whether the table has the column `name` for no metric at all.
fn of_no_metric(frame: &DataFrame, name: &str) -> bool {
    let has = |metric: Metric| frame.column(&name.replace(Metric::Top1.key(), metric.key())).is_ok();
    !Metric::ALL.into_iter().any(has)
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
    // A column of the task's metric, by the name that it has for top-1.
    let valued = |name: &str| -> Result<Option<(Metric, f64)>> {
        let of = |metric: Metric| number(&name.replace(Metric::Top1.key(), metric.key())).ok().flatten();
        let found = [Metric::Top1, Metric::Map].into_iter().find_map(|metric| Some((metric, of(metric)?)));
        if found.is_none() && of_no_metric(frame, name) {
            number(name)?;
        }
        Ok(found)
    };
    let metrics = |value: Option<(Metric, f64)>, other: Option<f64>, loss: Option<f64>, n: Option<usize>| {
        value.map(|(metric, value)| Metrics {
            score: match (metric, other) {
                (Metric::Map, Some(map11)) => Score::Labels { map: value, map11 },
                (Metric::Top1, top5) => Score::Classes { top1: value, top5 },
                _ => Score::of(metric, value),
            },
            loss: loss.unwrap_or(f64::NAN),
            n: n.unwrap_or(0),
            non_finite: 0,
        })
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
    let outcome = match words("status")?.as_str() {
        "done" => {
            let lacks = |what: &str| Error::input(format!("row {row}: a finished run without {what}"));
            let value = valued("top1_percent")?;
            let other = match value {
                Some((Metric::Map, _)) => number("map11_percent").ok().flatten(),
                _ => number("top5_percent")?,
            };
            let test = metrics(value, other, number("loss_nats")?, count("test_samples")?);
            Outcome::Done(Box::new(Measurements {
                test: test.ok_or_else(|| lacks("top1_percent"))?,
                validation: metrics(valued("validation_top1_percent")?, None, None, None),
                sparsity: number("sparsity_percent")?.ok_or_else(|| lacks("sparsity_percent"))? / 100.0,
                entropy: number("entropy_bits")?,
                layers: Vec::new(),
                sizes: sizes.ok_or_else(|| lacks("file_bytes"))?,
            }))
        }
        _ => Outcome::Failed(Failure { error: words("error")?, log: Vec::new() }),
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
        parameters: parameters(frame, row, number("lambda")?, number("p")?)?,
        seed: cell("seed")?.extract::<u64>().unwrap_or(0),
        spec: serde_json::json!({ "configuration": words("configuration")? }),
        outcome,
        attempts: 1,
        interrupted: Vec::new(),
        warnings: Some(words("warnings")?).filter(|w| !w.is_empty()).into_iter().collect(),
        selection: words("selection")?,
        baseline: metrics(valued("baseline_top1_percent")?, None, None, None),
        baseline_validation: metrics(
            valued("baseline_validation_top1_percent").ok().flatten(),
            None,
            None,
            None,
        ),
        epochs: Vec::new(),
        seconds: f64::NAN,
        peak_memory: None,
        provenance: Provenance::default(),
    })
}
