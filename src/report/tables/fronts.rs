//! What the trade-off of each method looks like: Pareto fronts, hypervolume, accuracy at equal size and size at equal
//! accuracy.

use super::working_points::WorkingPoint;
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::report::choice::ChooseOn;
use crate::report::methods::Methods;
use crate::report::statistics::{AtEqual, Hypervolume, Point, at_equal, hypervolumes, pareto_front};
use indexmap::IndexMap;

/// Reads what a front is drawn against.
type Cost = fn(&WorkingPoint) -> Option<f64>;

/// The working points on each method's front, over all bit widths: accuracy against size, and against sparsity.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn pareto(points: &[WorkingPoint]) -> Result<Table> {
    let mut groups: IndexMap<_, Vec<&WorkingPoint>> = IndexMap::new();
    for point in points {
        groups.entry((&point.dataset, &point.model, &point.method)).or_default().push(point);
    }
    let mut rows: Vec<(&'static str, &WorkingPoint)> = Vec::new();
    for group in groups.values() {
        // The share of weights that are left, so that less is better on both.
        let axes: [(&'static str, Cost); 2] = [
            ("size", |p| p.file_bytes.map(|s| s.mean)),
            ("sparsity", |p| p.sparsity.map(|s| 100.0 - s.mean)),
        ];
        for (name, read) in axes {
            let at = |p: &WorkingPoint| read(p).map(|size| Point { size, accuracy: p.score.mean });
            let front = pareto_front(&group.iter().filter_map(|p| at(p)).collect::<Vec<_>>());
            for place in &front {
                rows.extend(group.iter().find(|p| at(p) == Some(*place)).map(|p| (name, *p)));
            }
        }
    }
    let columns = vec![
        text("dataset", &rows, |(_, p)| Some(p.dataset.clone())),
        text("model", &rows, |(_, p)| Some(p.model.clone())),
        text("method", &rows, |(_, p)| Some(p.method.clone())),
        text("against", &rows, |(name, _)| Some(*name)),
        text("label", &rows, |(_, p)| Some(p.label.clone())),
        real("top1_percent", &rows, |(_, p)| Some(p.score.mean)),
        real("sparsity_percent", &rows, |(_, p)| p.sparsity.map(|s| s.mean)),
        real("file_bytes", &rows, |(_, p)| p.file_bytes.map(|s| s.mean)),
        real("compression_ratio", &rows, |(_, p)| p.compression.map(|s| s.mean)),
        integer("seeds", &rows, |(_, p)| Some(p.score.n as u64)),
    ];
    Ok(Table::new("pareto", "Pareto fronts by method", frame(columns)?))
}

/// The share of the accuracy–size plane that each method's fronts dominate.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn hypervolume_table(points: &[WorkingPoint], methods: &Methods, on: ChooseOn) -> Result<Table> {
    let rows: Vec<Hypervolume> = hypervolumes(points, methods, on);
    let columns = vec![
        text("dataset", &rows, |r| Some(&r.dataset)),
        text("model", &rows, |r| Some(&r.model)),
        text("method", &rows, |r| Some(&r.method)),
        integer("seeds", &rows, |r| Some(r.seeds as u64)),
        real("hypervolume", &rows, |r| Some(r.value)),
        real("hypervolume_low", &rows, |r| r.interval.map(|i| i.0)),
        real("hypervolume_high", &rows, |r| r.interval.map(|i| i.1)),
    ];
    let table = Table::new("hypervolume", "Hypervolume of the accuracy–size fronts", frame(columns)?);
    Ok(Table {
        note: format!(
            "Share of the box between the smallest file of any method and the full-precision size (logarithmic), and \
               between five points below the baseline and 100 %, that a method's front of seed means dominates; 95 % \
               t-interval from the same settings seed by seed (none with a single seed). Settings with fewer seeds than the \
               method's others are left out; those on the front are chosen on {} accuracy. Methods with more settings in the grid have \
               more chances.",
            on.name()
        ),
        names: methods.names(),
        compare_within: vec!["dataset", "model"],
        intervals: vec![("hypervolume", rows.iter().map(|r| r.interval).collect())],
        ..table
    })
}

/// Accuracy of each method at fixed sizes, and size at fixed accuracies, interpolated on its front of seed means.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn at_equal_table(points: &[WorkingPoint], methods: &Methods, on: ChooseOn) -> Result<Table> {
    let rows: Vec<AtEqual> = at_equal(points, methods, on);
    let of_kind = |is_size: bool| rows.iter().map(|r| r.interval.filter(|_| r.is_size == is_size)).collect();
    let intervals = vec![("top1_percent", of_kind(false)), ("file_bytes", of_kind(true))];
    let accuracy = |read: fn(&AtEqual) -> Option<f64>| move |r: &AtEqual| read(r).filter(|_| !r.is_size);
    let bytes = |read: fn(&AtEqual) -> Option<f64>| move |r: &AtEqual| read(r).filter(|_| r.is_size);
    let columns = vec![
        text("dataset", &rows, |r| Some(&r.dataset)),
        text("model", &rows, |r| Some(&r.model)),
        text("at", &rows, |r| Some(&r.place)),
        text("method", &rows, |r| Some(&r.method)),
        real("top1_percent", &rows, accuracy(|r| Some(r.value))),
        real("top1_low_percent", &rows, accuracy(|r| r.interval.map(|i| i.0))),
        real("top1_high_percent", &rows, accuracy(|r| r.interval.map(|i| i.1))),
        real("file_bytes", &rows, bytes(|r| Some(r.value))),
        real("file_low_bytes", &rows, bytes(|r| r.interval.map(|i| i.0))),
        real("file_high_bytes", &rows, bytes(|r| r.interval.map(|i| i.1))),
        integer("seeds", &rows, |r| Some(r.seeds as u64)),
    ];
    let table = Table::new("at_equal", "Accuracy at equal size, size at equal accuracy", frame(columns)?);
    Ok(Table {
        note: format!(
            "Interpolated on the front of means over n seeds, over all bit widths, chosen on {} accuracy, never beyond its ends nor \
               between settings of which one is more than twice as large or 10 points more accurate: a method without \
               a row does not reach the place. Settings with fewer seeds than the method's others are left out. 95 % \
               t-interval from the same settings seed by seed: none with a single seed, and none of a size where a seed \
               does not reach the accuracy or which the seeds do not bound within a factor of four.",
            on.name()
        ),
        names: methods.names(),
        compare_within: vec!["dataset", "model", "at"],
        intervals,
        ..table
    })
}
