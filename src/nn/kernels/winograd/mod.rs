//! Winograd's minimal filtering F(2×2, 3×3) for 3×3 convolutions with many channels (Lavin & Gray 2016): a tile of 2×2
//! results comes from a 4×4 patch by 16 products instead of 36.
//!
//! Transformed tiles lie as (element, tile, channel), so that all transforms are vectors over channels and the sums
//! over channels are 16 matrix products. A block of tiles passes through all stages while it is in the cache.
//! With ±1 and ½ as the only factors the error stays near that of a plain sum (about 1e-6 of the largest value).

mod planes;
mod product;
mod transform;
mod weights;

use super::amx::{self, Unit};
use super::conv_shape::ConvShape;
use super::epilogue::Epilogue;
use super::scratch::Buffer;
use super::transpose::LANES;
use planes::Strip;
use product::{Left, product};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::cell::RefCell;
use weights::{WeightGradient, Weights};

/// Elements of a transformed tile.
const ELEMENTS: usize = 16;
/// Output channels of a panel of transformed weights: the columns of a register tile.
const PANEL: usize = 64;
/// Tiles of a block: many enough to pay for reading the transformed weights, few enough for the second-level cache.
const BLOCK: usize = 64;
/// Tiles of a block in the weight gradient, whose sums are read and written once per block.
const WEIGHT_BLOCK: usize = 128;

/// Whether this module can compute `s` and is faster than the other ways.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.kernel == [3, 3]
        && s.stride == [1, 1]
        && s.dilation == [1, 1]
        && s.groups == 1
        && s.padding[0] <= 2
        && s.padding[1] <= 2
        && s.input[0].is_multiple_of(LANES)
        && s.output[0].is_multiple_of(LANES)
}

/// The shape of the convolution that computes the input gradient of `s`, for shapes that [`applies`] accepts.
pub(super) fn adjoint(s: &ConvShape) -> ConvShape {
    ConvShape { input: s.output, output: s.input, padding: s.padding.map(|p| 2 - p), ..*s }
}

/// Values from one vertical line of elements to the next, and from one element to the next, so that neither distance
/// is a multiple of the cache's period.
#[derive(Clone, Copy)]
struct Pitch {
    tile: usize,
    element: usize,
}

impl Pitch {
    fn new(channels: usize, tiles: usize) -> Self {
        let tile = ((channels / LANES) | 1) * LANES;
        Self { tile, element: tiles * tile + LANES }
    }

    fn len(self) -> usize {
        ELEMENTS * self.element
    }
}

thread_local! {
    /// Planes, transformed tiles and results, reused from call to call.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends buffers of the given lengths with unspecified content, each at the start of a cache line.
fn with_scratch<const N: usize, R>(lengths: [usize; N], work: impl FnOnce([&mut [f32]; N]) -> R) -> R {
    let mut buffer = SCRATCH.take();
    let total: usize = lengths.iter().map(|length| length.next_multiple_of(LANES) + LANES).sum();
    if buffer.len() < total {
        buffer = vec![0.0; total];
    }
    let aligned = buffer.as_ptr().align_offset(64).min(LANES);
    let mut rest = &mut buffer[aligned..];
    let parts = lengths.map(|length| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(LANES));
        rest = after;
        &mut part[..length]
    });
    let result = work(parts);
    SCRATCH.replace(buffer);
    result
}

/// An output that tasks fill piece by piece.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: every task writes values of its own, which no other task touches.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn get(self) -> *mut f32 {
        self.0
    }
}

/// What products of transformed tiles and weights are made of.
#[derive(Clone, Copy)]
enum Factors {
    /// f32.
    Full,
    /// f32 that is rounded to bf16: what the unit would multiply.
    Rounded,
    /// bf16, on the matrix unit.
    Unit(Unit),
}

impl Factors {
    /// `rounded` rounds where both channel counts fill blocks of the unit, whether this machine has one or not.
    fn new(s: &ConvShape, rounded: bool) -> Self {
        let fill = |channels: usize| channels.is_multiple_of(amx::BLOCK);
        match rounded && fill(s.input[0]) && fill(s.output[0]) {
            true => Unit::get().map_or(Self::Rounded, Self::Unit),
            false => Self::Full,
        }
    }

    fn unit(self) -> Option<Unit> {
        match self {
            Self::Unit(unit) => Some(unit),
            Self::Full | Self::Rounded => None,
        }
    }
}

/// `out ← conv(x, weight)`, then `epilogue`, for shapes that [`applies`] accepts; `rounded`: see [`Factors::new`].
pub(super) fn forward(
    s: &ConvShape,
    x: &[f32],
    weight: &[f32],
    epilogue: &Epilogue<'_>,
    rounded: bool,
    out: &mut [f32],
) {
    let weights = Weights::new(weight, [s.output[0], s.input[0]], false, Factors::new(s, rounded));
    run(s, x, &weights, epilogue, out);
}

