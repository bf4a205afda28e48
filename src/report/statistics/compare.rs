//! One method, the reference, against every other at equal size and at equal accuracy, paired by seed.

use super::curve::{Curve, rising, shared_seeds};
use super::front::in_a_gap;
use super::{Interval, Point, Summary, size_at};
use crate::error::count;
use crate::record::Metric;
use crate::report::choice::{Choice, ChooseOn};
use crate::report::column::{fixed, signed};
use crate::report::methods::{BASELINE, Methods};
use crate::report::tables::WorkingPoint;
use std::collections::{BTreeMap, BTreeSet};

/// One paired comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// The metric that both are scored by.
    pub metric: Metric,
    /// Bit width; `None`: over all widths.
    pub bits: Option<u32>,
    /// The method that the others are compared with.
    pub reference: String,
    /// The other method.
    pub other: String,
    /// Names of both in sentences.
    pub names: [String; 2],
    /// Seeds that both methods have.
    pub seeds: usize,
    /// Mean over seeds of the mean accuracy difference reference − other over the common range of log size, points.
    pub difference: Option<f64>,
    /// 95 % t-interval of it over seeds.
    pub interval: Option<Interval>,
    /// Geometric mean of size reference / other over the common range of accuracy; below 1 where the reference is smaller.
    pub size_ratio: Option<f64>,
    /// 95 % t-interval of it; `None` also where it reaches further than four times the ratio to either side.
    pub size_interval: Option<Interval>,
    /// Seeds of which both curves share a range of accuracies.
    pub size_seeds: usize,
    /// Settings of both methods, bit width and strength aside; who has more chooses from more.
    pub variants: (usize, usize),
}

/// Factor from a mean size or ratio of sizes to the ends of its interval beyond which the interval says nothing of sizes.
const BOUND: f64 = 4.0;

/// The interval of a size or ratio of sizes from its logarithm and half the width of that one's interval; `None` where it
/// says nothing.
pub(super) fn bounded(logarithm: f64, half: f64) -> Option<Interval> {
    (half <= BOUND.ln()).then(|| ((logarithm - half).exp(), (logarithm + half).exp()))
}

/// Says that `ours` can be compared with none of `theirs`.
pub fn nothing_in_common(ours: &str, theirs: &[&str]) -> String {
    let each = if theirs.len() > 1 { "each of " } else { "" };
    let theirs = theirs.join(", ");
    format!(
        "{ours} and {each}{theirs} have no common range of sizes with at most {DEPTH} points lost: nothing to compare."
    )
}

/// Seeds from which on a verdict says `is` in place of `suggest`.
pub const ENOUGH_SEEDS: usize = 5;

impl Comparison {
    /// What the data support, in a sentence.
    pub fn verdict(&self) -> String {
        let [ours, theirs] = &self.names;
        let Some(difference) = self.difference else {
            return nothing_in_common(ours, &[theirs]);
        };
        let word = match (self.metric, difference < 0.0) {
            (Metric::Top1, true) => "less accurate".to_owned(),
            (Metric::Top1, false) => "more accurate".to_owned(),
            (metric, true) => format!("worse in {}", metric.name()),
            (metric, false) => format!("better in {}", metric.name()),
        };
        let Some((low, high)) = self.interval else {
            return format!(
                "One seed: {ours} is {} pp {word} than {theirs} at equal size{}; without an interval this is no \
                 evidence.",
                fixed(difference.abs(), 2),
                self.chosen()
            );
        };
        // Such an interval is one of ways to fail, and its ends would only look like numbers.
        if high - low > 2.0 * DEPTH {
            return format!(
                "No difference between {ours} and {theirs} at equal size is shown ({} pp{}): the {} seeds do not bound it \
                 within {DEPTH} pp.",
                signed(difference, 2),
                self.chosen(),
                self.seeds
            );
        }
        let tail = format!(
            "({} pp, 95 % interval {} … {}, {} seeds{})",
            signed(difference, 2),
            signed(low, 2),
            signed(high, 2),
            self.seeds,
            self.chosen()
        );
        match (low > 0.0 || high < 0.0, self.seeds >= ENOUGH_SEEDS) {
            (false, _) => {
                format!("No difference between {ours} and {theirs} at equal size is shown {tail}.")
            }
            (true, true) => format!("At equal size {ours} is {word} than {theirs} {tail}."),
            (true, false) => {
                format!("The runs suggest that {ours} is {word} than {theirs} at equal size {tail}.")
            }
        }
    }

