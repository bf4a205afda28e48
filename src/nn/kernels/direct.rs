//! Convolution without unfolding, for stride 1 and images of many pixels.
//!
//! A sample is copied once between zero rows and columns. Every row of the matrix that im2col would build is then a
//! stretch of that copy at a fixed offset, so a register tile (output channels × pixels) reads its operands in place.
//! Rows are one image row plus one left border apart: the border doubles as the right border of the row above, and
//! the few results computed on it are dropped.

use super::conv_shape::ConvShape;
use super::epilogue::Epilogue;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Vectors of pixels in a register tile.
const VECTORS: usize = 3;

/// The zero-bordered copy of one sample.
pub(super) struct Padded {
    height: usize,
    width: usize,
    padding: [usize; 2],
    /// Distance between rows.
    pub pitch: usize,
    /// Distance between channels.
    pub plane: usize,
    channels: usize,
}

impl Padded {
    /// The copy that `s` needs of its input.
    pub fn new(s: &ConvShape) -> Self {
        let [channels, height, width] = s.input;
        let pitch = width + s.padding[1];
        let plane = (height + 2 * s.padding[0]) * pitch + s.padding[1];
        Self { height, width, padding: s.padding, pitch, plane, channels }
    }

    /// Values of the copy, with room for a tile to read past the end.
    pub fn len(&self) -> usize {
        self.channels * self.plane + self.pitch + 64 * VECTORS
    }

    /// Copies a sample. The borders of `copy` must be zero and stay so.
    pub fn fill(&self, image: &[f32], copy: &mut [f32]) {
        let start = self.padding[0] * self.pitch + self.padding[1];
        for (channel, plane) in image.chunks_exact(self.height * self.width).enumerate() {
            for (y, row) in plane.chunks_exact(self.width).enumerate() {
                copy[channel * self.plane + start + y * self.pitch..][..self.width].copy_from_slice(row);
            }
        }
    }
}

/// Whether [`forward`] can compute `s` and is faster than a matrix product on unfolded columns.
pub(super) fn applies(s: &ConvShape) -> bool {
    let taps = s.kernel[0] * s.kernel[1];
    s.stride == [1, 1]
        && s.groups == 1
        && taps > 1
        // A row of results must fit between two rows of the copy.
        && s.padding[1] <= s.dilation[1] * (s.kernel[1] - 1)
        && s.output[1] * s.output[2] >= 64
        && s.output[0] * s.input[0] * taps <= 1 << 16
}

/// Output channels of a register tile on this processor.
fn tile_rows() -> usize {
    struct Rows;
    impl WithSimd for Rows {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
        }
    }
    Arch::new().dispatch(Rows)
}

/// Weights as the tiles read them: blocks of output channels, then (input channel, kernel position), then the channels of the block,
/// zeros beyond the last. `weight(output channel, index)` gives the values.
fn pack(outs: usize, depth: usize, rows: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = vec![0.0; outs.div_ceil(rows) * rows * depth];
    for (block, packed) in packed.chunks_exact_mut(rows * depth).enumerate() {
        for (index, packed) in packed.chunks_exact_mut(rows).enumerate() {
            for (row, value) in packed.iter_mut().enumerate().take(outs - block * rows) {
                *value = weight(block * rows + row, index);
            }
        }
    }
    packed
}

/// `out ← conv(x, weight)`, then `epilogue`, for shapes that [`applies`] accepts.
pub(super) fn forward(s: &ConvShape, x: &[f32], weight: &[f32], epilogue: &Epilogue<'_>, out: &mut [f32]) {
    let depth = s.input[0] * s.kernel[0] * s.kernel[1];
    let rows = tile_rows();
    let packed = pack(s.output[0], depth, rows, |channel, index| weight[channel * depth + index]);
    run(s, x, &packed, rows, epilogue, out);
}

/// The shape of the convolution that computes the input gradient of `s`, where this module can compute that one.
pub(super) fn adjoint(s: &ConvShape) -> Option<ConvShape> {
    let pad = |axis: usize| (s.dilation[axis] * (s.kernel[axis] - 1)).checked_sub(s.padding[axis]);
    let adjoint = ConvShape { input: s.output, output: s.input, padding: [pad(0)?, pad(1)?], ..*s };
    applies(&adjoint).then_some(adjoint)
}

/// `grad_x ← ∂/∂x ⟨grad, conv(x, weight)⟩`: the convolution `adjoint` with the kernel turned by 180°.
pub(super) fn backward_input(adjoint: &ConvShape, grad: &[f32], weight: &[f32], grad_x: &mut [f32]) {
    let taps = adjoint.kernel[0] * adjoint.kernel[1];
    let (outs, ins) = (adjoint.input[0], adjoint.output[0]);
    let rows = tile_rows();
    let packed = pack(ins, outs * taps, rows, |channel, index| {
        let (out, tap) = (index / taps, index % taps);
        weight[(out * ins + channel) * taps + taps - 1 - tap]
    });
    run(adjoint, grad, &packed, rows, &Epilogue::default(), grad_x);
}

