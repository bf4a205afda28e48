//! Records as reports read them: from a store's folder or from a raw table, selected, in one order.

use super::methods::Methods;
use crate::record::RunRecord;
use crate::store::Store;
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
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
pub fn load(store: &Path, selection: &Selection, methods: &Methods) -> Result<(Vec<RunRecord>, Vec<String>)> {
    let (mut records, damaged) = Store::existing(store)?.records()?;
    records.retain(|record| selection.takes(record));
    sort(&mut records, methods);
    Ok((records, damaged))
}

/// Report order: data, model, method, bits, Λ, p, label, seed, id. Independent of the order of files on disk.
pub fn sort(records: &mut Vec<RunRecord>, methods: &Methods) {
    let number = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    records.sort_by(|a, b| {
        (&a.dataset, &a.model, methods.rank(&a.method), &a.method, a.bits)
            .cmp(&(&b.dataset, &b.model, methods.rank(&b.method), &b.method, b.bits))
            .then_with(|| number(a.lambda()).total_cmp(&number(b.lambda())))
            .then_with(|| number(a.p()).total_cmp(&number(b.p())))
            .then_with(|| (&a.label, a.seed, &a.id).cmp(&(&b.label, b.seed, &b.id)))
    });
    records.dedup_by(|a, b| a.id == b.id);
}

/// Finished records.
pub fn finished(records: &[RunRecord]) -> impl Iterator<Item = &RunRecord> {
    records.iter().filter(|record| record.is_done())
}
