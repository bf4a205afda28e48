//! Tables whose columns follow the tasks' metrics. They are made with columns of top-1; where the records are of another
//! task, these columns get its name, and where they are of several, each metric gets columns of its own.

use super::{Table, polars_error};
use crate::Result;
use crate::record::{Metric, RunRecord};
use crate::report::column::describe;
use indexmap::IndexMap;
use polars::prelude::{Column, DataFrame};

/// Metrics by data set, as the records have them.
pub struct Metrics(IndexMap<String, Metric>);

impl Metrics {
    /// Those of `records`.
    pub fn of(records: &[RunRecord]) -> Self {
        let known = records.iter().filter_map(|record| {
            let metrics = record.test().or(record.baseline.as_ref())?;
            Some((record.dataset.clone(), metrics.metric()))
        });
        Self(known.collect())
    }

    /// All metrics, top-1 first.
    fn all(&self) -> Vec<Metric> {
        let mut all: Vec<Metric> = self.0.values().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The table with the columns and words of the metrics.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] only on a defect.
    pub fn apply(&self, mut table: Table) -> Result<Table> {
        let all = self.all();
        match all[..] {
            [] | [Metric::Top1] => return Ok(table),
            [metric] => {
                table.title = words(&table.title, metric);
                table.note = words(&table.note, metric);
            }
            _ => {}
        }
        let of_row = self.of_rows(&table.frame)?;
        // Nothing tells which rows are of which task: such a table has columns for each by itself.
        if all.len() > 1 && of_row.is_none() {
            return Ok(table);
        }
        let mut columns = Vec::new();
        // A table may have intervals of numbers that it does not show.
        let is_own = |name: &str| name.contains(Metric::Top1.key());
        let mut intervals: Vec<_> =
            table.intervals.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
        for column in table.frame.columns() {
            let name = column.name().as_str();
            let found = table.intervals.iter().find(|(of, _)| *of == name);
            if !is_own(name) {
                columns.push(column.clone());
                continue;
            }
            for metric in &all {
                let wanted = |row: usize| of_row.as_ref().is_none_or(|of_row| of_row[row] == Some(*metric));
                let renamed = name.replace(Metric::Top1.key(), metric.key());
                if *metric != Metric::Top1 && table.frame.column(&renamed).is_ok() {
                    continue;
                }
                let numbers = column.f64().map_err(polars_error)?.iter().enumerate();
                let values: Vec<Option<f64>> =
                    numbers.map(|(row, value)| value.filter(|_| wanted(row))).collect();
                if let (Some((_, found)), Some(column)) = (found, describe(&renamed)) {
                    let kept = found.iter().enumerate().map(|(row, value)| value.filter(|_| wanted(row)));
                    intervals.push((column.name, kept.collect()));
                }
                columns.push(Column::new(renamed.as_str().into(), values));
            }
        }
        table.frame = DataFrame::new_infer_height(columns).map_err(polars_error)?;
        table.intervals = intervals;
        Ok(table)
    }

    /// The metric of each row, told by its data set; `None` where rows have none or all are of one metric.
    fn of_rows(&self, frame: &DataFrame) -> Result<Option<Vec<Option<Metric>>>> {
        let Ok(datasets) = frame.column("dataset") else { return Ok(None) };
        if self.all().len() < 2 {
            return Ok(None);
        }
        let datasets = datasets.str().map_err(polars_error)?.iter();
        Ok(Some(datasets.map(|dataset| self.0.get(dataset?).copied()).collect()))
    }
}

/// A caption or note in the words of another metric.
pub(crate) fn words(text: &str, metric: Metric) -> String {
    let long = metric.long_name();
    let capital = long[..1].to_uppercase() + &long[1..];
    let text = text.replace("Top-1 accuracy", &capital).replace("top-1 accuracy", long);
    text.replace("accuracy", metric.noun()).replace("Accuracy", metric.noun())
}
