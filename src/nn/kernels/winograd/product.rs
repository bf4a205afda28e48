//! Matrix products of transformed tiles, without packing: the operands already lie as the register tiles read them.

use pulp::Simd;

/// The left operand: value (row, k) is `values[row · self.row + k · self.step]`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub values: *const f32,
    pub row: usize,
    pub step: usize,
}

/// `out ← left · right`, or `out += left · right` with `accumulate`, for `[rows, columns, depth]`. Right and out are pairs of a start and
/// the distance between rows; columns are a multiple of the vector's length.
///
/// # Safety
/// The operands are readable and `out` is writable for these sizes.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(
    simd: S,
    [rows, columns, depth]: [usize; 3],
    left: Left,
    right: (*const f32, usize),
    out: (*mut f32, usize),
    accumulate: bool,
) {
    let vectors = columns / S::F32_LANES;
    // Accumulators, the operand's vectors and one factor have to fit the registers.
    let most = if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
    let mut vector = 0;
    while vector < vectors {
        let count = most.min(vectors - vector);
        // SAFETY: the columns of these vectors are part of the caller's.
        unsafe {
            let right = (right.0.add(vector * S::F32_LANES), right.1);
            let out = (out.0.add(vector * S::F32_LANES), out.1);
            match count {
                4 => all_rows::<S, 4>(simd, rows, depth, left, right, out, accumulate),
                3 => all_rows::<S, 3>(simd, rows, depth, left, right, out, accumulate),
                2 => all_rows::<S, 2>(simd, rows, depth, left, right, out, accumulate),
                _ => all_rows::<S, 1>(simd, rows, depth, left, right, out, accumulate),
            }
        }
        vector += count;
    }
}

/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn all_rows<S: Simd, const V: usize>(
    simd: S,
    rows: usize,
    depth: usize,
    left: Left,
    right: (*const f32, usize),
    out: (*mut f32, usize),
    accumulate: bool,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: these rows are part of the caller's.
        unsafe {
            let left = Left { values: left.values.add(row * left.row), ..left };
            let out = (out.0.add(row * out.1), out.1);
            row += match rows - row {
                6.. => tile::<S, 6, V>(simd, depth, left, right, out, accumulate),
                4.. => tile::<S, 4, V>(simd, depth, left, right, out, accumulate),
                2.. => tile::<S, 2, V>(simd, depth, left, right, out, accumulate),
                _ => tile::<S, 1, V>(simd, depth, left, right, out, accumulate),
            };
        }
    }
}

/// `ROWS` rows × `V` vectors of the product; gives `ROWS`.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const V: usize>(
    simd: S,
    depth: usize,
    left: Left,
    right: (*const f32, usize),
    out: (*mut f32, usize),
    accumulate: bool,
) -> usize {
    let mut sums = [[simd.splat_f32s(0.0); V]; ROWS];
    let (mut factors, mut values) = (left.values, right.0);
    for _ in 0..depth {
        // SAFETY: see the function's contract; the pointers move on after the last step only to be dropped.
        unsafe {
            let mut vectors = [simd.splat_f32s(0.0); V];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = values.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned();
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = simd.splat_f32s(*factors.add(row * left.row));
                for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                    *sum = simd.mul_add_f32s(factor, vector, *sum);
                }
            }
            factors = factors.wrapping_add(left.step);
            values = values.wrapping_add(right.1);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: see the function's contract.
            unsafe {
                let at = out.0.add(row * out.1 + v * S::F32_LANES).cast::<S::f32s>();
                let sum = if accumulate { simd.add_f32s(at.read_unaligned(), sum) } else { sum };
                at.write_unaligned(sum);
            }
        }
    }
    ROWS
}
