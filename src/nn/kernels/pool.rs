//! Pooling over windows of any size, stride and padding, sample planes cut over the threads.

use super::buffer::written;
use super::elementwise::vectorised;
use rayon::prelude::*;

/// Everything about a pooling but its values. A plane is one channel of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Input height and width.
    pub input: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding on each side.
    pub padding: [usize; 2],
}

impl PoolShape {
    /// The part of the window of output `index` along `axis` that lies inside the input.
    fn window(&self, axis: usize, index: usize) -> std::ops::Range<usize> {
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.input[axis]);
        start.saturating_sub(self.padding[axis]).min(end)..end
    }

    fn planes(&self) -> (usize, usize) {
        (self.input[0] * self.input[1], self.output[0] * self.output[1])
    }

    /// Position in the plane of the first maximum of the window (NaN counts as the largest, as in PyTorch).
    fn argmax(&self, plane: &[f32], oy: usize, ox: usize) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for y in self.window(0, oy) {
            for x in self.window(1, ox) {
                let at = y * self.input[1] + x;
                let value = plane[at];
                if best.is_none_or(|(_, best)| value > best || (value.is_nan() && !best.is_nan())) {
                    best = Some((at, value));
                }
            }
        }
        best.map(|(at, _)| at)
    }
}

impl PoolShape {
    /// Windows of 2×2 that neither overlap nor leave gaps: the usual case, and one that vectorises.
    fn is_halving(&self) -> bool {
        self.kernel == [2, 2] && self.stride == [2, 2] && self.padding == [0, 0]
    }

    /// The two input rows of an output row, cut to whole windows.
    #[inline(always)]
    fn row_pair<'a>(&self, plane: &'a [f32], row: usize) -> (&'a [[f32; 2]], &'a [[f32; 2]]) {
        let width = self.input[1];
        let pair = &plane[2 * row * width..][..2 * width];
        (pair[..width].as_chunks().0, pair[width..].as_chunks().0)
    }
}

/// The larger of two values, the first of equal ones; what is not a number is larger than all.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if second_wins(a, b) { b } else { a }
}

#[inline(always)]
fn second_wins(a: f32, b: f32) -> bool {
    // Without short cuts, so that the selection vectorises.
    (b > a) | (b.is_nan() & !a.is_nan())
}

/// Planes that one task takes: enough values to be worth handing over.
fn planes_per_task(values: usize) -> usize {
    (1 << 14) / values.max(1) + 1
}

/// Largest value of each window; −∞ for a window that lies entirely in the padding.
///
/// # Panics
/// When `x` is no whole number of planes: a caller's defect.
pub fn max_forward(s: &PoolShape, x: &[f32]) -> Vec<f32> {
    let (input, output) = s.planes();
    per_plane(
        x,
        [input, output],
        #[inline(always)]
        |out, plane| {
            if s.is_halving() {
                for (row, out) in out.chunks_exact_mut(s.output[1]).enumerate() {
                    let (above, below) = s.row_pair(plane, row);
                    for ((out, above), below) in out.iter_mut().zip(above).zip(below) {
                        *out = larger(larger(above[0], above[1]), larger(below[0], below[1]));
                    }
                }
                return;
            }
            for (index, out) in out.iter_mut().enumerate() {
                *out = s
                    .argmax(plane, index / s.output[1], index % s.output[1])
                    .map_or(f32::NEG_INFINITY, |at| plane[at]);
            }
        },
    )
}

/// Fills each plane of `output` values from a plane of `input` values.
fn per_plane(x: &[f32], [input, output]: [usize; 2], plane: impl Fn(&mut [f32], &[f32]) + Sync) -> Vec<f32> {
    assert!(input > 0 && x.len().is_multiple_of(input));
    let count = planes_per_task(input.max(output));
    if output == 0 {
        return Vec::new();
    }
    let run = |out: &mut [f32]| {
        out.par_chunks_mut(count * output).zip(x.par_chunks(count * input)).for_each(|(out, x)| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, x) in out.chunks_exact_mut(output).zip(x.chunks_exact(input)) {
                        plane(out, x);
                    }
                },
            );
        });
    };
    // SAFETY: as many planes on both sides, and `plane` writes all values of each: its callers see to that.
    unsafe { written(x.len() / input * output, run) }.0
}

