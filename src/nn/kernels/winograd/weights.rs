//! Weights to transformed weights, and sums of transformed tiles to the weight gradient.

#![allow(clippy::needless_range_loop, reason = "the transforms are written in rows and columns")]

use super::super::amx::{self, Unit};
use super::super::scratch::Buffer;
use super::super::transpose::{LANES, from_vectors, to_vectors};
use super::transform::{gather, load, store, weight};
use super::{ELEMENTS, Factors, PANEL, Shared};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Transformed weights.
pub(super) struct Weights {
    /// How they are multiplied.
    pub factors: Factors,
    /// Element, panel of result channels, channel that is summed over, result channel of the panel; for the matrix unit:
    /// element, right operand.
    values: Buffer,
    results: usize,
    depth: usize,
}

impl Weights {
    /// Transforms (result, depth, 9) weights, or with `adjoint` (depth, result, 9) weights turned by 180°.
    pub fn new(weight: &[f32], [results, depth]: [usize; 2], adjoint: bool, factors: Factors) -> Self {
        let mut values = Buffer::new(ELEMENTS * results * depth);
        let target = Shared(values.as_mut_ptr());
        let length = values.len();
        // A task transforms one vector of result channels for some of the channels that are summed over.
        let pieces = depth.div_ceil(DEPTH_PIECE);
        (0..results / LANES * pieces).into_par_iter().for_each(|task| {
            let (first, piece) = (task / pieces * LANES, task % pieces);
            let range = piece * DEPTH_PIECE..depth.min((piece + 1) * DEPTH_PIECE);
            let work = Task { weight, results, depth, adjoint, first, range, length, out: target.get() };
            Arch::new().dispatch(work);
        });
        match factors {
            Factors::Full => (),
            Factors::Rounded => values.par_chunks_mut(results * depth).for_each(amx::round),
            Factors::Unit(unit) => values = pack(unit, &values, results, depth),
        }
        Self { factors, values, results, depth }
    }

    /// The values of one element.
    pub fn element(&self, element: usize) -> &[f32] {
        let length = self.values.len() / ELEMENTS;
        &self.values[element * length..(element + 1) * length]
    }

    /// Panel widths and where their values start within an element, but for the matrix unit.
    pub fn panels(&self) -> impl Iterator<Item = (usize, usize)> {
        panels(self.results, self.depth)
    }
}

fn panels(results: usize, depth: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..results).step_by(PANEL).map(move |first| (PANEL.min(results - first), first * depth))
}

/// Panels to right operands: a panel is some of the operand's blocks.
fn pack(unit: Unit, values: &[f32], results: usize, depth: usize) -> Buffer {
    let of_element = amx::operand_len(results, depth);
    let mut operands = Buffer::new(ELEMENTS * of_element);
    operands.par_chunks_mut(of_element).zip(values.par_chunks(results * depth)).for_each(
        |(mut operand, values)| {
            for (width, start) in panels(results, depth) {
                let (part, rest) = operand.split_at_mut(amx::operand_len(width, depth));
                unit.pack_columns(&values[start..], width, [width, depth], part);
                operand = rest;
            }
        },
    );
    operands
}

/// Channels summed over that one task transforms the weights of.
const DEPTH_PIECE: usize = 64;

