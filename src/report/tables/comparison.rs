//! One method against every other at equal size and at equal accuracy, paired by seed, with the verdicts the data support.

use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::report::choice::ChooseOn;
use crate::report::methods::Methods;
use crate::report::statistics::Comparison;

/// Why there is no comparison, and how to get one; `None` where `rows` has some. `present`: names of the methods that the
/// records have.
pub fn nothing_compared(rows: &[Comparison], methods: &Methods, present: &[&str]) -> Option<String> {
    let shown: Vec<&str> = present.iter().map(|method| methods.display(method)).collect();
    let choose = format!("'--reference-method NAME' chooses one of {}", present.join(", "));
    match methods.reference() {
        _ if !rows.is_empty() => None,
        Some(_) if present.len() < 2 => {
            Some(format!("All runs are of one method ({}): nothing to compare.", shown.join(", ")))
        }
        Some(reference) if present.contains(&reference) => Some(format!(
            "{} and the others share no data set and model: nothing to compare.",
            methods.display(reference)
        )),
        Some(reference) => {
            Some(format!("No comparison: there is no run of {}. {choose}.", methods.display(reference)))
        }
        None => Some(format!("No comparison: no method is proposed. {choose}.")),
    }
}

/// One row per data set, model, bit width (none: over all) and other method. `on`: the split that
/// chose the fronts. `nothing`: why there is no row.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn comparison(
    rows: &[Comparison],
    methods: &Methods,
    on: ChooseOn,
    nothing: Option<&str>,
) -> Result<Table> {
    let columns = vec![
        text("dataset", rows, |c| Some(&c.dataset)),
        text("model", rows, |c| Some(&c.model)),
        integer("bits", rows, |c| c.bits.map(u64::from)),
        text("reference", rows, |c| Some(&c.reference)),
        text("other", rows, |c| Some(&c.other)),
        integer("seeds", rows, |c| Some(c.seeds as u64)),
        real("difference_points", rows, |c| c.difference),
        real("low_points", rows, |c| c.interval.map(|i| i.0)),
        real("high_points", rows, |c| c.interval.map(|i| i.1)),
        real("size_ratio", rows, |c| c.size_ratio),
        real("size_ratio_low", rows, |c| c.size_interval.map(|i| i.0)),
        real("size_ratio_high", rows, |c| c.size_interval.map(|i| i.1)),
        text("verdict", rows, |c| Some(c.verdict())),
        text("size_verdict", rows, Comparison::size_verdict),
    ];
    let name = methods.reference().map_or("One method", |reference| methods.display(reference));
    let title = format!("{name} against the other methods at equal size and at equal accuracy");
    let table = Table::new("comparison", title, frame(columns)?);
    let note = nothing.map_or_else(
        || {
            format!(
                "Difference: accuracy of {name} minus the other's, over the sizes that both fronts of seed means cover with \
                 at most 5 points lost, paired by seed; size ratio: {name} over the other at equal accuracy. Nothing is \
                 read between two settings of which one is more than twice as large or 10 points more accurate, but for 5 % \
                 beside each. Both methods \
                 are read along the same settings for every seed: those run with all seeds that they share, on the front of \
                 {} accuracy; what is read along them is test accuracy. Intervals: 95 % \
                 t-intervals over seeds, none with a single seed, nor for a ratio that they do not bound within a factor of \
                 four; each stands for itself, so of twenty comparisons of equal \
                 methods one is expected to look different. A row without bits is over all.",
                on.name()
            )
        },
        str::to_owned,
    );
    Ok(Table { note, names: methods.names(), ..table })
}
