//! Checks that every quantizer should pass, for the tests of this crate and of a user's: they panic with what is wrong.
//!
//! ```
//! let methods = ecqx::quant::builtin();
//! ecqx::testing::check_resume(methods.find("lsq")?);
//! ecqx::testing::check_degenerate_layers(methods.find("lsq")?);
//! # Ok::<(), ecqx::Error>(())
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed check is a panic")]

use crate::quant::Method;
use crate::quant::calibration::{CalibrationData, CalibrationKind, LayerCalibration, Moments};
use crate::quant::quantizer::{QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use serde_json::{Map, Value};

/// Bits per weight at which methods are checked that have a bit width.
const BITS: u32 = 3;

/// A tensor called `w` with these values.
pub fn tensor(values: &[f32]) -> WeightTensor<'_> {
    // Shapes only pass through methods.
    WeightTensor { name: "w", shape: &[1, 1], values }
}

/// A quantizer of the method with its defaults, at 3 bit where it has a bit width.
///
/// # Panics
/// When it cannot be built.
pub fn quantizer(method: &Method) -> Box<dyn Quantizer> {
    quantizer_with(method, &Map::new())
}

fn quantizer_with(method: &Method, parameters: &Map<String, Value>) -> Box<dyn Quantizer> {
    let built = method.quantizer(method.bits.range().map(|_| BITS), parameters);
    match built {
        Ok((quantizer, _)) => quantizer,
        Err(error) => panic!("{}: {error}", method.name),
    }
}

/// Made-up relevance for methods that want it.
fn relevance_for(quantizer: &dyn Quantizer, weights: &[WeightTensor<'_>]) -> Option<Relevances> {
    let of = |tensor: &WeightTensor<'_>| {
        (tensor.name.to_owned(), (0..tensor.values.len()).map(|i| (i as f32 * 0.7).sin()).collect())
    };
    quantizer.wants_relevance().then(|| weights.iter().map(of).collect())
}

/// Gives a method that calibrates made-up inputs: every weight its own, neighbours correlated.
fn calibrate(quantizer: &mut dyn Quantizer, weights: &[WeightTensor<'_>]) {
    let Some(needs) = quantizer.wants_calibration() else { return };
    for (index, tensor) in weights.iter().enumerate() {
        let size = tensor.values.len();
        let near = |row: usize, column: usize| 0.5f64.powi(row.abs_diff(column).min(60) as i32);
        let moments = (0..size * size).map(|at| near(at / size, at % size)).collect();
        let data = match needs.kind {
            CalibrationKind::Moments => {
                CalibrationData::Moments(Moments { size, columns: 8, groups: vec![moments] })
            }
            CalibrationKind::Inputs => {
                let values = (0..8 * size).map(|i| (i as f32 * 0.3).sin()).collect();
                CalibrationData::Inputs { shape: vec![8, size], values }
            }
        };
        let layer = LayerCalibration { name: tensor.name.to_owned(), samples: 8, data };
        quantizer.calibrate(index, *tensor, layer).unwrap();
    }
}

/// Compares a gradient with the central difference of the loss: `loss(x)` at `at` ± `step`.
///
/// # Panics
/// When they differ by more than `tolerance` times the larger of 1 and the difference quotient.
pub fn check_gradient(what: &str, found: f64, loss: impl Fn(f64) -> f64, at: f64, step: f64, tolerance: f64) {
    let expected = (loss(at + step) - loss(at - step)) / (2.0 * step);
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs().max(1.0),
        "{what}: the gradient is {found}, the difference quotient {expected}"
    );
}