/// Sends each gradient to the first maximum of its window.
///
/// # Panics
/// When `grad` and `x` do not have the same number of whole planes: a caller's defect.
pub fn max_backward(s: &PoolShape, grad: &[f32], x: &[f32]) -> Vec<f32> {
    let (input, output) = s.planes();
    assert!(input > 0 && x.len() / input * output == grad.len());
    let count = planes_per_task(input);
    let run = |grad_x: &mut [f32]| {
        grad_x
            .par_chunks_mut(count * input)
            .zip(x.par_chunks(count * input).zip(grad.par_chunks(count * output)))
            .for_each(|(grad_x, (x, grad))| {
                vectorised(
                    #[inline(always)]
                    || {
                        let inputs = x.chunks_exact(input).zip(grad.chunks_exact(output));
                        for (grad_x, (plane, grad)) in grad_x.chunks_exact_mut(input).zip(inputs) {
                            max_backward_plane(s, grad_x, plane, grad);
                        }
                    },
                );
            });
    };
    // SAFETY: both ways write every value of each plane.
    unsafe { written(x.len(), run) }.0
}

#[inline(always)]
fn max_backward_plane(s: &PoolShape, grad_x: &mut [f32], plane: &[f32], grad: &[f32]) {
    if s.is_halving() {
        return halving_backward(s, grad_x, plane, grad);
    }
    grad_x.fill(0.0);
    for (index, &g) in grad.iter().enumerate() {
        if let Some(at) = s.argmax(plane, index / s.output[1], index % s.output[1]) {
            grad_x[at] += g;
        }
    }
}

/// [`max_backward`] of one plane for windows of 2×2.
#[inline(always)]
fn halving_backward(s: &PoolShape, grad_x: &mut [f32], plane: &[f32], grad: &[f32]) {
    let width = s.input[1];
    // What no window covers: the last row and column of odd sizes.
    grad_x[2 * s.output[0] * width..].fill(0.0);
    for (row, grad) in grad.chunks_exact(s.output[1]).enumerate() {
        let (above, below) = s.row_pair(plane, row);
        let (to_above, to_below) = grad_x[2 * row * width..][..2 * width].split_at_mut(width);
        if width % 2 == 1 {
            (to_above[width - 1], to_below[width - 1]) = (0.0, 0.0);
        }
        let to = to_above.as_chunks_mut().0.iter_mut().zip(to_below.as_chunks_mut().0);
        for (((to_above, to_below), (above, below)), &g) in to.zip(above.iter().zip(below)).zip(grad) {
            let first_row = !second_wins(larger(above[0], above[1]), larger(below[0], below[1]));
            let second = [second_wins(above[0], above[1]), second_wins(below[0], below[1])];
            *to_above =
                [if first_row & !second[0] { g } else { 0.0 }, if first_row & second[0] { g } else { 0.0 }];
            *to_below =
                [if !first_row & !second[1] { g } else { 0.0 }, if !first_row & second[1] { g } else { 0.0 }];
        }
    }
}

/// Mean of each window; padded zeros count.
///
/// # Panics
/// When `x` is no whole number of planes: a caller's defect.
pub fn average_forward(s: &PoolShape, x: &[f32]) -> Vec<f32> {
    let (input, output) = s.planes();
    let scale = 1.0 / (s.kernel[0] * s.kernel[1]) as f32;
    per_plane(
        x,
        [input, output],
        #[inline(always)]
        |out, plane| {
            for (index, out) in out.iter_mut().enumerate() {
                let columns = s.window(1, index % s.output[1]);
                let rows = s.window(0, index / s.output[1]);
                let sum: f32 = rows.flat_map(|y| &plane[y * s.input[1]..][columns.clone()]).sum();
                *out = sum * scale;
            }
        },
    )
}

/// Spreads each gradient evenly over its window.
///
/// # Panics
/// When `grad` is no whole number of planes: a caller's defect.
pub fn average_backward(s: &PoolShape, grad: &[f32]) -> Vec<f32> {
    let (input, output) = s.planes();
    let scale = 1.0 / (s.kernel[0] * s.kernel[1]) as f32;
    per_plane(
        grad,
        [output, input],
        #[inline(always)]
        |grad_x, grad| {
            grad_x.fill(0.0);
            for (index, &g) in grad.iter().enumerate() {
                let columns = s.window(1, index % s.output[1]);
                for y in s.window(0, index / s.output[1]) {
                    grad_x[y * s.input[1]..][columns.clone()].iter_mut().for_each(|v| *v += g * scale);
                }
            }
        },
    )
}
