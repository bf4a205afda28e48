//! What one setting changes: working points of a method that differ in nothing else, paired by seed.

use super::{SeedResult, Table, WorkingPoint, frame, integer, real, text};
use crate::Result;
use crate::report::methods::{BASELINE, Methods};
use crate::report::statistics::Summary;
use crate::report::variants::{SettingKey, Settings, difference, settings, value};
use indexmap::IndexMap;

/// Working points that are compared within one table: beyond that a table of pairs is no table.
const MOST: usize = 2_000;

/// A working point beside the first that differs from it in one setting alone.
struct Variant<'a> {
    point: &'a WorkingPoint,
    reference: &'a WorkingPoint,
    parameter: String,
    value: String,
    against: String,
    /// Over the seeds that both have.
    difference: Option<Summary>,
    size_ratio: Option<Summary>,
}

/// One number of both points for each seed that both have.
fn paired(a: &WorkingPoint, b: &WorkingPoint, of: fn(&SeedResult, &SeedResult) -> f64) -> Option<Summary> {
    let with =
        |one: &SeedResult| b.runs.iter().find(|other| other.seed == one.seed).map(|other| of(one, other));
    Summary::of(&a.runs.iter().filter_map(with).collect::<Vec<f64>>())
}

/// Every point with the first point before it that differs in one setting, a parameter that sweeps a trade-off not counted
/// as one.
fn variants<'a>(points: &'a [WorkingPoint], methods: &Methods) -> Vec<Variant<'a>> {
    type Key<'a> = (&'a str, &'a str, &'a str, Option<u32>);
    let mut families: IndexMap<Key<'_>, Vec<(&WorkingPoint, Settings)>> = IndexMap::new();
    for point in points.iter().filter(|point| point.method != BASELINE) {
        let key = (point.dataset.as_str(), point.model.as_str(), point.method.as_str(), point.bits);
        families.entry(key).or_default().push((point, settings(point, methods)));
    }
    let mut found = Vec::new();
    for ((_, _, method, _), points) in &families {
        let strengths = methods.strengths(method);
        for (index, (point, own)) in points.iter().enumerate() {
            // By setting: the first point that differs in it alone.
            let mut seen: Vec<&SettingKey> = Vec::new();
            for (reference, others) in &points[..index] {
                let Some(parameter) =
                    difference(others, own).filter(|key| !strengths.contains(&key.name.as_ref()))
                else {
                    continue;
                };
                if seen.contains(&parameter) {
                    continue;
                }
                seen.push(parameter);
                found.push(Variant {
                    point,
                    reference,
                    value: value(point, own, parameter),
                    against: value(reference, others, parameter),
                    parameter: parameter.name.to_string(),
                    difference: paired(point, reference, |a, b| a.score - b.score),
                    size_ratio: paired(point, reference, |a, b| (a.file_bytes / b.file_bytes).ln()),
                });
            }
        }
    }
    found
}

/// One row per working point and setting in which it alone differs from an earlier one; `None` where no two points differ
/// in one setting.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn variants_table(points: &[WorkingPoint], methods: &Methods) -> Result<Option<Table>> {
    if points.len() > MOST {
        return Ok(None);
    }
    let rows = variants(points, methods);
    if rows.is_empty() {
        return Ok(None);
    }
    let ratio = |summary: Option<Summary>| summary.map(|summary| summary.mean.exp());
    let columns = vec![
        text("dataset", &rows, |row| Some(&row.point.dataset)),
        text("model", &rows, |row| Some(&row.point.model)),
        text("label", &rows, |row| Some(&row.point.label)),
        text("parameter", &rows, |row| Some(&row.parameter)),
        text("value", &rows, |row| Some(&row.value)),
        text("against", &rows, |row| Some(&row.against)),
        real("top1_percent", &rows, |row| Some(row.point.score.mean)),
        integer("seeds", &rows, |row| row.difference.map(|difference| difference.n as u64)),
        real("difference_points", &rows, |row| row.difference.map(|difference| difference.mean)),
        real("low_points", &rows, |row| row.difference?.interval().map(|interval| interval.0)),
        real("high_points", &rows, |row| row.difference?.interval().map(|interval| interval.1)),
        real("sparsity_percent", &rows, |row| row.point.sparsity.map(|sparsity| sparsity.mean)),
        real("reference_sparsity_percent", &rows, |row| row.reference.sparsity.map(|sparsity| sparsity.mean)),
        real("size_ratio", &rows, |row| ratio(row.size_ratio)),
    ];
    let table = Table::data("variants", "What one setting changes, paired by seed", frame(columns)?);
    Ok(Some(table))
}
