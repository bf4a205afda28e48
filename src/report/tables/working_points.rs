//! Working points: runs that differ only in their seed, as mean ± standard deviation.

use super::raw::drop_points;
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::record::RunRecord;
use crate::report::records::{configurations, finished, spec_without};
use crate::report::statistics::Summary;
use crate::spec::run_spec::canonical;
use indexmap::IndexMap;
use serde_json::{Value, json};

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
    /// Λ.
    pub lambda: Option<f64>,
    /// p.
    pub p: Option<f64>,
    /// Hash of everything but the seed.
    pub configuration: String,
    /// The resolved specification of its first run.
    pub spec: serde_json::Value,
    /// Ids of its runs.
    pub ids: Vec<String>,
    /// Seeds, ascending.
    pub seeds: Vec<u64>,
    /// Top-1, percent.
    pub top1: Summary,
    /// Baseline's top-1, percent.
    pub baseline_top1: Option<Summary>,
    /// Baseline − top-1, points.
    pub drop: Option<Summary>,
    /// Zeros, percent.
    pub sparsity: Option<Summary>,
    /// Entropy, bits per weight.
    pub entropy: Option<Summary>,
    /// File, bytes.
    pub file_bytes: Option<Summary>,
    /// Compression ratio.
    pub compression: Option<Summary>,
}

impl WorkingPoint {
    /// Everything but the seed and the method's parameters `swept`, as text: equal for the points of one line along them.
    pub fn setting_without(&self, swept: &[&str]) -> String {
        let spec = spec_without(&self.spec, swept);
        // A raw table without specifications still tells λ and p apart.
        let kept = |name: &str, value: Option<f64>| value.filter(|_| !swept.contains(&name));
        let known = if self.spec.get("quantizer").is_some() { spec } else { Value::Null };
        canonical(&json!([self.method, self.bits, kept("lambda", self.lambda), kept("p", self.p), known]))
    }
}

/// Finished runs grouped by everything but their seed, in the order of `records`.
pub fn working_points(records: &[RunRecord]) -> Vec<WorkingPoint> {
    let mut groups: IndexMap<String, Vec<&RunRecord>> = IndexMap::new();
    let finished: Vec<&RunRecord> = finished(records).collect();
    for (record, configuration) in finished.iter().zip(configurations(&finished)) {
        groups.entry(configuration).or_default().push(record);
    }
    groups.into_iter().map(|(configuration, group)| working_point(configuration, &group)).collect()
}

fn working_point(configuration: String, group: &[&RunRecord]) -> WorkingPoint {
    let first = group[0];
    let over = |read: &dyn Fn(&RunRecord) -> Option<f64>| {
        Summary::of(&group.iter().filter_map(|record| read(record)).collect::<Vec<f64>>())
    };
    WorkingPoint {
        dataset: first.dataset.clone(),
        model: first.model.clone(),
        method: first.method.clone(),
        label: first.label.clone(),
        bits: first.bits,
        lambda: first.lambda,
        p: first.p,
        configuration,
        spec: first.spec.clone(),
        ids: group.iter().map(|record| record.id.clone()).collect(),
        seeds: group.iter().map(|record| record.seed).collect(),
        // `finished` keeps only records with a test result, so there is at least one number.
        top1: over(&|r| r.test.as_ref().map(|m| m.top1)).unwrap_or(Summary {
            mean: f64::NAN,
            std: None,
            n: 0,
        }),
        baseline_top1: over(&|r| r.baseline.as_ref().map(|m| m.top1)),
        drop: over(&drop_points),
        sparsity: over(&|r| r.sparsity.map(|s| 100.0 * s)),
        entropy: over(&|r| r.entropy),
        file_bytes: over(&|r| r.sizes.as_ref().map(|s| s.file as f64)),
        compression: over(&|r| r.sizes.as_ref().map(crate::record::Sizes::compression_ratio)),
    }
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
        real("lambda", points, |p| p.lambda),
        real("p", points, |p| p.p),
        integer("seeds", points, |p| Some(p.seeds.len() as u64)),
        real("top1_percent", points, |p| Some(p.top1.mean)),
        real("top1_std_points", points, |p| p.top1.std),
        real("baseline_top1_percent", points, |p| mean(p.baseline_top1)),
        real("drop_points", points, |p| mean(p.drop)),
        real("sparsity_percent", points, |p| mean(p.sparsity)),
        real("sparsity_std_points", points, |p| std(p.sparsity)),
        real("entropy_bits", points, |p| mean(p.entropy)),
        real("file_bytes", points, |p| mean(p.file_bytes)),
        real("file_std_bytes", points, |p| std(p.file_bytes)),
        real("compression_ratio", points, |p| mean(p.compression)),
        real("compression_std", points, |p| std(p.compression)),
        text("configuration", points, |p| Some(&p.configuration)),
    ];
    let table = Table::new(
        "working_points",
        "Working points: mean and standard deviation over seeds",
        frame(columns)?,
    );
    Ok(Table { compare_within: vec!["dataset", "model", "bits"], ..table })
}
