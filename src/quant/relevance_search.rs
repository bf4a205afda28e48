//! Relevance-weighted assignment (spec ECQx): only the cost of zero changes, `cost₀ ← 2 (R + 1e-12)^β cost₀`, and β is
//! searched until sparsity lies in a band below (or above) that of the plain assignment.
//!
//! The best cost m among the other levels does not depend on β, so zero wins exactly when β exceeds a threshold of the
//! weight's own, `τ = ln(m / 2 cost₀) / ln R` (`thresholds.rs`). Sparsity as a function of β is a count of thresholds: one
//! sweep computes them and counts for some β ahead on both ways the search may go. Since sparsity grows with β, the pass
//! that ends the search is then found by bisection: two sweeps for up to twenty passes.

use super::boundaries::Boundaries;
use super::count_above::{AT_ONCE, add, add_counts_above, count_above};
use super::entropy::EntropyCosts;
use super::sweep::PIECE;
use super::thresholds::{Magnitudes, Thresholds};
use crate::nn::kernels::elementwise::vectorised;
use crate::nn::kernels::scratch::Buffer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Where sparsity may end up relative to the plain assignment's s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// s − p … s (the reference): relevance protects weights.
    Below,
    /// s … s + p: relevance may add zeros.
    Above,
}

/// Result of the search.
pub struct RelevanceAssignment {
    /// Codebook position of every weight.
    pub positions: Vec<u8>,
    /// The exponents β of all passes, the last one being the one used; empty when the plain assignment already lies in
    /// the band.
    pub exponents: Vec<f64>,
    /// What was degenerate about the relevance, for the run's record.
    pub warning: Option<&'static str>,
    thresholds: Buffer,
}

impl RelevanceAssignment {
    /// Share of zeros that an exponent gives; for a search that took at least one pass.
    pub fn sparsity_at(&self, exponent: f64) -> f64 {
        let above = count_above(&self.thresholds, &[below(exponent)])[0];
        1.0 - above as f64 / self.positions.len().max(1) as f64
    }
}

/// Largest number of passes.
const PASSES: usize = 51;
/// How many passes ahead a sweep looks first.
const AHEAD: [usize; 3] = [4, 12, 20];

/// Assigns one layer with relevance. `zero` is the codebook position of the value 0, `p` the width of the band (0–1).
pub fn search(
    weights: &[f32],
    zero: u8,
    plain: &EntropyCosts,
    relevance: &[f32],
    p: f64,
    band: Band,
) -> RelevanceAssignment {
    let unchanged = |warning| RelevanceAssignment {
        positions: plain.boundaries.assign(weights),
        exponents: Vec::new(),
        warning,
        thresholds: Buffer::new(0),
    };
    let Some(magnitudes) = Magnitudes::of(relevance) else { return unchanged(Some(NO_RELEVANCE)) };
    let mut penalties = plain.penalties.clone();
    penalties[usize::from(zero)] = f32::INFINITY;
    let others = Boundaries::new(&plain.boundaries.levels, &penalties);
    let start = start(&magnitudes);
    let limits: Vec<f32> = first_exponents(start).into_iter().map(below).collect();
    let mut thresholds = Buffer::new(weights.len());
    let mut positions = vec![0u8; weights.len()];
    // Counts are whole numbers: the same for any number of threads.
    let (plain_zeros, above) = thresholds
        .par_chunks_mut(PIECE)
        .zip(positions.par_chunks_mut(PIECE))
        .zip(weights.par_chunks(PIECE))
        .zip(relevance.par_chunks(PIECE))
        .map(|(((thresholds, positions), weights), relevance)| {
            let scale = magnitudes.scale();
            let piece = Thresholds { plain, others: &others, zero, weights, relevance, scale };
            piece.compute(thresholds, positions);
            let mut counts = vec![0; limits.len()];
            add_counts_above(thresholds, &limits, &mut counts);
            (plain.boundaries.count(weights, zero), counts)
        })
        .reduce(|| (0, vec![0; limits.len()]), |a, b| (a.0 + b.0, add(a.1, b.1)));
    let Some(goal) = Goal::new(plain_zeros, weights.len(), p, band) else { return unchanged(None) };
    let mut known: Vec<(f32, usize)> = limits.into_iter().zip(above).collect();
    let zeros = |exponents: &[f64]| Some(zeros_at(exponents, &thresholds, &mut known));
    let Some(passes) = passes(start, &goal, zeros) else { return unchanged(None) };
    assign_zeros(&mut positions, &thresholds, zero, below(passes[passes.len() - 1]));
    RelevanceAssignment { positions, exponents: passes, warning: None, thresholds }
}

