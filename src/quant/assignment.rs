//! The assignment of weights to levels: sweeps over slices of weights that compare with [`Boundaries`], cut over the
//! threads of the current pool; never a table of weights × levels. Costs are f32 in the reference's order of operations,
//! so that assignments agree weight by weight.

use super::boundaries::Boundaries;
use super::count_above::{add, add_counts_above, count_above};
use super::sweep::{BLOCK, PIECE};
use crate::nn::kernels::elementwise::vectorised;
use rayon::prelude::*;
use std::any::TypeId;

/// For every weight the position of the level with the smallest `(level − w)² + penalty`; the first of equals wins.
/// `penalties` may be infinite. At most 256 levels, ascending.
pub fn cheapest(weights: &[f32], levels: &[f32], penalties: &[f32]) -> Vec<u8> {
    Boundaries::new(levels, penalties).assign(weights)
}

/// The nearest level of every weight; the lowest of equals wins.
pub fn nearest(weights: &[f32], levels: &[f32]) -> Vec<u8> {
    cheapest(weights, levels, &vec![0.0; levels.len()])
}

impl Boundaries {
    /// The position of every weight's level.
    pub fn assign(&self, weights: &[f32]) -> Vec<u8> {
        let mut positions = vec![0u8; weights.len()];
        positions
            .par_chunks_mut(PIECE)
            .zip(weights.par_chunks(PIECE))
            .for_each(|(positions, weights)| self.assign_piece(weights, positions));
        positions
    }

    /// As [`assign`](Self::assign), in this thread.
    fn assign_piece(&self, weights: &[f32], positions: &mut [u8]) {
        pulp::Arch::new().dispatch(Positions { boundaries: self, weights, positions });
        if self.doubts_any(weights) {
            for (position, &weight) in positions.iter_mut().zip(weights) {
                if self.doubts(weight) {
                    *position = self.search(weight);
                }
            }
        }
    }

    /// Whether the plain search has to decide about one of these weights.
    pub(super) fn doubts_any(&self, weights: &[f32]) -> bool {
        self.doubtful.iter().any(|&(low, high)| {
            let inside = |&weight: &f32| u32::from((weight >= low) & (weight <= high));
            vectorised(|| weights.iter().map(inside).sum::<u32>()) > 0
        })
    }

    /// How many weights take each level.
    pub fn counts(&self, weights: &[f32]) -> Vec<usize> {
        let mut counts = vec![0; self.levels.len()];
        #[cfg(target_arch = "x86_64")]
        if self.doubtful.is_empty()
            && let Some((table, simd)) = super::bucketed::Table::new(&self.limits)
        {
            let of_piece = |piece: &[f32]| table.counts(simd, piece, &self.winners, self.levels.len());
            return weights.par_chunks(PIECE).map(of_piece).reduce(|| vec![0; self.levels.len()], add);
        }
        if !self.doubtful.is_empty() {
            self.assign(weights).into_iter().for_each(|position| counts[usize::from(position)] += 1);
            return counts;
        }
        let above = count_above(weights, &self.limits);
        let mut left = weights.len();
        for (&winner, above) in self.winners.iter().zip(above.into_iter().chain([0])) {
            counts[usize::from(winner)] = left - above;
            left = above;
        }
        counts
    }
}

impl Boundaries {
    /// How many weights take `position`, in this thread.
    pub(super) fn count(&self, weights: &[f32], position: u8) -> usize {
        if self.doubts_any(weights) {
            let mut positions = vec![0u8; weights.len()];
            self.assign_piece(weights, &mut positions);
            return positions.iter().filter(|found| **found == position).count();
        }
        let Some(place) = self.winners.iter().position(|winner| *winner == position) else { return 0 };
        let mut counts = [weights.len(), 0];
        if place > 0 {
            counts[0] = 0;
            add_counts_above(weights, &self.limits[place - 1..place], &mut counts[..1]);
        }
        if let Some(limit) = self.limits.get(place) {
            add_counts_above(weights, std::slice::from_ref(limit), &mut counts[1..]);
        }
        counts[0] - counts[1]
    }
}

/// [`Boundaries::assign_piece`] without doubtful weights.
struct Positions<'a> {
    boundaries: &'a Boundaries,
    weights: &'a [f32],
    positions: &'a mut [u8],
}

