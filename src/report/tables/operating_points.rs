//! The table of a paper: for each data set and model the full-precision network, then one working point per method and bit
//! width, all chosen by one rule.

use super::main_table::{rules, setting};
use super::working_points::{WorkingPoint, intervals};
use super::{Table, frame, integer, real, text};
use crate::Result;
use crate::report::choice::{ChooseOn, Rule};
use crate::report::methods::{BASELINE, Methods};
use crate::report::statistics::Summary;
use indexmap::IndexMap;

/// Its file name; LaTeX has a form of its own for it.
pub(crate) const NAME: &str = "operating_points";

struct Row<'a> {
    dataset: &'a str,
    model: &'a str,
    method: &'a str,
    bits: Option<u32>,
    point: Option<&'a WorkingPoint>,
    /// Score and bytes of the full-precision row.
    baseline: Option<(Summary, Option<f64>)>,
}

/// One row per data set, model, method and bit width: the point that `rule` chooses on the split `on`. Numbers are of the
/// test split; where none qualifies they are missing.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn operating_points(
    points: &[WorkingPoint],
    methods: &Methods,
    on: ChooseOn,
    rule: Rule,
) -> Result<Table> {
    let choices = rules(points, on);
    let mut pairs: IndexMap<_, IndexMap<_, Vec<&WorkingPoint>>> = IndexMap::new();
    let quantized = |point: &&WorkingPoint| point.file_bytes.is_some() && point.method != BASELINE;
    for point in points.iter().filter(quantized) {
        let pair = pairs.entry((point.dataset.as_str(), point.model.as_str())).or_default();
        pair.entry((point.method.as_str(), point.bits)).or_default().push(point);
    }
    let mut rows: Vec<Row> = Vec::new();
    for ((dataset, model), groups) in pairs {
        let Some(choice) = choices.get(&(dataset, model)) else { continue };
        let known = groups.values().flatten().filter_map(|p| Some((p.baseline?, p.full_precision)));
        // The baseline of the point with the most seeds; of several the first.
        let baseline = known.rev().max_by_key(|(score, _)| score.n);
        if let Some((score, bytes)) = baseline {
            let baseline = Some((score, bytes.map(|bytes| bytes.mean)));
            rows.push(Row {
                dataset,
                model,
                method: "Full precision",
                bits: Some(32),
                point: None,
                baseline,
            });
        }
        for ((method, bits), group) in groups {
            let (method, point) = (methods.display(method), rule.choose(choice, &group));
            rows.push(Row { dataset, model, method, bits, point, baseline: None });
        }
    }
    let of = |read: fn(&WorkingPoint) -> Option<f64>, full: fn(Summary, Option<f64>) -> Option<f64>| {
        move |row: &Row| match row.baseline {
            Some((score, bytes)) => full(score, bytes),
            None => row.point.and_then(read),
        }
    };
    // Runs that share a baseline say nothing of its spread.
    let spread = |score: Summary, _| score.std.filter(|std| *std > 0.0);
    let columns = vec![
        text("dataset", &rows, |row| Some(row.dataset)),
        text("model", &rows, |row| Some(row.model)),
        text("method", &rows, |row| Some(row.method)),
        integer("bits", &rows, |row| row.bits.map(u64::from)),
        text("setting", &rows, |row| row.point.map(setting)),
        real("top1_percent", &rows, of(|p| Some(p.score.mean), |score, _| Some(score.mean))),
        real("top1_std_points", &rows, of(|p| p.score.std, spread)),
        real("change_points", &rows, of(|p| p.drop.map(|drop| -drop.mean), |_, _| None)),
        real("sparsity_percent", &rows, of(|p| p.sparsity.map(|s| s.mean), |_, _| None)),
        real("file_bytes", &rows, of(|p| p.file_bytes.map(|s| s.mean), |_, bytes| bytes)),
        real("compression_ratio", &rows, of(|p| p.compression.map(|s| s.mean), |_, _| Some(1.0))),
        real("bits_per_weight", &rows, of(WorkingPoint::bits_per_weight, |_, _| Some(32.0))),
        integer("seeds", &rows, |row| row.point.map(|p| p.score.n as u64)),
    ];
    let names: Vec<&str> = choices.values().map(|choice| choice.on().name()).collect();
    // Of several data sets with different rules the note tells which has which.
    let chosen = names.first().filter(|first| names.iter().all(|name| name == *first));
    let chosen = chosen.map_or(String::new(), |name| format!(", chosen on {name} accuracy"));
    let table =
        Table::new(NAME, format!("Per method and bit width the {}{chosen}", rule.words()), frame(columns)?);
    let sentences = choices.iter().map(|((dataset, model), c)| c.sentence(&format!("{dataset}, {model}")));
    let mut compared = intervals(rows.iter().map(|row| row.point));
    if let Some((name, values)) = compared.iter_mut().find(|(name, _)| *name == "drop_points") {
        *name = "change_points";
        values.iter_mut().flatten().for_each(|interval| *interval = (-interval.1, -interval.0));
    }
    Ok(Table {
        note: format!(
            "Top-1 accuracy on the test split: mean over n seeds, ± sample standard deviation. Δ: difference from full \
             precision, percentage points. Sparsity: share of zero weights. CR: size at full precision over that of the file. \
             A dash: no setting qualifies. Bold: the 95 % t-interval lies apart from all others at this bit width. {}",
            sentences.collect::<Vec<_>>().join(" ")
        ),
        compare_within: vec!["dataset", "model", "bits"],
        intervals: compared,
        dash: true,
        ..table
    })
}
