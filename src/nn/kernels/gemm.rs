//! Matrix products on row-major slices through the `gemm` crate, which picks AVX-512 or AVX2 at run time.

use gemm::Parallelism;

/// A row-major matrix, possibly read as its transpose.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
}

impl<'a> Matrix<'a> {
    /// `rows × columns` values, row after row.
    ///
    /// # Panics
    /// When `values` is shorter than the matrix: a caller's defect.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(
            values.len() >= rows * columns,
            "matrix of {rows}×{columns} needs more than {} values",
            values.len()
        );
        Self { values, rows, columns, row_stride: columns as isize, column_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out ← left · right`, or `out ← out + left · right` with `accumulate`. `out` is row-major.
///
/// # Panics
/// When the shapes do not fit: a caller's defect.
pub fn multiply(out: &mut [f32], left: Matrix<'_>, right: Matrix<'_>, accumulate: bool, parallel: bool) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    assert_eq!(k, right.rows, "inner dimensions differ");
    assert!(out.len() >= m * n, "the product needs more room");
    let parallelism = match rayon::current_num_threads() {
        threads if parallel && threads > 1 => Parallelism::Rayon(threads),
        _ => Parallelism::None,
    };
    // SAFETY: `Matrix` proves that every (row, column) lies inside its slice, the assertions above that the product
    // does too, and `out` is borrowed exclusively, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            left.values.as_ptr(),
            left.column_stride,
            left.row_stride,
            right.values.as_ptr(),
            right.column_stride,
            right.row_stride,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