/// Degenerate layers (all zero, constant, a single weight, undefined or infinite weights, ones that underflow or overflow)
/// have a defined result: values of the same number, and zeros stay zero. Finite values unless the method keeps weights
/// as they are.
///
/// # Panics
/// When they have not.
pub fn check_degenerate_layers(method: &Method) {
    let layers: [&[f32]; 9] = [
        &[0.0; 12],
        &[0.25; 12],
        &[-0.25; 12],
        &[0.7],
        &[f32::NAN, 0.1, -0.2, 0.3],
        &[f32::INFINITY, 0.1, -0.2, 0.3],
        &[1e-38, -1e-38, 0.0, 1e-38],
        &[3.0, 3.0, 3.0, -3.0],
        &[1e30, -1e30, 1.0, 0.0],
    ];
    for values in layers {
        let weights = [tensor(values)];
        let case = format!("{} on {values:?}", method.name);
        let mut quantizer = quantizer(method);
        quantizer.initialize(&weights).expect(&case);
        calibrate(quantizer.as_mut(), &weights);
        let relevance = relevance_for(quantizer.as_ref(), &weights);
        let at = StepInfo { step: 1, total_steps: 2, epoch: 0, epochs: 1 };
        let found = quantizer.assign(&weights, relevance.as_ref(), at).expect(&case);
        let mut gradient = vec![0.1; values.len()];
        quantizer.backward(0, weights[0], &found[0], &mut gradient).expect(&case);
        quantizer.update(1e-3, at).expect(&case);
        let numbers = found[0].content.values();
        assert_eq!(numbers.len(), values.len(), "{case}");
        if found[0].content.has_levels() {
            assert!(numbers.iter().all(|v| v.is_finite()), "{case}: {numbers:?}");
        }
        if values.iter().all(|v| *v == 0.0) {
            assert!(numbers.iter().all(|v| *v == 0.0), "{case}: {numbers:?}");
        }
    }
}

/// A run that is interrupted and restored from its state goes on as if nothing had happened: same assignments, same
/// learned values; and a state that is none is refused.
///
/// # Panics
/// When it does not.
pub fn check_resume(method: &Method) {
    check_resume_with(method, &Map::new());
}

/// As [`check_resume`], with some parameters.
///
/// # Panics
/// As [`check_resume`].
pub fn check_resume_with(method: &Method, parameters: &Map<String, Value>) {
    let values: Vec<f32> = (0..500).map(|i| ((i * 263 % 500) as f32 - 250.3).powi(3) / 2e7).collect();
    let weights = [WeightTensor { name: "w", shape: &[5, 100], values: &values }];
    let at = |step: usize| StepInfo { step, total_steps: 8, epoch: step / 4, epochs: 2 };
    let step = |quantizer: &mut Box<dyn Quantizer>, last: Vec<QuantizedTensor>, number: usize| {
        let mut gradient: Vec<f32> = (0..500).map(|i| ((i + 31 * number) as f32).cos() * 0.1).collect();
        quantizer.backward(0, weights[0], &last[0], &mut gradient).unwrap();
        quantizer.update(1e-2, at(number)).unwrap();
        let relevance = relevance_for(quantizer.as_ref(), &weights);
        quantizer.assign(&weights, relevance.as_ref(), at(number)).unwrap()
    };
    let (mut straight, mut resumed) =
        (quantizer_with(method, parameters), quantizer_with(method, parameters));
    straight.initialize(&weights).unwrap();
    calibrate(straight.as_mut(), &weights);
    let mut last = straight.assign(&weights, None, at(0)).unwrap();
    for number in 1..4 {
        last = step(&mut straight, last, number);
    }
    // Through text, as a checkpoint does.
    let saved = serde_json::from_str(&straight.state().unwrap().to_string()).unwrap();
    if resumed.wants_calibration().is_some() {
        // What it learned of the inputs is learned again, not saved.
        resumed.initialize(&weights).unwrap();
        calibrate(resumed.as_mut(), &weights);
    }
    resumed.restore(&saved).unwrap();
    let mut other = last.clone();
    for number in 4..8 {
        last = step(&mut straight, last, number);
        other = step(&mut resumed, other, number);
        assert_eq!(last, other, "{} after step {number}", method.name);
    }
    assert!(resumed.restore(&"nonsense".into()).is_err(), "{} takes any state", method.name);
}
