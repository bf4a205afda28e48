//! Depthwise convolution: one filter per channel, no sums over channels, so that plain loops over rows beat products of
//! matrices with one row.

use super::conv_shape::ConvShape;
use super::elementwise::vectorised;
use super::epilogue::Epilogue;
use super::unfold::valid;
use rayon::prelude::*;

/// Whether every channel is convolved alone with one filter.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.input[0] && s.groups == s.output[0] && !s.is_empty()
}

/// Planes (channels of samples) that one task takes: enough values to be worth handing over.
fn planes_per_task(s: &ConvShape) -> usize {
    (1 << 14) / (s.positions() * s.patch()).max(1) + 1
}

/// Calls `f(filter value, output row, input row, outputs that stay inside, first input)` for each tap and row.
#[inline(always)]
fn each_row(s: &ConvShape, mut f: impl FnMut(usize, usize, usize, std::ops::Range<usize>, usize)) {
    let [_, height, width] = s.input;
    let [_, out_height, out_width] = s.output;
    for ky in 0..s.kernel[0] {
        let (down, rows) = (ky * s.dilation[0], s.stride[0]);
        for kx in 0..s.kernel[1] {
            let (right, columns) = (kx * s.dilation[1], s.stride[1]);
            let inside = valid(out_width, width, columns, right, s.padding[1]);
            if inside.is_empty() {
                continue;
            }
            let first = inside.start * columns + right - s.padding[1];
            for y in valid(out_height, height, rows, down, s.padding[0]) {
                f(ky * s.kernel[1] + kx, y, y * rows + down - s.padding[0], inside.clone(), first);
            }
        }
    }
}

/// `conv(x, weight)`, then `epilogue`; writes all of `out`.
pub(super) fn forward(s: &ConvShape, x: &[f32], weight: &[f32], epilogue: &Epilogue<'_>, out: &mut [f32]) {
    let (channels, width, out_width, step) = (s.input[0], s.input[2], s.output[2], s.stride[1]);
    let (from, to, count) = (s.input[1] * width, s.positions(), planes_per_task(s));
    let tasks = out.par_chunks_mut(count * to).zip(x.par_chunks(count * from)).enumerate();
    tasks.for_each(|(task, (out, x))| {
        vectorised(
            #[inline(always)]
            || {
                for (at, (out, plane)) in out.chunks_exact_mut(to).zip(x.chunks_exact(from)).enumerate() {
                    let channel = (task * count + at) % channels;
                    let filter = &weight[channel * s.patch()..][..s.patch()];
                    out.fill(0.0);
                    each_row(s, |tap, y, row, inside, first| {
                        let out = &mut out[y * out_width..][..out_width][inside];
                        let line = &plane[row * width..][..width][first..];
                        let w = filter[tap];
                        if step == 1 {
                            out.iter_mut().zip(line).for_each(|(out, &x)| *out += w * x);
                        } else {
                            out.iter_mut().zip(line.iter().step_by(step)).for_each(|(out, &x)| *out += w * x);
                        }
                    });
                    if !epilogue.is_none() {
                        epilogue.apply(channel, out);
                    }
                }
            },
        );
    });
}

/// Gradient with respect to the input; writes all of `grad_x`.
pub(super) fn backward_input(s: &ConvShape, grad: &[f32], weight: &[f32], grad_x: &mut [f32]) {
    let (channels, width, out_width, step) = (s.input[0], s.input[2], s.output[2], s.stride[1]);
    let (from, to, count) = (s.positions(), s.input[1] * width, planes_per_task(s));
    let tasks = grad_x.par_chunks_mut(count * to).zip(grad.par_chunks(count * from)).enumerate();
    tasks.for_each(|(task, (grad_x, grad))| {
        vectorised(
            #[inline(always)]
            || {
                let planes = grad_x.chunks_exact_mut(to).zip(grad.chunks_exact(from));
                for (at, (plane, grad)) in planes.enumerate() {
                    let filter = &weight[(task * count + at) % channels * s.patch()..][..s.patch()];
                    plane.fill(0.0);
                    each_row(s, |tap, y, row, inside, first| {
                        let grad = &grad[y * out_width..][..out_width][inside];
                        let line = &mut plane[row * width..][..width][first..];
                        let w = filter[tap];
                        if step == 1 {
                            line.iter_mut().zip(grad).for_each(|(x, &g)| *x += w * g);
                        } else {
                            line.iter_mut().step_by(step).zip(grad).for_each(|(x, &g)| *x += w * g);
                        }
                    });
                }
            },
        );
    });
}

/// Gradient with respect to the weight, summed over the batch; writes all of `grad_weight`.
pub(super) fn backward_weight(s: &ConvShape, grad: &[f32], x: &[f32], grad_weight: &mut [f32]) {
    let (channels, width, out_width, step) = (s.input[0], s.input[2], s.output[2], s.stride[1]);
    let (from, to) = (s.input[1] * width, s.positions());
    grad_weight.par_chunks_mut(s.patch()).enumerate().for_each(|(channel, filter)| {
        // Sums over batch and positions are long: rows in f32, their sum in f64.
        let mut sums = vec![0.0f64; filter.len()];
        for sample in 0..s.batch {
            let plane = sample * channels + channel;
            let (x, grad) = (&x[plane * from..][..from], &grad[plane * to..][..to]);
            each_row(s, |tap, y, row, inside, first| {
                let grad = &grad[y * out_width..][..out_width][inside];
                let line = x[row * width..][..width][first..].iter().step_by(step);
                sums[tap] += f64::from(line.zip(grad).map(|(&x, &g)| x * g).sum::<f32>());
            });
        }
        filter.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum as f32);
    });
}
