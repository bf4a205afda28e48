//! Each method's trade-off as numbers: hypervolume, and what it reaches at equal size or equal accuracy, by seed.

use super::{DEPTH, Point, Summary, accuracy_at, bootstrap_interval, hypervolume, pareto_front, size_at};
use crate::record::RunRecord;
use crate::report::records::{finished, method_rank};
use std::collections::BTreeMap;

/// Hypervolume of one method.
#[derive(Clone, Debug)]
pub struct Hypervolume {
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// Method.
    pub method: String,
    /// Over seeds.
    pub values: Summary,
    /// 95 % bootstrap interval of the mean.
    pub interval: Option<(f64, f64)>,
}

/// One method at one place.
#[derive(Clone, Debug)]
pub struct AtEqual {
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// Method.
    pub method: String,
    /// The size or accuracy held equal.
    pub place: String,
    /// Whether the values are sizes (bytes); else accuracies (percent).
    pub is_size: bool,
    /// Over the seeds whose front covers the place.
    pub values: Summary,
    /// 95 % bootstrap interval of the mean.
    pub interval: Option<(f64, f64)>,
}

/// Compression ratios at which accuracies are compared.
const RATIOS: [f64; 8] = [8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 100.0];
/// Points lost at which sizes are compared.
const LOSSES: [f64; 4] = [0.0, 0.5, 1.0, 2.0];

/// All of one data set and model.
struct Family {
    dataset: String,
    model: String,
    /// Mean over records, percent.
    baseline: f64,
    full_precision: f64,
    /// Points by method (in report order) and seed.
    methods: BTreeMap<(u8, String), BTreeMap<u64, Vec<Point>>>,
}

fn families(records: &[RunRecord]) -> Vec<Family> {
    let mut by_pair: BTreeMap<(String, String), Vec<&RunRecord>> = BTreeMap::new();
    for record in finished(records).filter(|record| record.method != "baseline") {
        by_pair.entry((record.dataset.clone(), record.model.clone())).or_default().push(record);
    }
    let mut families = Vec::new();
    for ((dataset, model), records) in by_pair {
        let baselines: Vec<f64> = records.iter().filter_map(|r| Some(r.baseline.as_ref()?.top1)).collect();
        let sizes: Vec<f64> =
            records.iter().filter_map(|r| Some(r.sizes.as_ref()?.full_precision as f64)).collect();
        let (Some(baseline), Some(full)) = (Summary::of(&baselines), Summary::of(&sizes)) else { continue };
        let mut methods: BTreeMap<(u8, String), BTreeMap<u64, Vec<Point>>> = BTreeMap::new();
        for record in records {
            if let (Some(test), Some(sizes)) = (&record.test, &record.sizes) {
                let key = (method_rank(&record.method), record.method.clone());
                let point = Point { size: sizes.file as f64, accuracy: test.top1 };
                methods.entry(key).or_default().entry(record.seed).or_default().push(point);
            }
        }
        families.push(Family { dataset, model, baseline: baseline.mean, full_precision: full.mean, methods });
    }
    families
}

/// Hypervolume of each method, per data set and model.
pub fn hypervolumes(records: &[RunRecord]) -> Vec<Hypervolume> {
    let mut rows = Vec::new();
    for family in families(records) {
        let sizes = family.methods.values().flat_map(|seeds| seeds.values()).flatten().map(|p| p.size);
        let smallest = sizes.fold(family.full_precision, f64::min);
        let reference = Point { size: family.full_precision, accuracy: (family.baseline - DEPTH).max(0.0) };
        for ((_, method), seeds) in &family.methods {
            let values: Vec<f64> =
                seeds.values().map(|points| hypervolume(points, smallest, reference)).collect();
            if let Some(summary) = Summary::of(&values) {
                rows.push(Hypervolume {
                    dataset: family.dataset.clone(),
                    model: family.model.clone(),
                    method: method.clone(),
                    values: summary,
                    interval: bootstrap_interval(&values),
                });
            }
        }
    }
    rows
}

/// Every method at each size and each accuracy that it reaches.
pub fn at_equal(records: &[RunRecord]) -> Vec<AtEqual> {
    let mut rows = Vec::new();
    for family in families(records) {
        let mut row = |place: &str, is_size: bool, read: &dyn Fn(&[Point]) -> Option<f64>| {
            for ((_, method), seeds) in &family.methods {
                let values: Vec<f64> =
                    seeds.values().filter_map(|points| read(&pareto_front(points))).collect();
                if let Some(summary) = Summary::of(&values) {
                    rows.push(AtEqual {
                        dataset: family.dataset.clone(),
                        model: family.model.clone(),
                        method: method.clone(),
                        place: place.into(),
                        is_size,
                        values: summary,
                        interval: bootstrap_interval(&values),
                    });
                }
            }
        };
        for ratio in RATIOS {
            let size = family.full_precision / ratio;
            row(&format!("{ratio} times smaller"), false, &|front| accuracy_at(front, size));
        }
        for loss in LOSSES {
            let accuracy = family.baseline - loss;
            row(&format!("{loss} points lost"), true, &|front| size_at(front, accuracy));
        }
    }
    rows
}
