//! What the tests of several methods share.

use super::options::SteScale;
use super::quantizer::{Content, QuantizedTensor, WeightTensor};
use super::ternary_levels::TernaryLevels;
use super::{METHODS, build};
use crate::quant::quantizer::{Quantizer, Relevances, StepInfo};
use serde_json::{Map, json};

/// A tensor called `w` with these values.
pub(super) fn tensor(values: &[f32]) -> WeightTensor<'_> {
    // Shapes only pass through methods.
    WeightTensor { name: "w", shape: &[1, 1], values }
}

/// Checks the gradients of ternary levels for a quadratic loss by central differences, to 1e-3.
pub(super) fn finite_difference_of_levels(lay: impl Fn(&[f32]) -> TernaryLevels) {
    let weights: Vec<f32> = (0..300).map(|i| ((i * 71 % 300) as f32 - 150.5) / 90.0).collect();
    let mut levels = lay(&weights);
    let assigned: Vec<u8> = weights.iter().map(|&w| 1 + u8::from(w > 0.4) - u8::from(w < -0.4)).collect();
    let target = |i: usize| (i as f64 * 0.17).sin();
    let loss = |levels: &TernaryLevels| -> f64 {
        let values = levels.codebook(0).unwrap().values_of(&assigned);
        0.5 * values.iter().enumerate().map(|(i, &v)| (f64::from(v) - target(i)).powi(2)).sum::<f64>()
    };
    let codebook = levels.codebook(0).unwrap();
    let mut gradient: Vec<f32> = codebook
        .values_of(&assigned)
        .iter()
        .enumerate()
        .map(|(i, &v)| (f64::from(v) - target(i)) as f32)
        .collect();
    let content = Content::Levels { positions: assigned.clone(), codebook };
    let quantized = QuantizedTensor { name: "w".into(), shape: vec![300], content };
    levels.backward(0, &quantized, &mut gradient, SteScale::None);
    for index in 0..2 {
        let moved = |by: f32| {
            let mut moved = levels.clone();
            moved.0[0].as_mut().unwrap().values[index] += by;
            loss(&moved)
        };
        let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        let found = levels.0[0].as_ref().unwrap().gradients()[index];
        assert!((found - expected).abs() <= 1e-3 * expected.abs().max(1.0), "{index}: {found} {expected}");
    }
}

/// A quantizer of every method, at 3 bit where it has a bit width.
fn every_method() -> impl Iterator<Item = (&'static str, Box<dyn Quantizer>)> {
    METHODS.iter().map(|method| {
        let bits = method.bits.map(|_| 3);
        (method.name, build(method.name, bits, &Map::new()).unwrap().0)
    })
}

fn relevance_for(quantizer: &dyn Quantizer, weights: &[WeightTensor<'_>]) -> Option<Relevances> {
    let of = |tensor: &WeightTensor<'_>| {
        (tensor.name.to_owned(), (0..tensor.values.len()).map(|i| (i as f32 * 0.7).sin()).collect())
    };
    quantizer.wants_relevance().then(|| weights.iter().map(of).collect())
}

/// Degenerate layers have a defined result in every method: finite values of the same length, and zeros stay zero.
#[test]
fn degenerate_layers_are_survived() {
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
        for (name, mut quantizer) in every_method() {
            quantizer.initialize(&weights).unwrap();
            let relevance = relevance_for(quantizer.as_ref(), &weights);
            let at = StepInfo { step: 1, total_steps: 2, epoch: 0, epochs: 1 };
            let found = quantizer.assign(&weights, relevance.as_ref(), at).unwrap();
            let mut gradient = vec![0.1; values.len()];
            quantizer.backward(0, weights[0], &found[0], &mut gradient).unwrap();
            quantizer.update(1e-3, at).unwrap();
            let numbers = found[0].content.values();
            assert_eq!(numbers.len(), values.len(), "{name} {values:?}");
            // Pruning without levels keeps what it is given.
            if name != "magnitude" {
                assert!(numbers.iter().all(|v| v.is_finite()), "{name} {values:?}: {numbers:?}");
            }
            if values.iter().all(|v| *v == 0.0) {
                assert!(numbers.iter().all(|v| *v == 0.0), "{name}: {numbers:?}");
            }
        }
    }
}

/// A run that is interrupted and restored goes on as if nothing had happened: same assignments, same learned values.
#[test]
fn state_round_trips_in_every_method() {
    let values: Vec<f32> = (0..500).map(|i| ((i * 263 % 500) as f32 - 250.3).powi(3) / 2e7).collect();
    let weights = [tensor(&values)];
    let at = |step: usize| StepInfo { step, total_steps: 8, epoch: step / 4, epochs: 2 };
    let step = |quantizer: &mut Box<dyn Quantizer>, last: Vec<QuantizedTensor>, number: usize| {
        let mut gradient: Vec<f32> = (0..500).map(|i| ((i + 31 * number) as f32).cos() * 0.1).collect();
        quantizer.backward(0, weights[0], &last[0], &mut gradient).unwrap();
        quantizer.update(1e-2, at(number)).unwrap();
        let relevance = relevance_for(quantizer.as_ref(), &weights);
        quantizer.assign(&weights, relevance.as_ref(), at(number)).unwrap()
    };
    for ((name, mut straight), (_, mut resumed)) in every_method().zip(every_method()) {
        let mut last = straight.initialize(&weights).unwrap();
        for number in 1..4 {
            last = step(&mut straight, last, number);
        }
        let saved: serde_json::Value = serde_json::from_str(&straight.state().unwrap().to_string()).unwrap();
        resumed.restore(&saved).unwrap();
        let mut other = last.clone();
        for number in 4..8 {
            last = step(&mut straight, last, number);
            other = step(&mut resumed, other, number);
            assert_eq!(last, other, "{name} after step {number}");
        }
        assert!(resumed.restore(&json!("nonsense")).is_err(), "{name}");
    }
}
