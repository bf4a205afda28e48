//! Records as reports read them: from a store's folder or from a raw table, selected, in one order.

use crate::record::RunRecord;
use crate::store::Store;
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// Which records a report takes.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these ids; `None` takes all.
    pub ids: Option<BTreeSet<String>>,
    /// Only records of which the id, experiment, data set, model, method or label matches.
    pub filter: Option<GlobMatcher>,
}

impl Selection {
    /// Parses `filter`, a glob such as `ecq*`.
    ///
    /// # Errors
    /// [`Error::Input`] for a glob that does not parse.
    pub fn new(ids: Option<BTreeSet<String>>, filter: Option<&str>) -> Result<Self> {
        let filter = filter
            .map(|text| Glob::new(text).map(|glob| glob.compile_matcher()))
            .transpose()
            .map_err(|error| Error::input(format!("--filter: invalid pattern: {}", error.kind())))?;
        Ok(Self { ids, filter })
    }

    /// Whether `record` is taken.
    pub fn takes(&self, record: &RunRecord) -> bool {
        let listed = self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id));
        listed
            && self.filter.as_ref().is_none_or(|glob| {
                [
                    &record.id,
                    &record.experiment,
                    &record.dataset,
                    &record.model,
                    &record.method,
                    &record.label,
                ]
                .iter()
                .any(|text| glob.is_match(text))
            })
    }
}

/// All records of a store that `selection` takes, in report order, and messages about those that are left out because
/// their digest does not match their content.
///
/// # Errors
/// [`Error::Input`] if the folder is missing; [`Error::Io`] if it cannot be read.
pub fn load(store: &Path, selection: &Selection) -> Result<(Vec<RunRecord>, Vec<String>)> {
    let (mut records, damaged) = Store::existing(store)?.records()?;
    records.retain(|record| selection.takes(record));
    sort(&mut records);
    Ok((records, damaged))
}

/// Report order: data, model, method, bits, label, λ, p, seed, id. Independent of the order of files on disk.
pub fn sort(records: &mut Vec<RunRecord>) {
    let number = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    records.sort_by(|a, b| {
        (&a.dataset, &a.model, method_rank(&a.method), &a.method, a.bits)
            .cmp(&(&b.dataset, &b.model, method_rank(&b.method), &b.method, b.bits))
            .then_with(|| number(a.lambda()).total_cmp(&number(b.lambda())))
            .then_with(|| number(a.p()).total_cmp(&number(b.p())))
            .then_with(|| (&a.label, a.seed, &a.id).cmp(&(&b.label, b.seed, &b.id)))
    });
    records.dedup_by(|a, b| a.id == b.id);
}

/// The baseline first, then the paper's method, then its ablation without relevance, then the others by name.
pub fn method_rank(method: &str) -> u8 {
    match method {
        "baseline" => 0,
        "ecqx" => 1,
        "ecq" => 2,
        _ => 3,
    }
}

/// Hash of the resolved specification without its seeds: equal for runs that differ in nothing else, so that means are
/// taken over seeds and never over settings.
pub fn configuration(record: &RunRecord) -> String {
    if let Some(given) = record.spec.get("configuration").and_then(|value| value.as_str()) {
        return given.to_string();
    }
    let mut spec = record.spec.clone();
    strip_seeds(&mut spec);
    let key = serde_json::json!([
        record.dataset,
        record.model,
        record.method,
        record.label,
        record.bits,
        record.lambda(),
        record.p(),
        spec
    ]);
    blake3::hash(key.to_string().as_bytes()).to_hex()[..12].to_string()
}

/// The configuration of each record.
pub fn configurations(records: &[&RunRecord]) -> Vec<String> {
    records.par_iter().map(|record| configuration(record)).collect()
}

/// Parameters along which methods trade accuracy for size.
pub(super) const STRENGTH: [&str; 3] = ["lambda", "sparsity", "threshold"];

/// How many settings runs have, those along which accuracy is traded for size ([`STRENGTH`], bit width) left out: one for
/// a plain sweep. The more there are, the more a Pareto front has to pick from.
pub(super) fn variants(records: &[&RunRecord]) -> usize {
    let settings: BTreeSet<String> = records
        .par_iter()
        .map(|record| {
            let mut setting = spec_without(&record.spec, &STRENGTH);
            if let Some(serde_json::Value::Object(quantizer)) = setting.get_mut("quantizer") {
                quantizer.shift_remove("bits");
            }
            setting.to_string()
        })
        .collect();
    settings.len()
}

/// A specification without its seeds and the method's parameters `swept`.
pub(super) fn spec_without(spec: &serde_json::Value, swept: &[&str]) -> serde_json::Value {
    let mut spec = spec.clone();
    strip_seeds(&mut spec);
    if let Some(serde_json::Value::Object(parameters)) = spec.pointer_mut("/quantizer/parameters") {
        parameters.retain(|name, _| !swept.contains(&name.as_str()));
    }
    spec
}

/// Removes what runs of one working point may differ in.
fn strip_seeds(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for key in ["seed", "seeds", "baseline_id", "id", "experiment", "description", "figures"] {
                map.shift_remove(key);
            }
            map.values_mut().for_each(strip_seeds);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(strip_seeds),
        _ => {}
    }
}

/// Finished records.
pub fn finished(records: &[RunRecord]) -> impl Iterator<Item = &RunRecord> {
    records.iter().filter(|record| record.is_done())
}
