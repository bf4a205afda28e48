//! Relevance-weighted assignment (spec ECQx): only the cost of zero changes, `cost₀ ← 2 (R + 1e-12)^β cost₀`, and β is
//! searched until sparsity lies in a band below (or above) that of the plain assignment.
//!
//! The best cost m among the other levels does not depend on β, so zero wins exactly when β exceeds a threshold of the
//! weight's own, `τ = ln(m / 2 cost₀) / ln R`. Sparsity as a function of β is a count of thresholds.

use super::assignment::cheapest_with_costs;
use super::entropy::EntropyAssignment;
use crate::nn::kernels::elementwise::{count_below, ln, vectorised};
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

/// One pass of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// The exponent used.
    pub beta: f64,
    /// Share of zeros it gave.
    pub sparsity: f64,
}

/// Result of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct RelevanceAssignment {
    /// Codebook position of every weight.
    pub positions: Vec<u8>,
    /// All passes, the last one being the one used; empty when the plain assignment already lies in the band.
    pub trace: Vec<Pass>,
    /// What was degenerate about the relevance, for the run's record.
    pub warning: Option<&'static str>,
}

/// Weights per parallel piece.
const PIECE: usize = 1 << 14;
/// Largest number of passes.
const PASSES: usize = 51;

/// max |R| + 1e-12, by which |R| is divided; `None` when all are zero or one is not finite.
fn scale(relevance: &[f32]) -> Option<f32> {
    // Without their sign, larger numbers have larger bit patterns, and what is not finite has the largest.
    let largest =
        |piece: &[f32]| vectorised(|| piece.iter().map(|r| r.to_bits() & 0x7fff_ffff).max().unwrap_or(0));
    let max = f32::from_bits(relevance.par_chunks(PIECE).map(largest).max().unwrap_or(0));
    (max.is_finite() && max > 0.0).then_some(max + 1e-12)
}

/// Assigns one layer with relevance. `zero` is the codebook position of the value 0, `p` the width of the band (0–1).
pub fn search(
    weights: &[f32],
    levels: &[f32],
    zero: usize,
    plain: EntropyAssignment,
    relevance: &[f32],
    p: f64,
    band: Band,
) -> RelevanceAssignment {
    let total = weights.len().max(1) as f64;
    let zeros = |piece: &[u8]| piece.iter().filter(|at| usize::from(**at) == zero).count();
    let plain_sparsity = plain.positions.par_chunks(PIECE).map(zeros).sum::<usize>() as f64 / total;
    let (low, high) = match band {
        Band::Below => (plain_sparsity - p, plain_sparsity),
        Band::Above => (plain_sparsity, plain_sparsity + p),
    };
    let unchanged =
        |warning| RelevanceAssignment { positions: plain.positions.clone(), trace: Vec::new(), warning };
    // Before the first pass sparsity counts as zero: a band that reaches zero is met without relevance.
    if (low..=high).contains(&0.0) {
        return unchanged(None);
    }
    let Some(scale) = scale(relevance) else {
        return unchanged(Some(
            "relevance is zero everywhere or not finite: the assignment without it was used",
        ));
    };
    let mut others = plain.penalties.clone();
    others[zero] = f32::INFINITY;
    let (best_others, other_costs) = cheapest_with_costs(weights, levels, &others);
    let mut thresholds = other_costs;
    let (level, penalty) = (levels[zero], plain.penalties[zero]);
    let sums: Vec<f64> = thresholds
        .par_chunks_mut(PIECE)
        .zip(weights.par_chunks(PIECE))
        .zip(best_others.par_chunks(PIECE))
        .zip(relevance.par_chunks(PIECE))
        .map(|(((thresholds, weights), others), relevance)| {
            let zero = zero as u8;
            let piece = Exponents { thresholds, weights, others, relevance, scale, zero, level, penalty };
            pulp::Arch::new().dispatch(piece)
        })
        .collect();
    // Pieces in order: the same sum whatever the number of threads.
    let mean = sums.iter().sum::<f64>() / total;
    let mut beta = f64::from(0.5f32.ln() / (mean as f32).ln());
    let mut trace: Vec<Pass> = Vec::new();
    let mut sparsity = 0.0;
    let mut used = beta;
    while !(low..=high).contains(&sparsity) && trace.len() < PASSES {
        used = beta;
        sparsity = count_below(&thresholds, ceiling(used)) as f64 / total;
        let step = match trace.len() {
            0..20 => 0.1,
            20..40 => 0.5,
            _ => 0.75,
        };
        trace.push(Pass { beta: used, sparsity });
        // The reference steers towards the upper end of its band; above, towards the lower end.
        let aim = if band == Band::Below { high } else { low };
        if sparsity < aim {
            beta *= 1.0 + step;
        } else if sparsity > aim {
            beta *= 1.0 - step;
        }
        beta = beta.min(1.0);
    }
    let (zero, limit) = (zero as u8, ceiling(used));
    let mut positions = best_others;
    positions.par_chunks_mut(PIECE).zip(thresholds.par_chunks(PIECE)).for_each(|(positions, thresholds)| {
        vectorised(|| {
            for (position, &threshold) in positions.iter_mut().zip(thresholds) {
                *position = if threshold < limit { zero } else { *position };
            }
        });
    });
    RelevanceAssignment { positions, trace, warning: None }
}

