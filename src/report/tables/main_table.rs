//! The paper's main table: for each data set, model, bit width and method the three working points a user asks for.

use super::working_points::WorkingPoint;
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::report::statistics::Summary;
use indexmap::IndexMap;

/// The three choices, in the order of the rows.
const HIGHEST_ACCURACY: &str = "highest accuracy";
pub(super) const NO_LOSS: &str = "highest compression without loss";
pub(super) const ONE_POINT: &str = "highest compression, at most 1 point lost";

struct Row<'a> {
    dataset: &'a str,
    model: &'a str,
    bits: Option<u32>,
    choice: &'static str,
    method: &'a str,
    point: Option<&'a WorkingPoint>,
}

/// For every method and bit width: highest accuracy; highest compression with no loss of mean accuracy against the
/// baseline; highest compression with at most one point lost. A choice that no working point meets is a row without
/// numbers.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn main_table(points: &[WorkingPoint]) -> Result<Table> {
    let mut groups: IndexMap<_, Vec<&WorkingPoint>> = IndexMap::new();
    for point in points.iter().filter(|point| point.file_bytes.is_some()) {
        let key = (&point.dataset, &point.model, point.bits, &point.method);
        groups.entry(key).or_default().push(point);
    }
    let mut rows: Vec<Row> = Vec::new();
    for ((dataset, model, bits, method), group) in &groups {
        for (choice, point) in choose(group) {
            rows.push(Row { dataset, model, bits: *bits, choice, method, point });
        }
    }
    // Methods keep their order within a choice: the sort is stable.
    rows.sort_by_key(|row| {
        let order = [HIGHEST_ACCURACY, NO_LOSS, ONE_POINT].iter().position(|name| *name == row.choice);
        (row.dataset, row.model, row.bits, order)
    });
    let of = |read: fn(&WorkingPoint) -> Option<f64>| move |row: &Row| row.point.and_then(read);
    let columns = vec![
        text("dataset", &rows, |row| Some(row.dataset)),
        text("model", &rows, |row| Some(row.model)),
        integer("bits", &rows, |row| row.bits.map(u64::from)),
        text("point", &rows, |row| Some(row.choice)),
        text("method", &rows, |row| Some(row.method)),
        text("setting", &rows, |row| Some(row.point.map_or_else(|| "none reaches it".into(), setting))),
        real("top1_percent", &rows, of(|p| Some(p.top1.mean))),
        real("top1_std_points", &rows, of(|p| p.top1.std)),
        real("drop_points", &rows, of(|p| mean(p.drop))),
        real("sparsity_percent", &rows, of(|p| mean(p.sparsity))),
        real("file_bytes", &rows, of(|p| mean(p.file_bytes))),
        real("compression_ratio", &rows, of(|p| mean(p.compression))),
        integer("seeds", &rows, |row| row.point.map(|p| p.seeds.len() as u64)),
    ];
    let table = Table::new("main", "Best working points by method and bit width", frame(columns)?);
    Ok(Table {
        note: "Means over seeds, ± sample standard deviation (none with a single seed). Size and ratio are those of the \
               file written; accuracy is that of the model decoded from it. Working points are picked by their mean test \
               accuracy, as published tables do: read the comparison at equal size for an unpicked difference."
            .into(),
        compare_within: vec!["dataset", "model", "bits", "point"],
        ..table
    })
}

fn mean(summary: Option<Summary>) -> Option<f64> {
    summary.map(|s| s.mean)
}

/// The label without method and bit width, which have columns of their own.
fn setting(point: &WorkingPoint) -> String {
    let rest = point.label.strip_prefix(&point.method).unwrap_or(&point.label).trim_start();
    let bits = point.bits.map(|bits| format!("{bits} bit"));
    let rest = bits.as_deref().and_then(|bits| rest.strip_prefix(bits)).unwrap_or(rest).trim();
    if rest.is_empty() { "–".into() } else { rest.into() }
}

/// The smallest point with at most `limit` points lost on average.
pub(crate) fn smallest_within<'a>(group: &[&'a WorkingPoint], limit: f64) -> Option<&'a WorkingPoint> {
    // Means of equal accuracies differ in their last bits.
    let fits = group.iter().filter(|p| p.drop.is_some_and(|drop| drop.mean <= limit + 1e-9));
    fits.min_by(|a, b| size(a).total_cmp(&size(b))).copied()
}

fn size(point: &WorkingPoint) -> f64 {
    mean(point.file_bytes).unwrap_or(f64::INFINITY)
}

/// The three choices of one method (at one bit width, or over several).
pub(super) fn choose<'a>(group: &[&'a WorkingPoint]) -> [(&'static str, Option<&'a WorkingPoint>); 3] {
    let accurate = group
        .iter()
        .min_by(|a, b| b.top1.mean.total_cmp(&a.top1.mean).then_with(|| size(a).total_cmp(&size(b))))
        .copied();
    [
        (HIGHEST_ACCURACY, accurate),
        (NO_LOSS, smallest_within(group, 0.0)),
        (ONE_POINT, smallest_within(group, 1.0)),
    ]
}
