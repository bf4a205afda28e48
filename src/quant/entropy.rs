//! Entropy-constrained quantization of one layer (spec ECQ): codebook, distribution, λ and assignment.

use super::boundaries::Boundaries;
use super::codebook::Codebook;
use super::distribution::{PmfKind, distribution, information};
use crate::nn::kernels::elementwise::extremes;
use serde::{Deserialize, Serialize};

/// The largest sensible λ of a layer, by which Λ is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LambdaMax {
    /// `((w_e − x_e)² + x_e)² / (I_e − I_0)`, the larger of both ends (the reference).
    Reference,
    /// `(x_e² − (x_e − w_e)²) / (I_e − I_0)`, the smaller of both ends (Becking 2020).
    Thesis,
    /// `w_e² / (I_e − I_0)`, the smaller of both ends: the thesis's bound for a weight on the outermost level. Weights far
    /// beyond the grid, of which a grid with little error has many, have no say.
    Grid,
}

/// What the entropy term depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntropyTerm {
    /// Λ, 0–1: strength of the entropy term; 0 is the nearest level.
    pub lambda: f64,
    /// How the distribution is floored.
    pub pmf: PmfKind,
    /// How Λ is scaled.
    pub lambda_max: LambdaMax,
}

impl EntropyTerm {
    /// Whether weights beyond the grid strengthen the term.
    pub fn grows_beyond_the_grid(&self) -> bool {
        self.lambda > 0.0 && self.lambda_max != LambdaMax::Grid
    }
}

/// Number of weights against the largest layer: smaller layers get a weaker entropy term.
pub fn decay(weights: usize, largest: usize) -> f64 {
    (weights as f64 / largest.max(1) as f64 + 0.05) / 1.05
}

/// What the levels of one layer cost before relevance, and with that the assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct EntropyCosts {
    /// Where each level wins.
    pub boundaries: Boundaries,
    /// λ · I of every level.
    pub penalties: Vec<f32>,
    /// What was degenerate about the layer, for the run's record.
    pub warning: Option<&'static str>,
}

impl EntropyCosts {
    /// Whether no level costs anything: Λ is zero or the layer is degenerate, and every weight takes its nearest level.
    pub fn is_nearest(&self) -> bool {
        self.penalties.iter().all(|penalty| *penalty == 0.0)
    }
}

/// The costs of one layer's levels from the distribution of its weights over them. `scale` is the layer's [`decay`].
pub fn costs(weights: &[f32], codebook: &Codebook, term: &EntropyTerm, scale: f64) -> EntropyCosts {
    let levels = codebook.values();
    let nearest = Boundaries::new(&levels, &vec![0.0; levels.len()]);
    let counts = match term.lambda == 0.0 || weights.is_empty() {
        true => None,
        false => Some(nearest.counts(weights)),
    };
    costs_from(counts, || extremes(weights), nearest, codebook, term, scale)
}

/// As [`costs`], from how many weights are nearest to each level (`None`: no entropy term), the smallest and the largest
/// weight and the boundaries of nearest levels, wherever those were taken.
pub(super) fn costs_from(
    counts: Option<Vec<usize>>,
    extremes: impl FnOnce() -> (f32, f32),
    nearest: Boundaries,
    codebook: &Codebook,
    term: &EntropyTerm,
    scale: f64,
) -> EntropyCosts {
    let levels = codebook.values();
    let plain = |warning| EntropyCosts { boundaries: nearest, penalties: vec![0.0; levels.len()], warning };
    let Some(counts) = counts else { return plain(None) };
    let zero = usize::from(codebook.zero());
    let information = information(&distribution(&counts, zero, term.pmf));
    let Some(largest) = lambda_max(extremes, &levels, &counts, &information, zero, term.lambda_max) else {
        return plain(Some("the entropy scale λ_max is not finite: nearest levels were used"));
    };
    let lambda = largest * term.lambda as f32 * scale as f32;
    // 0 · ∞ is undefined: an empty level stays out.
    let penalties: Vec<f32> =
        information.iter().map(|&i| if i.is_infinite() { f32::INFINITY } else { lambda * i }).collect();
    let warning =
        (counts[zero] == 0).then_some("no weight is nearest to zero: its share was taken as one half");
    EntropyCosts { boundaries: Boundaries::new(&levels, &penalties), penalties, warning }
}

/// λ_max, or `None` when it is not a finite number.
fn lambda_max(
    extremes: impl FnOnce() -> (f32, f32),
    levels: &[f32],
    counts: &[usize],
    information: &[f32],
    zero: usize,
    kind: LambdaMax,
) -> Option<f32> {
    let lowest = counts.iter().position(|count| *count > 0)?;
    let highest = counts.iter().rposition(|count| *count > 0)?;
    let (min, max) = extremes();
    let end = |level: usize, extreme: f32| {
        let excess = information[level] - information[zero];
        let distance = (levels[level] - extreme) * (levels[level] - extreme);
        match kind {
            LambdaMax::Reference => (distance + extreme) * (distance + extreme) / excess,
            LambdaMax::Thesis => (extreme * extreme - distance) / excess,
            LambdaMax::Grid => levels[level] * levels[level] / excess,
        }
    };
    let (low, high) = (end(lowest, min), end(highest, max));
    let chosen = match kind {
        LambdaMax::Reference if high > low => high,
        LambdaMax::Thesis | LambdaMax::Grid if high < low => high,
        _ => low,
    };
    (chosen.is_finite() && low.is_finite() && high.is_finite()).then_some(chosen.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs_of(weights: &[f32], lambda: f64, lambda_max: LambdaMax) -> EntropyCosts {
        let codebook = Codebook::Uniform { step: 0.5, lowest: -1, highest: 1 };
        costs(weights, &codebook, &EntropyTerm { lambda, pmf: PmfKind::Exact, lambda_max }, 1.0)
    }

    /// Half of these weights are nearest to zero, a quarter to each of the levels ±0.5.
    fn weights(largest: f32) -> Vec<f32> {
        let mut weights: Vec<f32> = (0..16).map(|i| [0.01, -0.02, 0.5, -0.5][i % 4]).collect();
        (weights[2], weights[3]) = (largest, -largest);
        weights
    }

    /// Under `grid` Λ is the share of the outermost level that the zero level's zone grows by, whatever lies beyond the grid:
    /// by hand, λ = Λ · 0.5² / (2 − 1) and the boundary is at 0.5 · (1 + Λ) / 2. The reference's bound grows with the largest
    /// weight's square.
    #[test]
    fn weights_beyond_the_grid_have_no_say_under_grid() {
        for lambda in [0.2, 0.6] {
            for largest in [0.5, 5.0] {
                let found = costs_of(&weights(largest), lambda, LambdaMax::Grid);
                assert_eq!(found.warning, None);
                let expected = (lambda * 0.25) as f32;
                for (penalty, information) in found.penalties.iter().zip([2.0, 1.0, 2.0]) {
                    assert!((penalty - expected * information).abs() < 1e-6, "{penalty} at Λ {lambda}");
                }
                // A thousandth to either side: f32 rounds much less.
                let boundary = 0.25 * (1.0 + lambda as f32);
                assert_eq!(found.boundaries.assign(&[boundary - 1e-3, boundary + 1e-3]), [1, 2]);
            }
        }
        let penalty = |largest, kind| costs_of(&weights(largest), 0.2, kind).penalties[1];
        for kind in [LambdaMax::Reference, LambdaMax::Thesis] {
            assert!(penalty(5.0, kind) > 8.0 * penalty(0.5, kind), "{kind:?}");
        }
    }
}
