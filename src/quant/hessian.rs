//! The factor by which layer-wise methods spread a rounding error over the weights that are still free: the upper
//! Cholesky factor of the inverse of a damped second-moment matrix. Dense f64, row-major.

use rayon::prelude::*;

/// Values in a step of the factorisation above which threads share it.
const SHARED: usize = 1 << 16;

/// `matrix + damping · mean of its diagonal · 1`. A matrix that is zero everywhere becomes the identity.
pub(super) fn damped(matrix: &[f64], size: usize, damping: f64) -> Vec<f64> {
    let mut out = matrix.to_vec();
    let mean = mean_diagonal(matrix, size);
    let added = if mean > 0.0 { damping * mean } else { 1.0 };
    out.iter_mut().step_by(size + 1).for_each(|value| *value += added);
    out
}

/// Mean of the diagonal; 0 for none.
fn mean_diagonal(matrix: &[f64], size: usize) -> f64 {
    matrix.iter().step_by(size + 1).sum::<f64>() / size.max(1) as f64
}

/// The upper triangular `U` with `Uᵀ U = matrix⁻¹`; `None` where the matrix is not positive definite or not finite.
///
/// With `R` upper triangular and `matrix = R Rᵀ` (Cholesky from the last row up), `U = R⁻¹`: the inverse itself, and with it
/// half of the digits, is never needed.
pub(super) fn upper_of_inverse(matrix: &[f64], size: usize) -> Option<Vec<f64>> {
    let mut upper = factor_upwards(matrix.to_vec(), size)?;
    invert_upper(&mut upper, size);
    upper.iter().all(|value| value.is_finite()).then_some(upper)
}

/// `R` upper triangular with `matrix = R Rᵀ`; the lower part is zero.
fn factor_upwards(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    let mut column = vec![0.0; size];
    for last in (0..size).rev() {
        let pivot = matrix[last * size + last];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        let root = pivot.sqrt();
        for (row, entry) in column[..last].iter_mut().enumerate() {
            *entry = matrix[row * size + last] / root;
        }
        for row in 0..last {
            matrix[row * size + last] = column[row];
        }
        matrix[last * size + last] = root;
        matrix[last * size..][..last].fill(0.0);
        // The upper part of the rest: what lies below is filled with zeros later.
        let work = |(row, values): (usize, &mut [f64])| {
            let factor = column[row];
            values[row..last].iter_mut().zip(&column[row..last]).for_each(|(v, c)| *v -= factor * c);
        };
        let rest = &mut matrix[..last * size];
        if last * last > SHARED {
            rest.par_chunks_mut(size).enumerate().for_each(work);
        } else {
            rest.chunks_mut(size).enumerate().for_each(work);
        }
    }
    Some(matrix)
}

/// Inverts an upper triangular matrix in place.
fn invert_upper(matrix: &mut [f64], size: usize) {
    let mut line = vec![0.0; size];
    for row in (0..size).rev() {
        let inverse = 1.0 / matrix[row * size + row];
        line[row..].fill(0.0);
        for other in row + 1..size {
            let factor = matrix[row * size + other];
            if factor != 0.0 {
                let known = &matrix[other * size + other..][..size - other];
                line[other..].iter_mut().zip(known).for_each(|(sum, value)| *sum += factor * value);
            }
        }
        let out = &mut matrix[row * size..][..size];
        out[row + 1..].iter_mut().zip(&line[row + 1..]).for_each(|(value, sum)| *value = -inverse * sum);
        out[row] = inverse;
    }
}

/// `row · Uᵀ U`: a row times the inverse whose factor is `upper`.
pub(super) fn times_inverse(row: &[f64], upper: &[f64]) -> Vec<f64> {
    let size = row.len();
    let mut out = vec![0.0; size];
    for (index, line) in upper.chunks_exact(size.max(1)).enumerate() {
        let product: f64 = line[index..].iter().zip(&row[index..]).map(|(u, w)| u * w).sum();
        out[index..].iter_mut().zip(&line[index..]).for_each(|(sum, u)| *sum += product * u);
    }
    out
}

/// The matrix with rows and columns in another order.
pub(super) fn permuted(matrix: &[f64], order: &[usize]) -> Vec<f64> {
    let size = order.len();
    order.iter().flat_map(|&row| order.iter().map(move |&column| matrix[row * size + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(size: usize) -> Vec<f64> {
        let columns = 2 * size;
        let x: Vec<f64> =
            (0..size * columns).map(|i| ((i * 7919 % 1009) as f64 / 500.0 - 1.0).powi(3)).collect();
        let dot = |a: usize, b: usize| -> f64 {
            (0..columns).map(|c| x[a * columns + c] * x[b * columns + c]).sum()
        };
        (0..size * size).map(|i| dot(i / size, i % size)).collect()
    }

    /// `Uᵀ U` times the matrix is the identity, small and large enough for several threads; rows times the inverse agree.
    #[test]
    fn factor_is_that_of_the_inverse() {
        for size in [1, 5, 300] {
            let damped = damped(&matrix(size), size, 0.01);
            let upper = upper_of_inverse(&damped, size).unwrap();
            for row in 0..size {
                assert!(upper[row * size..][..row].iter().all(|value| *value == 0.0));
                let back = times_inverse(&damped[row * size..][..size], &upper);
                for (column, value) in back.iter().enumerate() {
                    assert!((value - f64::from(u8::from(row == column))).abs() < 1e-8, "{size}: {value}");
                }
            }
        }
    }

    /// What has no such factor is told, not computed with.
    #[test]
    fn matrices_without_a_factor() {
        assert_eq!(upper_of_inverse(&[1.0, 2.0, 2.0, 1.0], 2), None);
        assert_eq!(upper_of_inverse(&[f64::NAN], 1), None);
        assert_eq!(damped(&[0.0; 4], 2, 0.01), [1.0, 0.0, 0.0, 1.0]);
    }
}