fn run(s: &ConvShape, x: &[f32], packed: &[f32], rows: usize, epilogue: &Epilogue<'_>, out: &mut [f32]) {
    let padded = Padded::new(s);
    let mut offsets = Vec::with_capacity(s.input[0] * s.kernel[0] * s.kernel[1]);
    for channel in 0..s.input[0] {
        for ky in 0..s.kernel[0] {
            for kx in 0..s.kernel[1] {
                let row = ky * s.dilation[0] * padded.pitch;
                offsets.push((channel * padded.plane + row + kx * s.dilation[1]) as u32);
            }
        }
    }
    let (input, output): (usize, usize) = (s.input.iter().product(), s.output.iter().product());
    let per_piece = s.batch.div_ceil(rayon::current_num_threads()).max(1);
    // Results of one block of channels, borders included; a tile may write past the end.
    let line = s.output[1] * padded.pitch + 64 * VECTORS;
    out.par_chunks_mut(output * per_piece).zip(x.par_chunks(input * per_piece)).for_each(|(out, x)| {
        let mut copy = vec![0.0; padded.len()];
        let mut lines = vec![0.0; rows * line];
        for (out, x) in out.chunks_exact_mut(output).zip(x.chunks_exact(input)) {
            padded.fill(x, &mut copy);
            let sample = Sample {
                s,
                pitch: padded.pitch,
                copy: &copy,
                offsets: &offsets,
                packed,
                lines: &mut lines,
                line,
                out: &mut *out,
            };
            Arch::new().dispatch(sample);
            epilogue.apply_sample(s.output[1] * s.output[2], out);
        }
    });
}

/// The work on one sample.
struct Sample<'a> {
    s: &'a ConvShape,
    pitch: usize,
    copy: &'a [f32],
    offsets: &'a [u32],
    packed: &'a [f32],
    lines: &'a mut [f32],
    line: usize,
    out: &'a mut [f32],
}

impl WithSimd for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.blocks::<S, 8>(simd) } else { self.blocks::<S, 4>(simd) }
    }
}

impl Sample<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const ROWS: usize>(self, simd: S) {
        let [channels, height, width] = self.s.output;
        let (pitch, line, depth) = (self.pitch, self.line, self.offsets.len());
        let pixels = height * pitch;
        let vectors = pixels.div_ceil(S::F32_LANES);
        let reach = self.offsets.last().map_or(0, |&last| last as usize) + vectors * S::F32_LANES;
        assert!(reach <= self.copy.len() && vectors * S::F32_LANES <= line);
        assert!(
            self.lines.len() >= ROWS * line && self.packed.len() >= channels.div_ceil(ROWS) * ROWS * depth
        );
        for block in 0..channels.div_ceil(ROWS) {
            let packed = &self.packed[block * ROWS * depth..][..ROWS * depth];
            let mut vector = 0;
            while vector < vectors {
                let at = vector * S::F32_LANES;
                // SAFETY: the assertions above bound the last read of the copy (largest offset plus all vectors) and
                // the last write of each line; `packed` holds ROWS values per offset.
                unsafe {
                    let (copy, lines) = (self.copy.as_ptr().add(at), self.lines.as_mut_ptr().add(at));
                    match vectors - vector {
                        1 => tile::<S, ROWS, 1>(simd, copy, self.offsets, packed.as_ptr(), lines, line),
                        2 => tile::<S, ROWS, 2>(simd, copy, self.offsets, packed.as_ptr(), lines, line),
                        _ => tile::<S, ROWS, VECTORS>(simd, copy, self.offsets, packed.as_ptr(), lines, line),
                    }
                }
                vector += VECTORS;
            }
            let planes = self.out.chunks_exact_mut(height * width).skip(block * ROWS).take(ROWS);
            for (plane, results) in planes.zip(self.lines.chunks_exact(line)) {
                for (row, results) in plane.chunks_exact_mut(width).zip(results.chunks(pitch)) {
                    row.copy_from_slice(&results[..width]);
                }
            }
        }
    }
}

/// `ROWS` output channels × `V` vectors of pixels: `out[row][pixel] = Σ_k weights[k][row] · copy[offsets[k] + pixel]`.
///
/// # Safety
/// `copy` is readable for V vectors from every offset, `weights` for ROWS values per offset, and `out` is writable for
/// V vectors from every multiple of `line` below ROWS · line.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const V: usize>(
    simd: S,
    copy: *const f32,
    offsets: &[u32],
    weights: *const f32,
    out: *mut f32,
    line: usize,
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; ROWS];
    let mut weights = weights;
    for &offset in offsets {
        // SAFETY: see the function's contract.
        unsafe {
            let pixels = copy.add(offset as usize);
            let mut values = [simd.splat_f32s(0.0); V];
            for (v, value) in values.iter_mut().enumerate() {
                *value = pixels.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned();
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let weight = simd.splat_f32s(*weights.add(row));
                for (sum, &value) in sums.iter_mut().zip(&values) {
                    *sum = simd.mul_add_f32s(weight, value, *sum);
                }
            }
            weights = weights.add(ROWS);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: see the function's contract.
            unsafe { out.add(row * line + v * S::F32_LANES).cast::<S::f32s>().write_unaligned(sum) };
        }
    }
}
