//! Batch normalisation of (batch, channels, area) arrays, alone or followed by ReLU.
//!
//! A task handles one channel through all its passes: a channel of a batch fits the second-level cache, so main
//! memory is read and written once.

use super::batch_norm_sums::{LANES, Line, gradient_sums, moments};
use super::buffer::written;
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

/// What a batch normalisation does besides its values.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Sizes.
    pub planes: Planes,
    /// Scale per channel.
    pub scale: &'a [f32],
    /// Shift per channel.
    pub shift: &'a [f32],
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether max(·, 0) follows.
    pub relu: bool,
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

/// Values that are added up at a time: a piece of a plane, or several small planes side by side.
const BLOCK: usize = 1024;

impl Planes {
    fn samples(&self, length: usize) -> usize {
        length / (self.channels * self.area).max(1)
    }

    /// The plane of `channel` in `sample`.
    #[inline(always)]
    fn of<'a>(&self, x: &'a [f32], sample: usize, channel: usize) -> &'a [f32] {
        &x[(sample * self.channels + channel) * self.area..][..self.area]
    }

    /// Samples whose planes are gathered to one block; 1 where planes are long enough as they are.
    fn gathered(&self) -> usize {
        if self.area >= 2 * LANES { 1 } else { BLOCK / self.area.max(1) }
    }

    /// Copies the planes of some samples side by side.
    #[inline(always)]
    fn gather(
        &self,
        x: &[f32],
        samples: std::ops::Range<usize>,
        channel: usize,
        block: &mut [f32; BLOCK],
    ) -> usize {
        let mut end = 0;
        for sample in samples {
            let plane = self.of(x, sample, channel);
            for (to, &from) in block[end..].iter_mut().zip(plane) {
                *to = from;
            }
            end += self.area;
        }
        end
    }

    /// Computes `per_channel(channel, write)` in parallel; `write(sample)` is the output plane of that sample.
    ///
    /// # Safety
    /// `per_channel` writes all planes of its channel.
    unsafe fn write<R: Send>(
        &self,
        length: usize,
        per_channel: impl Fn(usize, &dyn Fn(usize) -> *mut f32) -> R + Sync,
    ) -> (Vec<f32>, Vec<R>) {
        let run = |out: &mut [f32]| {
            let target = Target(out.as_mut_ptr());
            let run = |channel| {
                let target = &target;
                per_channel(channel, &|sample| {
                    let offset = (sample * self.channels + channel) * self.area;
                    assert!(offset + self.area <= length);
                    // SAFETY: the assertion keeps the plane inside the output.
                    unsafe { target.0.add(offset) }
                })
            };
            // Little work is done faster than it is handed over.
            if length < 1 << 14 {
                (0..self.channels).map(run).collect()
            } else {
                (0..self.channels).into_par_iter().map(run).collect()
            }
        };
        // SAFETY: channels and samples cover the output, and the caller promises that each plane is written.
        unsafe { written(length, run) }
    }
}