/// The smallest f32 that is not below `value`: an f32 lies below `value` exactly when it lies below this.
fn ceiling(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

/// [`exponent`] of one piece, from |R| / `scale`; `thresholds` holds the costs of the best other levels before. Gives
/// the sum of the scaled relevances.
struct Exponents<'a> {
    thresholds: &'a mut [f32],
    weights: &'a [f32],
    others: &'a [u8],
    relevance: &'a [f32],
    scale: f32,
    zero: u8,
    level: f32,
    penalty: f32,
}

// A closure of this size is not inlined into the function that has the wide vectors; this is.
impl pulp::WithSimd for Exponents<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        let Self { thresholds, weights, others, relevance, scale, zero, level, penalty } = self;
        let each = thresholds.iter_mut().zip(weights).zip(others.iter().zip(relevance));
        for ((threshold, &w), (&other, &r)) in each {
            let zero_cost = (level - w) * (level - w) + penalty;
            *threshold = exponent(zero_cost, *threshold, other > zero, r.abs() / scale);
        }
        // Lanes of their own, so that the sum vectorises.
        let mut lanes = [0.0f64; 8];
        for chunk in relevance.chunks(8) {
            lanes.iter_mut().zip(chunk).for_each(|(lane, &r)| *lane += f64::from(r.abs() / scale));
        }
        lanes.iter().sum()
    }
}

/// The exponent above which zero wins: −∞ always, +∞ never. With equal costs the lower position wins, which is zero
/// when the best other level lies above it. Without branches, so that it vectorises.
#[inline(always)]
fn exponent(zero_cost: f32, other_cost: f32, zero_first: bool, relevance: f32) -> f32 {
    let decide = |wins: bool| if wins { f32::NEG_INFINITY } else { f32::INFINITY };
    let base = ln(relevance + 1e-12);
    let ratio = other_cost / (2.0 * zero_cost);
    let by_search = if ratio > 0.0 { ln(ratio) / base } else { f32::INFINITY };
    let by_ratio = decide(ratio > 1.0 || (zero_first && ratio == 1.0));
    let found = if relevance + 1e-12 >= 1.0 { by_ratio } else { by_search };
    let found = if zero_cost == 0.0 { decide(zero_first || other_cost > 0.0) } else { found };
    let infinite = zero_cost == f32::INFINITY || other_cost == f32::INFINITY;
    if infinite { decide(other_cost == f32::INFINITY && zero_cost != f32::INFINITY) } else { found }
}
