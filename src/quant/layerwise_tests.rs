//! OPTQ and CERWU against what they are defined by: the optimal brain surgeon's procedure written out, and the errors that
//! it is for.

use super::build;
use super::calibration::{CalibrationData, LayerCalibration, Moments};
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::rate::{RateModel, neighbour};
use serde_json::{Map, Value, json};

/// Correlated inputs: X (size × columns), row-major.
fn inputs(size: usize, columns: usize) -> Vec<f64> {
    let noise = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 7) % 2003) as f64 / 1001.0 - 1.0;
    (0..size * columns)
        .map(|at| {
            let (row, column) = (at / columns, at % columns);
            0.6 * noise(column * 31 + 7) + 0.8 * noise(at * 3 + 1) + 0.1 * (row % 3) as f64
        })
        .collect()
}

fn moments(size: usize, columns: usize) -> Vec<f64> {
    let x = inputs(size, columns);
    let dot =
        |a: usize, b: usize| -> f64 { (0..columns).map(|c| x[a * columns + c] * x[b * columns + c]).sum() };
    (0..size * size).map(|at| 2.0 * dot(at / size, at % size)).collect()
}

fn weights(count: usize) -> Vec<f32> {
    (0..count).map(|i| (((i * 7919) % 1999) as f32 / 1000.0 - 1.0).powi(3) * 0.4).collect()
}

const COLUMNS: usize = 200;

/// Levels that a method gives a layer of `shape` (outputs, size) in `groups`, and the step.
fn levels(method: &str, bits: u32, shape: [usize; 2], groups: usize, parameters: Value) -> (Vec<i32>, f64) {
    let values = weights(shape[0] * shape[1]);
    let tensor = WeightTensor { name: "w", shape: &shape, values: &values };
    let parameters: Map<String, Value> = parameters.as_object().unwrap().clone();
    let (mut quantizer, _) = build(method, Some(bits), &parameters).unwrap();
    quantizer.initialize(&[tensor]).unwrap();
    let size = shape[1];
    let groups = (0..groups).map(|group| moments(size, COLUMNS - group)).collect();
    let data = CalibrationData::Moments(Moments { size, columns: COLUMNS, groups });
    quantizer.calibrate(0, tensor, LayerCalibration { name: "w".into(), samples: COLUMNS, data }).unwrap();
    let found = quantizer.assign(&[tensor], None, StepInfo::POST_TRAINING).unwrap();
    let again = quantizer.assign(&[tensor], None, StepInfo::POST_TRAINING).unwrap();
    assert_eq!(found, again, "the first assignment is what calibration found");
    let Content::Levels { positions, codebook } = &found[0].content else { panic!("levels") };
    (codebook.levels_of(positions), f64::from(codebook.value(1)))
}

/// The inverse by Gauss–Jordan elimination.
fn inverse(matrix: &[f64], size: usize) -> Vec<f64> {
    let mut left = matrix.to_vec();
    let mut right: Vec<f64> =
        (0..size * size).map(|at| f64::from(u8::from(at / size == at % size))).collect();
    for pivot in 0..size {
        let scale = left[pivot * size + pivot];
        for column in 0..size {
            left[pivot * size + column] /= scale;
            right[pivot * size + column] /= scale;
        }
        for row in (0..size).filter(|row| *row != pivot) {
            let factor = left[row * size + pivot];
            for column in 0..size {
                left[row * size + column] -= factor * left[pivot * size + column];
                right[row * size + column] -= factor * right[pivot * size + column];
            }
        }
    }
    right
}

fn damped(matrix: &[f64], size: usize, damping: f64) -> Vec<f64> {
    let mut out = matrix.to_vec();
    let mean = (0..size).map(|i| matrix[i * size + i]).sum::<f64>() / size as f64;
    (0..size).for_each(|i| out[i * size + i] += damping * mean);
    out
}

/// The procedure as it is defined: quantize the next weight, correct all free ones by `−(w − q) / [H⁻¹]ⱼⱼ · H⁻¹ⱼ`, take the
/// weight out of H⁻¹ by one step of elimination.
fn reference(row: &[f32], hessian: &[f64], order: &[usize], step: f64, range: [i32; 2]) -> Vec<i32> {
    let size = row.len();
    let mut inverse = inverse(hessian, size);
    let mut rest: Vec<f64> = row.iter().map(|&w| f64::from(w)).collect();
    let mut levels = vec![0; size];
    for &at in order {
        let level = (rest[at] / step).round_ties_even().clamp(f64::from(range[0]), f64::from(range[1]));
        levels[at] = level as i32;
        let diagonal = inverse[at * size + at];
        let error = (rest[at] - level * step) / diagonal;
        for other in 0..size {
            rest[other] -= error * inverse[at * size + other];
        }
        let line = inverse[at * size..][..size].to_vec();
        for a in 0..size {
            for b in 0..size {
                inverse[a * size + b] -= line[a] * line[b] / diagonal;
            }
        }
    }
    levels
}

fn range(bits: u32, levels: &[i32]) -> [i32; 2] {
    // The extra level is on the side that has it here.
    let half = 1 << (bits - 1);
    match levels.iter().max() {
        Some(&highest) if highest == half => [1 - half, half],
        _ => [-half, half - 1],
    }
}

