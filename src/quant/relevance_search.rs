//! Relevance-weighted assignment (spec ECQx): only the cost of zero changes, `cost₀ ← 2 (R + 1e-12)^β cost₀`, and β is
//! searched until sparsity lies in a band below (or above) that of the plain assignment.
//!
//! The best cost m among the other levels does not depend on β, so zero wins exactly when β exceeds a threshold of the
//! weight's own, `τ = ln(m / 2 cost₀) / ln R`. Sparsity as a function of β is a count of thresholds.

use super::assignment::cheapest;
use super::entropy::EntropyAssignment;
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

/// Largest number of passes.
const PASSES: usize = 51;

/// |R| / (max |R| + 1e-12); `None` when all are zero or one is not finite.
pub fn normalise(relevance: &[f32]) -> Option<Vec<f32>> {
    let max = relevance.par_iter().map(|r| r.abs()).reduce(|| 0.0, f32::max);
    if !relevance.par_iter().all(|r| r.is_finite()) || max == 0.0 {
        return None;
    }
    let scale = max + 1e-12;
    Some(relevance.par_iter().map(|r| r.abs() / scale).collect())
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
    let plain_sparsity = plain.positions.iter().filter(|at| usize::from(**at) == zero).count() as f64 / total;
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
    let Some(relevance) = normalise(relevance) else {
        return unchanged(Some(
            "relevance is zero everywhere or not finite: the assignment without it was used",
        ));
    };
    let mut others = plain.penalties.clone();
    others[zero] = f32::INFINITY;
    let best_others = cheapest(weights, levels, &others);
    let thresholds: Vec<f32> = weights
        .par_iter()
        .zip(&best_others)
        .zip(&relevance)
        .map(|((&w, &other), &r)| {
            let other = usize::from(other);
            let cost = |at: usize| (levels[at] - w) * (levels[at] - w) + plain.penalties[at];
            threshold(cost(zero), cost(other), other > zero, r)
        })
        .collect();
    let mean = relevance.par_chunks(1 << 16).map(|part| part.iter().map(|&r| f64::from(r)).sum::<f64>());
    let mean = mean.collect::<Vec<_>>().iter().sum::<f64>() / total;
    let mut beta = f64::from(0.5f32.ln() / (mean as f32).ln());
    let mut trace: Vec<Pass> = Vec::new();
    let mut sparsity = 0.0;
    let mut used = beta;
    while !(low..=high).contains(&sparsity) && trace.len() < PASSES {
        used = beta;
        let zeros = thresholds.par_iter().filter(|&&threshold| f64::from(threshold) < used).count();
        sparsity = zeros as f64 / total;
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
    let zero = zero as u8;
    let positions = best_others
        .par_iter()
        .zip(&thresholds)
        .map(|(&other, &threshold)| if f64::from(threshold) < used { zero } else { other })
        .collect();
    RelevanceAssignment { positions, trace, warning: None }
}

/// The exponent above which zero wins: −∞ always, +∞ never. With equal costs the lower position wins, which is zero
/// when the best other level lies above it.
fn threshold(zero_cost: f32, other_cost: f32, zero_first: bool, relevance: f32) -> f32 {
    let decide = |wins: bool| if wins { f32::NEG_INFINITY } else { f32::INFINITY };
    if zero_cost.is_infinite() || other_cost.is_infinite() {
        return decide(other_cost.is_infinite() && !zero_cost.is_infinite());
    }
    if zero_cost == 0.0 {
        return decide(zero_first || other_cost > 0.0);
    }
    let base = (relevance + 1e-12).ln();
    let ratio = other_cost / (2.0 * zero_cost);
    if base >= 0.0 {
        return decide(if zero_first { ratio >= 1.0 } else { ratio > 1.0 });
    }
    ratio.ln() / base
}
