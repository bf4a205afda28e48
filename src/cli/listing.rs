//! Runs as aligned rows: what `ecqx run` closes with and `ecqx results` prints.

use super::duration::duration;
use crate::record::{Metric, Metrics, RunRecord};
use crate::registry::symbol;
use crate::report::Methods;
use crate::report::column::fixed;
use crate::report::settings::{resolved, setting};
use crate::spec::label::head;
use indexmap::IndexMap;
use std::collections::BTreeSet;

/// Rows of text in aligned columns.
pub(super) struct Listing {
    /// Name of each column, and whether it is aligned to the right.
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<String>>,
}

impl Listing {
    /// Without rows.
    pub fn new(columns: &[(&'static str, bool)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, one cell for each column.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Heading and rows; columns without any content are left out.
    pub fn lines(&self) -> Vec<String> {
        let width = |text: &str| console::measure_text_width(text);
        let mut lines = vec![String::new(); self.rows.len() + 1];
        for (at, (name, right)) in self.columns.iter().enumerate() {
            let cells = || self.rows.iter().map(|row| row.get(at).map_or("", String::as_str));
            if !self.rows.is_empty() && cells().all(str::is_empty) {
                continue;
            }
            let widest = cells().map(width).max().unwrap_or(0).max(width(name));
            for (line, cell) in lines.iter_mut().zip(std::iter::once(*name).chain(cells())) {
                let pad = " ".repeat(widest - width(cell));
                if !line.is_empty() {
                    line.push_str("  ");
                }
                *line += &if *right { pad + cell } else { cell.to_owned() + &pad };
            }
        }
        lines.iter().map(|line| line.trim_end().to_owned()).collect()
    }
}

/// Method, bit width and settings as cells: the strength is shown even where it is the default.
pub(super) fn name_cells(record: &RunRecord, methods: &Methods) -> [String; 3] {
    let head = head(&record.method, record.bits);
    let rest = record.label.strip_prefix(&head).unwrap_or(&record.label).trim().to_owned();
    let strength = methods.get(&record.method).and_then(|method| method.strength);
    let strength = strength
        .filter(|name| !rest.split(' ').any(|part| part.starts_with(&format!("{}=", symbol(name)))))
        .and_then(|name| Some(format!("{}={}", symbol(name), record.number(name)?)));
    let settings =
        strength.into_iter().chain((!rest.is_empty()).then_some(rest)).collect::<Vec<_>>().join(" ");
    [record.method.clone(), record.bits.map_or(String::new(), |bits| bits.to_string()), settings]
}

/// Columns of one run's result.
pub(super) fn result<'a>(records: impl IntoIterator<Item = &'a RunRecord>) -> [(&'static str, bool); 5] {
    let metrics =
        records.into_iter().filter_map(|record| Some(record.test()?.metric())).collect::<BTreeSet<_>>();
    let score = match metrics.into_iter().collect::<Vec<_>>()[..] {
        [] | [Metric::Top1] => "top-1 %",
        [Metric::Map] => "mAP %",
        _ => "score %",
    };
    [(score, true), ("drop pp", true), ("sparsity %", true), ("kB", true), ("ratio", true)]
}

/// Mean results of runs of one working point as cells of [`result()`]; empty where none has finished.
pub(super) fn result_cells(records: &[&RunRecord]) -> [String; 5] {
    let mean = |value: &dyn Fn(&RunRecord) -> Option<f64>| {
        let values: Vec<f64> = records.iter().filter_map(|record| value(record)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let cell = |value: Option<f64>, digits: usize| value.map_or(String::new(), |v| fixed(v, digits));
    let drop = |record: &RunRecord| Some(record.baseline.as_ref()?.value() - record.test()?.value());
    [
        cell(mean(&|record| record.test().map(Metrics::value)), 2),
        cell(mean(&drop), 2),
        cell(mean(&|record| record.sparsity().map(|share| 100.0 * share)), 1),
        cell(mean(&|record| record.sizes().map(|sizes| sizes.file as f64 / 1000.0)), 1),
        cell(mean(&|record| record.sizes().map(|sizes| sizes.compression_ratio())), 1),
    ]
}

/// One row for each working point (experiment and setting), means over its seeds, in the order of `records`.
pub(super) fn working_points(records: &[RunRecord], methods: &Methods) -> Listing {
    let mut groups: IndexMap<(&str, String), Vec<&RunRecord>> = IndexMap::new();
    for record in records.iter().filter(|record| record.is_done()) {
        // Labels leave out the training: the configuration tells two recipes apart.
        let configuration = setting(record, &resolved(record, methods)).configuration;
        groups.entry((record.experiment.as_str(), configuration)).or_default().push(record);
    }
    let epochs = |runs: &[&RunRecord]| runs[0].epochs.last().map_or(0, |epoch| epoch.epoch);
    let with_experiment = groups.keys().map(|(experiment, _)| experiment).collect::<BTreeSet<_>>().len() > 1;
    let with_epochs = groups.values().map(|runs| epochs(runs)).collect::<BTreeSet<_>>().len() > 1;
    let mut columns = vec![("experiment", false), ("method", false), ("bits", true), ("settings", false)];
    columns.extend([("epochs", true), ("n", true)]);
    columns.extend(result(records));
    let mut listing = Listing::new(&columns);
    for ((experiment, _), runs) in &groups {
        let mut row = vec![if with_experiment { (*experiment).to_owned() } else { String::new() }];
        row.extend(name_cells(runs[0], methods));
        row.push(if with_epochs { epochs(runs).to_string() } else { String::new() });
        row.push(runs.len().to_string());
        row.extend(result_cells(runs));
        listing.push(row);
    }
    listing
}

/// One row for each run.
pub(super) fn runs(records: &[RunRecord], methods: &Methods) -> Listing {
    let mut columns =
        vec![("id", false), ("experiment", false), ("method", false), ("bits", true), ("settings", false)];
    columns.push(("seed", true));
    columns.extend(result(records));
    columns.extend([("time", true), ("state", false)]);
    let mut listing = Listing::new(&columns);
    for record in records {
        let mut row = vec![record.id.chars().take(8).collect(), record.experiment.clone()];
        row.extend(name_cells(record, methods));
        row.push(record.seed.to_string());
        row.extend(result_cells(&[record]));
        row.extend([
            duration(record.seconds),
            // What is usual needs no word.
            if record.is_failed() { "failed".into() } else { String::new() },
        ]);
        listing.push(row);
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns are as wide as their widest cell, numbers stand to the right, and a column without content is no column.
    #[test]
    fn columns_are_aligned() {
        let mut listing = Listing::new(&[("method", false), ("none", false), ("kB", true)]);
        listing.push(vec!["ecqx Λ".into(), String::new(), "9.5".into()]);
        listing.push(vec!["uniform".into(), String::new(), "310.0".into()]);
        assert_eq!(listing.lines(), ["method      kB", "ecqx Λ     9.5", "uniform  310.0"]);
    }
}
