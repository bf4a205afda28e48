//! ECQx against every other method at equal size, paired by seed.

use super::{Point, accuracy_at, bootstrap_interval, pareto_front, size_at};
use crate::record::RunRecord;
use crate::report::records::{finished, variants};
use std::collections::{BTreeMap, BTreeSet};

/// One paired comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// Bit width; `None`: over all widths.
    pub bits: Option<u32>,
    /// The method ECQx is compared with.
    pub other: String,
    /// Seeds for which both methods have fronts that overlap in size.
    pub seeds: usize,
    /// Mean over seeds of the mean accuracy difference ECQx − other over the common range of log size, points.
    pub difference: Option<f64>,
    /// 95 % bootstrap interval of it over seeds.
    pub interval: Option<(f64, f64)>,
    /// Geometric mean of size ECQx / other over the common range of accuracy; below 1 where ECQx is smaller.
    pub size_ratio: Option<f64>,
    /// 95 % bootstrap interval of it.
    pub size_interval: Option<(f64, f64)>,
    /// Settings of ECQx and of the other method, bit width and strength aside; the front of more picks from more.
    pub variants: (usize, usize),
}

impl Comparison {
    /// What the data support, in a sentence.
    pub fn verdict(&self) -> String {
        let Some(difference) = self.difference else {
            return format!(
                "ECQx and {} have no common range of sizes with at most {DEPTH} points lost: nothing to compare.",
                self.other
            );
        };
        let Some((low, high)) = self.interval else {
            return format!(
                "One seed: ECQx differs from {} by {difference:+.2} points at equal size{}; without an interval this is no \
                 evidence.",
                self.other,
                self.picked()
            );
        };
        let tail = format!(
            "({difference:+.2} points, 95 % interval {low:+.2} … {high:+.2}, {} seeds{}{})",
            self.seeds,
            if self.seeds < 5 { ", too few for a reliable interval" } else { "" },
            self.picked()
        );
        if low > 0.0 {
            format!("At equal size ECQx is more accurate than {} {tail}.", self.other)
        } else if high < 0.0 {
            format!("At equal size ECQx is less accurate than {} {tail}.", self.other)
        } else {
            format!("No difference between ECQx and {} at equal size is shown {tail}.", self.other)
        }
    }

    /// Names the settings where one side had several to pick its best from, as in ablations.
    fn picked(&self) -> String {
        match self.variants {
            (1, 1) => String::new(),
            (ours, theirs) => {
                format!(", fronts picked from {ours} settings of ECQx and {theirs} of {}", self.other)
            }
        }
    }
}

type Fronts = BTreeMap<(String, u64), Vec<Point>>;

/// Points lost from which on a network counts as broken: fronts are compared above that, else the comparison would be
/// one of ways to fail.
pub const DEPTH: f64 = 5.0;

/// ECQx against each other method, per data set and model, over all bit widths and at each.
pub fn compare(records: &[RunRecord]) -> Vec<Comparison> {
    let done: Vec<&RunRecord> = finished(records).filter(|r| r.method != "baseline").collect();
    let pairs: BTreeSet<(&str, &str)> = done.iter().map(|r| (r.dataset.as_str(), r.model.as_str())).collect();
    let mut result = Vec::new();
    for (dataset, model) in pairs {
        let here: Vec<&RunRecord> =
            done.iter().filter(|r| r.dataset == dataset && r.model == model).copied().collect();
        let widths: BTreeSet<Option<u32>> =
            std::iter::once(None).chain(here.iter().map(|r| r.bits)).collect();
        for bits in widths {
            let at_width: Vec<&RunRecord> =
                here.iter().filter(|record| bits.is_none() || record.bits == bits).copied().collect();
            let fronts = fronts(&at_width);
            let methods: BTreeSet<&String> = fronts.keys().map(|(method, _)| method).collect();
            if !methods.iter().any(|method| *method == "ecqx") {
                continue;
            }
            let settings = |method: &str| {
                let of_method: Vec<&RunRecord> =
                    at_width.iter().filter(|record| record.method == method).copied().collect();
                variants(&of_method)
            };
            let own = settings("ecqx");
            for other in methods.into_iter().filter(|method| *method != "ecqx") {
                let variants = (own, settings(other));
                result.push(pair(&fronts, variants, other, dataset, model, bits));
            }
        }
    }
    result
}

fn fronts(records: &[&RunRecord]) -> Fronts {
    let mut points = Fronts::new();
    for record in records {
        if let (Some(test), Some(sizes)) = (&record.test, &record.sizes) {
            if record.baseline.as_ref().is_some_and(|baseline| test.top1 < baseline.top1 - DEPTH) {
                continue;
            }
            let point = Point { size: sizes.file as f64, accuracy: test.top1 };
            points.entry((record.method.clone(), record.seed)).or_default().push(point);
        }
    }
    points.into_iter().map(|(key, points)| (key, pareto_front(&points))).collect()
}

fn pair(
    fronts: &Fronts,
    variants: (usize, usize),
    other: &str,
    dataset: &str,
    model: &str,
    bits: Option<u32>,
) -> Comparison {
    let mut differences = Vec::new();
    let mut ratios = Vec::new();
    for ((_, seed), ours) in fronts.iter().filter(|((method, _), _)| method == "ecqx") {
        let Some(theirs) = fronts.get(&(other.to_string(), *seed)) else { continue };
        let size = |point: &Point| point.size.ln();
        differences.extend(mean_over_common(ours, theirs, size, |front, x| accuracy_at(front, x.exp())));
        ratios.extend(mean_over_common(
            ours,
            theirs,
            |p| p.accuracy,
            |front, x| size_at(front, x).map(f64::ln),
        ));
    }
    let mean =
        |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    Comparison {
        dataset: dataset.into(),
        model: model.into(),
        bits,
        other: other.into(),
        seeds: differences.len(),
        difference: mean(&differences),
        interval: bootstrap_interval(&differences),
        size_ratio: mean(&ratios).map(f64::exp),
        size_interval: bootstrap_interval(&ratios).map(|(low, high)| (low.exp(), high.exp())),
        variants,
    }
}

/// Mean of `read(ours) − read(theirs)` at 21 places of the range that both fronts cover; `None` without such a range.
fn mean_over_common(
    ours: &[Point],
    theirs: &[Point],
    axis: impl Fn(&Point) -> f64,
    read: impl Fn(&[Point], f64) -> Option<f64>,
) -> Option<f64> {
    const PLACES: usize = 21;
    let low = axis(ours.first()?).max(axis(theirs.first()?));
    let high = axis(ours.last()?).min(axis(theirs.last()?));
    if low > high {
        return None;
    }
    let values: Vec<f64> = (0..PLACES)
        .filter_map(|i| {
            let x = low + (high - low) * i as f64 / (PLACES - 1) as f64;
            Some(read(ours, x)? - read(theirs, x)?)
        })
        .collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
