//! The paper's main table: for each data set, model, bit width and method the three working points a user asks for.

use super::working_points::{WorkingPoint, intervals};
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::report::choice::{Choice, ChooseOn};
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

/// For every method and bit width: highest accuracy; highest compression with no loss of mean accuracy; highest
/// compression with at most one point lost. `on` says on which split they are chosen; all numbers are of the test split. A
/// choice that no working point meets is a row without numbers.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn main_table(points: &[WorkingPoint], on: ChooseOn) -> Result<Table> {
    let rules = rules(points, on);
    let mut groups: IndexMap<_, Vec<&WorkingPoint>> = IndexMap::new();
    for point in points.iter().filter(|point| point.file_bytes.is_some()) {
        let key = (&point.dataset, &point.model, point.bits, &point.method);
        groups.entry(key).or_default().push(point);
    }
    let mut rows: Vec<Row> = Vec::new();
    for ((dataset, model, bits, method), group) in &groups {
        // Every point is of a pair that has a rule.
        let Some(rule) = rules.get(&(dataset.as_str(), model.as_str())) else { continue };
        for (choice, point) in choose(rule, group) {
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
        real("top1_percent", &rows, of(|p| Some(p.score.mean))),
        real("top1_std_points", &rows, of(|p| p.score.std)),
        real("drop_points", &rows, of(|p| mean(p.drop))),
        real("sparsity_percent", &rows, of(|p| mean(p.sparsity))),
        real("file_bytes", &rows, of(|p| mean(p.file_bytes))),
        real("compression_ratio", &rows, of(|p| mean(p.compression))),
        integer("seeds", &rows, |row| row.point.map(|p| p.score.n as u64)),
    ];
    let title = format!("Best working points by method and bit width, chosen on {} accuracy", on.name());
    let table = Table::new("main", title, frame(columns)?);
    let sentences =
        rules.iter().map(|((dataset, model), rule)| rule.sentence(&format!("{dataset}, {model}")));
    Ok(Table {
        note: format!(
            "Test accuracy: means over seeds, ± sample standard deviation (none with a single seed). Size and ratio are \
             those of the file written; accuracy is that of the model decoded from it. Bold: the 95 % t-interval lies \
             apart from all others. {}",
            sentences.collect::<Vec<_>>().join(" ")
        ),
        compare_within: vec!["dataset", "model", "bits", "point"],
        intervals: intervals(rows.iter().map(|row| row.point)),
        ..table
    })
}

/// The rule of each data set and model.
pub(super) fn rules(points: &[WorkingPoint], on: ChooseOn) -> IndexMap<(&str, &str), Choice> {
    let mut pairs: IndexMap<(&str, &str), Vec<&WorkingPoint>> = IndexMap::new();
    for point in points {
        pairs.entry((&point.dataset, &point.model)).or_default().push(point);
    }
    pairs.into_iter().map(|(pair, points)| (pair, Choice::new(on, &points))).collect()
}

fn mean(summary: Option<Summary>) -> Option<f64> {
    summary.map(|s| s.mean)
}

/// The label without method and bit width, which have columns of their own.
pub(super) fn setting(point: &WorkingPoint) -> String {
    let rest = point.label.strip_prefix(&point.method).unwrap_or(&point.label).trim_start();
    let bits = point.bits.map(|bits| format!("{bits} bit"));
    let rest = bits.as_deref().and_then(|bits| rest.strip_prefix(bits)).unwrap_or(rest).trim();
    if rest.is_empty() { "–".into() } else { rest.into() }
}

/// The three choices of one method (at one bit width, or over several).
pub(super) fn choose<'a>(
    rule: &Choice,
    group: &[&'a WorkingPoint],
) -> [(&'static str, Option<&'a WorkingPoint>); 3] {
    [
        (HIGHEST_ACCURACY, rule.most_accurate(group)),
        (NO_LOSS, rule.smallest_within(group, 0.0)),
        (ONE_POINT, rule.smallest_within(group, 1.0)),
    ]
}
