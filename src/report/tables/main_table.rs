//! The paper's main table: for each data set, model, bit width and method the three working points a user asks for.

use super::working_points::WorkingPoint;
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::report::statistics::Summary;
use indexmap::IndexMap;

/// The three choices, in the order of the rows.
const HIGHEST_ACCURACY: &str = "highest accuracy";
const NO_LOSS: &str = "highest compression without loss";
const ONE_POINT: &str = "highest compression, at most 1 point lost";

/// For every method and bit width: highest accuracy; highest compression with no loss of mean accuracy against the
/// baseline; highest compression with at most one point lost. A choice no working point meets has no row.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn main_table(points: &[WorkingPoint]) -> Result<Table> {
    let mut groups: IndexMap<_, Vec<&WorkingPoint>> = IndexMap::new();
    for point in points.iter().filter(|point| point.file_bytes.is_some()) {
        let key = (&point.dataset, &point.model, point.bits, &point.method);
        groups.entry(key).or_default().push(point);
    }
    let mut rows: Vec<(&str, &WorkingPoint)> = Vec::new();
    for group in groups.values() {
        rows.extend(choose(group));
    }
    rows.sort_by_key(|(choice, point)| {
        let order = [HIGHEST_ACCURACY, NO_LOSS, ONE_POINT].iter().position(|name| name == choice);
        (point.dataset.clone(), point.model.clone(), point.bits, order)
    });
    let columns = vec![
        text("dataset", &rows, |(_, p)| Some(p.dataset.clone())),
        text("model", &rows, |(_, p)| Some(p.model.clone())),
        integer("bits", &rows, |(_, p)| p.bits.map(u64::from)),
        text("point", &rows, |(choice, _)| Some((*choice).into())),
        text("label", &rows, |(_, p)| Some(p.label.clone())),
        real("lambda", &rows, |(_, p)| p.lambda),
        real("top1_percent", &rows, |(_, p)| Some(p.top1.mean)),
        real("top1_std_points", &rows, |(_, p)| p.top1.std),
        real("drop_points", &rows, |(_, p)| mean(p.drop)),
        real("sparsity_percent", &rows, |(_, p)| mean(p.sparsity)),
        real("file_bytes", &rows, |(_, p)| mean(p.file_bytes)),
        real("compression_ratio", &rows, |(_, p)| mean(p.compression)),
        integer("seeds", &rows, |(_, p)| Some(p.seeds.len() as u64)),
    ];
    let table = Table::new("main", "Best working points by method and bit width", frame(columns)?);
    Ok(Table {
        note: "Means over seeds. Size and ratio are those of the file written; accuracy is that of the model decoded \
               from it. Working points are picked by their mean test accuracy, as published tables do: read the \
               comparison at equal size for an unpicked difference."
            .into(),
        compare_within: vec!["dataset", "model", "bits", "point"],
        ..table
    })
}

fn mean(summary: Option<Summary>) -> Option<f64> {
    summary.map(|s| s.mean)
}

/// The rows of one method at one bit width.
fn choose<'a>(group: &[&'a WorkingPoint]) -> Vec<(&'static str, &'a WorkingPoint)> {
    let size = |point: &WorkingPoint| mean(point.file_bytes).unwrap_or(f64::INFINITY);
    let by_size = |a: &&&WorkingPoint, b: &&&WorkingPoint| size(a).total_cmp(&size(b));
    let smallest = |limit: f64| {
        // A thousandth of a sample of slack: means of equal accuracies differ in their last bits.
        group.iter().filter(|p| p.drop.is_some_and(|drop| drop.mean <= limit + 1e-9)).min_by(by_size).copied()
    };
    let accurate =
        group.iter().min_by(|a, b| b.top1.mean.total_cmp(&a.top1.mean).then_with(|| by_size(a, b))).copied();
    [(HIGHEST_ACCURACY, accurate), (NO_LOSS, smallest(0.0)), (ONE_POINT, smallest(1.0))]
        .into_iter()
        .filter_map(|(choice, point)| point.map(|point| (choice, point)))
        .collect()
}
