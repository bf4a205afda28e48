//! The exponent β above which relevance lets zero win, for every weight of a layer; what is done with it is in
//! [`super::relevance_search`].

use super::assignment::select;
use super::boundaries::Boundaries;
use super::entropy::EntropyCosts;
use super::sweep::{BLOCK, PIECE};
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
    fn lanes(&self) -> Lanes {
        let zero = usize::from(self.zero);
        Lanes {
            zero: self.zero.into(),
            zero_level: self.others.levels[zero],
            zero_penalty: self.plain.penalties[zero],
            scale: self.scale,
        }
    }

    /// The thresholds, and the positions of the best levels other than zero.
    pub fn compute(self, thresholds: &mut [f32], positions: &mut [u8]) {
        pulp::Arch::new().dispatch(Piece { of: self, thresholds, positions });
        if self.others.doubts_any(self.weights) {
            let results = thresholds.iter_mut().zip(positions);
            for ((threshold, position), (&w, &r)) in results.zip(self.weights.iter().zip(self.relevance)) {
                if self.others.doubts(w) {
                    *position = self.others.search(w);
                    let at = usize::from(*position);
                    let others =
                        [at as u32, self.others.levels[at].to_bits(), self.others.penalties[at].to_bits()];
                    *threshold = self.lanes().exponents(pulp::Scalar::new(), w, r, others);
                }
            }
        }
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
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let Self { of, thresholds, positions } = self;
        let others = of.others;
        let winners: Vec<[u32; 3]> = others
            .winners
            .iter()
            .map(|&at| {
                let index = usize::from(at);
                [u32::from(at), others.levels[index].to_bits(), others.penalties[index].to_bits()]
            })
            .collect();
        let mut found = [[0u32; BLOCK]; 3];
        let blocks = thresholds.chunks_mut(BLOCK).zip(positions.chunks_mut(BLOCK));
        let inputs = of.weights.chunks(BLOCK).zip(of.relevance.chunks(BLOCK));
        for ((thresholds, positions), (weights, relevance)) in blocks.zip(inputs) {
            let [at, levels, penalties] = found.each_mut().map(|found| &mut found[..weights.len()]);
            select(simd, weights, &others.limits, &winners, [at, levels, penalties]);
            for (position, &mut at) in positions.iter_mut().zip(&mut *at) {
                *position = at as u8;
            }
            of.lanes().block(simd, [weights, relevance], [at, levels, penalties], thresholds);
        }
    }
}

/// What all weights of a layer have in common.
#[derive(Clone, Copy)]
struct Lanes {
    zero: u32,
    zero_level: f32,
    zero_penalty: f32,
    scale: f32,
}

impl Lanes {
    /// One block from weights and relevance, and from positions, levels and penalties of the best other levels.
    #[inline(always)]
    fn block<S: pulp::Simd>(self, simd: S, inputs: [&[f32]; 2], others: [&[u32]; 3], out: &mut [f32]) {
        let [(w, w_rest), (r, r_rest)] = [S::as_simd_f32s(inputs[0]), S::as_simd_f32s(inputs[1])];
        let (at, at_rest) = S::as_simd_u32s(others[0]);
        let (level, level_rest) = S::as_simd_u32s(others[1]);
        let (penalty, penalty_rest) = S::as_simd_u32s(others[2]);
        let (out, out_rest) = S::as_mut_simd_f32s(out);
        for ((((out, &w), &r), (&at, &level)), &penalty) in
            out.iter_mut().zip(w).zip(r).zip(at.iter().zip(level)).zip(penalty)
        {
            *out = self.exponents(simd, w, r, [at, level, penalty]);
        }
        if !out_rest.is_empty() {
            let (w, r) = (simd.partial_load_f32s(w_rest), simd.partial_load_f32s(r_rest));
            let (at, level) = (simd.partial_load_u32s(at_rest), simd.partial_load_u32s(level_rest));
            let others = [at, level, simd.partial_load_u32s(penalty_rest)];
            simd.partial_store_f32s(out_rest, self.exponents(simd, w, r, others));
        }
    }