/// What is said of a layer without usable relevance.
pub(super) const NO_RELEVANCE: &str =
    "relevance is zero everywhere or not finite: the assignment without it was used";

/// The exponent of the first pass.
pub(super) fn start(magnitudes: &Magnitudes) -> f64 {
    f64::from(0.5f32.ln() / (magnitudes.mean() as f32).ln())
}

/// Exponents that the search may ask for first: to be counted while the thresholds are at hand.
pub(super) fn first_exponents(start: f64) -> Vec<f64> {
    let mut exponents = vec![start];
    for grows in [true, false] {
        let path = path(start, 0, grows);
        exponents.extend(AHEAD.iter().map(|&steps| path[steps]));
    }
    exponents
}

/// The band of sparsity that the search aims for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    low: f64,
    high: f64,
    aim: f64,
    total: f64,
}

impl Goal {
    /// From the zeros of the plain assignment among `count` weights. `None` where nothing is to be searched: before the
    /// first pass sparsity counts as zero, and a band that reaches zero is met without relevance.
    pub fn new(plain_zeros: usize, count: usize, p: f64, band: Band) -> Option<Self> {
        let total = count.max(1) as f64;
        let plain_sparsity = plain_zeros as f64 / total;
        let (low, high) = match band {
            Band::Below => (plain_sparsity - p, plain_sparsity),
            Band::Above => (plain_sparsity, plain_sparsity + p),
        };
        // The reference steers towards the upper end of its band; above, towards the lower end.
        let aim = if band == Band::Below { high } else { low };
        (!(low..=high).contains(&0.0)).then_some(Self { low, high, aim, total })
    }

    fn side(&self, zeros: usize) -> Side {
        match zeros as f64 / self.total {
            sparsity if (self.low..=self.high).contains(&sparsity) => Side::Inside,
            sparsity if sparsity < self.aim => Side::TooFew,
            _ => Side::TooMany,
        }
    }
}

/// The exponents of all passes of the search, the last one being the one to use. `zeros` tells how many weights some
/// exponents make zero; where it can't, the search ends with `None`, and may begin anew once it can.
pub(super) fn passes(
    start: f64,
    goal: &Goal,
    mut zeros: impl FnMut(&[f64]) -> Option<Vec<usize>>,
) -> Option<Vec<f64>> {
    let mut sides = |exponents: &[f64]| -> Option<Vec<Side>> {
        Some(zeros(exponents)?.into_iter().map(|zeros| goal.side(zeros)).collect())
    };
    let mut passes = vec![start];
    let mut side = sides(&passes)?[0];
    while side != Side::Inside && passes.len() < PASSES {
        let path = path(passes[passes.len() - 1], passes.len() - 1, side == Side::TooFew);
        let (steps, next) = leave(&path, side, &mut sides)?;
        passes.extend(&path[1..=steps]);
        side = next;
    }
    Some(passes)
}

/// Where a sparsity lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// β has to grow.
    TooFew,
    /// In the band.
    Inside,
    /// β has to fall.
    TooMany,
}

/// β from pass `first` (counted from 0) to the last pass, as long as it moves in one direction.
fn path(start: f64, first: usize, grows: bool) -> Vec<f64> {
    let mut path = vec![start];
    for pass in first..PASSES - 1 {
        let step = match pass {
            0..20 => 0.1,
            20..40 => 0.5,
            _ => 0.75,
        };
        let factor = if grows { 1.0 + step } else { 1.0 - step };
        path.push((path[path.len() - 1] * factor).min(1.0));
    }
    path
}

/// The first step of a path on which sparsity is no longer on the side on which it starts, and where it is then; the last
/// step where it never leaves. Sparsity grows with β: a step on the same side says the same of all steps before it.
fn leave(
    path: &[f64],
    side: Side,
    sides: &mut impl FnMut(&[f64]) -> Option<Vec<Side>>,
) -> Option<(usize, Side)> {
    let last = path.len() - 1;
    // Sparsity is on the same side at `stays`, and no longer at `leaves`.
    let (mut stays, mut leaves) = (0, None);
    loop {
        let steps: Vec<usize> = match leaves {
            Some((end, side)) if end == stays + 1 => return Some((end, side)),
            None if stays == last => return Some((last, side)),
            // The steps between, at most as many as are counted at once.
            Some((end, _)) => {
                let every = (end - stays - 1).div_ceil(AT_ONCE);
                (stays + every..end).step_by(every).collect()
            }
            None => {
                let ahead = AHEAD.iter().map(|ahead| stays + ahead).filter(|&step| step < last);
                ahead.chain([last]).take(AHEAD.len()).collect()
            }
        };
        let exponents: Vec<f64> = steps.iter().map(|&step| path[step]).collect();
        for (step, found) in steps.into_iter().zip(sides(&exponents)?) {
            if found == side {
                stays = step;
            } else {
                leaves = Some((step, found));
                break;
            }
        }
    }
}