    /// What the data support of sizes at equal accuracy, in a sentence; `None` where no accuracy is common to both.
    pub fn size_verdict(&self) -> Option<String> {
        let [ours, theirs] = &self.names;
        let ratio = self.size_ratio?;
        let score = self.metric.noun();
        let word = if ratio > 1.0 { "larger" } else { "smaller" };
        // Above twice a ratio is easier to read than a percentage.
        let by = match ratio {
            0.5..=2.0 => format!("{} % {word}", fixed(100.0 * (ratio - 1.0).abs(), 1)),
            _ => format!("{} times {word}", fixed(ratio.max(1.0 / ratio), 1)),
        };
        let Some((low, high)) = self.size_interval else {
            if self.size_seeds > 1 {
                return Some(format!(
                    "No difference in size between {ours} and {theirs} at equal accuracy is shown: the {} seeds do not \
                     bound the ratio within a factor of {BOUND}.",
                    self.size_seeds
                ));
            }
            return Some(format!(
                "One seed: at equal {score} the files of {ours} are {by} than those of {theirs}; without an interval this \
                 is no evidence."
            ));
        };
        let tail = format!(
            "(ratio {}, 95 % interval {} … {}, {} seeds)",
            fixed(ratio, 2),
            fixed(low, 2),
            fixed(high, 2),
            self.size_seeds
        );
        Some(match (low > 1.0 || high < 1.0, self.size_seeds >= ENOUGH_SEEDS) {
            (false, _) => {
                format!("No difference in size between {ours} and {theirs} at equal {score} is shown {tail}.")
            }
            (true, true) => {
                format!("At equal {score} the files of {ours} are {by} than those of {theirs} {tail}.")
            }
            (true, false) => format!(
                "The runs suggest that at equal {score} the files of {ours} are {by} than those of {theirs} {tail}."
            ),
        })
    }

    /// Names the settings where one side had several to choose its best from, as in ablations.
    fn chosen(&self) -> String {
        let [ours, theirs] = &self.names;
        match self.variants {
            (1, 1) => String::new(),
            (own, other) => {
                format!(", chosen from {} of {ours} and {other} of {theirs}", count(own, "setting"))
            }
        }
    }
}

/// Points lost from which on a network counts as broken: methods are compared above that, else the comparison would be
/// one of ways to fail.
pub const DEPTH: f64 = 5.0;

/// The reference method against each other method, per data set and model, over all bit widths and at each. None where
/// there is no reference method among the points. `on` chooses the settings on each method's front.
pub fn compare(points: &[WorkingPoint], methods: &Methods, on: ChooseOn) -> Vec<Comparison> {
    let Some(reference) = methods.reference() else { return Vec::new() };
    let usable = points.iter().filter(|p| p.method != BASELINE);
    let usable: Vec<&WorkingPoint> = usable.collect();
    let pairs: BTreeSet<(&str, &str)> =
        usable.iter().map(|p| (p.dataset.as_str(), p.model.as_str())).collect();
    let mut result = Vec::new();
    for (dataset, model) in pairs {
        let of_pair = |p: &&&WorkingPoint| p.dataset == dataset && p.model == model;
        let mut here: Vec<&WorkingPoint> = usable.iter().filter(of_pair).copied().collect();
        let choice = Choice::new(on, &here);
        here.retain(|point| !choice.is_broken(point));
        let widths: BTreeSet<Option<u32>> =
            std::iter::once(None).chain(here.iter().map(|p| p.bits)).collect();
        for bits in widths {
            let mut at_width: BTreeMap<&str, Vec<&WorkingPoint>> = BTreeMap::new();
            for point in here.iter().filter(|p| bits.is_none() || p.bits == bits) {
                at_width.entry(&point.method).or_default().push(point);
            }
            let Some(ours) = at_width.remove(reference) else { continue };
            for (other, theirs) in &at_width {
                let names = [reference, other].map(|name| methods.display(name).to_owned());
                result.push(Comparison {
                    dataset: dataset.into(),
                    model: model.into(),
                    bits,
                    reference: reference.into(),
                    other: (*other).into(),
                    names,
                    ..pair(&ours, theirs, choice.on())
                });
            }
        }
    }
    result
}

