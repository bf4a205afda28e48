//! Linear layers: x (batch, inputs), weight (outputs, inputs), y (batch, outputs).

use super::buffer::written;
use super::epilogue::Epilogue;
use super::gemm::{Matrix, multiply};
use super::transpose::{LANES, to_vectors};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::cell::RefCell;

/// Multiply-adds below which one thread does all: handing work over would cost more.
const SERIAL: usize = 1 << 19;

thread_local! {
    /// Transposed inputs and results, reused from call to call.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `x Wᵀ`, then `epilogue` per output.
///
/// The product is computed as `(W xᵀ)ᵀ`: the weights are then read once, in place, and only the small matrices are
/// transposed.
///
/// # Panics
/// When the slices do not fit the sizes: a caller's defect.
pub fn forward(
    x: &[f32],
    weight: &[f32],
    [batch, inputs, outputs]: [usize; 3],
    epilogue: &Epilogue<'_>,
) -> Vec<f32> {
    assert!(x.len() == batch * inputs && weight.len() == outputs * inputs && epilogue.fits(outputs));
    if batch * outputs == 0 {
        return Vec::new();
    }
    let mut scratch = SCRATCH.take();
    for (buffer, length) in scratch.iter_mut().zip([batch * inputs, batch * outputs]) {
        if buffer.len() < length {
            *buffer = vec![0.0; length];
        }
    }
    let [columns, product] = &mut scratch;
    let (columns, product) = (&mut columns[..batch * inputs], &mut product[..batch * outputs]);
    transpose(x, [batch, inputs], columns, &Epilogue::default());
    let parallel = batch * inputs * outputs > SERIAL;
    let columns = Matrix::new(columns, inputs, batch);
    let pieces = if parallel { rayon::current_num_threads() } else { 1 };
    let per_piece = outputs.div_ceil(pieces).next_multiple_of(4);
    let piece = |(product, weight): (&mut [f32], &[f32])| {
        multiply(product, Matrix::new(weight, product.len() / batch, inputs), columns, false, false);
    };
    if inputs == 0 {
        product.fill(0.0);
    } else if pieces > 1 {
        product.par_chunks_mut(per_piece * batch).zip(weight.par_chunks(per_piece * inputs)).for_each(piece);
    } else {
        piece((product, weight));
    }
    // SAFETY: the transpose writes every value.
    let (out, ()) =
        unsafe { written(batch * outputs, |out| transpose(product, [outputs, batch], out, epilogue)) };
    SCRATCH.replace(scratch);
    out
}

/// `to ← fromᵀ`, with `epilogue` per row of `from`; from has `[rows, columns]`.
fn transpose(from: &[f32], [rows, columns]: [usize; 2], to: &mut [f32], epilogue: &Epilogue<'_>) {
    assert!(from.len() >= rows * columns && to.len() == rows * columns && epilogue.fits(rows));
    let piece = |(index, to): (usize, &mut [f32])| {
        let first = index * PIECE;
        Arch::new().dispatch(Transpose { from, rows, columns, first, to, epilogue });
    };
    if rows * columns > 1 << 16 {
        to.par_chunks_mut(PIECE * rows).enumerate().for_each(piece);
    } else {
        to.chunks_mut(PIECE * rows).enumerate().for_each(piece);
    }
}

/// Rows of a transpose's result per task.
const PIECE: usize = 64;

/// Columns of `from` from `first` on, as many as `to` has rows.
struct Transpose<'a> {
    from: &'a [f32],
    rows: usize,
    columns: usize,
    first: usize,
    to: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
}

impl WithSimd for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, rows, columns, first, to, epilogue } = self;
        let count = to.len() / rows;
        let mut offsets = [0u32; PIECE];
        for (column, offset) in offsets.iter_mut().enumerate() {
            *offset = (column * rows) as u32;
        }
        let whole = rows - rows % LANES;
        for row in (0..whole).step_by(LANES) {
            // SAFETY: rows `row` to `row + 15` of `from` have `count` columns from `first` on, and each of the `count`
            // rows of `to` has room for sixteen values from `row` on.
            unsafe {
                let from = from.as_ptr().add(row * columns + first);
                to_vectors(simd, from, columns, &offsets[..count], to.as_mut_ptr().add(row));
            }
        }
        for row in whole..rows {
            let line = &from[row * columns + first..][..count];
            for (column, &value) in line.iter().enumerate() {
                to[column * rows + row] = value;
            }
        }
        if !epilogue.is_none() {
            to.chunks_exact_mut(rows).for_each(|line| epilogue.apply_across(line));
        }
    }
}

/// Gradient with respect to the input: `grad · W`.
///
/// # Panics
/// When the slices do not fit the sizes: a caller's defect.
pub fn backward_input(grad: &[f32], weight: &[f32], [batch, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    product(Matrix::new(grad, batch, outputs), Matrix::new(weight, outputs, inputs), [batch, outputs, inputs])
}

/// Gradient with respect to the weight: `gradᵀ · x`, summed over the batch.
///
/// # Panics
/// When the slices do not fit the sizes: a caller's defect.
pub fn backward_weight(grad: &[f32], x: &[f32], [batch, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    let grad = Matrix::new(grad, batch, outputs).transposed();
    product(grad, Matrix::new(x, batch, inputs), [outputs, batch, inputs])
}

fn product(left: Matrix<'_>, right: Matrix<'_>, [rows, depth, columns]: [usize; 3]) -> Vec<f32> {
    let parallel = rows * depth * columns > SERIAL;
    // SAFETY: the product writes all of its rows × columns values.
    unsafe { written(rows * columns, |out| multiply(out, left, right, false, parallel)) }.0
}
