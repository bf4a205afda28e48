//! Published numbers beside our best working points of the same data set and model.

use super::main_table::{ONE_POINT, choose, rules};
use super::working_points::{ACTIVATION_BITS, WorkingPoint};
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::error::count;
use crate::report::choice::ChooseOn;
use crate::report::published::Source;
use indexmap::IndexMap;

struct Row {
    dataset: String,
    model: String,
    method: String,
    label: String,
    bits: Option<u32>,
    activation_bits: Option<u32>,
    first_last: Option<String>,
    parameter_count: Option<f64>,
    baseline: Option<f64>,
    bits_per_weight: Option<f64>,
    score: Option<f64>,
    drop: Option<f64>,
    sparsity: Option<f64>,
    bytes: Option<f64>,
    ratio: Option<f64>,
    source: String,
    setting: String,
}

/// Rows of `sources` for the data sets and models of `points`, each followed by ours: per method, over all bit widths,
/// the most accurate working point and the smallest with at most one point lost, chosen on the split `on`. `None` where no source has numbers for
/// any of them.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn published(points: &[WorkingPoint], on: ChooseOn, sources: &[Source]) -> Result<Option<Table>> {
    let rules = rules(points, on);
    let mut groups: IndexMap<(&str, &str), IndexMap<&str, Vec<&WorkingPoint>>> = IndexMap::new();
    for point in points.iter().filter(|point| point.file_bytes.is_some()) {
        let methods = groups.entry((&point.dataset, &point.model)).or_default();
        methods.entry(&point.method).or_default().push(point);
    }
    let mut rows = Vec::new();
    for ((dataset, model), methods) in groups {
        let theirs: Vec<Row> = sources
            .iter()
            .flat_map(|source| source.results.iter().map(move |row| (source, row)))
            .filter(|(_, row)| row.dataset == dataset && row.model == model && row.is_filled())
            .map(|(source, row)| Row {
                dataset: dataset.into(),
                model: model.into(),
                method: row.method.clone(),
                label: row.label.clone(),
                bits: row.bits,
                activation_bits: row.activation_bits,
                first_last: row.first_last.map(|first_last| first_last.to_string()),
                parameter_count: row.parameter_count.map(|count| count as f64),
                baseline: row.baseline_percent(),
                bits_per_weight: row.bits_per_weight,
                score: row.score_percent(),
                drop: row.drop_points,
                sparsity: row.sparsity_percent,
                bytes: row.file_bytes,
                ratio: row.compression_ratio,
                source: source.citation.clone(),
                setting: source.setting.clone(),
            })
            .collect();
        if theirs.is_empty() {
            continue;
        }
        rows.extend(theirs);
        let Some(rule) = rules.get(&(dataset, model)) else { continue };
        for (method, points) in methods {
            for (choice, point) in choose(rule, &points) {
                let Some(point) = point.filter(|_| choice != super::main_table::NO_LOSS) else { continue };
                let limit = if choice == ONE_POINT { "smallest with at most 1 point lost" } else { choice };
                rows.push(Row {
                    dataset: dataset.into(),
                    model: model.into(),
                    method: method.into(),
                    label: format!("{} ({limit})", point.label),
                    bits: point.bits,
                    activation_bits: Some(ACTIVATION_BITS),
                    first_last: point.first_last().map(Into::into),
                    parameter_count: point.parameter_count(),
                    baseline: point.baseline.map(|s| s.mean),
                    bits_per_weight: point.bits_per_weight(),
                    score: Some(point.score.mean),
                    drop: point.drop.map(|s| s.mean),
                    sparsity: point.sparsity.map(|s| s.mean),
                    bytes: point.file_bytes.map(|s| s.mean),
                    ratio: point.compression.map(|s| s.mean),
                    source: "this report".into(),
                    setting: format!("mean over {}", count(point.score.n, "seed")),
                });
            }
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let columns = vec![
        text("dataset", &rows, |r| Some(&r.dataset)),
        text("model", &rows, |r| Some(&r.model)),
        text("method", &rows, |r| Some(&r.method)),
        text("label", &rows, |r| Some(&r.label)),
        integer("bits", &rows, |r| r.bits.map(u64::from)),
        integer("activation_bits", &rows, |r| r.activation_bits.map(u64::from)),
        text("first_last", &rows, |r| r.first_last.as_ref()),
        integer("parameter_count", &rows, |r| r.parameter_count.map(|count| count as u64)),
        real("baseline_top1_percent", &rows, |r| r.baseline),
        real("top1_percent", &rows, |r| r.score),
        real("drop_points", &rows, |r| r.drop),
        real("sparsity_percent", &rows, |r| r.sparsity),
        real("file_bytes", &rows, |r| r.bytes),
        real("compression_ratio", &rows, |r| r.ratio),
        real("bits_per_weight", &rows, |r| r.bits_per_weight),
        text("source", &rows, |r| Some(&r.source)),
        text("differs", &rows, |r| Some(&r.setting)),
    ];
    let table = Table::new("published", "Published numbers beside ours", frame(columns)?);
    Ok(Some(Table {
        note: format!(
            "Published rows are as their sources print them, measured in other settings: compare with care. They are in \
             no average, front or comparison of this report; a drop is counted from the source's own full-precision model. \
             32 activation bits: weights alone are quantized. Ours are chosen on {} accuracy; their parameters include \
             running statistics.",
            on.name()
        ),
        ..table
    }))
}
