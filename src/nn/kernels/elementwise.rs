//! Element-wise kernels, vectorised for the processor at hand and cut over the threads of the current pool.

use super::buffer::written;
use rayon::prelude::*;

/// Elements per parallel piece: large enough to hide the cost of handing it over, small enough for the cache.
const PIECE: usize = 1 << 15;

/// Runs `work` compiled for the widest vectors of this processor. `work` must be small enough to be inlined.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// `f(x[i])` for every i.
pub fn mapped(x: &[f32], f: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    // SAFETY: pieces of equal length cover both sides, and every value of each is written.
    let run = |out: &mut [f32]| {
        pieces(out, x.len()).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
            vectorised(
                #[inline(always)]
                || out.iter_mut().zip(x).for_each(|(out, &x)| *out = f(x)),
            );
        });
    };
    unsafe { written(x.len(), run) }.0
}

/// `f(x[i], y[i])` for every i.
///
/// # Panics
/// When the lengths differ: a caller's defect.
pub fn zipped(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    assert_eq!(x.len(), y.len());
    // SAFETY: as in `mapped`.
    let run = |out: &mut [f32]| {
        pieces(out, x.len()).zip(x.par_chunks(PIECE).zip(y.par_chunks(PIECE))).for_each(|(out, (x, y))| {
            vectorised(
                #[inline(always)]
                || out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (&x, &y))| *out = f(x, y)),
            );
        });
    };
    unsafe { written(x.len(), run) }.0
}

/// `f(x[i], y[i], z[i])` for every i.
///
/// # Panics
/// When the lengths differ: a caller's defect.
pub fn zipped3(x: &[f32], y: &[f32], z: &[f32], f: impl Fn(f32, f32, f32) -> f32 + Sync) -> Vec<f32> {
    assert!(x.len() == y.len() && x.len() == z.len());
    // SAFETY: as in `mapped`.
    let run = |out: &mut [f32]| {
        let inputs = x.par_chunks(PIECE).zip(y.par_chunks(PIECE)).zip(z.par_chunks(PIECE));
        pieces(out, x.len()).zip(inputs).for_each(|(out, ((x, y), z))| {
            vectorised(
                #[inline(always)]
                || {
                    let inputs = x.iter().zip(y).zip(z);
                    out.iter_mut().zip(inputs).for_each(|(out, ((&x, &y), &z))| *out = f(x, y, z));
                },
            );
        });
    };
    unsafe { written(x.len(), run) }.0
}

/// The output in pieces for the threads.
fn pieces(out: &mut [f32], length: usize) -> rayon::slice::ChunksMut<'_, f32> {
    assert_eq!(out.len(), length);
    out.par_chunks_mut(PIECE)
}

/// Changes every value in place, in pieces over the threads: `f(value, x[i])`.
pub fn update(values: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    values.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(values, x)| {
        vectorised(
            #[inline(always)]
            || values.iter_mut().zip(x).for_each(|(value, &x)| *value = f(*value, x)),
        );
    });
}

/// Smallest and largest value; infinite for none. Values that are not numbers are passed over.
pub fn extremes(values: &[f32]) -> (f32, f32) {
    let none = (f32::INFINITY, f32::NEG_INFINITY);
    let of_piece = |piece: &[f32]| {
        vectorised(
            #[inline(always)]
            || piece.iter().fold(none, |(low, high), &value| (low.min(value), high.max(value))),
        )
    };
    let merge = |a: (f32, f32), b: (f32, f32)| (a.0.min(b.0), a.1.max(b.1));
    values.par_chunks(PIECE).map(of_piece).reduce(|| none, merge)
}

/// Coefficients of one Adam step (Kingma & Ba 2015, algorithm 1), bias corrections included.
#[derive(Clone, Copy, Debug)]
pub struct AdamCoefficients {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Learning rate divided by the bias correction of the first moment.
    pub step_size: f32,
    /// Reciprocal square root of the bias correction of the second moment.
    pub second_scale: f32,
    /// Added to the denominator.
    pub epsilon: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// Decoupled weight decay: what weights are multiplied by before the step; 1 for none.
    pub shrink: f32,
}

/// Decay of Adam's first moment, everywhere here.
pub const BETA1: f64 = 0.9;
/// Decay of its second moment.
pub const BETA2: f64 = 0.999;

impl AdamCoefficients {
    /// Those of step `step`, from 1, with ε 1e-8 and without weight decay.
    pub fn of_step(learning_rate: f64, step: i32) -> Self {
        Self {
            beta1: BETA1 as f32,
            beta2: BETA2 as f32,
            step_size: (learning_rate / (1.0 - BETA1.powi(step))) as f32,
            second_scale: (1.0 / (1.0 - BETA2.powi(step)).sqrt()) as f32,
            epsilon: 1e-8,
            weight_decay: 0.0,
            shrink: 1.0,
        }
    }
}

/// One Adam step in place on `weights` and both moments.
pub fn adam_step(
    weights: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    gradient: &[f32],
    c: AdamCoefficients,
) {
    weights
        .par_chunks_mut(PIECE)
        .zip(first.par_chunks_mut(PIECE))
        .zip(second.par_chunks_mut(PIECE))
        .zip(gradient.par_chunks(PIECE))
        .for_each(|(((w, m), v), g)| {
            vectorised(
                #[inline(always)]
                || {
                    for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
                        let g = g + c.weight_decay * *w;
                        *m = c.beta1 * *m + (1.0 - c.beta1) * g;
                        *v = c.beta2 * *v + (1.0 - c.beta2) * g * g;
                        *w = *w * c.shrink - c.step_size * *m / (v.sqrt() * c.second_scale + c.epsilon);
                    }
                },
            );
        });
}

/// Coefficients of one step of stochastic gradient descent.
#[derive(Clone, Copy, Debug)]
pub struct SgdCoefficients {
    /// Learning rate.
    pub learning_rate: f32,
    /// Momentum; 0 for none.
    pub momentum: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
}

/// One step of stochastic gradient descent in place on `weights` and `velocity`.
pub fn sgd_step(weights: &mut [f32], velocity: &mut [f32], gradient: &[f32], c: SgdCoefficients) {
    weights
        .par_chunks_mut(PIECE)
        .zip(velocity.par_chunks_mut(PIECE))
        .zip(gradient.par_chunks(PIECE))
        .for_each(|((w, v), g)| {
            vectorised(
                #[inline(always)]
                || {
                    for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
                        let g = g + c.weight_decay * *w;
                        *v = c.momentum * *v + g;
                        *w -= c.learning_rate * if c.nesterov { g + c.momentum * *v } else { *v };
                    }
                },
            );
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reductions over pieces agree with plain ones, also across the border of two pieces.
    #[test]
    fn reductions() {
        let values: Vec<f32> = (0..100_000).map(|i| ((i * 7919 % 100_003) as f32) - 50_000.0).collect();
        assert_eq!(extremes(&values).0, values.iter().copied().fold(f32::INFINITY, f32::min));
        assert_eq!(extremes(&values).1, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        assert_eq!(extremes(&[]), (f32::INFINITY, f32::NEG_INFINITY));
    }
}
