//! A method's trade-off as a curve through settings: those on the front of seed means. All seeds are read along the same
//! settings, so no seed picks its own winners.

use super::{Point, pareto_front};
use crate::report::tables::WorkingPoint;
use std::collections::{BTreeMap, BTreeSet};

/// Top-1 (percent) and size (bytes) of one seed.
type BySeed = BTreeMap<u64, Point>;

/// A setting on the curve.
#[derive(Clone, Debug)]
struct Knot {
    /// Means over the seeds.
    mean: Point,
    seeds: BySeed,
}

/// Settings by ascending mean size, and so ascending mean accuracy.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    knots: Vec<Knot>,
    seeds: BTreeSet<u64>,
}

/// What one setting gave by seed; runs of one seed from several baselines are averaged.
fn by_seed(point: &WorkingPoint) -> BySeed {
    let mut all: BTreeMap<u64, Vec<Point>> = BTreeMap::new();
    for run in &point.runs {
        all.entry(run.seed).or_default().push(Point { size: run.file_bytes, accuracy: run.top1 });
    }
    all.into_iter().map(|(seed, points)| (seed, mean(points.iter()))).collect()
}

fn mean<'a>(points: impl ExactSizeIterator<Item = &'a Point>) -> Point {
    let n = points.len() as f64;
    let (size, accuracy) = points.fold((0.0, 0.0), |(s, a), p| (s + p.size, a + p.accuracy));
    Point { size: size / n, accuracy: accuracy / n }
}

/// The seeds that a method's settings share: of those that any setting has, the set of the settings with the most seeds
/// (of several such sets the most frequent). `among`: only these seeds count.
pub(super) fn shared_seeds(points: &[&WorkingPoint], among: Option<&BTreeSet<u64>>) -> BTreeSet<u64> {
    let mut sets: BTreeMap<BTreeSet<u64>, usize> = BTreeMap::new();
    for point in points {
        let seeds = point.runs.iter().map(|run| run.seed);
        let seeds: BTreeSet<u64> = seeds.filter(|s| among.is_none_or(|among| among.contains(s))).collect();
        *sets.entry(seeds).or_default() += 1;
    }
    let best = sets.into_iter().max_by_key(|(seeds, count)| (seeds.len(), *count));
    best.map(|(seeds, _)| seeds).unwrap_or_default()
}

impl Curve {
    /// The front of means over `seeds`, of the settings that have all of them.
    pub fn new(points: &[&WorkingPoint], seeds: &BTreeSet<u64>) -> Self {
        let mut knots = Vec::new();
        for point in points {
            let mut own = by_seed(point);
            own.retain(|seed, _| seeds.contains(seed));
            if !own.is_empty() && own.len() == seeds.len() {
                knots.push(Knot { mean: mean(own.values()), seeds: own });
            }
        }
        let front = pareto_front(&knots.iter().map(|knot| knot.mean).collect::<Vec<_>>());
        let find = |place: &Point| knots.iter().find(|knot| knot.mean == *place).cloned();
        Self { knots: front.iter().filter_map(find).collect(), seeds: seeds.clone() }
    }

    /// The seeds that were averaged.
    pub fn seeds(&self) -> &BTreeSet<u64> {
        &self.seeds
    }

    /// The front of the means.
    pub fn means(&self) -> Vec<Point> {
        self.knots.iter().map(|knot| knot.mean).collect()
    }

    /// One seed's results for the same settings.
    pub fn of_seed(&self, seed: u64) -> Vec<Point> {
        self.knots.iter().filter_map(|knot| knot.seeds.get(&seed)).copied().collect()
    }

    /// Each seed's accuracy at `size`, linear in log size between the two settings whose mean sizes enclose it; `None`
    /// outside the curve. The mean over seeds lies on the front of the means.
    pub fn accuracies_at(&self, size: f64) -> Option<Vec<f64>> {
        let above = self.knots.iter().position(|knot| knot.mean.size >= size * (1.0 - 1e-12))?;
        let (low, high) = (above.checked_sub(1), &self.knots[above]);
        let exact = (high.mean.size / size).ln().abs() < 1e-12;
        let (low, share) = match low.map(|low| &self.knots[low]) {
            _ if exact => (high, 1.0),
            Some(low) => (low, (size / low.mean.size).ln() / (high.mean.size / low.mean.size).ln()),
            None => return None,
        };
        let at = |seed: &u64| {
            let (a, b) = (low.seeds.get(seed)?.accuracy, high.seeds.get(seed)?.accuracy);
            Some(a + (b - a) * share)
        };
        self.seeds.iter().map(at).collect()
    }
}
