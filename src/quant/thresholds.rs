//! The exponent β above which relevance lets zero win, for every weight of a layer; what is done with it is in
//! [`super::relevance_search`].

use super::assignment::PIECE;
use super::boundaries::Boundaries;
use super::entropy::EntropyCosts;
use crate::nn::kernels::elementwise::ln;
use rayon::prelude::*;

/// Largest and mean |R| of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Magnitudes {
    largest: f32,
    sum: f64,
    count: usize,
}

impl Magnitudes {
    /// `None` when all relevances are zero or one is not finite.
    pub fn of(relevance: &[f32]) -> Option<Self> {
        let pieces: Vec<(u32, f64)> =
            relevance.par_chunks(PIECE).map(|piece| pulp::Arch::new().dispatch(Sums(piece))).collect();
        Self::from_pieces(pieces, relevance.len())
    }

    /// Pieces in order: the same sum whatever the number of threads.
    pub fn from_pieces(pieces: Vec<(u32, f64)>, count: usize) -> Option<Self> {
        let largest = f32::from_bits(pieces.iter().map(|piece| piece.0).max().unwrap_or(0));
        let sum = pieces.iter().map(|piece| piece.1).sum();
        (largest.is_finite() && largest > 0.0).then_some(Self { largest, sum, count })
    }

    /// max |R| + 1e-12, by which |R| is divided.
    pub fn scale(&self) -> f32 {
        self.largest + 1e-12
    }

    /// Mean of |R| / scale.
    pub fn mean(&self) -> f64 {
        self.sum / (f64::from(self.scale()) * self.count as f64)
    }
}

/// The bit pattern of the largest |R| of a piece, and the sum.
pub(super) struct Sums<'a>(pub &'a [f32]);

impl pulp::WithSimd for Sums<'_> {
    type Output = (u32, f64);

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> (u32, f64) {
        // Without their sign, larger numbers have larger bit patterns, and what is not finite has the largest.
        let (mut largest, mut sums) = ([0u32; 16], [0.0f64; 16]);
        let (chunks, rest) = self.0.as_chunks::<16>();
        let mut add = |lane: usize, r: f32| {
            let magnitude = r.abs();
            largest[lane] = largest[lane].max(magnitude.to_bits());
            sums[lane] += f64::from(magnitude);
        };
        for chunk in chunks {
            for (lane, &r) in chunk.iter().enumerate() {
                add(lane, r);
            }
        }
        for (lane, &r) in rest.iter().enumerate() {
            add(lane, r);
        }
        (largest.into_iter().max().unwrap_or(0), sums.iter().sum())
    }
}

/// Weights whose winners stay in registers while all boundaries pass by.
const LANES: usize = 32;

/// One piece of a layer.
#[derive(Clone, Copy)]
pub(super) struct Thresholds<'a> {
    /// Costs without relevance.
    pub plain: &'a EntropyCosts,
    /// The boundaries of all levels but zero.
    pub others: &'a Boundaries,
    /// The position of zero.
    pub zero: u8,
    /// Weights of the piece.
    pub weights: &'a [f32],
    /// Their relevance, signed.
    pub relevance: &'a [f32],
    /// By which |R| is divided.
    pub scale: f32,
}

impl Thresholds<'_> {
    /// The thresholds, and the positions of the best levels other than zero.
    pub fn compute(self, thresholds: &mut [f32], positions: &mut [u8]) {
        pulp::Arch::new().dispatch(Piece { of: self, thresholds, positions });
        if !self.others.doubtful.is_empty() {
            let results = thresholds.iter_mut().zip(positions);
            for ((threshold, position), (&w, &r)) in results.zip(self.weights.iter().zip(self.relevance)) {
                if self.others.doubts(w) {
                    *position = self.others.search(w);
                    let at = usize::from(*position);
                    let cost = self.cost(w, self.others.levels[at], self.others.penalties[at]);
                    *threshold = self.exponent(w, r, cost, *position);
                }
            }
        }
    }

    #[inline(always)]
    fn cost(&self, weight: f32, level: f32, penalty: f32) -> f32 {
        (level - weight) * (level - weight) + penalty
    }

    /// The exponent above which zero wins against the best other level.
    #[inline(always)]
    fn exponent(&self, weight: f32, relevance: f32, other_cost: f32, position: u8) -> f32 {
        let zero = usize::from(self.zero);
        let zero_cost = self.cost(weight, self.others.levels[zero], self.plain.penalties[zero]);
        exponent(zero_cost, other_cost, position > self.zero, relevance.abs() / self.scale)
    }
}

struct Piece<'a> {
    of: Thresholds<'a>,
    thresholds: &'a mut [f32],
    positions: &'a mut [u8],
}

// A closure of this size is not inlined into the function that has the wide vectors; this is.
impl pulp::WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { of, thresholds, positions } = self;
        let winners: Vec<(i32, f32, f32)> = of
            .others
            .winners
            .iter()
            .map(|&at| {
                let index = usize::from(at);
                (i32::from(at), of.others.levels[index], of.others.penalties[index])
            })
            .collect();
        let lanes = |weights: &[f32; LANES], relevance: &[f32; LANES]| {
            let (mut at, mut levels, mut penalties) =
                ([winners[0].0; LANES], [winners[0].1; LANES], [winners[0].2; LANES]);
            for (&limit, &(position, level, penalty)) in of.others.limits.iter().zip(&winners[1..]) {
                for i in 0..LANES {
                    let wins = weights[i] > limit;
                    at[i] = if wins { position } else { at[i] };
                    levels[i] = if wins { level } else { levels[i] };
                    penalties[i] = if wins { penalty } else { penalties[i] };
                }
            }
            let mut found = [0.0; LANES];
            for i in 0..LANES {
                let other_cost = of.cost(weights[i], levels[i], penalties[i]);
                found[i] = of.exponent(weights[i], relevance[i], other_cost, at[i] as u8);
            }
            (found, at.map(|position| position as u8))
        };
        let (weights, last_weights) = of.weights.as_chunks::<LANES>();
        let (relevance, last_relevance) = of.relevance.as_chunks::<LANES>();
        let (thresholds, last_thresholds) = thresholds.as_chunks_mut::<LANES>();
        let (positions, last_positions) = positions.as_chunks_mut::<LANES>();
        let results = thresholds.iter_mut().zip(positions);
        for ((thresholds, positions), (weights, relevance)) in results.zip(weights.iter().zip(relevance)) {
            (*thresholds, *positions) = lanes(weights, relevance);
        }
        let count = last_weights.len();
        let (mut padded_weights, mut padded_relevance) = ([0.0; LANES], [0.0; LANES]);
        padded_weights[..count].copy_from_slice(last_weights);
        padded_relevance[..count].copy_from_slice(last_relevance);
        let (found, at) = lanes(&padded_weights, &padded_relevance);
        last_thresholds.copy_from_slice(&found[..count]);
        last_positions.copy_from_slice(&at[..count]);
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
