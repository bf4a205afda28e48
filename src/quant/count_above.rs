//! How many values lie above each of some limits: what level distributions and the search for β are counts of.

use super::sweep::PIECE;
use rayon::prelude::*;

/// Limits that are counted together: as many as one sweep of the search for β asks for, and few enough for the registers.
pub(super) const AT_ONCE: usize = 7;

/// Sums place by place.
pub(super) fn add(mut a: Vec<usize>, b: Vec<usize>) -> Vec<usize> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// How many values lie above each limit.
pub fn count_above(values: &[f32], limits: &[f32]) -> Vec<usize> {
    let of_piece = |piece: &[f32]| {
        let mut counts = vec![0; limits.len()];
        add_counts_above(piece, limits, &mut counts);
        counts
    };
    values.par_chunks(PIECE).map(of_piece).reduce(|| vec![0; limits.len()], add)
}

/// As [`count_above`], in this thread and added to `counts`.
pub(super) fn add_counts_above(values: &[f32], limits: &[f32], counts: &mut [usize]) {
    pulp::Arch::new().dispatch(CountAbove { values, limits, counts });
}

struct CountAbove<'a> {
    values: &'a [f32],
    limits: &'a [f32],
    counts: &'a mut [usize],
}

impl pulp::WithSimd for CountAbove<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        // Each value is read once for a group of limits.
        let (groups, single) = self.limits.as_chunks::<AT_ONCE>();
        let (of_groups, of_single) = self.counts.split_at_mut(self.limits.len() - single.len());
        // Counts of a lane stay far below 2³².
        for values in self.values.chunks(1 << 24) {
            for (limits, counts) in groups.iter().zip(of_groups.chunks_exact_mut(AT_ONCE)) {
                add_counts(simd, values, *limits, counts);
            }
            for (&limit, count) in single.iter().zip(of_single.iter_mut()) {
                add_counts(simd, values, [limit], std::slice::from_mut(count));
            }
        }
    }
}

/// Adds to each count how many values lie above its limit; the counts of all limits stay in registers.
#[inline(always)]
fn add_counts<S: pulp::Simd, const N: usize>(
    simd: S,
    values: &[f32],
    limits: [f32; N],
    counts: &mut [usize],
) {
    let (vectors, rest) = S::as_simd_f32s(values);
    let (zero, one) = (simd.splat_u32s(0), simd.splat_u32s(1));
    let mut splats = [simd.splat_f32s(0.0); N];
    for (splat, &limit) in splats.iter_mut().zip(&limits) {
        *splat = simd.splat_f32s(limit);
    }
    let mut lanes = [zero; N];
    for &vector in vectors {
        for (lanes, &limit) in lanes.iter_mut().zip(&splats) {
            let above = simd.less_than_f32s(limit, vector);
            *lanes = simd.add_u32s(*lanes, simd.select_u32s(above, one, zero));
        }
    }
    for ((count, lanes), limit) in counts.iter_mut().zip(lanes).zip(limits) {
        // 64 lanes are more than any processor has.
        let mut stored = [0u32; 64];
        simd.partial_store_u32s(&mut stored[..S::U32_LANES], lanes);
        let in_vectors = stored.iter().map(|&lane| lane as usize).sum::<usize>();
        *count += in_vectors + rest.iter().filter(|&&value| value > limit).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts over several pieces are those of a plain loop.
    #[test]
    fn counts_above_limits() {
        let values: Vec<f32> = (0..100_000).map(|i| ((i * 7919 % 100_003) as f32) - 50_000.0).collect();
        // A whole group of limits and two beyond it.
        let limits = [-60_000.0, -17.0, 0.0, 49_999.5, 3.0, -1.5, 40_000.0, f32::INFINITY, 12.0];
        let plain = limits.map(|limit| values.iter().filter(|v| **v > limit).count());
        assert_eq!(count_above(&values, &limits), plain);
    }
}
