//! Convolution through im2col and matrix products: samples are cut over the threads, and where images are small
//! several are unfolded side by side, so that the products stay wide.

use super::conv_shape::ConvShape;
use super::epilogue::Epilogue;
use super::gemm::{Matrix, multiply};
use rayon::prelude::*;
use std::cell::RefCell;

impl ConvShape {
    /// A 1×1 convolution that reads the image as it lies in memory.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// Samples whose patches are unfolded side by side.
    fn samples_per_product(&self) -> usize {
        (COLUMNS / self.positions().max(1)).clamp(1, self.samples_per_piece())
    }

    /// Samples per thread when the batch is cut evenly; at least one.
    fn samples_per_piece(&self) -> usize {
        self.batch.div_ceil(rayon::current_num_threads()).max(1)
    }
}

/// Columns that a product should have at least, where the batch gives as many.
const COLUMNS: usize = 256;

thread_local! {
    /// Unfolded patches and reordered planes, reused from call to call.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Lends two buffers of the given lengths with unspecified content.
fn with_scratch<R>(lengths: [usize; 2], work: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    SCRATCH.with(|cell| {
        // Nested use (never expected) gets its own buffers instead of a panic.
        let mut buffers = cell.take();
        for (buffer, length) in buffers.iter_mut().zip(lengths) {
            if buffer.len() < length {
                buffer.resize(length, 0.0);
            }
        }
        let [columns, planes] = &mut buffers;
        let result = work(&mut columns[..lengths[0]], &mut planes[..lengths[1]]);
        cell.replace(buffers);
        result
    })
}

/// Reorders the channels of one group of some samples, (sample, channel, position), to (channel, sample, position).
fn gather_planes(s: &ConvShape, samples: &[f32], group: usize, gathered: &mut [f32]) {
    let (positions, channels) = (s.positions(), s.output[0] / s.groups);
    let count = samples.len() / s.output_len();
    for (index, sample) in samples.chunks_exact(s.output_len()).enumerate() {
        let planes = sample[group * channels * positions..].chunks_exact(positions);
        for (channel, plane) in planes.take(channels).enumerate() {
            gathered[(channel * count + index) * positions..][..positions].copy_from_slice(plane);
        }
    }
}

/// The range of output columns (or rows) whose input index `out · stride + offset − padding` lies in `0..limit`.
pub(super) fn valid(
    outputs: usize,
    limit: usize,
    stride: usize,
    offset: usize,
    padding: usize,
) -> std::ops::Range<usize> {
    let first = padding.saturating_sub(offset).div_ceil(stride).min(outputs);
    let end = if limit + padding > offset { (limit + padding - offset - 1) / stride + 1 } else { 0 };
    first..end.clamp(first, outputs)
}

/// Unfolds one group of one sample: row (channel, kernel row, kernel column), column = `start` + output position, in a matrix of
/// `width` columns.
fn im2col(s: &ConvShape, image: &[f32], columns: &mut [f32], width: usize, start: usize) {
    let [_, height, image_width] = s.input;
    let [_, out_height, out_width] = s.output;
    let mut rows = columns.chunks_exact_mut(width).map(|row| &mut row[start..][..out_height * out_width]);
    for channel in image.chunks_exact(height * image_width) {
        for ky in 0..s.kernel[0] {
            let ys = valid(out_height, height, s.stride[0], ky * s.dilation[0], s.padding[0]);
            for kx in 0..s.kernel[1] {
                let offset = kx * s.dilation[1];
                let xs = valid(out_width, image_width, s.stride[1], offset, s.padding[1]);
                let Some(row) = rows.next() else { return };
                for (y, line) in row.chunks_exact_mut(out_width).enumerate() {
                    if !ys.contains(&y) {
                        line.fill(0.0);
                        continue;
                    }
                    let source = &channel
                        [(y * s.stride[0] + ky * s.dilation[0] - s.padding[0]) * image_width..]
                        [..image_width];
                    line[..xs.start].fill(0.0);
                    line[xs.end..].fill(0.0);
                    if xs.is_empty() {
                        continue;
                    }
                    let start = xs.start * s.stride[1] + offset - s.padding[1];
                    let inner = &mut line[xs.clone()];
                    if s.stride[1] == 1 {
                        inner.copy_from_slice(&source[start..start + inner.len()]);
                    } else {
                        inner
                            .iter_mut()
                            .zip(source[start..].iter().step_by(s.stride[1]))
                            .for_each(|(o, &v)| *o = v);
                    }
                }
            }
        }
    }
}

/// The adjoint of [`im2col`]: adds every column back to where it was read.
fn col2im(s: &ConvShape, columns: &[f32], image: &mut [f32], width: usize, start: usize) {
    let [_, height, image_width] = s.input;
    let [_, out_height, out_width] = s.output;
    let mut rows = columns.chunks_exact(width).map(|row| &row[start..][..out_height * out_width]);
    for channel in image.chunks_exact_mut(height * image_width) {
        for ky in 0..s.kernel[0] {
            let ys = valid(out_height, height, s.stride[0], ky * s.dilation[0], s.padding[0]);
            for kx in 0..s.kernel[1] {
                let offset = kx * s.dilation[1];
                let xs = valid(out_width, image_width, s.stride[1], offset, s.padding[1]);
                let Some(row) = rows.next() else { return };
                if xs.is_empty() {
                    continue;
                }
                for y in ys.clone() {
                    let line = &row[y * out_width..][xs.clone()];
                    let target = &mut channel
                        [(y * s.stride[0] + ky * s.dilation[0] - s.padding[0]) * image_width..]
                        [..image_width];
                    let start = xs.start * s.stride[1] + offset - s.padding[1];
                    if s.stride[1] == 1 {
                        target[start..start + line.len()].iter_mut().zip(line).for_each(|(t, &v)| *t += v);
                    } else {
                        target[start..].iter_mut().step_by(s.stride[1]).zip(line).for_each(|(t, &v)| *t += v);
                    }
                }
            }
        }
    }
}

/// See [`super::conv2d::forward`]; for any shape.
pub(super) fn forward(s: &ConvShape, x: &[f32], weight: &[f32], epilogue: &Epilogue<'_>, out: &mut [f32]) {
    let (patch, positions) = (s.patch(), s.positions());
    let (in_group, out_group) = (s.input_len() / s.groups, s.output[0] / s.groups);
    let (per_piece, per_product) = (s.samples_per_piece(), s.samples_per_product());
    let run = |out: &mut [f32], x: &[f32]| {
        let count = x.len() / s.input_len();
        let width = count * positions;
        with_scratch([patch * width, out_group * width], |columns, planes| {
            for group in 0..s.groups {
                let weight = Matrix::new(&weight[group * out_group * patch..], out_group, patch);
                if count == 1 && s.is_pointwise() {
                    let image = Matrix::new(&x[group * in_group..], patch, positions);
                    multiply(&mut out[group * out_group * positions..], weight, image, false, false);
                    continue;
                }
                for (index, x) in x.chunks_exact(s.input_len()).enumerate() {
                    im2col(s, &x[group * in_group..][..in_group], columns, width, index * positions);
                }
                let columns = Matrix::new(columns, patch, width);
                if count == 1 {
                    multiply(&mut out[group * out_group * positions..], weight, columns, false, false);
                    continue;
                }
                multiply(planes, weight, columns, false, false);
                for (index, out) in out.chunks_exact_mut(s.output_len()).enumerate() {
                    let lines = out[group * out_group * positions..].chunks_exact_mut(positions);
                    for (channel, line) in lines.take(out_group).enumerate() {
                        line.copy_from_slice(&planes[(channel * count + index) * positions..][..positions]);
                    }
                }
            }
        });
        out.chunks_exact_mut(s.output_len()).for_each(|out| epilogue.apply_sample(positions, out));
    };
    out.par_chunks_mut(s.output_len() * per_piece).zip(x.par_chunks(s.input_len() * per_piece)).for_each(
        |(out, x)| {
            let products =
                out.chunks_mut(s.output_len() * per_product).zip(x.chunks(s.input_len() * per_product));
            products.for_each(|(out, x)| run(out, x));
        },
    );
}

/// See [`super::conv2d::backward_input`]; for any shape.
pub(super) fn backward_input(s: &ConvShape, grad: &[f32], weight: &[f32], grad_x: &mut [f32]) {
    let (patch, positions) = (s.patch(), s.positions());
    let (in_group, out_group) = (s.input_len() / s.groups, s.output[0] / s.groups);
    let (per_piece, per_product) = (s.samples_per_piece(), s.samples_per_product());
    let run = |grad_x: &mut [f32], grad: &[f32]| {
        let count = grad.len() / s.output_len();
        let width = count * positions;
        with_scratch([patch * width, out_group * width], |columns, planes| {
            for group in 0..s.groups {
                let weight = Matrix::new(&weight[group * out_group * patch..], out_group, patch).transposed();
                let grad = if count == 1 {
                    Matrix::new(&grad[group * out_group * positions..], out_group, positions)
                } else {
                    gather_planes(s, grad, group, planes);
                    Matrix::new(planes, out_group, width)
                };
                if count == 1 && s.is_pointwise() {
                    multiply(&mut grad_x[group * in_group..], weight, grad, false, false);
                    continue;
                }
                multiply(columns, weight, grad, false, false);
                for (index, grad_x) in grad_x.chunks_exact_mut(s.input_len()).enumerate() {
                    let image = &mut grad_x[group * in_group..][..in_group];
                    image.fill(0.0);
                    col2im(s, columns, image, width, index * positions);
                }
            }
        });
    };
    grad_x
        .par_chunks_mut(s.input_len() * per_piece)
        .zip(grad.par_chunks(s.output_len() * per_piece))
        .for_each(|(grad_x, grad)| {
            let products =
                grad_x.chunks_mut(s.input_len() * per_product).zip(grad.chunks(s.output_len() * per_product));
            products.for_each(|(grad_x, grad)| run(grad_x, grad));
        });
}

/// See [`super::conv2d::backward_weight`]; for any shape.
pub(super) fn backward_weight(s: &ConvShape, grad: &[f32], x: &[f32], grad_weight: &mut [f32]) {
    let (patch, positions) = (s.patch(), s.positions());
    let (in_group, out_group) = (s.input_len() / s.groups, s.output[0] / s.groups);
    let (per_piece, per_product) = (s.samples_per_piece(), s.samples_per_product());
    let run = |sum: &mut [f32], grad: &[f32], x: &[f32]| {
        let count = x.len() / s.input_len();
        let width = count * positions;
        with_scratch([patch * width, out_group * width], |columns, planes| {
            for (group, sum) in sum.chunks_exact_mut(out_group * patch).enumerate() {
                for (index, x) in x.chunks_exact(s.input_len()).enumerate() {
                    im2col(s, &x[group * in_group..][..in_group], columns, width, index * positions);
                }
                gather_planes(s, grad, group, planes);
                let (grad, columns) =
                    (Matrix::new(planes, out_group, width), Matrix::new(columns, patch, width));
                multiply(sum, grad, columns.transposed(), true, false);
            }
        });
    };
    // One partial sum per piece, added in order: the same bits for the same number of threads.
    let partial: Vec<Vec<f32>> = x
        .par_chunks(s.input_len() * per_piece)
        .zip(grad.par_chunks(s.output_len() * per_piece))
        .map(|(x, grad)| {
            let mut sum = vec![0.0; grad_weight.len()];
            let products =
                grad.chunks(s.output_len() * per_product).zip(x.chunks(s.input_len() * per_product));
            products.for_each(|(grad, x)| run(&mut sum, grad, x));
            sum
        })
        .collect();
    grad_weight.fill(0.0);
    for sum in partial {
        grad_weight.iter_mut().zip(sum).for_each(|(total, part)| *total += part);
    }
}

/// Samples that [`moments`] unfolds side by side.
const SAMPLES: usize = 8;

/// 2 X Xᵀ of each group (patch × patch, row-major), where the columns of X are the unfolded windows of all samples.
pub(super) fn moments(s: &ConvShape, x: &[f32]) -> Vec<Vec<f64>> {
    let (patch, positions) = (s.patch(), s.positions());
    let in_group = s.input_len() / s.groups;
    let mut sums = vec![vec![0.0f64; patch * patch]; s.groups];
    let mut product = vec![0.0f32; patch * patch];
    let mut columns = Vec::new();
    // In this order whatever the number of threads; single products are short enough for f32.
    for samples in x.chunks(s.input_len() * SAMPLES) {
        let width = samples.len() / s.input_len() * positions;
        columns.resize(patch * width, 0.0);
        for (group, sum) in sums.iter_mut().enumerate() {
            for (index, sample) in samples.chunks_exact(s.input_len()).enumerate() {
                im2col(s, &sample[group * in_group..][..in_group], &mut columns, width, index * positions);
            }
            let columns = Matrix::new(&columns, patch, width);
            multiply(&mut product, columns, columns.transposed(), false, true);
            sum.iter_mut().zip(&product).for_each(|(sum, &value)| *sum += 2.0 * f64::from(value));
        }
    }
    sums
}