impl pulp::WithSimd for Positions<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let Self { boundaries, weights, positions } = self;
        #[cfg(target_arch = "x86_64")]
        if TypeId::of::<S>() == TypeId::of::<pulp::x86::V4>()
            && let Some((table, simd)) = super::bucketed::Table::new(&boundaries.limits)
        {
            return table.select_bytes(simd, weights, &boundaries.winners, positions);
        }
        let winners: Vec<[u32; 1]> = boundaries.winners.iter().map(|&winner| [u32::from(winner)]).collect();
        let mut found = [0u32; BLOCK];
        for (weights, positions) in weights.chunks(BLOCK).zip(positions.chunks_mut(BLOCK)) {
            let found = &mut found[..weights.len()];
            select(simd, weights, &boundaries.limits, &winners, [found]);
            positions.iter_mut().zip(found).for_each(|(position, found)| *position = *found as u8);
        }
    }
}

/// For every weight the N attributes (any 32 bits) of its winner: those at the place that is the number of limits below
/// the weight. They stay in registers while all limits pass by.
#[inline(always)]
pub(super) fn select<S: pulp::Simd, const N: usize>(
    simd: S,
    weights: &[f32],
    limits: &[f32],
    attributes: &[[u32; N]],
    mut out: [&mut [u32]; N],
) {
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<S>() == TypeId::of::<pulp::x86::V4>()
        && let Some((table, simd)) = super::bucketed::Table::new(limits)
    {
        return table.select(simd, weights, attributes, &mut out);
    }
    /// Vectors at a time, so that comparisons need not wait for one another.
    const WIDE: usize = 4;
    let (vectors, rest) = S::as_simd_f32s(weights);
    let mut outs = out.each_mut().map(|out| S::as_mut_simd_u32s(out).0.as_chunks_mut::<WIDE>());
    let (chunks, singles) = vectors.as_chunks::<WIDE>();
    for (index, &chunk) in chunks.iter().enumerate() {
        let found = select_vectors(simd, chunk, limits, attributes);
        for (out, found) in outs.iter_mut().zip(found) {
            out.0[index] = found;
        }
    }
    for (index, &single) in singles.iter().enumerate() {
        let found = select_vectors(simd, [single], limits, attributes);
        for (out, [found]) in outs.iter_mut().zip(found) {
            out.1[index] = found;
        }
    }
    let done = weights.len() - rest.len();
    for (index, weight) in rest.iter().enumerate() {
        let place = limits.iter().filter(|limit| weight > *limit).count();
        for (out, attribute) in out.iter_mut().zip(attributes[place]) {
            out[done + index] = attribute;
        }
    }
}