/// `grad_x ← ∂/∂x ⟨grad, conv(x, weight)⟩`, for the [`adjoint`] of a shape.
pub(super) fn backward_input(
    adjoint: &ConvShape,
    grad: &[f32],
    weight: &[f32],
    rounded: bool,
    grad_x: &mut [f32],
) {
    let factors = Factors::new(adjoint, rounded);
    let weights = Weights::new(weight, [adjoint.output[0], adjoint.input[0]], true, factors);
    run(adjoint, grad, &weights, &Epilogue::default(), grad_x);
}

fn run(s: &ConvShape, x: &[f32], weights: &Weights, epilogue: &Epilogue<'_>, out: &mut [f32]) {
    let strips = Strip::all(s, BLOCK);
    let target = Shared(out.as_mut_ptr());
    let length = out.len();
    strips.par_iter().for_each(|strip| {
        let tiles = strip.tiles();
        // The unit's products are whole blocks of rows.
        let unit = weights.factors.unit();
        let rows = if unit.is_some() { tiles.next_multiple_of(amx::BLOCK) } else { tiles };
        let (of_x, of_out) = (Pitch::new(s.input[0], tiles), Pitch::new(s.output[0], rows));
        let packed = unit.map_or(0, |_| amx::operand_len(tiles, s.input[0]));
        let lengths =
            [strip.patch_len(s.input[0]), of_x.len(), of_out.len(), strip.result_len(s.output[0]), packed];
        with_scratch(lengths, |[patch, transformed, products, results, packed]| {
            let work = Block {
                s,
                strip,
                x,
                weights,
                epilogue,
                of_x,
                of_out,
                patch,
                transformed,
                products,
                results,
                packed,
                out: (target.get(), length),
            };
            Arch::new().dispatch(work);
        });
    });
}

/// One block of tiles through all stages.
struct Block<'a> {
    s: &'a ConvShape,
    strip: &'a Strip,
    x: &'a [f32],
    weights: &'a Weights,
    epilogue: &'a Epilogue<'a>,
    of_x: Pitch,
    of_out: Pitch,
    patch: &'a mut [f32],
    transformed: &'a mut [f32],
    products: &'a mut [f32],
    results: &'a mut [f32],
    /// One element's transformed tiles as the unit reads them.
    packed: &'a mut [f32],
    /// The whole output, of which the block writes its own part.
    out: (*mut f32, usize),
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ins, outs, tiles) = (self.s.input[0], self.s.output[0], self.strip.tiles());
        self.strip.pack(simd, self.s.input, self.s.padding, self.x, self.patch);
        transform::input(simd, self.strip, ins, self.patch, self.of_x, self.transformed);
        assert!(self.transformed.len() >= self.of_x.len() && self.products.len() >= self.of_out.len());
        if let Factors::Rounded = self.weights.factors {
            amx::round(self.transformed);
        }
        for element in 0..ELEMENTS {
            if let Factors::Unit(unit) = self.weights.factors {
                let tiles_of_x = &self.transformed[element * self.of_x.element..];
                unit.pack_rows(tiles_of_x, self.of_x.tile, [tiles, ins], self.packed);
                // SAFETY: an element of the products has room for whole blocks of rows, and all result channels in each.
                unsafe {
                    let out = self.products.as_mut_ptr().add(element * self.of_out.element);
                    let (left, right) = (&*self.packed, self.weights.element(element));
                    unit.multiply([tiles, outs, ins], left, right, (out, self.of_out.tile), false);
                }
                continue;
            }
            let right = self.weights.element(element);
            assert!(right.len() == ins * outs);
            for (width, start) in self.weights.panels() {
                let first = start / ins;
                // SAFETY: rows of tiles lie inside their element by the assertions; a panel holds `width` values for
                // each of `ins` channels.
                unsafe {
                    let left = self.transformed.as_ptr().add(element * self.of_x.element);
                    let right = right.as_ptr().add(start);
                    let out = self.products.as_mut_ptr().add(element * self.of_out.element + first);
                    let left = Left { values: left, row: self.of_x.tile, step: 1 };
                    product(simd, [tiles, width, ins], left, (right, width), (out, self.of_out.tile), false);
                }
            }
        }
        transform::output(simd, self.strip, outs, self.epilogue, self.products, self.of_out, self.results);
        // SAFETY: strips are disjoint parts of the output.
        unsafe { self.strip.unpack(simd, outs, self.results, self.out) };
    }
}