/// The Cholesky form gives the levels of the procedure written out, for both orders, blocks of any size, groups, and bit
/// widths at which weights are clamped and at which they are not.
#[test]
fn optq_is_the_procedure_written_out() {
    let shape = [6, 24];
    for (bits, order, block, groups) in [
        (2, "natural", 128, 1),
        (3, "natural", 1, 1),
        (4, "natural", 7, 2),
        (3, "diagonal", 5, 1),
        (4, "diagonal", 128, 2),
    ] {
        let (found, step) = levels("optq", bits, shape, groups, json!({"order": order, "block": block}));
        let values = weights(shape[0] * shape[1]);
        let mut expected = Vec::new();
        for (index, row) in values.chunks(shape[1]).enumerate() {
            let group = index / (shape[0] / groups);
            let plain = moments(shape[1], COLUMNS - group);
            let mut columns: Vec<usize> = (0..shape[1]).collect();
            if order == "diagonal" {
                columns.sort_by(|&a, &b| plain[b * shape[1] + b].total_cmp(&plain[a * shape[1] + a]));
            }
            let hessian = damped(&plain, shape[1], 0.01);
            expected.extend(reference(row, &hessian, &columns, step, range(bits, &found)));
        }
        assert_eq!(found, expected, "{bits} bit, {order}, block {block}, {groups} groups");
    }
}

/// With a step per output, every row is the procedure's on its own grid.
#[test]
fn rows_have_their_own_grids() {
    let shape = [6, 24];
    let values: Vec<f32> = weights(6 * 24).iter().enumerate().map(|(i, w)| w * (1 + i / 24) as f32).collect();
    let tensor = WeightTensor { name: "w", shape: &shape, values: &values };
    let parameters = json!({"granularity": "channel"});
    let (mut quantizer, _) = build("optq", Some(3), parameters.as_object().unwrap()).unwrap();
    quantizer.initialize(&[tensor]).unwrap();
    let data =
        CalibrationData::Moments(Moments { size: 24, columns: COLUMNS, groups: vec![moments(24, COLUMNS)] });
    quantizer.calibrate(0, tensor, LayerCalibration { name: "w".into(), samples: COLUMNS, data }).unwrap();
    let found = quantizer.assign(&[tensor], None, StepInfo::POST_TRAINING).unwrap();
    let Content::Levels { positions, codebook } = &found[0].content else { panic!("levels") };
    let (levels, (lowest, highest)) = (codebook.levels_of(positions), codebook.range());
    assert_eq!(codebook.steps().len(), 6);
    assert!(codebook.steps()[5] > 2.0 * codebook.steps()[0], "{:?}", codebook.steps());
    let hessian = damped(&moments(24, COLUMNS), 24, 0.01);
    let order: Vec<usize> = (0..24).collect();
    for (row, (values, levels)) in values.chunks(24).zip(levels.chunks(24)).enumerate() {
        let step = f64::from(codebook.steps()[row]);
        assert_eq!(levels, reference(values, &hessian, &order, step, [lowest, highest]), "row {row}");
    }
}

/// What the outputs lose: (w − q) H (w − q)ᵀ over all rows.
fn loss(levels: &[i32], step: f64, size: usize) -> f64 {
    let hessian = moments(size, COLUMNS);
    let values = weights(levels.len());
    let of_row = |(row, levels): (&[f32], &[i32])| -> f64 {
        let error: Vec<f64> =
            row.iter().zip(levels).map(|(&w, &k)| f64::from(w) - f64::from(k) * step).collect();
        (0..size).map(|a| error[a] * (0..size).map(|b| hessian[a * size + b] * error[b]).sum::<f64>()).sum()
    };
    values.chunks(size).zip(levels.chunks(size)).map(of_row).sum()
}

fn bits_of(levels: &[i32]) -> f64 {
    let (mut model, mut before, mut bits) = (RateModel::new(1), 0, 0.0);
    for &level in levels {
        bits += model.bits(level, 0, before);
        model.update(level, 0, before);
        before = neighbour(level);
    }
    bits
}

/// Outputs lose less than with nearest levels on the same grid.
#[test]
fn optq_loses_less_than_nearest_levels() {
    for bits in [2, 3, 4] {
        let shape = [32, 48];
        let (found, step) = levels("optq", bits, shape, 1, json!({}));
        let [lowest, highest] = range(bits, &found);
        let nearest: Vec<i32> = weights(shape[0] * shape[1])
            .iter()
            .map(|&w| ((f64::from(w) / step).round_ties_even() as i32).clamp(lowest, highest))
            .collect();
        let (ours, theirs) = (loss(&found, step, shape[1]), loss(&nearest, step, shape[1]));
        assert!(ours < 0.9 * theirs, "{bits} bit: {ours} {theirs}");
    }
}

/// Without a rate term both methods are one; with it, bits fall and the error rises with the strength, and CERWU's exact
/// quadratic part makes its trade no worse than rounding alone.
#[test]
fn rate_is_bought_with_error() {
    let shape = [40, 48];
    let of = |method: &str, key: &str, strength: f64| {
        let (levels, step) = levels(method, 4, shape, 1, json!({key: strength}));
        (bits_of(&levels), loss(&levels, step, shape[1]), levels)
    };
    assert_eq!(of("optq", "rate", 0.0).2, of("cerwu", "lambda", 0.0).2);
    for (method, key) in [("optq", "rate"), ("cerwu", "lambda")] {
        let mut last = of(method, key, 0.0);
        for strength in [0.02, 0.1, 0.4] {
            let found = of(method, key, strength);
            assert!(
                found.0 < last.0 && found.1 > last.1,
                "{method} {strength}: {} {} after {} {}",
                found.0,
                found.1,
                last.0,
                last.1
            );
            last = found;
        }
    }
}

/// Without calibration there is nothing to go by, and the message says what to do.
#[test]
fn calibration_is_asked_for() {
    let values = weights(12);
    let tensor = WeightTensor { name: "fc.weight", shape: &[3, 4], values: &values };
    let (mut quantizer, _) = build("optq", Some(4), &Map::new()).unwrap();
    quantizer.initialize(&[tensor]).unwrap();
    let error = quantizer.assign(&[tensor], None, StepInfo::POST_TRAINING).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("fc.weight"), "{error}");
}
