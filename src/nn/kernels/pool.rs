//! Pooling over windows of any size, stride and padding, sample planes cut over the threads.

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

/// Largest value of each window; −∞ for a window that lies entirely in the padding.
pub fn max_forward(s: &PoolShape, x: &[f32], out: &mut [f32]) {
    let (input, output) = s.planes();
    out.par_chunks_exact_mut(output).zip(x.par_chunks_exact(input)).for_each(|(out, plane)| {
        for (index, out) in out.iter_mut().enumerate() {
            *out = s
                .argmax(plane, index / s.output[1], index % s.output[1])
                .map_or(f32::NEG_INFINITY, |at| plane[at]);
        }
    });
}

/// Sends each gradient to the first maximum of its window.
pub fn max_backward(s: &PoolShape, grad: &[f32], x: &[f32], grad_x: &mut [f32]) {
    let (input, output) = s.planes();
    grad_x
        .par_chunks_exact_mut(input)
        .zip(x.par_chunks_exact(input).zip(grad.par_chunks_exact(output)))
        .for_each(|(grad_x, (plane, grad))| {
            grad_x.fill(0.0);
            for (index, &g) in grad.iter().enumerate() {
                if let Some(at) = s.argmax(plane, index / s.output[1], index % s.output[1]) {
                    grad_x[at] += g;
                }
            }
        });
}

/// Mean of each window; padded zeros count.
pub fn average_forward(s: &PoolShape, x: &[f32], out: &mut [f32]) {
    let (input, output) = s.planes();
    let scale = 1.0 / (s.kernel[0] * s.kernel[1]) as f32;
    out.par_chunks_exact_mut(output).zip(x.par_chunks_exact(input)).for_each(|(out, plane)| {
        for (index, out) in out.iter_mut().enumerate() {
            let columns = s.window(1, index % s.output[1]);
            let rows = s.window(0, index / s.output[1]);
            let sum: f32 = rows.flat_map(|y| &plane[y * s.input[1]..][columns.clone()]).sum();
            *out = sum * scale;
        }
    });
}

/// Spreads each gradient evenly over its window.
pub fn average_backward(s: &PoolShape, grad: &[f32], grad_x: &mut [f32]) {
    let (input, output) = s.planes();
    let scale = 1.0 / (s.kernel[0] * s.kernel[1]) as f32;
    grad_x.par_chunks_exact_mut(input).zip(grad.par_chunks_exact(output)).for_each(|(grad_x, grad)| {
        grad_x.fill(0.0);
        for (index, &g) in grad.iter().enumerate() {
            let columns = s.window(1, index % s.output[1]);
            for y in s.window(0, index / s.output[1]) {
                grad_x[y * s.input[1]..][columns.clone()].iter_mut().for_each(|v| *v += g * scale);
            }
        }
    });
}
