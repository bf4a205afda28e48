//! Scale and shift per channel (the second axis) and its gradient sums; `inner` is the number of values per sample and channel
//! (height × width of images, 1 of vectors).

use super::buffer::written;
use super::elementwise::vectorised;
use super::epilogue::Epilogue;
use rayon::prelude::*;

/// Calls `f(channel, slice)` for the values of every channel, sample by sample.
fn channel_slices(x: &[f32], channels: usize, inner: usize, channel: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(channels * inner).map(move |sample| &sample[channel * inner..][..inner])
}

/// `x · scale[c] + shift[c]`, then max(·, 0) with `relu`.
///
/// # Panics
/// When `scale` and `shift` differ in length, or `x` is no whole number of samples: a caller's defect.
pub fn affine(x: &[f32], scale: &[f32], shift: &[f32], inner: usize, relu: bool) -> Vec<f32> {
    let sample = scale.len() * inner;
    assert!(scale.len() == shift.len() && x.len().is_multiple_of(sample.max(1)));
    if sample == 0 {
        return Vec::new();
    }
    let epilogue = Epilogue { scale: Some(scale), shift: Some(shift), relu };
    let run = |(out, x): (&mut [f32], &[f32])| {
        vectorised(
            #[inline(always)]
            || {
                if inner == 1 {
                    let least = if relu { 0.0 } else { f32::NEG_INFINITY };
                    for ((out, &x), (&scale, &shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                        let sum = x * scale + shift;
                        *out = if sum < least { least } else { sum };
                    }
                } else {
                    let lines = out.chunks_exact_mut(inner).zip(x.chunks_exact(inner));
                    for (channel, (out, x)) in lines.enumerate() {
                        out.copy_from_slice(x);
                        epilogue.apply(channel, out);
                    }
                }
            },
        );
    };
    // SAFETY: samples of equal length cover both sides, and every value of each is written.
    let all = |out: &mut [f32]| out.par_chunks_mut(sample).zip(x.par_chunks(sample)).for_each(run);
    unsafe { written(x.len(), all) }.0
}

/// Per channel: the sum over all samples.
pub fn channel_sums(x: &[f32], channels: usize, inner: usize) -> Vec<f32> {
    if inner == 1 {
        let mut sums = vec![0.0f64; channels];
        vectorised(
            #[inline(always)]
            || {
                for sample in x.chunks_exact(channels.max(1)) {
                    sums.iter_mut().zip(sample).for_each(|(sum, &v)| *sum += f64::from(v));
                }
            },
        );
        return sums.into_iter().map(|sum| sum as f32).collect();
    }
    let of_channel = |channel: usize| {
        let slices = channel_slices(x, channels, inner, channel);
        let sum = vectorised(
            #[inline(always)]
            || if inner < LANES { short_sum(slices) } else { long_sum(slices) },
        );
        sum as f32
    };
    (0..channels).into_par_iter().map(of_channel).collect()
}

/// Lanes of a partial sum.
const LANES: usize = 64;

/// The sum of slices of fewer than [`LANES`] values: value i goes to lane i.
#[inline(always)]
fn short_sum<'a>(slices: impl Iterator<Item = &'a [f32]>) -> f64 {
    let mut lanes = [0.0f32; LANES];
    for slice in slices {
        for (lane, &value) in lanes.iter_mut().zip(slice) {
            *lane += value;
        }
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += f64::from(lane);
    }
    sum
}

/// The sum of longer slices, in f32 lanes per 4,096 values.
#[inline(always)]
fn long_sum<'a>(slices: impl Iterator<Item = &'a [f32]>) -> f64 {
    let mut sum = 0.0;
    for slice in slices {
        sum += line_sum(slice);
    }
    sum
}

/// The sum of a slice, as [`dot_sums`] adds.
#[inline(always)]
fn line_sum(values: &[f32]) -> f64 {
    let mut sum = 0.0f64;
    for values in values.chunks(4096) {
        let mut lanes = [0.0f32; LANES];
        let (blocks, rest) = values.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] += block[lane];
            }
        }
        for (lane, &value) in rest.iter().enumerate() {
            lanes[lane] += value;
        }
        for lane in lanes {
            sum += f64::from(lane);
        }
    }
    sum
}

/// Per channel: the sum of `grad` and of `grad · (x − mean)`.
pub fn gradient_sums(grad: &[f32], x: &[f32], mean: &[f32], inner: usize) -> (Vec<f32>, Vec<f32>) {
    let channels = mean.len();
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            let (mut sum, mut product) = (0.0f64, 0.0f64);
            let mean = mean[channel];
            if inner == 1 {
                for (&g, &v) in
                    grad[channel..].iter().step_by(channels).zip(x[channel..].iter().step_by(channels))
                {
                    sum += f64::from(g);
                    product += f64::from(g) * f64::from(v - mean);
                }
            } else {
                let pairs = channel_slices(grad, channels, inner, channel)
                    .zip(channel_slices(x, channels, inner, channel));
                for (g, v) in pairs {
                    let (s, p) = vectorised(
                        #[inline(always)]
                        || dot_sums(g, v, mean),
                    );
                    sum += s;
                    product += p;
                }
            }
            (sum as f32, product as f32)
        })
        .unzip()
}

/// Sums of `g` and of `g · (v − mean)`, with sixteen f32 lanes per 4,096 values, added up in f64:
/// as fast as f32, nearly as exact as f64.
#[inline(always)]
fn dot_sums(g: &[f32], v: &[f32], mean: f32) -> (f64, f64) {
    let (mut sum, mut product) = (0.0f64, 0.0f64);
    for (g, v) in g.chunks(4096).zip(v.chunks(4096)) {
        let (mut lanes_sum, mut lanes_product) = ([0.0f32; 16], [0.0f32; 16]);
        let (mut gs, mut vs) = (g.chunks_exact(16), v.chunks_exact(16));
        for (g, v) in (&mut gs).zip(&mut vs) {
            for lane in 0..16 {
                lanes_sum[lane] += g[lane];
                lanes_product[lane] += g[lane] * (v[lane] - mean);
            }
        }
        for (lane, (&g, &v)) in gs.remainder().iter().zip(vs.remainder()).enumerate() {
            lanes_sum[lane] += g;
            lanes_product[lane] += g * (v - mean);
        }
        sum += lanes_sum.iter().map(|&v| f64::from(v)).sum::<f64>();
        product += lanes_product.iter().map(|&v| f64::from(v)).sum::<f64>();
    }
    (sum, product)
}
