//! Bucketed threshold lookup: how many limits lie below each weight, where the processor has AVX-512: the axis is cut into equal buckets of
//! which none holds three limits, so two comparisons per weight are left.
//!
//! The bucket of a number is computed in steps that never fall when the number grows. A weight above a limit is therefore
//! never in a lower bucket than the limit, and the comparison with the limits of its own bucket settles the rest: exact,
//! whatever the rounding.

use pulp::Simd;
use pulp::bytemuck::cast;
use pulp::x86::V4;

/// As many entries as two registers hold.
const BUCKETS: usize = 32;

/// Up to two limits for every bucket.
pub(super) struct Table {
    scale: f32,
    offset: f32,
    /// The lower and the upper limit in each bucket; infinite for none.
    limits: [[f32; BUCKETS]; 2],
    /// Whether a bucket holds two.
    pairs: bool,
    /// Limits in the buckets below.
    below: [u32; BUCKETS],
}

impl Table {
    /// `None` where limits lie too close together, or on a processor without AVX-512.
    pub fn new(limits: &[f32]) -> Option<(Self, V4)> {
        let simd = V4::try_new()?;
        let (&first, &last) = (limits.first()?, limits.last()?);
        // From the middle of the first bucket to that of the last.
        let scale = if last > first { (BUCKETS - 1) as f32 / (last - first) } else { 0.0 };
        let mut table = Self {
            scale,
            offset: 0.5 - first * scale,
            limits: [[f32::INFINITY; BUCKETS]; 2],
            pairs: false,
            below: [0; BUCKETS],
        };
        if limits.len() >= BUCKETS || !table.scale.is_finite() || !table.offset.is_finite() {
            return None;
        }
        for &limit in limits {
            let bucket = table.bucket(limit);
            let free = (0..2).find(|&slot| table.limits[slot][bucket] == f32::INFINITY)?;
            table.limits[free][bucket] = limit;
            table.pairs |= free == 1;
            table.below[bucket + 1..].iter_mut().for_each(|below| *below += 1);
        }
        Some((table, simd))
    }

    /// The bucket of a number, in the same steps as [`places`](Self::places).
    fn bucket(&self, number: f32) -> usize {
        (number * self.scale + self.offset).max(0.0).min((BUCKETS - 1) as f32) as usize
    }

    /// How many limits lie below each weight.
    #[inline(always)]
    fn places(&self, simd: V4, weights: pulp::f32x16) -> pulp::u32x16 {
        let scaled = simd.mul_f32s(weights, simd.splat_f32s(self.scale));
        let scaled = simd.add_f32s(scaled, simd.splat_f32s(self.offset));
        // What is not a number becomes the second operand, zero.
        let scaled = simd.max_f32s(scaled, simd.splat_f32s(0.0));
        let scaled = simd.min_f32s(scaled, simd.splat_f32s((BUCKETS - 1) as f32));
        let bucket = simd.avx512f._mm512_cvttps_epi32(cast(scaled));
        let bucket = cast(bucket);
        let mut places = entries(simd, &self.below, bucket);
        let one = simd.splat_u32s(1);
        for limits in &self.limits[..if self.pairs { 2 } else { 1 }] {
            let limit: pulp::f32x16 = cast(entries(simd, &cast(*limits), bucket));
            let above = simd.less_than_f32s(limit, weights);
            places = simd.select_u32s(above, simd.add_u32s(places, one), places);
        }
        places
    }

    /// For every weight the winner at its place.
    #[inline(always)]
    pub fn select_bytes(&self, simd: V4, weights: &[f32], winners: &[u8], out: &mut [u8]) {
        let mut table = [0u32; BUCKETS];
        table.iter_mut().zip(winners).for_each(|(entry, &winner)| *entry = winner.into());
        let (vectors, rest) = V4::as_simd_f32s(weights);
        let (out, out_rest) = out.as_chunks_mut::<16>();
        for (out, &vector) in out.iter_mut().zip(vectors) {
            *out = bytes(simd, entries(simd, &table, self.places(simd, vector)));
        }
        let places = self.places(simd, simd.partial_load_f32s(rest));
        out_rest.copy_from_slice(&bytes(simd, entries(simd, &table, places))[..rest.len()]);
    }

    /// For every weight the N attributes (any 32 bits) of its place.
    #[inline(always)]
    pub fn select<const N: usize>(
        &self,
        simd: V4,
        weights: &[f32],
        attributes: &[[u32; N]],
        out: &mut [&mut [u32]; N],
    ) {
        let mut tables = [[0u32; BUCKETS]; N];
        for (place, attributes) in attributes.iter().enumerate() {
            for n in 0..N {
                tables[n][place] = attributes[n];
            }
        }
        let (vectors, rest) = V4::as_simd_f32s(weights);
        let done = weights.len() - rest.len();
        for (index, &vector) in vectors.iter().enumerate() {
            let places = self.places(simd, vector);
            for n in 0..N {
                V4::as_mut_simd_u32s(&mut out[n][..done]).0[index] = entries(simd, &tables[n], places);
            }
        }
        let places = self.places(simd, simd.partial_load_f32s(rest));
        for n in 0..N {
            simd.partial_store_u32s(&mut out[n][done..], entries(simd, &tables[n], places));
        }
    }
}

impl Table {
    /// How many weights take each of the winners; one count for each of `levels`.
    pub fn counts(&self, simd: V4, weights: &[f32], winners: &[u8], levels: usize) -> Vec<usize> {
        let mut counts = vec![0; levels];
        simd.vectorize(Counts { table: self, simd, weights, winners, counts: &mut counts });
        counts
    }
}

/// Weights whose positions stay in the first-level cache.
const BLOCK: usize = 4096;

struct Counts<'a> {
    table: &'a Table,
    simd: V4,
    weights: &'a [f32],
    winners: &'a [u8],
    counts: &'a mut [usize],
}

impl pulp::NullaryFnOnce for Counts<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { table, simd, weights, winners, counts } = self;
        let mut positions = [0u8; BLOCK];
        for weights in weights.chunks(BLOCK) {
            let positions = &mut positions[..weights.len()];
            table.select_bytes(simd, weights, winners, positions);
            let (vectors, rest) = V4::as_simd_u8s(positions);
            for &winner in winners {
                let wanted = cast(simd.splat_u8s(winner));
                let mut count = rest.iter().filter(|position| **position == winner).count();
                for &vector in vectors {
                    count += simd.avx512bw._mm512_cmpeq_epi8_mask(cast(vector), wanted).count_ones() as usize;
                }
                counts[usize::from(winner)] += count;
            }
        }
    }
}

/// One byte from each of sixteen numbers below 256.
#[inline(always)]
fn bytes(simd: V4, numbers: pulp::u32x16) -> [u8; 16] {
    cast(simd.avx512f._mm512_cvtepi32_epi8(cast(numbers)))
}

/// The entries at these places.
#[inline(always)]
fn entries(simd: V4, table: &[u32; BUCKETS], places: pulp::u32x16) -> pulp::u32x16 {
    let [low, high]: [pulp::u32x16; 2] = cast(*table);
    cast(simd.avx512f._mm512_permutex2var_epi32(cast(low), cast(places), cast(high)))
}
