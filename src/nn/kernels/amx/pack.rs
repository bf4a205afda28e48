//! Values to the operands of the unit, in the order in which tiles are read.
//!
//! A tile of the left operand has 16 lines of 32 depths. One of the right operand has 16 pairs of depths; in a pair the
//! 16 lines follow each other, with their two values side by side.

use super::super::transpose::wide::transpose;
use super::BLOCK;
use std::arch::x86_64::*;

/// Values of a tile.
const TILE: usize = 512;
/// Lines of a tile, and values of a vector.
const LINES: usize = 16;

/// Where the tile of these lines begins in an operand.
fn tile(line: usize, step: usize, steps: usize) -> usize {
    ((line / BLOCK * steps + step) * 2 + line % BLOCK / LINES) * TILE
}

/// # Safety
/// See `Unit::pack_rows`: its assertions hold, and the processor has these features.
#[target_feature(enable = "avx512f,avx512bf16,avx512bw,avx512vl")]
pub(super) unsafe fn rows(x: *const f32, pitch: usize, [lines, depth]: [usize; 2], to: *mut u16) {
    for line in 0..lines {
        for step in 0..depth / BLOCK {
            let at = tile(line, step, depth / BLOCK) + line % LINES * BLOCK;
            // SAFETY: the caller's contract bounds the line's values and the operand; 32 of bf16 are a vector.
            unsafe {
                let x = x.add(line * pitch + step * BLOCK);
                let values = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x.add(LINES)), _mm512_loadu_ps(x));
                to.add(at).cast::<__m512bh>().write_unaligned(values);
            }
        }
    }
}

/// Sixteen lines' values at one depth, zero beyond the last.
///
/// # Safety
/// `x` is readable for sixteen values at each depth below `depth`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn at_depth(x: *const f32, pitch: usize, k: usize, depth: usize) -> __m512 {
    if k >= depth {
        return _mm512_setzero_ps();
    }
    // SAFETY: the caller's contract.
    unsafe { _mm512_loadu_ps(x.add(k * pitch)) }
}

/// Sixteen lines' values at the depths `k` and `k + 1`, each pair side by side.
///
/// # Safety
/// As [`at_depth`].
#[inline]
#[target_feature(enable = "avx512f,avx512bf16,avx512bw")]
unsafe fn pairs(x: *const f32, pitch: usize, k: usize, depth: usize) -> __m512i {
    /// First and second values, sixteen of each, by turns.
    const TURNS: [u16; 32] = {
        let mut turns = [0; 32];
        let mut lane = 0;
        while lane < 32 {
            turns[lane] = (lane / 2 + lane % 2 * 16) as u16;
            lane += 1;
        }
        turns
    };
    // SAFETY: the caller's contract; all types are 64 bytes without further meaning.
    unsafe {
        let (first, second) = (at_depth(x, pitch, k, depth), at_depth(x, pitch, k + 1, depth));
        let values: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(second, first));
        _mm512_permutexvar_epi16(std::mem::transmute::<[u16; 32], __m512i>(TURNS), values)
    }
}

/// # Safety
/// See `Unit::pack_columns`: its assertions hold, and the processor has these features.
#[target_feature(enable = "avx512f,avx512bf16,avx512bw,avx512vl")]
pub(super) unsafe fn columns(x: *const f32, pitch: usize, [lines, depth]: [usize; 2], to: *mut u16) {
    let steps = depth.div_ceil(BLOCK);
    for k in (0..steps * BLOCK).step_by(2) {
        for line in (0..lines).step_by(LINES) {
            let at = tile(line, k / BLOCK, steps) + k % BLOCK / 2 * BLOCK;
            // SAFETY: the caller's contract bounds the values and the operand.
            unsafe { _mm512_storeu_si512(to.add(at).cast(), pairs(x.add(line), pitch, k, depth)) };
        }
    }
}

/// # Safety
/// See `Unit::pack_transposed`: its assertions hold, and the processor has these features.
#[target_feature(enable = "avx512f,avx512bf16,avx512bw,avx512vl")]
pub(super) unsafe fn transposed(x: *const f32, pitch: usize, [lines, depth]: [usize; 2], to: *mut u16) {
    let steps = depth.div_ceil(BLOCK);
    for line in (0..lines).step_by(LINES) {
        for step in 0..steps {
            let at = tile(line, step, steps);
            let mut tile = [_mm512_setzero_ps(); LINES];
            for (pair, values) in tile.iter_mut().enumerate() {
                let k = step * BLOCK + 2 * pair;
                // SAFETY: the caller's contract bounds the values.
                *values = unsafe { _mm512_castsi512_ps(pairs(x.add(line), pitch, k, depth)) };
            }
            // SAFETY: the processor has AVX-512; the caller's contract bounds the operand.
            unsafe {
                for (row, values) in transpose(tile).into_iter().enumerate() {
                    _mm512_storeu_ps(to.add(at + row * BLOCK).cast(), values);
                }
            }
        }
    }
}
