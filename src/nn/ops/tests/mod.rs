//! Behaviour of every operation: agreement with naive f64 loops, gradients against finite differences, and the
//! defects of candle 0.11.1 that are the reason for these operations.

mod candle_defects;
mod composed;
mod gradients;
mod naive;
mod new_layers;
mod properties;

use crate::rng::Rng;
use candle_core::{Device, Tensor};

/// Standard normal values.
fn random(shape: &[usize], rng: &mut Rng) -> Tensor {
    let count = shape.iter().product();
    Tensor::from_vec((0..count).map(|_| rng.normal()).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that all differences are below `tolerance` times the largest expected magnitude.
#[track_caller]
fn assert_close(actual: &Tensor, expected: &[f64], tolerance: f64, what: &str) {
    let actual = floats(actual);
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let largest = expected.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
    for (index, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - e).abs();
        assert!(error <= tolerance * largest.max(1e-3), "{what}: value {index} is {a}, expected {e}");
    }
}