/// Weights at zero by exponent. What is not in `known` (limits and how many thresholds lie above) is counted in one sweep.
fn zeros_at(exponents: &[f64], thresholds: &[f32], known: &mut Vec<(f32, usize)>) -> Vec<usize> {
    let limits: Vec<f32> = exponents.iter().map(|&exponent| below(exponent)).collect();
    let of = |known: &[(f32, usize)], limit: f32| {
        known.iter().find(|entry| entry.0.to_bits() == limit.to_bits()).map(|entry| entry.1)
    };
    let new: Vec<f32> = limits.iter().copied().filter(|&limit| of(known, limit).is_none()).collect();
    if !new.is_empty() {
        let counts = count_above(thresholds, &new);
        known.extend(new.into_iter().zip(counts));
    }
    limits.iter().map(|&limit| thresholds.len() - of(known, limit).unwrap_or(0)).collect()
}

/// The largest f32 below `value`: an f32 lies below `value` exactly when it is not above this.
pub(super) fn below(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near } else { near.next_down() }
}

/// Zero takes every weight whose threshold is not above `limit`.
fn assign_zeros(positions: &mut [u8], thresholds: &[f32], zero: u8, limit: f32) {
    positions.par_chunks_mut(PIECE).zip(thresholds.par_chunks(PIECE)).for_each(|(positions, thresholds)| {
        vectorised(|| {
            for (position, &threshold) in positions.iter_mut().zip(thresholds) {
                // A choice of bits: a choice of values would not vectorise.
                let kept = u8::from(threshold > limit).wrapping_neg();
                *position = (*position & kept) | (zero & !kept);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The bisection takes the passes that one step after the other takes, to the end of the fifty-first.
        #[test]
        fn passes_are_those_of_the_plain_walk(
            cases in prop::collection::vec((-0.3f32..0.3, prop_oneof![-1.0f32..1.0, -1e-6f32..1e-6, Just(0.0f32)]), 1..200),
            penalties in prop::collection::vec(0.0f32..0.01, 8),
            p in prop_oneof![0.0f64..0.01, 0.0f64..0.3],
            above in any::<bool>(),
        ) {
            let levels: Vec<f32> = (-3..=4).map(|k| k as f32 * 0.06).collect();
            let (weights, relevance): (Vec<f32>, Vec<f32>) = cases.into_iter().unzip();
            let boundaries = Boundaries::new(&levels, &penalties);
            let plain = EntropyCosts { boundaries, penalties, warning: None };
            let band = if above { Band::Above } else { Band::Below };
            let found = search(&weights, 3, &plain, &relevance, p, band);
            let total = weights.len() as f64;
            let share = |zeros: usize| zeros as f64 / total;
            if let Some(&start) = found.exponents.first() {
                let sparsity = share(plain.boundaries.assign(&weights).iter().filter(|at| **at == 3).count());
                let (low, high) = if above { (sparsity, sparsity + p) } else { (sparsity - p, sparsity) };
                let mut walked = vec![start];
                loop {
                    let beta = walked[walked.len() - 1];
                    let zeros = total as usize - found.thresholds.iter().filter(|&&threshold| threshold > below(beta)).count();
                    if (low..=high).contains(&share(zeros)) || walked.len() == PASSES {
                        prop_assert_eq!(zeros, found.positions.iter().filter(|at| **at == 3).count());
                        break;
                    }
                    let step = match walked.len() - 1 {
                        0..20 => 0.1,
                        20..40 => 0.5,
                        _ => 0.75,
                    };
                    let aim = if above { low } else { high };
                    let factor = if share(zeros) < aim { 1.0 + step } else { 1.0 - step };
                    walked.push((beta * factor).min(1.0));
                }
                prop_assert_eq!(&found.exponents, &walked);
            }
        }
    }
}
