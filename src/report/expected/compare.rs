//! Expected beside actual.

use super::{Expected, Number, better};
use crate::Result;
use crate::record::RunRecord;
use crate::report::column::{Better, describe, fixed};
use crate::report::methods::Methods;
use crate::report::tables::{Table, by_metric, frame, text, working_points, working_points_table};
use serde::Serialize;

/// How an actual number compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the tolerance.
    Ok,
    /// Off in the direction in which the metric improves.
    Improvement,
    /// Off in the other direction.
    Regression,
    /// No finished run has it.
    Missing,
}

impl Verdict {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Improvement => "improvement",
            Self::Regression => "regression",
            Self::Missing => "missing",
        }
    }
}

/// One number of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// Run's label; `baseline` for what all runs share.
    pub label: String,
    /// One seed, or nothing for the mean over seeds.
    pub seed: Option<u64>,
    /// Column, with its unit as suffix.
    pub column: String,
    /// Expected value.
    pub expected: f64,
    /// How far off is still right, in the column's unit.
    pub tolerance: f64,
    /// What the records give.
    pub actual: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
    /// Where the expected value comes from.
    pub source: String,
}

/// Compares expected numbers with the records of their experiment (and of nothing else).
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn compare(expected: &Expected, records: &[RunRecord], methods: &Methods) -> Result<Vec<Checked>> {
    expected
        .numbers
        .iter()
        .map(|number| {
            let actual = actual(number, records, methods)?;
            Ok(Checked {
                label: number.label.clone().unwrap_or_else(|| "baseline".into()),
                seed: number.seed,
                column: number.column.clone(),
                expected: number.value,
                tolerance: number.tolerance.of(number.value),
                actual,
                verdict: verdict(number, actual),
                source: number.source.clone().unwrap_or_else(|| expected.source.clone()),
            })
        })
        .collect()
}

fn verdict(number: &Number, actual: Option<f64>) -> Verdict {
    let Some(actual) = actual else { return Verdict::Missing };
    let difference = actual - number.value;
    // Decimal numbers of a file are not exact: 91.73 ± 0.01 must take in 91.74.
    let slack = 1e-9 * number.value.abs().max(1.0);
    if difference.abs() <= number.tolerance.of(number.value) + slack {
        return Verdict::Ok;
    }
    match better(&number.column) {
        Some(Better::Lower) if difference < 0.0 => Verdict::Improvement,
        Some(Better::Higher) if difference > 0.0 => Verdict::Improvement,
        _ => Verdict::Regression,
    }
}

/// Whether two labels say the same, in whatever order.
fn same_words(a: &str, b: &str) -> bool {
    let sorted = |label: &str| {
        let mut words: Vec<String> = label.split_whitespace().map(Into::into).collect();
        words.sort();
        words
    };
    sorted(a) == sorted(b)
}

/// The number as the table of working points has it.
fn actual(number: &Number, records: &[RunRecord], methods: &Methods) -> Result<Option<f64>> {
    let wanted = |record: &&RunRecord| {
        number.label.as_ref().is_none_or(|label| same_words(label, &record.label))
            && number.seed.is_none_or(|seed| seed == record.seed)
    };
    let chosen: Vec<RunRecord> = records.iter().filter(wanted).cloned().collect();
    let points = working_points(&chosen, methods);
    let table = by_metric::Metrics::of(&chosen).apply(working_points_table(&points)?)?;
    // A column of another task's metric is missing, as a run is.
    let column = table.frame.column(&number.column).ok();
    Ok(column.and_then(|column| column.get(0).ok()?.extract::<f64>()))
}

/// The value with the digits of its column, in the column's own unit.
pub(crate) fn shown(value: f64, column: &str) -> String {
    let (decimals, scale) = describe(column).map_or((4, 1.0), |column| (column.decimals, column.scale));
    // Kilobytes are for reading, a comparison is in bytes.
    fixed(value, if scale == 1.0 { decimals } else { 0 })
}

/// The comparison as a table: one row per number, text cells in the column's own digits.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn table(checked: &[(String, Vec<Checked>)]) -> Result<Table> {
    let rows: Vec<(&String, &Checked)> = checked
        .iter()
        .flat_map(|(experiment, numbers)| numbers.iter().map(move |number| (experiment, number)))
        .collect();
    let columns = vec![
        text("experiment", &rows, |(experiment, _)| Some((*experiment).clone())),
        text("label", &rows, |(_, n)| Some(n.label.clone())),
        text("seed", &rows, |(_, n)| Some(n.seed.map_or("mean".into(), |seed| seed.to_string()))),
        text("column", &rows, |(_, n)| Some(n.column.clone())),
        text("expected", &rows, |(_, n)| Some(shown(n.expected, &n.column))),
        text("tolerance", &rows, |(_, n)| Some(shown(n.tolerance, &n.column))),
        text("actual", &rows, |(_, n)| n.actual.map(|value| shown(value, &n.column))),
        text("verdict", &rows, |(_, n)| Some(n.verdict.word())),
        text("source", &rows, |(_, n)| Some(n.source.clone())),
    ];
    let table = Table::new("expected", "Expected numbers", frame(columns)?);
    Ok(Table {
        note: "Off in either direction is worth knowing: an improvement too is a change.".into(),
        ..table
    })
}

#[cfg(test)]
mod tests {
    use super::super::Tolerance;
    use super::*;

    /// Direction and tolerance decide; a decimal tolerance takes in its own edge.
    #[test]
    fn verdicts() {
        let judge = |column: &str, value: f64, tolerance, actual| {
            let number =
                Number { label: None, seed: None, column: column.into(), value, tolerance, source: None };
            verdict(&number, actual)
        };
        let points = Tolerance::Absolute(0.01);
        assert_eq!(judge("top1_percent", 91.73, points, Some(91.74)), Verdict::Ok);
        assert_eq!(judge("top1_percent", 91.73, points, Some(91.75)), Verdict::Improvement);
        assert_eq!(judge("top1_percent", 91.73, points, Some(91.71)), Verdict::Regression);
        assert_eq!(judge("baseline_top1_percent", 91.73, points, Some(92.0)), Verdict::Improvement);
        assert_eq!(judge("file_bytes", 1000.0, Tolerance::Relative(0.02), Some(1020.0)), Verdict::Ok);
        assert_eq!(judge("file_bytes", 1000.0, Tolerance::Relative(0.02), Some(979.0)), Verdict::Improvement);
        assert_eq!(judge("file_bytes", 1000.0, Tolerance::Relative(0.02), Some(1021.0)), Verdict::Regression);
        assert_eq!(judge("file_bytes", 1000.0, points, None), Verdict::Missing);
    }

    /// The order of settings in a label is nobody's business.
    #[test]
    fn labels_in_any_order() {
        assert!(same_words("ecqx 4 bit Λ=0.05 p=0.1", "ecqx 4 bit p=0.1 Λ=0.05"));
        assert!(!same_words("ecqx 4 bit Λ=0.05 p=0.1", "ecqx 4 bit Λ=0.05 p=0.2"));
    }
}