/// Numbers of one comparison; who is compared is filled in by the caller.
fn pair(ours: &[&WorkingPoint], theirs: &[&WorkingPoint], on: ChooseOn) -> Comparison {
    let seeds_of = |points: &[&WorkingPoint]| -> BTreeSet<u64> {
        points.iter().flat_map(|p| p.runs.iter().map(|run| run.seed)).collect()
    };
    let common: BTreeSet<u64> = &seeds_of(ours) & &seeds_of(theirs);
    let seeds = &shared_seeds(ours, Some(&common)) & &shared_seeds(theirs, Some(&common));
    let variants =
        |points: &[&WorkingPoint]| points.iter().map(|p| p.variant.as_str()).collect::<BTreeSet<_>>().len();
    let (own, other) = (Curve::new(ours, &seeds, on), Curve::new(theirs, &seeds, on));
    let differences = differences(&own, &other);
    let summary = differences.as_deref().and_then(Summary::of);
    // Without a difference there is nothing to compare, in size as little as in accuracy.
    let ratios: Vec<f64> = match summary {
        Some(_) => {
            seeds.iter().filter_map(|seed| log_ratio(&own.of_seed(*seed), &other.of_seed(*seed))).collect()
        }
        None => Vec::new(),
    };
    let ratio = Summary::of(&ratios);
    Comparison {
        dataset: String::new(),
        model: String::new(),
        metric: ours.first().map_or(Metric::Top1, |point| point.metric),
        bits: None,
        reference: String::new(),
        other: String::new(),
        names: Default::default(),
        seeds: differences.map_or(0, |differences| differences.len()),
        difference: summary.map(|s| s.mean),
        interval: summary.and_then(|s| s.interval()),
        size_ratio: ratio.map(|s| s.mean.exp()),
        size_interval: ratio.and_then(|s| bounded(s.mean, s.half_width()?)),
        size_seeds: ratios.len(),
        variants: (variants(ours), variants(theirs)),
    }
}

/// Factor by which a place may lie off a setting beside a gap: equal settings of two methods differ that much in size, and
/// there a line across a factor of two or more is wrong by at most a fourteenth of the difference between its ends. (Settings
/// that have collapsed are no part of a comparison.)
const NEAR: f64 = 1.05;

/// Places of a common range at which two curves are read.
const PLACES: usize = 21;

fn places(low: f64, high: f64) -> impl Iterator<Item = f64> {
    (0..PLACES).map(move |i| low + (high - low) * i as f64 / (PLACES - 1) as f64)
}

/// Each seed's mean accuracy difference over the sizes that both curves cover, gaps left out; `None` where there are none.
fn differences(ours: &Curve, theirs: &Curve) -> Option<Vec<f64>> {
    let (own, other) = (ours.means(), theirs.means());
    let low = own.first()?.size.max(other.first()?.size).ln();
    let high = own.last()?.size.min(other.last()?.size).ln();
    if low > high {
        return None;
    }
    let mut sums = vec![0.0; ours.seeds().len()];
    let mut read = 0;
    // The ends of the range may lie outside by rounding.
    for size in places(low, high).map(|place| place.clamp(low, high).exp()) {
        if in_a_gap(&own, size, NEAR) || in_a_gap(&other, size, NEAR) {
            continue;
        }
        let (a, b) = (ours.accuracies_at(size)?, theirs.accuracies_at(size)?);
        sums.iter_mut().zip(a.iter().zip(&b)).for_each(|(sum, (a, b))| *sum += a - b);
        read += 1;
    }
    (read > 0).then(|| sums.into_iter().map(|sum| sum / f64::from(read)).collect())
}

/// Mean of ln(size of ours / size of theirs) over the accuracies that both reach, sizes in gaps left out.
fn log_ratio(ours: &[Point], theirs: &[Point]) -> Option<f64> {
    let (ours, theirs) = (rising(ours), rising(theirs));
    let low = ours.first()?.accuracy.max(theirs.first()?.accuracy);
    let high = ours.last()?.accuracy.min(theirs.last()?.accuracy);
    if low > high {
        return None;
    }
    let log =
        |front: &[Point], x: f64| size_at(front, x).filter(|size| !in_a_gap(front, *size, NEAR)).map(f64::ln);
    let values: Vec<f64> =
        places(low, high).filter_map(|x| Some(log(&ours, x)? - log(&theirs, x)?)).collect();
    Summary::of(&values).map(|s| s.mean)
}