/// 1 / √(variance + ε) in the precision the kernels use.
fn inverse_deviation(variance: f32, epsilon: f64) -> f32 {
    (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32
}

impl Norm<'_> {
    fn line(&self, channel: usize, mean: f32, variance: f32) -> Line {
        let factor = self.scale[channel] * inverse_deviation(variance, self.epsilon);
        Line { mean, factor, shift: self.shift[channel] }
    }

    /// Mean and biased variance of one channel; blocks are merged as in Chan, Golub & LeVeque 1979.
    #[inline(always)]
    fn statistics(&self, x: &[f32], channel: usize) -> (f32, f32) {
        let (samples, step) = (self.planes.samples(x.len()), self.planes.gathered());
        let (mut count, mut sum, mut squares) = (0.0f64, 0.0f64, 0.0f64);
        let mut buffer = [0.0f32; BLOCK];
        let mut sample = 0;
        while sample < samples {
            let end = samples.min(sample + step);
            let block = if step == 1 {
                self.planes.of(x, sample, channel)
            } else {
                let length = self.planes.gather(x, sample..end, channel, &mut buffer);
                &buffer[..length]
            };
            let (of_block, differences) = moments(block);
            let size = block.len() as f64;
            if count > 0.0 {
                let between = of_block / size - sum / count;
                squares += between * between * count * size / (count + size);
            }
            squares += differences;
            sum += of_block;
            count += size;
            sample = end;
        }
        ((sum / count) as f32, (squares / count) as f32)
    }

    /// Normalises with the statistics of the batch itself, which come back beside the output.
    pub fn forward_training(&self, x: &[f32]) -> (Vec<f32>, Statistics) {
        let (planes, samples) = (self.planes, self.planes.samples(x.len()));
        let per_channel = |channel: usize, write: &dyn Fn(usize) -> *mut f32| {
            vectorised(
                #[inline(always)]
                || {
                    let (mean, variance) = self.statistics(x, channel);
                    let line = self.line(channel, mean, variance);
                    for sample in 0..samples {
                        let plane = planes.of(x, sample, channel);
                        // SAFETY: `write` gives the start of a plane that belongs to this task alone.
                        let out = unsafe { std::slice::from_raw_parts_mut(write(sample), planes.area) };
                        if self.relu {
                            for (out, &v) in out.iter_mut().zip(plane) {
                                let y = line.at(v);
                                // A comparison instead of `max`: what is not a number stays visible.
                                *out = if y < 0.0 { 0.0 } else { y };
                            }
                        } else {
                            for (out, &v) in out.iter_mut().zip(plane) {
                                *out = line.at(v);
                            }
                        }
                    }
                    (mean, variance)
                },
            )
        };
        // SAFETY: the loop over samples writes every plane of the channel.
        let (out, statistics) = unsafe { planes.write(x.len(), per_channel) };
        let (mean, variance) = statistics.into_iter().unzip();
        (out, Statistics { mean, variance })
    }

    /// The gradients; `of_batch` says whether `statistics` are those of `x` (training), so that the gradient flows
    /// through them, or constants (evaluation).
    pub fn backward(
        &self,
        gradient: &[f32],
        x: &[f32],
        statistics: &Statistics,
        of_batch: bool,
    ) -> Gradients {
        if self.relu {
            self.backward_masked::<true>(gradient, x, statistics, of_batch)
        } else {
            self.backward_masked::<false>(gradient, x, statistics, of_batch)
        }
    }

    #[inline(always)]
    fn sums<const RELU: bool>(&self, line: Line, gradient: &[f32], x: &[f32], channel: usize) -> (f64, f64) {
        let (samples, step) = (self.planes.samples(x.len()), self.planes.gathered());
        let (mut sum, mut product) = (0.0, 0.0);
        let mut buffers = [[0.0f32; BLOCK]; 2];
        let mut sample = 0;
        while sample < samples {
            let end = samples.min(sample + step);
            let (s, p) = if step == 1 {
                let (g, v) = (self.planes.of(gradient, sample, channel), self.planes.of(x, sample, channel));
                gradient_sums::<RELU>(line, g, v)
            } else {
                let [g, v] = &mut buffers;
                self.planes.gather(gradient, sample..end, channel, g);
                let length = self.planes.gather(x, sample..end, channel, v);
                gradient_sums::<RELU>(line, &g[..length], &v[..length])
            };
            sum += s;
            product += p;
            sample = end;
        }
        (sum, product)
    }

    fn backward_masked<const RELU: bool>(
        &self,
        gradient: &[f32],
        x: &[f32],
        statistics: &Statistics,
        of_batch: bool,
    ) -> Gradients {
        let (planes, samples) = (self.planes, self.planes.samples(x.len()));
        let count = (x.len() / planes.channels.max(1)) as f64;
        let per_channel = |channel: usize, write: &dyn Fn(usize) -> *mut f32| {
            vectorised(
                #[inline(always)]
                || {
                    let variance = statistics.variance[channel];
                    let line = self.line(channel, statistics.mean[channel], variance);
                    let (sum, product) = self.sums::<RELU>(line, gradient, x, channel);
                    let inverse = f64::from(inverse_deviation(variance, self.epsilon));
                    // g − mean(g) − x̂ · mean(g x̂), with x̂ = (x − mean) · inverse.
                    let (level, slope) = if of_batch {
                        ((sum / count) as f32, (product / count * inverse * inverse) as f32)
                    } else {
                        (0.0, 0.0)
                    };
                    for sample in 0..samples {
                        let (g, v) = (planes.of(gradient, sample, channel), planes.of(x, sample, channel));
                        // SAFETY: `write` gives the start of a plane that belongs to this task alone.
                        let out = unsafe { std::slice::from_raw_parts_mut(write(sample), planes.area) };
                        for ((out, &g), &v) in out.iter_mut().zip(g).zip(v) {
                            *out =
                                (line.masked::<RELU>(g, v) - level - (v - line.mean) * slope) * line.factor;
                        }
                    }
                    ((product * inverse) as f32, sum as f32)
                },
            )
        };
        // SAFETY: the loop over samples writes every plane of the channel.
        let (input, sums) = unsafe { planes.write(x.len(), per_channel) };
        let (scale, shift) = sums.into_iter().unzip();
        Gradients { input, scale, shift }
    }
}