/// `grad_weight ← ∂/∂weight ⟨grad, conv(x, weight)⟩`, summed over the batch, for shapes that [`applies`] accepts.
pub(super) fn backward_weight(
    s: &ConvShape,
    grad: &[f32],
    x: &[f32],
    rounded: bool,
    grad_weight: &mut [f32],
) {
    let strips = Strip::all(s, WEIGHT_BLOCK);
    let per_piece = strips.len().div_ceil(rayon::current_num_threads()).max(1);
    let (ins, outs, factors) = (s.input[0], s.output[0], Factors::new(s, rounded));
    // One partial sum per piece, added in order: the same bits for the same number of threads.
    let partial: Vec<Buffer> = strips
        .par_chunks(per_piece)
        .map(|strips| {
            let mut sums = Buffer::new(ELEMENTS * outs * ins);
            for (index, strip) in strips.iter().enumerate() {
                let tiles = strip.tiles();
                let (of_x, of_grad) = (Pitch::new(ins, tiles), Pitch::new(outs, tiles));
                let packed = [outs, ins]
                    .map(|channels| factors.unit().map_or(0, |_| amx::operand_len(channels, tiles)));
                let [patch, results] = [strip.patch_len(ins), strip.result_len(outs)];
                let lengths = [patch, of_x.len(), of_grad.len(), results, packed[0], packed[1]];
                with_scratch(lengths, |[patch, transformed, gradients, results, left, right]| {
                    let sums = sums.as_mut_ptr();
                    let (pitch, accumulate) = ([of_x, of_grad], index > 0);
                    let buffers = [patch, transformed, results, gradients];
                    let packed = [left, right];
                    Arch::new().dispatch(WeightBlock {
                        s,
                        strip,
                        x,
                        grad,
                        pitch,
                        buffers,
                        factors,
                        packed,
                        sums,
                        accumulate,
                    });
                });
            }
            sums
        })
        .collect();
    let rows = LANES.min(outs);
    grad_weight.par_chunks_mut(rows * ins * 9).enumerate().for_each(|(block, grad_weight)| {
        Arch::new().dispatch(WeightGradient {
            partial: &partial,
            first: block * rows,
            ins,
            outs,
            grad_weight,
        });
    });
}

/// The share of one block of tiles in the sums of the weight gradient.
struct WeightBlock<'a> {
    s: &'a ConvShape,
    strip: &'a Strip,
    x: &'a [f32],
    grad: &'a [f32],
    pitch: [Pitch; 2],
    buffers: [&'a mut [f32]; 4],
    factors: Factors,
    /// One element's gradients and transformed tiles as the unit reads them.
    packed: [&'a mut [f32]; 2],
    /// Element, output channel, input channel.
    sums: *mut f32,
    accumulate: bool,
}

impl WithSimd for WeightBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ins, outs, tiles) = (self.s.input[0], self.s.output[0], self.strip.tiles());
        let ([of_x, of_grad], [patch, transformed, results, gradients]) = (self.pitch, self.buffers);
        self.strip.pack(simd, self.s.input, self.s.padding, self.x, patch);
        transform::input(simd, self.strip, ins, patch, of_x, transformed);
        self.strip.pack_results(simd, outs, self.grad, results);
        transform::gradient(simd, self.strip, outs, results, of_grad, gradients);
        assert!(transformed.len() >= of_x.len() && gradients.len() >= of_grad.len());
        if let Factors::Rounded = self.factors {
            amx::round(transformed);
            amx::round(gradients);
        }
        let [left, right] = self.packed;
        for element in 0..ELEMENTS {
            if let Factors::Unit(unit) = self.factors {
                let of_element = &gradients[element * of_grad.element..];
                unit.pack_transposed(of_element, of_grad.tile, [outs, tiles], left);
                unit.pack_columns(&transformed[element * of_x.element..], of_x.tile, [ins, tiles], right);
                // SAFETY: `sums` has room for all elements.
                unsafe {
                    let out = (self.sums.add(element * outs * ins), ins);
                    unit.multiply([outs, ins, tiles], left, right, out, self.accumulate);
                }
                continue;
            }
            for first in (0..ins).step_by(PANEL) {
                let width = PANEL.min(ins - first);
                // SAFETY: rows of tiles lie inside their element by the assertions; `sums` has room for all elements.
                unsafe {
                    let left = gradients.as_ptr().add(element * of_grad.element);
                    let right = transformed.as_ptr().add(element * of_x.element + first);
                    let out = self.sums.add(element * outs * ins + first);
                    let left = Left { values: left, row: 1, step: of_grad.tile };
                    product(
                        simd,
                        [outs, width, tiles],
                        left,
                        (right, of_x.tile),
                        (out, ins),
                        self.accumulate,
                    );
                }
            }
        }
    }
}
