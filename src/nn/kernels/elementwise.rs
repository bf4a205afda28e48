//! Element-wise kernels, vectorised for the processor at hand and cut over the threads of the current pool.

use rayon::prelude::*;

/// Elements per parallel piece: large enough to hide the cost of handing it over, small enough for the cache.
const PIECE: usize = 1 << 15;

/// Runs `work` compiled for the widest vectors of this processor. `work` must be small enough to be inlined.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// `out[i] = f(x[i])`.
pub fn map(out: &mut [f32], x: &[f32], f: impl Fn(f32) -> f32 + Sync) {
    out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
        vectorised(|| out.iter_mut().zip(x).for_each(|(out, &x)| *out = f(x)));
    });
}

/// `out[i] = f(x[i], y[i])`.
pub fn zip(out: &mut [f32], x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE).zip(y.par_chunks(PIECE))).for_each(|(out, (x, y))| {
        vectorised(|| out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (&x, &y))| *out = f(x, y)));
    });
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
            vectorised(|| {
                for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
                    let g = g + c.weight_decay * *w;
                    *m = c.beta1 * *m + (1.0 - c.beta1) * g;
                    *v = c.beta2 * *v + (1.0 - c.beta2) * g * g;
                    *w -= c.step_size * *m / (v.sqrt() * c.second_scale + c.epsilon);
                }
            });
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
            vectorised(|| {
                for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
                    let g = g + c.weight_decay * *w;
                    *v = c.momentum * *v + g;
                    *w -= c.learning_rate * if c.nesterov { g + c.momentum * *v } else { *v };
                }
            });
        });
}