/// Transforms the weights of one vector of result channels.
struct Task<'a> {
    /// See [`Weights::new`].
    weight: &'a [f32],
    results: usize,
    depth: usize,
    adjoint: bool,
    /// The first result channel of the vector.
    first: usize,
    /// Channels that are summed over.
    range: std::ops::Range<usize>,
    /// Where the transformed weights go, and how many there are.
    out: *mut f32,
    length: usize,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (results, depth) = (self.results, self.depth);
        assert!(self.weight.len() >= results * depth * 9 && self.length >= ELEMENTS * results * depth);
        assert!(self.first + LANES <= results && self.range.end <= depth);
        let panel = self.first / PANEL * PANEL;
        let width = PANEL.min(results - panel);
        // Per channel: nine rows of the vector's weights.
        let offsets: [u32; 9] =
            std::array::from_fn(|tap| (if self.adjoint { 8 - tap } else { tap } * LANES) as u32);
        let (channel_step, lane_step) = if self.adjoint { (results * 9, 9) } else { (9, depth * 9) };
        for channel in self.range.clone() {
            let mut taps = [0.0f32; 9 * LANES];
            // SAFETY: sixteen result channels from `first` on, and this channel, have nine weights each.
            unsafe {
                let from = self.weight.as_ptr().add(self.first * lane_step + channel * channel_step);
                to_vectors(simd, from, lane_step, &offsets, taps.as_mut_ptr());
            }
            let out = panel * depth + channel * width + (self.first - panel);
            for part in (0..LANES).step_by(S::F32_LANES) {
                // SAFETY: `taps` has nine rows of LANES values; `out` plus a vector lies inside its element, all
                // elements inside the output: see the assertions.
                unsafe {
                    let mut columns = [[simd.splat_f32s(0.0); 4]; 3];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut tap = [simd.splat_f32s(0.0); 3];
                        for (y, tap) in tap.iter_mut().enumerate() {
                            *tap = load(simd, taps.as_ptr(), (y * 3 + x) * LANES + part);
                        }
                        *column = weight(simd, tap);
                    }
                    for y in 0..4 {
                        let row = weight(simd, [columns[0][y], columns[1][y], columns[2][y]]);
                        for (x, value) in row.into_iter().enumerate() {
                            store(simd, self.out, (y * 4 + x) * results * depth + out + part, value);
                        }
                    }
                }
            }
        }
    }
}

/// Where the weights of each tap start in nine vectors.
const OFFSETS: [u32; 9] = [0, 16, 32, 48, 64, 80, 96, 112, 128];

/// Adds partial sums up and transforms them to the weight gradient of some output channels.
pub(super) struct WeightGradient<'a> {
    /// Element, output channel, input channel.
    pub partial: &'a [Buffer],
    /// The first output channel.
    pub first: usize,
    pub ins: usize,
    pub outs: usize,
    /// Output channel, input channel, tap.
    pub grad_weight: &'a mut [f32],
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ins, outs) = (self.ins, self.outs);
        assert!(self.partial.iter().all(|sums| sums.len() == ELEMENTS * outs * ins));
        for (row, grad_weight) in self.grad_weight.chunks_exact_mut(ins * 9).enumerate() {
            assert!(self.first + row < outs);
            for (block, grad_weight) in grad_weight.chunks_exact_mut(LANES * 9).enumerate() {
                let at = (self.first + row) * ins + block * LANES;
                let mut taps = [0.0f32; 9 * LANES];
                for part in (0..LANES).step_by(S::F32_LANES) {
                    // SAFETY: `at` plus a vector lies inside an element of each partial sum: see the assertions.
                    unsafe {
                        let mut columns = [[simd.splat_f32s(0.0); 3]; 4];
                        for (x, column) in columns.iter_mut().enumerate() {
                            let mut sums = [simd.splat_f32s(0.0); 4];
                            for (y, sum) in sums.iter_mut().enumerate() {
                                for values in self.partial {
                                    let at = (y * 4 + x) * outs * ins + at + part;
                                    *sum = simd.add_f32s(*sum, load(simd, values.as_ptr(), at));
                                }
                            }
                            *column = gather(simd, sums);
                        }
                        for y in 0..3 {
                            let row =
                                gather(simd, [columns[0][y], columns[1][y], columns[2][y], columns[3][y]]);
                            for (x, value) in row.into_iter().enumerate() {
                                store(simd, taps.as_mut_ptr(), (y * 3 + x) * LANES + part, value);
                            }
                        }
                    }
                }
                // SAFETY: sixteen input channels with nine weights each.
                unsafe { from_vectors(simd, taps.as_ptr(), &OFFSETS, grad_weight.as_mut_ptr(), 9) };
            }
        }
    }
}
