//! Transposes between rows of channels and vectors of channels, sixteen channels at a time.

/// Channels of a vector of channels: the widest vector.
pub const LANES: usize = 16;

use pulp::Simd;

/// For each column j: `to[offsets[j] + i] = from[i · row + j]` for the sixteen rows i.
///
/// # Safety
/// `from` is readable for `offsets.len()` columns of each row, `to` writable for a vector at each offset.
#[inline(always)]
pub unsafe fn to_vectors<S: Simd>(_: S, from: *const f32, row: usize, offsets: &[u32], to: *mut f32) {
    // SAFETY: the caller's contract, and S being V4 proves that the processor has AVX-512.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if is_v4::<S>() {
            for (block, offsets) in offsets.chunks(LANES).enumerate() {
                let rows = wide::load(from.add(block * LANES), row, offsets.len());
                for (vector, &offset) in wide::transpose(rows).into_iter().zip(offsets) {
                    wide::store(to.add(offset as usize), vector);
                }
            }
            return;
        }
        for lane in 0..LANES {
            for (column, &offset) in offsets.iter().enumerate() {
                *to.add(offset as usize + lane) = *from.add(lane * row + column);
            }
        }
    }
}

/// The reverse of [`to_vectors`]: `to[i · row + j] = from[offsets[j] + i]`.
///
/// # Safety
/// `from` is readable for a vector at each offset, `to` writable for `offsets.len()` columns of each row.
#[inline(always)]
pub unsafe fn from_vectors<S: Simd>(_: S, from: *const f32, offsets: &[u32], to: *mut f32, row: usize) {
    // SAFETY: as above.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if is_v4::<S>() {
            for (block, offsets) in offsets.chunks(LANES).enumerate() {
                let columns = wide::gather(from, offsets);
                wide::scatter(wide::transpose(columns), to.add(block * LANES), row, offsets.len());
            }
            return;
        }
        for lane in 0..LANES {
            for (column, &offset) in offsets.iter().enumerate() {
                *to.add(lane * row + column) = *from.add(offset as usize + lane);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_v4<S: Simd>() -> bool {
    std::any::TypeId::of::<S>() == std::any::TypeId::of::<pulp::x86::V4>()
}

/// Sixteen by sixteen values in registers.
#[cfg(target_arch = "x86_64")]
pub(super) mod wide {
    use super::LANES;
    use std::arch::x86_64::*;

    #[inline(always)]
    pub unsafe fn load(from: *const f32, row: usize, columns: usize) -> [__m512; LANES] {
        // SAFETY: the caller has AVX-512 and `columns` readable values in each row; masked lanes are not read.
        unsafe {
            let mut rows = [_mm512_setzero_ps(); LANES];
            if columns == LANES {
                for (index, value) in rows.iter_mut().enumerate() {
                    *value = _mm512_loadu_ps(from.add(index * row));
                }
            } else {
                let mask = ((1u32 << columns) - 1) as __mmask16;
                for (index, value) in rows.iter_mut().enumerate() {
                    *value = _mm512_maskz_loadu_ps(mask, from.add(index * row));
                }
            }
            rows
        }
    }

    #[inline(always)]
    pub unsafe fn store(to: *mut f32, vector: __m512) {
        // SAFETY: the caller has AVX-512 and room for a vector.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    pub unsafe fn gather(from: *const f32, offsets: &[u32]) -> [__m512; LANES] {
        // SAFETY: the caller has AVX-512 and a readable vector at each offset.
        unsafe {
            let mut vectors = [_mm512_setzero_ps(); LANES];
            for (vector, &offset) in vectors.iter_mut().zip(offsets) {
                *vector = _mm512_loadu_ps(from.add(offset as usize));
            }
            vectors
        }
    }

    #[inline(always)]
    pub unsafe fn scatter(rows: [__m512; LANES], to: *mut f32, row: usize, columns: usize) {
        // SAFETY: the caller has AVX-512 and `columns` writable values in each row; masked lanes are not written.
        unsafe {
            if columns == LANES {
                for (index, value) in rows.into_iter().enumerate() {
                    _mm512_storeu_ps(to.add(index * row), value);
                }
            } else {
                let mask = ((1u32 << columns) - 1) as __mmask16;
                for (index, value) in rows.into_iter().enumerate() {
                    _mm512_mask_storeu_ps(to.add(index * row), mask, value);
                }
            }
        }
    }

    /// Pairs, then quadruples inside the four parts of a vector; then the parts.
    #[inline(always)]
    pub unsafe fn transpose(r: [__m512; LANES]) -> [__m512; LANES] {
        // SAFETY: the caller has AVX-512; the casts only rename the type of a vector.
        unsafe {
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            // u[4g + c]: in part p, column 4p + c of rows 4g to 4g + 3.
            let mut u = t;
            for g in 0..4 {
                for half in 0..2 {
                    let (a, b) = (_mm512_castps_pd(t[4 * g + half]), _mm512_castps_pd(t[4 * g + half + 2]));
                    u[4 * g + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    u[4 * g + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            let mut out = u;
            for c in 0..4 {
                let low = _mm512_shuffle_f32x4::<0x88>(u[c], u[4 + c]);
                let low_odd = _mm512_shuffle_f32x4::<0xdd>(u[c], u[4 + c]);
                let high = _mm512_shuffle_f32x4::<0x88>(u[8 + c], u[12 + c]);
                let high_odd = _mm512_shuffle_f32x4::<0xdd>(u[8 + c], u[12 + c]);
                out[c] = _mm512_shuffle_f32x4::<0x88>(low, high);
                out[4 + c] = _mm512_shuffle_f32x4::<0x88>(low_odd, high_odd);
                out[8 + c] = _mm512_shuffle_f32x4::<0xdd>(low, high);
                out[12 + c] = _mm512_shuffle_f32x4::<0xdd>(low_odd, high_odd);
            }
            out
        }
    }
}
