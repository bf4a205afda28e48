//! Working points: runs that differ only in their seed, as mean ± standard deviation.

use super::raw::drop_points;
use super::{Interval, Table, frame, integer, real, text};
use crate::Result;
use crate::record::{Metric, Metrics, RunRecord};
use crate::report::methods::Methods;
use crate::report::records::finished;
use crate::report::settings::{resolved, setting, spec_without};
use crate::report::statistics::Summary;
use crate::spec::canonical;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// One setting over its seeds.
#[derive(Clone, Debug)]
pub struct WorkingPoint {
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// Method's registry name.
    pub method: String,
    /// Method with its distinguishing parameters.
    pub label: String,
    /// Bit width.
    pub bits: Option<u32>,
    /// The method's parameters, every default written out where that was possible.
    pub parameters: Map<String, Value>,
    /// Hash of everything but the seed.
    pub configuration: String,
    /// The resolved specification of its first run.
    pub spec: Value,
    /// Everything but seeds, bit width and the parameter that trades accuracy for size: equal along one sweep.
    pub variant: String,
    /// Ids of its runs.
    pub ids: Vec<String>,
    /// Its runs in the order of the records, each seed's.
    pub runs: Vec<SeedResult>,
    /// The metric that the task is scored by: of all that follows, where it says value.
    pub metric: Metric,
    /// Its value on the test split, percent.
    pub score: Summary,
    /// Value on the validation split, percent.
    pub validation: Option<Summary>,
    /// Baseline's top-1 on the test split, percent.
    pub baseline: Option<Summary>,
    /// Baseline's value on the validation split, percent.
    pub baseline_validation: Option<Summary>,
    /// Baseline − top-1 on the test split, points.
    pub drop: Option<Summary>,
    /// Zeros, percent.
    pub sparsity: Option<Summary>,
    /// Entropy, bits per weight.
    pub entropy: Option<Summary>,
    /// File, bytes.
    pub file_bytes: Option<Summary>,
    /// Compression ratio.
    pub compression: Option<Summary>,
    /// Full-precision size, bytes.
    pub full_precision: Option<Summary>,
}

/// Bit width of activations in all of our runs: weights alone are quantized.
pub(crate) const ACTIVATION_BITS: u32 = 32;

/// What one run of a working point came to, as far as methods are compared by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeedResult {
    /// Seed.
    pub seed: u64,
    /// Value of the task's metric on the test split, percent.
    pub score: f64,
    /// Value on the validation split, percent.
    pub validation: Option<f64>,
    /// Baseline − score, points.
    pub drop: Option<f64>,
    /// File, bytes.
    pub file_bytes: f64,
}

impl WorkingPoint {
    /// Everything but the seed and the method's parameters `swept`, as text: equal for the points of one line along them.
    pub fn setting_without(&self, swept: &[&str]) -> String {
        setting_without(&self.method, self.bits, &self.parameters, &self.spec, swept, true)
    }

    /// The method's parameter `name`, where it is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.parameters.get(name).and_then(Value::as_f64)
    }

    /// What became of the first and the last layer, in words; `None` where the records do not say.
    pub fn first_last(&self) -> Option<&'static str> {
        match self.parameters.get("exclude_ends")?.as_bool()? {
            true => Some("full precision"),
            false => Some("quantized"),
        }
    }

    /// Number of parameters, running statistics included: four bytes each at full precision.
    pub fn parameter_count(&self) -> Option<f64> {
        self.full_precision.map(|bytes| bytes.mean / 4.0)
    }

    /// Bits of the file per parameter, mean over seeds.
    pub fn bits_per_weight(&self) -> Option<f64> {
        Some(8.0 * self.file_bytes?.mean / self.parameter_count()?)
    }

    /// Λ, where the method has one.
    pub fn lambda(&self) -> Option<f64> {
        self.number("lambda")
    }

    /// p, where the method has one.
    pub fn p(&self) -> Option<f64> {
        self.number("p")
    }
}

fn setting_without(
    method: &str,
    bits: Option<u32>,
    parameters: &Map<String, Value>,
    spec: &Value,
    swept: &[&str],
    with_bits: bool,
) -> String {
    // A raw table has no specifications, but it has parameters.
    let known = match spec.get("quantizer") {
        Some(_) => spec_without(spec, swept, with_bits),
        None => {
            let mut parameters = parameters.clone();
            parameters.retain(|name, _| !swept.contains(&name.as_str()));
            Value::Object(parameters)
        }
    };
    canonical(&json!([method, bits.filter(|_| with_bits), known]))
}

/// Finished runs grouped by everything but their seed, in the order of `records`. Of runs that computed the same under two
/// ids the first counts.
pub fn working_points(records: &[RunRecord], methods: &Methods) -> Vec<WorkingPoint> {
    let finished: Vec<&RunRecord> = finished(records).collect();
    let settings: Vec<_> = finished
        .par_iter()
        .map(|record| {
            let spec = resolved(record, methods);
            setting(record, &spec)
        })
        .collect();
    let mut groups: IndexMap<String, Vec<&RunRecord>> = IndexMap::new();
    let mut seen = HashSet::new();
    for (record, setting) in finished.into_iter().zip(settings) {
        if seen.insert(setting.run) {
            groups.entry(setting.configuration).or_default().push(record);
        }
    }
    let groups: Vec<(String, Vec<&RunRecord>)> = groups.into_iter().collect();
    groups
        .into_par_iter()
        .map(|(configuration, group)| working_point(configuration, &group, methods))
        .collect()
}

