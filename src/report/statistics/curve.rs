//! A method's trade-off as a curve through settings: those on the front of seed means. Which ones these are is decided on
//! one split, usually validation, and what is read along them is test accuracy. All seeds are read along the same
//! settings, so neither a seed nor the test split picks its own winners.

use super::{Point, Summary, pareto_front};
use crate::report::choice::ChooseOn;
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

/// Settings by ascending mean size, and so ascending mean accuracy on the split that chose them.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    knots: Vec<Knot>,
    seeds: BTreeSet<u64>,
}

/// What one setting gave by seed; runs of one seed from several baselines are averaged.
fn by_seed(point: &WorkingPoint) -> BySeed {
    let mut all: BTreeMap<u64, Vec<Point>> = BTreeMap::new();
    for run in &point.runs {
        all.entry(run.seed).or_default().push(Point { size: run.file_bytes, accuracy: run.score });
    }
    all.into_iter().map(|(seed, points)| (seed, mean(points.iter()))).collect()
}

/// What one setting gave on the split that chooses, mean over `seeds`; `None` where one of them lacks it.
fn chosen_by(point: &WorkingPoint, seeds: &BTreeSet<u64>, on: ChooseOn) -> Option<f64> {
    let runs = point.runs.iter().filter(|run| seeds.contains(&run.seed));
    let values: Option<Vec<f64>> = runs
        .map(|run| match on {
            ChooseOn::Test => Some(run.score),
            ChooseOn::Validation => run.validation,
        })
        .collect();
    Summary::of(&values?).map(|summary| summary.mean)
}

/// `points` by ascending size with accuracies that never fall: neighbours that do are replaced by their mean (isotonic
/// regression), so a curve can be read at an accuracy without taking the best of its points.
pub(super) fn rising(points: &[Point]) -> Vec<Point> {
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for point in points {
        blocks.push((point.accuracy, 1));
        while let [.., (before, n), (last, m)] = blocks[..]
            && before > last
        {
            blocks.truncate(blocks.len() - 2);
            blocks.push(((before * n as f64 + last * m as f64) / (n + m) as f64, n + m));
        }
    }
    let levels = blocks.into_iter().flat_map(|(level, count)| std::iter::repeat_n(level, count));
    points.iter().zip(levels).map(|(point, accuracy)| Point { accuracy, ..*point }).collect()
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
    /// The front of means over `seeds`, of the settings that have all of them, as the split `on` chooses it.
    pub fn new(points: &[&WorkingPoint], seeds: &BTreeSet<u64>, on: ChooseOn) -> Self {
        let mut knots = Vec::new();
        for point in points {
            let mut own = by_seed(point);
            own.retain(|seed, _| seeds.contains(seed));
            let chosen = chosen_by(point, seeds, on);
            if let (false, true, Some(accuracy)) = (own.is_empty(), own.len() == seeds.len(), chosen) {
                let mean = mean(own.values());
                knots.push((Point { accuracy, ..mean }, Knot { mean, seeds: own }));
            }
        }
        let front = pareto_front(&knots.iter().map(|(choice, _)| *choice).collect::<Vec<_>>());
        let find =
            |place: &Point| knots.iter().find(|(choice, _)| choice == place).map(|(_, knot)| knot.clone());
        Self { knots: front.iter().filter_map(find).collect(), seeds: seeds.clone() }
    }

    /// The seeds that were averaged.
    pub fn seeds(&self) -> &BTreeSet<u64> {
        &self.seeds
    }

    /// Means over the seeds, by ascending size.
    pub fn means(&self) -> Vec<Point> {
        self.knots.iter().map(|knot| knot.mean).collect()
    }

    /// One seed's results for the same settings.
    pub fn of_seed(&self, seed: u64) -> Vec<Point> {
        self.knots.iter().filter_map(|knot| knot.seeds.get(&seed)).copied().collect()
    }

    /// Each seed's accuracy at `size`, linear in log size between the two settings whose mean sizes enclose it; `None`
    /// outside the curve. The mean over seeds lies on the line through the means.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where accuracy falls with size the curve runs through the mean, not along the best point.
    #[test]
    fn falling_points_are_pooled() {
        let points: Vec<Point> = [(1.0, 80.0), (2.0, 84.0), (3.0, 82.0), (4.0, 90.0)]
            .map(|(size, accuracy)| Point { size, accuracy })
            .to_vec();
        let levels: Vec<f64> = rising(&points).iter().map(|p| p.accuracy).collect();
        assert_eq!(levels, [80.0, 83.0, 83.0, 90.0]);
        assert_eq!(rising(&points).iter().map(|p| p.size).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0]);
    }
}
