//! Average pooling to a given size: window i of n outputs over m inputs is ⌊i m / n⌋ .. ⌈(i + 1) m / n⌉, as in PyTorch.

use super::buffer::written;
use rayon::prelude::*;
use std::ops::Range;

/// Sizes of a plane (one channel of one sample) before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveShape {
    /// Input height and width, positive.
    pub input: [usize; 2],
    /// Output height and width, positive.
    pub output: [usize; 2],
}

impl AdaptiveShape {
    /// The inputs along `axis` of output `index`.
    pub fn window(&self, axis: usize, index: usize) -> Range<usize> {
        let (inputs, outputs) = (self.input[axis], self.output[axis]);
        index * inputs / outputs..((index + 1) * inputs).div_ceil(outputs)
    }

    /// Calls `f(output, first input of each row, columns)` for every output of a plane.
    fn each(&self, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        for y in 0..self.output[0] {
            for x in 0..self.output[1] {
                f(y * self.output[1] + x, self.window(0, y), self.window(1, x));
            }
        }
    }
}

/// Mean of each window.
///
/// # Panics
/// When `x` is no whole number of planes: a caller's defect.
pub fn forward(s: &AdaptiveShape, x: &[f32]) -> Vec<f32> {
    let [from, to] = [s.input, s.output].map(|[height, width]| height * width);
    assert!(from > 0 && to > 0 && x.len().is_multiple_of(from));
    let run = |out: &mut [f32]| {
        out.par_chunks_mut(to).zip(x.par_chunks(from)).for_each(|(out, plane)| {
            s.each(|at, rows, columns| {
                let count = (rows.len() * columns.len()) as f32;
                let sum: f32 = rows.flat_map(|y| &plane[y * s.input[1]..][columns.clone()]).sum();
                out[at] = sum / count;
            });
        });
    };
    // SAFETY: as many planes on both sides, and `each` visits every output of each.
    unsafe { written(x.len() / from * to, run) }.0
}

/// Spreads each gradient evenly over its window.
///
/// # Panics
/// When `grad` is no whole number of planes: a caller's defect.
pub fn backward(s: &AdaptiveShape, grad: &[f32]) -> Vec<f32> {
    let [to, from] = [s.input, s.output].map(|[height, width]| height * width);
    assert!(from > 0 && to > 0 && grad.len().is_multiple_of(from));
    let mut out = vec![0.0; grad.len() / from * to];
    out.par_chunks_mut(to).zip(grad.par_chunks(from)).for_each(|(plane, grad)| {
        s.each(|at, rows, columns| {
            let share = grad[at] / (rows.len() * columns.len()) as f32;
            for y in rows {
                plane[y * s.input[1]..][columns.clone()].iter_mut().for_each(|value| *value += share);
            }
        });
    });
    out
}
