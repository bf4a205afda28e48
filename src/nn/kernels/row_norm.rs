//! Normalisation of rows: `length` values that lie side by side get mean 0 and variance 1. Sums are in f64.

use super::buffer::written;
use rayon::prelude::*;

/// Values that one task takes at least.
const PIECE: usize = 1 << 14;

/// Mean and 1 / √(variance + ε) of a row.
fn moments(row: &[f32], epsilon: f64) -> (f64, f64) {
    let count = row.len() as f64;
    let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// Values per task: whole rows.
fn piece(length: usize) -> usize {
    PIECE.div_ceil(length) * length
}

/// `(x − mean) / √(variance + ε)`, the (biased) variance and the mean of each row.
///
/// # Panics
/// When `x` is no whole number of rows: a caller's defect.
pub fn forward(x: &[f32], length: usize, epsilon: f64) -> Vec<f32> {
    assert!(length > 0 && x.len().is_multiple_of(length));
    let run = |out: &mut [f32]| {
        out.par_chunks_mut(piece(length)).zip(x.par_chunks(piece(length))).for_each(|(out, x)| {
            for (out, row) in out.chunks_exact_mut(length).zip(x.chunks_exact(length)) {
                let (mean, inverse) = moments(row, epsilon);
                out.iter_mut().zip(row).for_each(|(out, &v)| *out = ((f64::from(v) - mean) * inverse) as f32);
            }
        });
    };
    // SAFETY: rows of equal length cover both sides, and every value of each is written.
    unsafe { written(x.len(), run) }.0
}

/// Gradient of `⟨grad, forward(x)⟩` with respect to x; without `varies` the deviation is taken as a constant.
///
/// # Panics
/// When `grad` and `x` are not equally many whole rows: a caller's defect.
pub fn backward(grad: &[f32], x: &[f32], length: usize, epsilon: f64, varies: bool) -> Vec<f32> {
    assert!(length > 0 && x.len().is_multiple_of(length) && grad.len() == x.len());
    let of_row = |out: &mut [f32], grad: &[f32], row: &[f32]| {
        let (mean, inverse) = moments(row, epsilon);
        let count = length as f64;
        let normalised = |v: f32| (f64::from(v) - mean) * inverse;
        let sum = grad.iter().map(|&g| f64::from(g)).sum::<f64>() / count;
        let product = match varies {
            true => grad.iter().zip(row).map(|(&g, &v)| f64::from(g) * normalised(v)).sum::<f64>() / count,
            false => 0.0,
        };
        for ((out, &g), &v) in out.iter_mut().zip(grad).zip(row) {
            *out = ((f64::from(g) - sum - normalised(v) * product) * inverse) as f32;
        }
    };
    let run = |out: &mut [f32]| {
        let inputs = grad.par_chunks(piece(length)).zip(x.par_chunks(piece(length)));
        out.par_chunks_mut(piece(length)).zip(inputs).for_each(|(out, (grad, x))| {
            let rows = grad.chunks_exact(length).zip(x.chunks_exact(length));
            out.chunks_exact_mut(length).zip(rows).for_each(|(out, (grad, row))| of_row(out, grad, row));
        });
    };
    // SAFETY: as in `forward`.
    unsafe { written(x.len(), run) }.0
}
