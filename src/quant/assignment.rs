//! The assignment of weights to levels: one sweep that keeps, for every weight, the cheapest level; never a table of
//! weights × levels. Costs are f32 in the reference's order of operations, so that assignments agree weight by weight.

use crate::nn::kernels::elementwise::vectorised;
use rayon::prelude::*;

/// Weights per piece of work: their costs stay in the first-level cache.
const PIECE: usize = 2048;

/// For every weight the position of the level with the smallest `(level − w)² + penalty`; the first of equals wins.
/// `penalties` may be infinite. At most 256 levels.
pub fn cheapest(weights: &[f32], levels: &[f32], penalties: &[f32]) -> Vec<u8> {
    let mut positions = vec![0u8; weights.len()];
    positions.par_chunks_mut(PIECE * 16).zip(weights.par_chunks(PIECE * 16)).for_each(
        |(positions, weights)| {
            let mut best = [0.0f32; PIECE];
            for (positions, weights) in positions.chunks_mut(PIECE).zip(weights.chunks(PIECE)) {
                sweep(weights, levels, penalties, &mut best[..weights.len()], positions);
            }
        },
    );
    positions
}

/// As [`cheapest`], with the cost of every weight's choice.
pub fn cheapest_with_costs(weights: &[f32], levels: &[f32], penalties: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut positions = vec![0u8; weights.len()];
    let mut costs = vec![0.0f32; weights.len()];
    positions
        .par_chunks_mut(PIECE)
        .zip(costs.par_chunks_mut(PIECE))
        .zip(weights.par_chunks(PIECE))
        .for_each(|((positions, costs), weights)| sweep(weights, levels, penalties, costs, positions));
    (positions, costs)
}

/// All levels against one piece of weights.
fn sweep(weights: &[f32], levels: &[f32], penalties: &[f32], best: &mut [f32], positions: &mut [u8]) {
    best.fill(f32::INFINITY);
    for (position, (&level, &penalty)) in (0u8..).zip(levels.iter().zip(penalties)) {
        // A level that costs infinitely much never wins.
        if penalty < f32::INFINITY {
            vectorised(|| update(weights, level, penalty, position, best, positions));
        }
    }
}

/// One level against the best so far.
#[inline(always)]
fn update(weights: &[f32], level: f32, penalty: f32, position: u8, best: &mut [f32], positions: &mut [u8]) {
    for ((&w, best), at) in weights.iter().zip(best).zip(positions) {
        let cost = (level - w) * (level - w) + penalty;
        let wins = cost < *best;
        *best = if wins { cost } else { *best };
        *at = if wins { position } else { *at };
    }
}

/// The nearest level of every weight; the lowest of equals wins.
pub fn nearest(weights: &[f32], levels: &[f32]) -> Vec<u8> {
    cheapest(weights, levels, &vec![0.0; levels.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The sweep finds what a plain search over all levels finds, ties included.
        #[test]
        fn agrees_with_plain_search(
            weights in prop::collection::vec(-2.0f32..2.0, 1..300),
            penalties in prop::collection::vec(prop_oneof![Just(0.0f32), Just(f32::INFINITY), 0.0f32..1.0], 8),
        ) {
            let levels: Vec<f32> = (-3..=4).map(|k| k as f32 * 0.25).collect();
            let found = cheapest(&weights, &levels, &penalties);
            for (&w, &at) in weights.iter().zip(&found) {
                let cost = |i: usize| (levels[i] - w) * (levels[i] - w) + penalties[i];
                let expected = (0..8).fold(0, |best, i| if cost(i) < cost(best) { i } else { best });
                prop_assert_eq!(usize::from(at), expected);
            }
        }
    }
}