fn working_point(configuration: String, group: &[&RunRecord], methods: &Methods) -> WorkingPoint {
    let first = group[0];
    let over = |read: &dyn Fn(&RunRecord) -> Option<f64>| {
        Summary::of(&group.iter().filter_map(|record| read(record)).collect::<Vec<f64>>())
    };
    let spec = resolved(first, methods).into_owned();
    let written = spec.pointer("/quantizer/parameters").and_then(Value::as_object);
    let parameters = written.unwrap_or(&first.parameters).clone();
    let swept = methods.strengths(&first.method);
    let variant = setting_without(&first.method, first.bits, &parameters, &spec, &swept, false);
    let result = |record: &&RunRecord| {
        Some(SeedResult {
            seed: record.seed,
            score: record.test()?.value(),
            validation: record.validation().map(Metrics::value),
            drop: drop_points(record),
            file_bytes: record.sizes()?.file as f64,
        })
    };
    WorkingPoint {
        dataset: first.dataset.clone(),
        model: first.model.clone(),
        method: first.method.clone(),
        label: first.label.clone(),
        bits: first.bits,
        parameters,
        configuration,
        spec,
        variant,
        ids: group.iter().map(|record| record.id.clone()).collect(),
        runs: group.iter().filter_map(result).collect(),
        // `finished` keeps only records with a test result, so there is at least one number.
        metric: first.test().map_or(Metric::Top1, Metrics::metric),
        score: over(&|r| r.test().map(Metrics::value)).unwrap_or(Summary { mean: f64::NAN, std: None, n: 0 }),
        validation: over(&|r| r.validation().map(Metrics::value)),
        baseline: over(&|r| r.baseline.as_ref().map(Metrics::value)),
        baseline_validation: over(&|r| r.baseline_validation.as_ref().map(Metrics::value)),
        drop: over(&drop_points),
        sparsity: over(&|r| r.sparsity().map(|s| 100.0 * s)),
        entropy: over(&RunRecord::entropy),
        file_bytes: over(&|r| r.sizes().map(|s| s.file as f64)),
        compression: over(&|r| r.sizes().map(crate::record::Sizes::compression_ratio)),
        full_precision: over(&|r| r.sizes().map(|s| s.full_precision as f64)),
    }
}

/// Reads one number of a working point.
type Read = fn(&WorkingPoint) -> Option<Summary>;

/// The numbers of a working point that tables compare, by column.
const COMPARED: [(&str, Read); 6] = [
    ("top1_percent", |p| Some(p.score)),
    ("drop_points", |p| p.drop),
    ("sparsity_percent", |p| p.sparsity),
    ("entropy_bits", |p| p.entropy),
    ("file_bytes", |p| p.file_bytes),
    ("compression_ratio", |p| p.compression),
];

/// 95 % intervals of the means of `points`, by column: what sets a best value in bold.
pub(super) fn intervals<'a>(
    points: impl Iterator<Item = Option<&'a WorkingPoint>> + Clone,
) -> Vec<(&'static str, Vec<Option<Interval>>)> {
    let of = |read: Read| points.clone().map(|p| p.and_then(read)?.interval()).collect();
    COMPARED.iter().map(|(name, read)| (*name, of(*read))).collect()
}

/// One row per working point: means, sample standard deviations (missing with one seed) and the number of seeds.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn working_points_table(points: &[WorkingPoint]) -> Result<Table> {
    let mean = |summary: Option<Summary>| summary.map(|s| s.mean);
    let std = |summary: Option<Summary>| summary.and_then(|s| s.std);
    let columns = vec![
        text("dataset", points, |p| Some(&p.dataset)),
        text("model", points, |p| Some(&p.model)),
        text("method", points, |p| Some(&p.method)),
        text("label", points, |p| Some(&p.label)),
        integer("bits", points, |p| p.bits.map(u64::from)),
        real("lambda", points, WorkingPoint::lambda),
        real("p", points, WorkingPoint::p),
        integer("seeds", points, |p| Some(p.score.n as u64)),
        real("top1_percent", points, |p| Some(p.score.mean)),
        real("top1_std_points", points, |p| p.score.std),
        real("validation_top1_percent", points, |p| mean(p.validation)),
        real("baseline_top1_percent", points, |p| mean(p.baseline)),
        real("drop_points", points, |p| mean(p.drop)),
        real("sparsity_percent", points, |p| mean(p.sparsity)),
        real("sparsity_std_points", points, |p| std(p.sparsity)),
        real("entropy_bits", points, |p| mean(p.entropy)),
        real("file_bytes", points, |p| mean(p.file_bytes)),
        real("file_std_bytes", points, |p| std(p.file_bytes)),
        real("compression_ratio", points, |p| mean(p.compression)),
        real("compression_std", points, |p| std(p.compression)),
        real("bits_per_weight", points, WorkingPoint::bits_per_weight),
        integer("activation_bits", points, |_| Some(u64::from(ACTIVATION_BITS))),
        text("first_last", points, WorkingPoint::first_last),
        integer("parameter_count", points, |p| p.parameter_count().map(|count| count as u64)),
        text("configuration", points, |p| Some(&p.configuration)),
    ];
    let table = Table::new(
        "working_points",
        "Working points: mean and standard deviation over seeds",
        frame(columns)?,
    );
    Ok(Table {
        compare_within: vec!["dataset", "model", "bits"],
        intervals: intervals(points.iter().map(Some)),
        ..table
    })
}
