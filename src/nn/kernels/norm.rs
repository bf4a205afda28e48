//! Batch normalisation over all axes but the second; `inner` is the number of values per sample and channel
//! (height × width of images, 1 of vectors).

use super::elementwise::vectorised;
use rayon::prelude::*;

/// Calls `f(channel, slice)` for the values of every channel, sample by sample.
fn channel_slices(x: &[f32], channels: usize, inner: usize, channel: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(channels * inner).map(move |sample| &sample[channel * inner..][..inner])
}

/// Mean and biased variance of every channel.
pub fn statistics(x: &[f32], channels: usize, inner: usize) -> (Vec<f32>, Vec<f32>) {
    let count = (x.len() / channels.max(1)) as f64;
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            let (mut sum, mut squares) = (0.0f64, 0.0f64);
            // Deviations from a value of the channel itself: no cancellation when the mean is far from zero.
            let pivot = x.get(channel * inner).copied().unwrap_or(0.0);
            if inner == 1 {
                for &v in x[channel..].iter().step_by(channels) {
                    let deviation = f64::from(v - pivot);
                    sum += deviation;
                    squares += deviation * deviation;
                }
            } else {
                for slice in channel_slices(x, channels, inner, channel) {
                    let (s, q) = vectorised(|| lane_sums(slice, pivot));
                    sum += s;
                    squares += q;
                }
            }
            let mean = sum / count;
            ((f64::from(pivot) + mean) as f32, (squares / count - mean * mean).max(0.0) as f32)
        })
        .unzip()
}

/// Sums of `v − pivot` and of its square with sixteen f32 lanes per 4,096 values, added up in f64: as fast as f32,
/// nearly as exact as f64.
#[inline(always)]
fn lane_sums(slice: &[f32], pivot: f32) -> (f64, f64) {
    let (mut sum, mut squares) = (0.0f64, 0.0f64);
    for block in slice.chunks(4096) {
        let (mut lanes, mut lanes_squared) = ([0.0f32; 16], [0.0f32; 16]);
        let mut chunks = block.chunks_exact(16);
        for chunk in &mut chunks {
            for lane in 0..16 {
                let deviation = chunk[lane] - pivot;
                lanes[lane] += deviation;
                lanes_squared[lane] += deviation * deviation;
            }
        }
        for (lane, &v) in chunks.remainder().iter().enumerate() {
            lanes[lane] += v - pivot;
            lanes_squared[lane] += (v - pivot) * (v - pivot);
        }
        sum += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        squares += lanes_squared.iter().map(|&v| f64::from(v)).sum::<f64>();
    }
    (sum, squares)
}

/// `out = x · scale[c] + shift[c]`.
pub fn affine(x: &[f32], scale: &[f32], shift: &[f32], inner: usize, out: &mut [f32]) {
    let sample = scale.len() * inner;
    if sample == 0 {
        return;
    }
    out.par_chunks_mut(sample).zip(x.par_chunks(sample)).for_each(|(out, x)| {
        vectorised(|| {
            if inner == 1 {
                for ((out, &x), (&scale, &shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                    *out = x * scale + shift;
                }
            } else {
                let lines = out.chunks_exact_mut(inner).zip(x.chunks_exact(inner));
                for ((out, x), (&scale, &shift)) in lines.zip(scale.iter().zip(shift)) {
                    out.iter_mut().zip(x).for_each(|(out, &x)| *out = x * scale + shift);
                }
            }
        });
    });
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
                    let (s, p) = vectorised(|| dot_sums(g, v, mean));
                    sum += s;
                    product += p;
                }
            }
            (sum as f32, product as f32)
        })
        .unzip()
}

/// Sums of `g` and of `g · (v − mean)`, in the manner of [`lane_sums`].
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

/// `out = grad · a[c] + x · b[c] + d[c]`: the input gradient of batch norm in training mode.
pub fn combine(grad: &[f32], x: &[f32], a: &[f32], b: &[f32], d: &[f32], inner: usize, out: &mut [f32]) {
    let sample = a.len() * inner;
    if sample == 0 {
        return;
    }
    out.par_chunks_mut(sample).zip(grad.par_chunks(sample).zip(x.par_chunks(sample))).for_each(
        |(out, (grad, x))| {
            vectorised(|| {
                for channel in 0..a.len() {
                    let range = channel * inner..(channel + 1) * inner;
                    let (a, b, d) = (a[channel], b[channel], d[channel]);
                    for (out, (&g, &x)) in
                        out[range.clone()].iter_mut().zip(grad[range.clone()].iter().zip(&x[range]))
                    {
                        *out = g * a + x * b + d;
                    }
                }
            });
        },
    );
}
