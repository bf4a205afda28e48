//! Relevance-weighted assignment (spec ECQx): only the cost of zero changes, `cost₀ ← 2 (R + 1e-12)^β cost₀`, and β is
//! searched until sparsity lies in a band below (or above) that of the plain assignment.
//!
//! The best cost m among the other levels does not depend on β, so zero wins exactly when β exceeds a threshold of the
//! weight's own, `τ = ln(m / 2 cost₀) / ln R` (`thresholds.rs`). Sparsity as a function of β is a count of thresholds: one
//! sweep computes them and counts for every β that the first passes could try.

use super::assignment::{PIECE, add, add_counts_above};
use super::boundaries::Boundaries;
use super::entropy::EntropyCosts;
use super::thresholds::{Magnitudes, Thresholds};
use crate::nn::kernels::elementwise::vectorised;
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
/// Passes that one sweep answers, whatever way the search goes.
const DEPTH: u32 = 3;

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
        trace: Vec::new(),
        warning,
    };
    let total = weights.len().max(1) as f64;
    let Some(magnitudes) = Magnitudes::of(relevance) else {
        return unchanged(Some(
            "relevance is zero everywhere or not finite: the assignment without it was used",
        ));
    };
    let mut penalties = plain.penalties.clone();
    penalties[usize::from(zero)] = f32::INFINITY;
    let others = Boundaries::new(&plain.boundaries.levels, &penalties);
    let start = f64::from(0.5f32.ln() / (magnitudes.mean() as f32).ln());
    let mut tree = Tree::new(start, 0);
    let mut thresholds = vec![0.0f32; weights.len()];
    let mut positions = vec![0u8; weights.len()];
    // Counts are whole numbers: the same for any number of threads.
    let (zeros, counts) = thresholds
        .par_chunks_mut(PIECE)
        .zip(positions.par_chunks_mut(PIECE))
        .zip(weights.par_chunks(PIECE))
        .zip(relevance.par_chunks(PIECE))
        .map(|(((thresholds, positions), weights), relevance)| {
            let scale = magnitudes.scale();
            let piece = Thresholds { plain, others: &others, zero, weights, relevance, scale };
            piece.compute(thresholds, positions);
            let mut counts = vec![0; tree.limits.len()];
            add_counts_above(thresholds, &tree.limits, &mut counts);
            (plain.boundaries.count(weights, zero), counts)
        })
        .reduce(|| (0, vec![0; tree.limits.len()]), |a, b| (a.0 + b.0, add(a.1, b.1)));
    tree.set(&counts, weights.len());
    let plain_sparsity = zeros as f64 / total;
    let (low, high) = match band {
        Band::Below => (plain_sparsity - p, plain_sparsity),
        Band::Above => (plain_sparsity, plain_sparsity + p),
    };
    // Before the first pass sparsity counts as zero: a band that reaches zero is met without relevance.
    if (low..=high).contains(&0.0) {
        return unchanged(None);
    }
    // The reference steers towards the upper end of its band; above, towards the lower end.
    let aim = if band == Band::Below { high } else { low };
    let mut trace: Vec<Pass> = Vec::new();
    let mut node = 0;
    loop {
        if node >= tree.betas.len() {
            // All that was counted ahead is used up.
            let (beta, pass) = (tree.next(node), trace.len());
            tree = Tree::new(beta, pass);
            let counts = super::assignment::count_above(&thresholds, &tree.limits);
            tree.set(&counts, weights.len());
            node = 0;
        }
        let (beta, sparsity) = (tree.betas[node], tree.zeros[node] as f64 / total);
        trace.push(Pass { beta, sparsity });
        if (low..=high).contains(&sparsity) || trace.len() == PASSES {
            let limit = tree.limits[node];
            assign_zeros(&mut positions, &thresholds, zero, limit);
            return RelevanceAssignment { positions, trace, warning: None };
        }
        node = 2 * node + if sparsity < aim { 1 } else { 2 };
    }
}

/// The exponents that the next passes may try: a heap in which the pass after `i` is `2i + 1` if sparsity has to grow and
/// `2i + 2` if it has to fall.
struct Tree {
    betas: Vec<f64>,
    /// Zero wins where the threshold is not above this.
    limits: Vec<f32>,
    /// Weights at zero, by exponent; filled by [`set`](Self::set).
    zeros: Vec<usize>,
    /// Number of the first pass, from 0.
    first: usize,
}

impl Tree {
    fn new(start: f64, first: usize) -> Self {
        let mut tree = Self { betas: vec![start], limits: Vec::new(), zeros: Vec::new(), first };
        while tree.betas.len() < (1 << DEPTH) - 1 {
            tree.betas.push(tree.next(tree.betas.len()));
        }
        tree.limits = tree.betas.iter().map(|&beta| below(beta)).collect();
        tree
    }

    /// The exponent at a place of the heap, from the one before it.
    fn next(&self, node: usize) -> f64 {
        let parent = (node - 1) / 2;
        let step = match self.first + (parent + 1).ilog2() as usize {
            0..20 => 0.1,
            20..40 => 0.5,
            _ => 0.75,
        };
        let grows = node % 2 == 1;
        (self.betas[parent] * if grows { 1.0 + step } else { 1.0 - step }).min(1.0)
    }

    /// Takes the numbers of thresholds above each limit.
    fn set(&mut self, above: &[usize], weights: usize) {
        self.zeros = above.iter().map(|above| weights - above).collect();
    }
}

/// The largest f32 below `value`: an f32 lies below `value` exactly when it is not above this.
fn below(value: f64) -> f32 {
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
