//! ECQx against every other method at equal size, paired by seed, with the verdict the data support.

use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::record::RunRecord;
use crate::report::statistics::{Comparison, compare};

/// One row per data set, model, bit width (none: over all) and other method.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn comparison(records: &[RunRecord]) -> Result<Table> {
    let rows: Vec<Comparison> = compare(records);
    let columns = vec![
        text("dataset", &rows, |c| Some(&c.dataset)),
        text("model", &rows, |c| Some(&c.model)),
        integer("bits", &rows, |c| c.bits.map(u64::from)),
        text("other", &rows, |c| Some(&c.other)),
        integer("seeds", &rows, |c| Some(c.seeds as u64)),
        real("difference_points", &rows, |c| c.difference),
        real("low_points", &rows, |c| c.interval.map(|i| i.0)),
        real("high_points", &rows, |c| c.interval.map(|i| i.1)),
        real("size_ratio", &rows, |c| c.size_ratio),
        real("size_ratio_low", &rows, |c| c.size_interval.map(|i| i.0)),
        real("size_ratio_high", &rows, |c| c.size_interval.map(|i| i.1)),
        text("verdict", &rows, |c| Some(c.verdict())),
    ];
    let table = Table::new("comparison", "ECQx against the other methods at equal size", frame(columns)?);
    Ok(Table {
        note: "Difference: accuracy of ECQx minus the other's, mean over the sizes that both Pareto fronts cover with at \
               most 5 points lost, paired by seed; size ratio: ECQx over the other at equal accuracy. Intervals: 95 % bootstrap over seeds, none \
               with a single seed; with few seeds they are narrower than they should be. A row without bits is over all."
            .into(),
        ..table
    })
}
