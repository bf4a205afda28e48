//! Each method's trade-off as numbers: hypervolume, and what it reaches at equal size or equal accuracy, read on the front
//! of seed means.

use super::compare::bounded;
use super::curve::{Curve, rising, shared_seeds};
use super::front::in_a_gap;
use super::{DEPTH, Interval, Point, Summary, hypervolume, size_at};
use crate::report::choice::{Choice, ChooseOn};
use crate::report::methods::{BASELINE, Methods};
use crate::report::tables::WorkingPoint;
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
    /// Of the front of seed means.
    pub value: f64,
    /// Seeds that were averaged.
    pub seeds: usize,
    /// 95 % t-interval, from the same settings seed by seed.
    pub interval: Option<Interval>,
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
    /// Whether the value is a size (bytes); else it is an accuracy (percent).
    pub is_size: bool,
    /// On the front of seed means.
    pub value: f64,
    /// Seeds that were averaged.
    pub seeds: usize,
    /// 95 % t-interval, from the same settings seed by seed.
    pub interval: Option<Interval>,
}

/// Compression ratios at which accuracies are compared.
const RATIOS: [f64; 8] = [8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 100.0];
/// Points lost at which sizes are compared.
const LOSSES: [f64; 4] = [0.0, 0.5, 1.0, 2.0];

/// All of one data set and model.
struct Family {
    dataset: String,
    model: String,
    /// Mean over runs, percent.
    baseline: f64,
    full_precision: f64,
    /// The smallest file of any run, bytes.
    smallest: f64,
    /// Curves by method, in report order.
    methods: BTreeMap<(u8, String), Curve>,
}

fn families(points: &[WorkingPoint], methods: &Methods, on: ChooseOn) -> Vec<Family> {
    let mut by_pair: BTreeMap<(&str, &str), Vec<&WorkingPoint>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.method != BASELINE) {
        by_pair.entry((&point.dataset, &point.model)).or_default().push(point);
    }
    let mut families = Vec::new();
    for ((dataset, model), points) in by_pair {
        let mean = |read: fn(&WorkingPoint) -> Option<Summary>| {
            let all: Vec<Summary> = points.iter().filter_map(|p| read(p)).collect();
            let runs: usize = all.iter().map(|s| s.n).sum();
            let sum: f64 = all.iter().map(|s| s.mean * s.n as f64).sum();
            (runs > 0).then(|| sum / runs as f64)
        };
        let (Some(baseline), Some(full_precision)) = (mean(|p| p.baseline), mean(|p| p.full_precision))
        else {
            continue;
        };
        let files = points.iter().flat_map(|p| &p.runs).map(|run| run.file_bytes);
        let smallest = files.fold(full_precision, f64::min);
        let mut by_method: BTreeMap<(u8, String), Vec<&WorkingPoint>> = BTreeMap::new();
        for point in &points {
            let key = (methods.rank(&point.method), point.method.clone());
            by_method.entry(key).or_default().push(point);
        }
        let on = Choice::new(on, &points).on();
        let curve = |points: Vec<&WorkingPoint>| Curve::new(&points, &shared_seeds(&points, None), on);
        let methods = by_method.into_iter().map(|(key, points)| (key, curve(points))).collect();
        let (dataset, model) = (dataset.to_owned(), model.to_owned());
        families.push(Family { dataset, model, baseline, full_precision, smallest, methods });
    }
    families
}

/// `value` with the spread of what the seeds give, which need not have it as their mean.
fn around(value: f64, by_seed: &[f64]) -> Option<Interval> {
    let half = Summary::of(by_seed)?.half_width()?;
    Some((value - half, value + half))
}

/// Hypervolume of each method, per data set and model; `on` chooses the settings on its front.
pub fn hypervolumes(points: &[WorkingPoint], methods: &Methods, on: ChooseOn) -> Vec<Hypervolume> {
    let mut rows = Vec::new();
    for family in families(points, methods, on) {
        let reference = Point { size: family.full_precision, accuracy: (family.baseline - DEPTH).max(0.0) };
        for ((_, method), curve) in &family.methods {
            let of = |points: &[Point]| hypervolume(&rising(points), family.smallest, reference);
            let value = of(&curve.means());
            let by_seed: Vec<f64> = curve.seeds().iter().map(|seed| of(&curve.of_seed(*seed))).collect();
            rows.push(Hypervolume {
                dataset: family.dataset.clone(),
                model: family.model.clone(),
                method: method.clone(),
                value,
                seeds: by_seed.len(),
                interval: around(value, &by_seed),
            });
        }
    }
    rows
}

/// Factor by which a place may lie off a setting beside a gap: rounding.
const NEAR: f64 = 1.0 + 1e-9;

/// Every method at each size and each accuracy that its front of seed means reaches; `on` chooses the settings on it.
/// Nothing is read in gaps, and a size that the seeds do not bound within a factor of four has no interval.
pub fn at_equal(points: &[WorkingPoint], methods: &Methods, on: ChooseOn) -> Vec<AtEqual> {
    let mut rows = Vec::new();
    for family in families(points, methods, on) {
        let row = |method: &str, place: String, is_size, value, seeds, interval| AtEqual {
            dataset: family.dataset.clone(),
            model: family.model.clone(),
            method: method.into(),
            place,
            is_size,
            value,
            seeds,
            interval,
        };
        for ratio in RATIOS {
            for ((_, method), curve) in &family.methods {
                let size = family.full_precision / ratio;
                let values = curve.accuracies_at(size).filter(|_| !in_a_gap(&curve.means(), size, NEAR));
                if let Some(summary) = values.as_deref().and_then(Summary::of) {
                    let place = format!("{ratio} times smaller");
                    rows.push(row(method, place, false, summary.mean, summary.n, summary.interval()));
                }
            }
        }
        for loss in LOSSES {
            for ((_, method), curve) in &family.methods {
                let size = |points: &[Point]| size_at(&rising(points), family.baseline - loss);
                let means = curve.means();
                let Some(value) = size(&means).filter(|size| !in_a_gap(&means, *size, NEAR)) else {
                    continue;
                };
                let logs: Option<Vec<f64>> =
                    curve.seeds().iter().map(|seed| size(&curve.of_seed(*seed)).map(f64::ln)).collect();
                // Seeds that do not reach the accuracy have no size: then there is no interval.
                let half = logs.and_then(|logs| Summary::of(&logs)?.half_width());
                let interval = half.and_then(|half| bounded(value.ln(), half));
                let place = if loss == 1.0 { "1 point lost".into() } else { format!("{loss} points lost") };
                rows.push(row(method, place, true, value, curve.seeds().len(), interval));
            }
        }
    }
    rows
}
