//! The plain search over levels, and how weights are cut into pieces: what every way of assigning them rests on.

use crate::nn::kernels::elementwise::vectorised;

/// Weights per piece of parallel work.
pub(super) const PIECE: usize = 1 << 14;
/// Weights that stay in the first-level cache, with what is found for them.
pub(super) const BLOCK: usize = 1024;

/// The plain search: all levels, given as (position, level, penalty), against one piece of weights; `best` and
/// `positions` hold the cheapest so far.
pub(super) fn sweep(
    weights: &[f32],
    levels: impl Iterator<Item = (u8, f32, f32)>,
    best: &mut [f32],
    positions: &mut [u8],
) {
    for (position, level, penalty) in levels {
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