#[inline(always)]
fn select_vectors<S: pulp::Simd, const N: usize, const W: usize>(
    simd: S,
    weights: [S::f32s; W],
    limits: &[f32],
    attributes: &[[u32; N]],
) -> [[S::u32s; W]; N] {
    // Plain loops: a closure that is not inlined would be compiled without wide vectors.
    let mut found = [[simd.splat_u32s(0); W]; N];
    for n in 0..N {
        found[n] = [simd.splat_u32s(attributes[0][n]); W];
    }
    for (&limit, attributes) in limits.iter().zip(&attributes[1..]) {
        let limit = simd.splat_f32s(limit);
        for i in 0..W {
            let wins = simd.less_than_f32s(limit, weights[i]);
            for n in 0..N {
                found[n][i] = simd.select_u32s(wins, simd.splat_u32s(attributes[n]), found[n][i]);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a plain search over all levels finds.
    fn plain_search(w: f32, levels: &[f32], penalties: &[f32]) -> usize {
        let cost = |i: usize| (levels[i] - w) * (levels[i] - w) + penalties[i];
        let open = |i: &usize| penalties[*i] < f32::INFINITY;
        let first = (0..levels.len()).find(open).unwrap_or(0);
        (0..levels.len()).filter(open).fold(first, |best, i| if cost(i) < cost(best) { i } else { best })
    }

    /// Penalties as they occur: none, equal, of the size of the costs and far above, infinite.
    fn penalty() -> impl Strategy<Value = f32> {
        prop_oneof![Just(0.0f32), Just(0.0625), Just(f32::INFINITY), 0.0f32..0.3, 0.0f32..30.0]
    }

    /// Weights at and around everything at which a decision could change.
    fn critical(levels: &[f32], penalties: &[f32]) -> Vec<f32> {
        let mut weights = vec![0.0, -0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE];
        for (i, (&a, &p)) in levels.iter().zip(penalties).enumerate() {
            for (&b, &q) in levels.iter().zip(penalties).skip(i + 1) {
                let crossing = 0.5 * (a + b) + (q - p) / (2.0 * (b - a));
                if crossing.is_finite() {
                    let (mut below, mut above) = (crossing, crossing);
                    for _ in 0..40 {
                        weights.extend([below, above]);
                        (below, above) = (below.next_down(), above.next_up());
                    }
                }
            }
        }
        weights
    }

    proptest! {
        /// The sweep finds what a plain search over all levels finds, ties included, on uniform grids of any step: at
        /// random weights and at those around every crossing.
        #[test]
        fn agrees_with_plain_search(
            random in prop::collection::vec(-2.0f32..2.0, 1..300),
            step in prop_oneof![Just(0.25f32), 0.01f32..0.5],
            penalties in prop::collection::vec(penalty(), 8),
        ) {
            let levels: Vec<f32> = (-3..=4).map(|k| k as f32 * step).collect();
            let weights = [random, critical(&levels, &penalties)].concat();
            let found = cheapest(&weights, &levels, &penalties);
            for (&w, &at) in weights.iter().zip(&found) {
                prop_assert_eq!(usize::from(at), plain_search(w, &levels, &penalties), "{}", w);
            }
            let mut counts = vec![0; 8];
            found.iter().for_each(|&at| counts[usize::from(at)] += 1);
            let boundaries = Boundaries::new(&levels, &penalties);
            prop_assert_eq!(boundaries.counts(&weights), counts);
            // The same on a processor without wide vectors.
            let mut positions = vec![0; weights.len()];
            let scalar = Positions { boundaries: &boundaries, weights: &weights, positions: &mut positions };
            pulp::WithSimd::with_simd(scalar, pulp::Scalar::new());
            for ((&w, position), found) in weights.iter().zip(positions).zip(found) {
                prop_assert!(boundaries.doubts(w) || position == found, "{}", w);
            }
        }

        /// The same for codebooks of any values, near and equal ones among them.
        #[test]
        fn agrees_on_any_codebook(
            random in prop::collection::vec(-2.0f32..2.0, 1..100),
            mut levels in prop::collection::vec(prop_oneof![-1.0f32..1.0, -1e-6f32..1e-6, Just(0.0f32)], 2..12),
            penalties in prop::collection::vec(penalty(), 12),
        ) {
            levels.sort_by(f32::total_cmp);
            let penalties = &penalties[..levels.len()];
            let weights = [random, critical(&levels, penalties)].concat();
            let found = cheapest(&weights, &levels, penalties);
            for (&w, &at) in weights.iter().zip(&found) {
                let (at, plain) = (usize::from(at), plain_search(w, &levels, penalties));
                if at == plain || w.abs() >= 3.0 {
                    continue;
                }
                // 2¹⁹ distances of two levels away from their crossing f32 costs are noise, and the documented rule is
                // exact arithmetic: there, and only there, the two may disagree.
                let exact = [at, plain].map(|k| (f64::from(levels[k]), f64::from(penalties[k])));
                let [(a, p), (b, q)] = exact;
                let crossing = 0.5 * (a + b) + (q - p) / (2.0 * (b - a));
                let w = f64::from(w);
                prop_assert!((w - crossing).abs() > f64::from(1 << 19) * (b - a).abs(), "{}: {} or {}", w, at, plain);
                let [found, other] = exact.map(|(level, penalty)| (level - w).powi(2) + penalty);
                prop_assert!(found <= other, "{}: {} or {}", w, found, other);
            }
        }
    }

    /// All 256 levels of 8 bit, ends included, agree with the plain search.
    #[test]
    fn agrees_at_eight_bit() {
        let levels: Vec<f32> = (-128..128).map(|k| k as f32 * 0.013).collect();
        let penalties: Vec<f32> = (0..256).map(|k: i32| ((k - 128) as f32 / 900.0).powi(2)).collect();
        let weights: Vec<f32> = (0..20_000).map(|i| (i as f32 - 10_000.0) * 2e-4).collect();
        let found = cheapest(&weights, &levels, &penalties);
        for (&w, &at) in weights.iter().zip(&found) {
            assert_eq!(usize::from(at), plain_search(w, &levels, &penalties), "{w}");
        }
    }

    /// Weights beyond all numbers: infinities take the outermost levels, what is not a number the lowest.
    #[test]
    fn weights_that_are_not_finite() {
        let weights = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 1e30, -1e30];
        assert_eq!(nearest(&weights, &[-1.0, 0.0, 1.0]), [0, 2, 0, 2, 0]);
    }
}