    /// The exponents above which zero wins: −∞ always, +∞ never, and always where it is not a number. With equal costs the
    /// lower position wins, which is zero when the best other level lies above it.
    #[inline(always)]
    fn exponents<S: pulp::Simd>(self, simd: S, w: S::f32s, r: S::f32s, others: [S::u32s; 3]) -> S::f32s {
        let [at, level, penalty] = others;
        let other_cost = cost(simd, w, simd.transmute_f32s_u32s(level), simd.transmute_f32s_u32s(penalty));
        let zero_cost = cost(simd, w, simd.splat_f32s(self.zero_level), simd.splat_f32s(self.zero_penalty));
        let ratio = simd.div_f32s(other_cost, simd.add_f32s(zero_cost, zero_cost));
        let relevance = simd.div_f32s(simd.abs_f32s(r), simd.splat_f32s(self.scale));
        let relevance = simd.add_f32s(relevance, simd.splat_f32s(1e-12));
        let by_search = simd.div_f32s(logarithm(simd, ratio), logarithm(simd, relevance));
        let (one, never) = (simd.splat_f32s(1.0), simd.splat_f32s(f32::INFINITY));
        let costs_nothing = simd.less_than_or_equal_f32s(ratio, simd.splat_f32s(0.0));
        let by_search = simd.select_f32s(costs_nothing, never, by_search);
        // Powers of one are one: the exponent does not matter.
        let wins_ties = simd.less_than_u32s(simd.splat_u32s(self.zero), at);
        let least = simd.select_f32s(wins_ties, simd.splat_f32s(1.0f32.next_down()), one);
        let wins = simd.less_than_f32s(least, ratio);
        let by_ratio = simd.select_f32s(wins, simd.splat_f32s(f32::NEG_INFINITY), never);
        simd.select_f32s(simd.less_than_f32s(relevance, one), by_search, by_ratio)
    }
}

#[inline(always)]
fn cost<S: pulp::Simd>(simd: S, weight: S::f32s, level: S::f32s, penalty: S::f32s) -> S::f32s {
    let distance = simd.sub_f32s(level, weight);
    simd.add_f32s(simd.mul_f32s(distance, distance), penalty)
}

/// Natural logarithms to 2e-7 of their value: exponent and mantissa, then a polynomial. Zero gives about −88.
#[inline(always)]
fn logarithm<S: pulp::Simd>(simd: S, x: S::f32s) -> S::f32s {
    // √½, from which mantissas run to √2.
    const START: u32 = 0x3f35_04f3;
    let shifted = simd.add_u32s(simd.transmute_u32s_f32s(x), simd.splat_u32s(0x3f80_0000 - START));
    let exponent = simd.wrapping_dyn_shr_u32s(shifted, simd.splat_u32s(23));
    // A small whole number becomes a float as the low bits of 2²³.
    let exponent = simd.transmute_f32s_u32s(simd.or_u32s(exponent, simd.splat_u32s(0x4b00_0000)));
    let exponent = simd.sub_f32s(exponent, simd.splat_f32s(8_388_608.0 + 127.0));
    let mantissa =
        simd.add_u32s(simd.and_u32s(shifted, simd.splat_u32s(0x007f_ffff)), simd.splat_u32s(START));
    let x = simd.sub_f32s(simd.transmute_f32s_u32s(mantissa), simd.splat_f32s(1.0));
    // ln (1 + x) = x − x²/2 + x³ P(x); P by least squares, reweighted until its largest error was least (3.2e-8).
    let mut series = simd.splat_f32s(POLYNOMIAL[0]);
    for &coefficient in &POLYNOMIAL[1..] {
        series = simd.mul_add_f32s(series, x, simd.splat_f32s(coefficient));
    }
    let square = simd.mul_f32s(x, x);
    let tail = simd.mul_add_f32s(series, x, simd.splat_f32s(-0.5));
    let fraction = simd.mul_add_f32s(square, tail, x);
    simd.mul_add_f32s(exponent, simd.splat_f32s(std::f32::consts::LN_2), fraction)
}

