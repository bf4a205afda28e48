//! Batch normalisation of (batch, channels, area) arrays.
//!
//! A task handles one channel through all its passes: a channel of a batch fits the second-level cache, so main
//! memory is read and written once.

use super::elementwise::vectorised;
use rayon::prelude::*;

/// Sizes of an array that is normalised per channel.
#[derive(Clone, Copy, Debug)]
pub struct Planes {
    /// Channels or features.
    pub channels: usize,
    /// Elements of one channel of one sample.
    pub area: usize,
}

/// Mean and biased variance of every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Variances with the number of elements as divisor.
    pub variance: Vec<f32>,
}

/// Gradients of a batch normalisation.
pub struct Gradients {
    /// With respect to the input.
    pub input: Vec<f32>,
    /// With respect to the scale.
    pub scale: Vec<f32>,
    /// With respect to the shift.
    pub shift: Vec<f32>,
}

/// An output that tasks write channel by channel.
struct Target(*mut f32);

// SAFETY: every task writes only the planes of its own channel, which no other task touches.
unsafe impl Sync for Target {}

impl Planes {
    /// The planes of `channel` in `x`, one per sample.
    fn of<'a>(&self, x: &'a [f32], channel: usize) -> impl Iterator<Item = &'a [f32]> + Clone + use<'a> {
        let (step, area) = (self.channels * self.area, self.area);
        x.chunks_exact(step).map(move |sample| &sample[channel * area..][..area])
    }

    /// Computes `per_channel(channel, write)` in parallel; `write(sample)` is the output plane of that sample.
    fn write<R: Send>(
        &self,
        length: usize,
        per_channel: impl Fn(usize, &mut dyn FnMut(usize) -> *mut f32) -> R + Sync,
    ) -> (Vec<f32>, Vec<R>) {
        let mut out = vec![0.0f32; length];
        let target = Target(out.as_mut_ptr());
        let results = (0..self.channels)
            .into_par_iter()
            .map(|channel| {
                let target = &target;
                per_channel(channel, &mut |sample| {
                    let offset = (sample * self.channels + channel) * self.area;
                    assert!(offset + self.area <= length);
                    // SAFETY: the assertion keeps the plane inside the output.
                    unsafe { target.0.add(offset) }
                })
            })
            .collect();
        (out, results)
    }
}

/// Lanes of a partial sum: independent additions that fill the widest vectors several times over.
const LANES: usize = 64;

/// The sum of `f(a, b)` over two planes; partial sums in f32 lanes, so the error stays near that of pairwise summation.
#[inline(always)]
fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_blocks.remainder(), b_blocks.remainder());
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    let mut rest = 0.0f64;
    for (&a, &b) in a_rest.iter().zip(b_rest) {
        rest += f64::from(f(a, b));
    }
    if a.len() < LANES {
        return rest;
    }
    rest + lanes.iter().map(|&v| f64::from(v)).sum::<f64>()
}

/// 1 / √(variance + ε) in the precision the kernels use.
fn inverse_deviation(variance: f32, epsilon: f64) -> f32 {
    (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32
}

/// Normalises with the statistics of the batch itself, which come back beside the output.
pub fn forward_training(
    planes: Planes,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    epsilon: f64,
) -> (Vec<f32>, Statistics) {
    let count = (x.len() / planes.channels) as f64;
    let (out, statistics) = planes.write(x.len(), |channel, write| {
        vectorised(|| {
            let samples = planes.of(x, channel);
            let sum: f64 = samples.clone().map(|plane| sum2(plane, plane, |v, _| v)).sum();
            let mean = (sum / count) as f32;
            let squares = |v: f32, _| (v - mean) * (v - mean);
            let variance =
                (samples.clone().map(|plane| sum2(plane, plane, squares)).sum::<f64>() / count) as f32;
            let factor = scale[channel] * inverse_deviation(variance, epsilon);
            let offset = shift[channel];
            for (sample, plane) in samples.enumerate() {
                // SAFETY: `write` gives the start of a plane that belongs to this task alone.
                let out = unsafe { std::slice::from_raw_parts_mut(write(sample), planes.area) };
                out.iter_mut().zip(plane).for_each(|(out, &v)| *out = (v - mean) * factor + offset);
            }
            (mean, variance)
        })
    });
    let (mean, variance) = statistics.into_iter().unzip();
    (out, Statistics { mean, variance })
}

/// The gradients; `of_batch` says whether `statistics` are those of `x` (training), so that the gradient flows through
/// them, or constants (evaluation).
pub fn backward(
    planes: Planes,
    gradient: &[f32],
    x: &[f32],
    scale: &[f32],
    statistics: &Statistics,
    epsilon: f64,
    of_batch: bool,
) -> Gradients {
    let count = (x.len() / planes.channels) as f64;
    let (input, sums) = planes.write(x.len(), |channel, write| {
        vectorised(|| {
            let mean = statistics.mean[channel];
            let inverse = inverse_deviation(statistics.variance[channel], epsilon);
            let pairs = planes.of(gradient, channel).zip(planes.of(x, channel));
            let (mut sum, mut product) = (0.0f64, 0.0f64);
            for (gradient, x) in pairs.clone() {
                sum += sum2(gradient, x, |g, _| g);
                product += sum2(gradient, x, |g, v| g * (v - mean));
            }
            let factor = scale[channel] * inverse;
            // g − mean(g) − x̂ · mean(g x̂), with x̂ = (x − mean) · inverse.
            let (level, slope) = if of_batch {
                let inverse = f64::from(inverse);
                ((sum / count) as f32, (product / count * inverse * inverse) as f32)
            } else {
                (0.0, 0.0)
            };
            for (sample, (gradient, x)) in pairs.enumerate() {
                // SAFETY: `write` gives the start of a plane that belongs to this task alone.
                let out = unsafe { std::slice::from_raw_parts_mut(write(sample), planes.area) };
                for ((out, &g), &v) in out.iter_mut().zip(gradient).zip(x) {
                    *out = (g - level - (v - mean) * slope) * factor;
                }
            }
            ((product * f64::from(inverse)) as f32, sum as f32)
        })
    });
    let (scale, shift) = sums.into_iter().unzip();
    Gradients { input, scale, shift }
}
