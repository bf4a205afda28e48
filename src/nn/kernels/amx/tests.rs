use super::{Unit, operand_len, round};
use crate::rng::Rng;

/// Rounding is to the nearest of 8 significant bits, to even between two, and keeps what is no number.
#[test]
fn rounding_keeps_eight_bits() {
    let (half, three_halves) = (1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0);
    let mut values = [1.0, half, three_halves, -3.0e-3, f32::INFINITY, f32::NAN, 1.0e-45, 3.4e38];
    round(&mut values);
    assert_eq!(values[..3], [1.0, 1.0, 1.015_625]);
    assert!((values[3] + 3.0e-3).abs() <= 3.0e-3 / 256.0 && values[4].is_infinite() && values[5].is_nan());
    assert_eq!((values[6], values[7]), (0.0, f32::INFINITY));
}

/// Products on the unit are those of the rounded values, from all three ways to pack: within 1e-6 of the largest result of
/// their sums in f64, which is the error of sums in f32.
#[test]
fn products_are_those_of_rounded_values() {
    let Some(unit) = Unit::get() else {
        eprintln!("this machine has no AMX: nothing is tested");
        return;
    };
    let mut rng = Rng::stream(1, "amx");
    for (rows, columns, depth) in [(32, 32, 32), (64, 96, 160), (96, 64, 512), (64, 32, 50), (40, 32, 64)] {
        let mut random = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.normal()).collect() };
        let (left, right) = (random(rows * depth), random(depth * columns));
        let rounded = |values: &[f32]| {
            let mut values = values.to_vec();
            round(&mut values);
            values
        };
        let (l, r) = (rounded(&left), rounded(&right));
        let expected = |row: usize, column: usize| -> f64 {
            (0..depth).map(|k| f64::from(l[row * depth + k]) * f64::from(r[k * columns + column])).sum()
        };
        let expected: Vec<f64> = (0..rows * columns).map(|at| expected(at / columns, at % columns)).collect();
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let turned: Vec<f32> = (0..depth * rows).map(|at| left[at % rows * depth + at / rows]).collect();

        let mut of_right = vec![f32::NAN; operand_len(columns, depth)];
        unit.pack_columns(&right, columns, [columns, depth], &mut of_right);
        for transposed in [false, true] {
            let mut of_left = vec![0.0; operand_len(rows, depth)];
            match transposed {
                true if rows % 32 == 0 => unit.pack_transposed(&turned, rows, [rows, depth], &mut of_left),
                false if depth % 32 == 0 => unit.pack_rows(&left, depth, [rows, depth], &mut of_left),
                _ => continue,
            }
            let pitch = columns + 16;
            let mut out = vec![1.0f32; rows.next_multiple_of(32) * pitch];
            for accumulate in [false, true] {
                // SAFETY: `out` has whole blocks of rows, each longer than the columns.
                unsafe {
                    let out = (out.as_mut_ptr(), pitch);
                    unit.multiply([rows, columns, depth], &of_left, &of_right, out, accumulate);
                }
            }
            for (at, expected) in expected.iter().enumerate() {
                let actual = f64::from(out[at / columns * pitch + at % columns]) / 2.0;
                assert!(
                    (actual - expected).abs() <= 1e-6 * largest,
                    "{rows}×{columns}×{depth}, value {at}: {actual}, expected {expected}"
                );
            }
            assert!(out.chunks(pitch).all(|row| row[columns..].iter().all(|&beside| beside == 1.0)));
        }
    }
}
