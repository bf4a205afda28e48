//! The weight gradient of 3×3 convolutions with few weights, without unfolding.
//!
//! A register tile holds the nine taps of one input channel × some vectors of output channels; every output pixel adds
//! nine input values times one vector of gradients. For this the gradient is transposed to (pixel, output channel).

use super::conv_shape::ConvShape;
use super::direct::Padded;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Whether [`backward_weight`] can compute `s` and is faster than a matrix product on unfolded columns.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.kernel == [3, 3]
        && s.dilation == [1, 1]
        && s.groups == 1
        && s.output[1] * s.output[2] >= 16
        && s.output[0] * s.input[0] * 9 <= 1 << 16
}

/// Output channels are padded to a multiple of this: the widest vector.
const LANES: usize = 16;

/// `grad_weight ← ∂/∂weight ⟨grad, conv(x, weight)⟩`, summed over the batch, for shapes that [`applies`] accepts.
pub(super) fn backward_weight(s: &ConvShape, grad: &[f32], x: &[f32], grad_weight: &mut [f32]) {
    let padded = Padded::new(s);
    let (ins, outs) = (s.input[0], s.output[0]);
    let width = outs.next_multiple_of(LANES);
    let positions = s.output[1] * s.output[2];
    let (input, output): (usize, usize) = (s.input.iter().product(), s.output.iter().product());
    let per_piece = s.batch.div_ceil(rayon::current_num_threads()).max(1);
    // One partial sum (input channel, tap, output channel) per piece, added in order: the same bits for the same number of threads.
    let partial: Vec<Vec<f32>> = x
        .par_chunks(input * per_piece)
        .zip(grad.par_chunks(output * per_piece))
        .map(|(x, grad)| {
            let mut copy = vec![0.0; padded.len()];
            let mut transposed = vec![0.0; positions * width];
            let mut sums = vec![0.0; ins * 9 * width];
            for (x, grad) in x.chunks_exact(input).zip(grad.chunks_exact(output)) {
                padded.fill(x, &mut copy);
                transpose(grad, positions, width, &mut transposed);
                let (padded, copy, transposed) = (&padded, copy.as_slice(), transposed.as_slice());
                Arch::new().dispatch(Sample { s, padded, copy, transposed, width, sums: &mut sums });
            }
            sums
        })
        .collect();
    for (out, values) in grad_weight.chunks_exact_mut(ins * 9).enumerate() {
        for (index, value) in values.iter_mut().enumerate() {
            *value = partial.iter().map(|sums| sums[index * width + out]).sum();
        }
    }
}

/// (channel, position) to (position, channel), rows of `width` values; blocks keep both sides in the first-level cache.
fn transpose(grad: &[f32], positions: usize, width: usize, transposed: &mut [f32]) {
    const BLOCK: usize = 16;
    for (block, channels) in grad.chunks(positions * BLOCK).enumerate() {
        for start in (0..positions).step_by(BLOCK) {
            let count = BLOCK.min(positions - start);
            for (channel, values) in channels.chunks_exact(positions).enumerate() {
                let column = block * BLOCK + channel;
                for (position, &value) in values[start..start + count].iter().enumerate() {
                    transposed[(start + position) * width + column] = value;
                }
            }
        }
    }
}

/// The work on one sample: `sums += x ⊗ grad`.
struct Sample<'a> {
    s: &'a ConvShape,
    padded: &'a Padded,
    copy: &'a [f32],
    transposed: &'a [f32],
    width: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [_, height, width] = self.s.output;
        let [_, stride_x] = self.s.stride;
        let reach = (height - 1) * self.s.stride[0] * self.padded.pitch + (width - 1) * stride_x;
        let last = (self.s.input[0] - 1) * self.padded.plane + 2 * self.padded.pitch + 2 + reach;
        assert!(last < self.copy.len() && self.width.is_multiple_of(S::F32_LANES));
        assert!(self.transposed.len() >= height * width * self.width);
        assert!(self.sums.len() >= self.s.input[0] * 9 * self.width);
        let vectors = self.width / S::F32_LANES;
        let wide = S::REGISTER_COUNT >= 32;
        for channel in 0..self.s.input[0] {
            let mut vector = 0;
            while vector < vectors {
                let at = vector * S::F32_LANES;
                // SAFETY: the assertions above bound the last input read, the transposed gradient and the sums; `at`
                // leaves room for the vectors of the tile in every row of `width` values.
                unsafe {
                    let x = self.copy.as_ptr().add(channel * self.padded.plane);
                    let grad = self.transposed.as_ptr().add(at);
                    let sums = self.sums.as_mut_ptr().add(channel * 9 * self.width + at);
                    if wide && vectors - vector >= 2 {
                        self.tile::<S, 2>(simd, x, grad, sums);
                        vector += 2;
                    } else {
                        self.tile::<S, 1>(simd, x, grad, sums);
                        vector += 1;
                    }
                }
            }
        }
    }
}

impl Sample<'_> {
    /// Adds the products of one input channel with `V` vectors of output channels.
    ///
    /// # Safety
    /// `x` is readable over the windows of one channel, `grad` for V vectors at every multiple of `width` below the
    /// number of pixels, and `sums` readable and writable for V vectors at nine multiples of `width`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const V: usize>(&self, simd: S, x: *const f32, grad: *const f32, sums: *mut f32) {
        let [_, height, out_width] = self.s.output;
        let [stride_y, stride_x] = self.s.stride;
        let (pitch, width) = (self.padded.pitch, self.width);
        let mut tile = [[simd.splat_f32s(0.0); V]; 9];
        // SAFETY: see the function's contract.
        unsafe {
            let mut grad = grad;
            for y in 0..height {
                let mut at = x.add(y * stride_y * pitch);
                for _ in 0..out_width {
                    let mut values = [simd.splat_f32s(0.0); V];
                    for (v, value) in values.iter_mut().enumerate() {
                        *value = grad.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned();
                    }
                    for ky in 0..3 {
                        for kx in 0..3 {
                            let input = simd.splat_f32s(*at.add(ky * pitch + kx));
                            for v in 0..V {
                                let sum = &mut tile[ky * 3 + kx][v];
                                *sum = simd.mul_add_f32s(input, values[v], *sum);
                            }
                        }
                    }
                    at = at.add(stride_x);
                    grad = grad.add(width);
                }
            }
            for (tap, tile) in tile.iter().enumerate() {
                for (v, &value) in tile.iter().enumerate() {
                    let to = sums.add(tap * width + v * S::F32_LANES).cast::<S::f32s>();
                    to.write_unaligned(simd.add_f32s(to.read_unaligned(), value));
                }
            }
        }
    }
}