/// Of [`logarithm`], highest power first.
const POLYNOMIAL: [f32; 7] =
    [0.086_724_05, -0.142_590_42, 0.149_210_81, -0.165_789_55, 0.199_625_6, -0.250_012_83, 0.333_339_25];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The logarithm is as good as f32 over the whole range of normal numbers.
    #[test]
    fn logarithms() {
        for exponent in -125..127 {
            for step in 0..64 {
                let x = (f64::from(exponent) + f64::from(step) / 64.0).exp2() as f32;
                let exact = f64::from(x).ln();
                let error = (f64::from(logarithm(pulp::Scalar::new(), x)) - exact).abs();
                assert!(error <= 4e-7 * exact.abs().max(0.35), "ln {x}: off by {error}");
            }
        }
        assert!(logarithm(pulp::Scalar::new(), 0.0) < -87.0);
    }

    proptest! {
        /// Zero wins at an exponent exactly when its cost with relevance says so (up to 1e-5 of the cost, which powers and
        /// logarithms in f32 may err by), in wide vectors and without.
        #[test]
        fn thresholds_decide_as_costs_do(
            cases in prop::collection::vec((-0.3f32..0.3, prop_oneof![-1.0f32..1.0, -1e-6f32..1e-6, Just(0.0f32)]), 1..70),
            penalties in prop::collection::vec(0.0f32..0.01, 8),
            beta in 0.01f64..1.0,
        ) {
            let levels: Vec<f32> = (-3..=4).map(|k| k as f32 * 0.06).collect();
            let zero = 3u8;
            let plain = EntropyCosts {
                boundaries: Boundaries::new(&levels, &penalties),
                penalties: penalties.clone(),
                warning: None,
            };
            let mut closed = penalties.clone();
            closed[3] = f32::INFINITY;
            let others = Boundaries::new(&levels, &closed);
            let (weights, mut relevance): (Vec<f32>, Vec<f32>) = cases.into_iter().unzip();
            relevance[0] = 1.0;
            let scale = Magnitudes::of(&relevance).unwrap().scale();
            let piece = Thresholds { plain: &plain, others: &others, zero, weights: &weights, relevance: &relevance, scale };
            let (mut found, mut positions) = (vec![0.0; weights.len()], vec![0; weights.len()]);
            piece.compute(&mut found, &mut positions);
            let (mut again, mut same) = (vec![0.0; weights.len()], vec![0; weights.len()]);
            let scalar = Piece { of: piece, thresholds: &mut again, positions: &mut same };
            pulp::WithSimd::with_simd(scalar, pulp::Scalar::new());
            prop_assert_eq!((&found, &positions), (&again, &same));
            for (i, (&w, &r)) in weights.iter().zip(&relevance).enumerate() {
                let cost = |k: usize| (f64::from(levels[k]) - f64::from(w)).powi(2) + f64::from(penalties[k]);
                let other = (0..8).filter(|&k| k != 3).map(cost).fold(f64::INFINITY, f64::min);
                let factor = (f64::from(r.abs()) / f64::from(scale) + 1e-12).powf(beta);
                let with_relevance = 2.0 * factor * cost(3);
                if (with_relevance - other).abs() > 1e-5 * other {
                    prop_assert_eq!(f64::from(found[i]) < beta, with_relevance < other, "w {} R {} β {}", w, r, beta);
                }
            }
        }
    }

    /// Sums and maxima of pieces are those of plain loops; what is not finite is refused.
    #[test]
    fn magnitudes() {
        let relevance: Vec<f32> =
            (0..40_000).map(|i| ((i * 7919 % 40_009) as f32 - 20_000.0) / 1e5).collect();
        let found = Magnitudes::of(&relevance).unwrap();
        let largest = relevance.iter().fold(0.0f32, |most, r| most.max(r.abs()));
        let sum: f64 = relevance.iter().map(|r| f64::from(r.abs())).sum();
        assert_eq!(found.scale(), largest + 1e-12);
        assert!((found.mean() * 40_000.0 * f64::from(found.scale()) - sum).abs() < 1e-9 * sum);
        assert!(Magnitudes::of(&[0.0; 3]).is_none());
        assert!(Magnitudes::of(&[1.0, f32::NAN]).is_none());
    }
}
