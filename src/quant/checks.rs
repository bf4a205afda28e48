//! What the tests of several methods share, and the checks of [`crate::testing`] on every built-in method.

use super::builtin;
use super::codebook::Codebook;
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::ste::SteScale;
use super::ternary_levels::TernaryLevels;
use crate::testing::{check_degenerate_layers, check_gradient, check_resume, check_resume_with};

use serde_json::json;

pub(super) use crate::testing::tensor;

/// Checks the gradients of ternary levels for a quadratic loss by central differences, to 1e-3.
pub(super) fn finite_difference_of_levels(lay: impl Fn(&[f32]) -> TernaryLevels) {
    let weights: Vec<f32> = (0..300).map(|i| ((i * 71 % 300) as f32 - 150.5) / 90.0).collect();
    let mut levels = lay(&weights);
    let assigned: Vec<u8> = weights.iter().map(|&w| 1 + u8::from(w > 0.4) - u8::from(w < -0.4)).collect();
    let target = |i: usize| (i as f64 * 0.17).sin();
    let loss = |levels: &TernaryLevels| -> f64 {
        let values = levels.codebook().values_of(&assigned);
        0.5 * values.iter().enumerate().map(|(i, &v)| (f64::from(v) - target(i)).powi(2)).sum::<f64>()
    };
    let codebook = levels.codebook();
    let mut gradient: Vec<f32> = codebook
        .values_of(&assigned)
        .iter()
        .enumerate()
        .map(|(i, &v)| (f64::from(v) - target(i)) as f32)
        .collect();
    let content = Content::Levels { positions: assigned.clone(), codebook };
    levels.backward(&content, &mut gradient, SteScale::None);
    for index in 0..2 {
        let loss = |value: f64| {
            let mut moved = levels.clone();
            moved.magnitudes.values[index] = value as f32;
            loss(&moved)
        };
        let at = f64::from(levels.magnitudes.values[index]);
        let gradient = levels.magnitudes.gradients()[index];
        check_gradient("a level", gradient, loss, at, 1e-2, 1e-3);
    }
}

/// Degenerate layers have a defined result in every method.
#[test]
fn degenerate_layers_are_survived() {
    builtin().iter().for_each(check_degenerate_layers);
}

/// An interrupted run goes on as if nothing had happened with a step per channel, fixed or learned; each channel then has
/// its own.
#[test]
fn state_round_trips_with_a_step_per_channel() {
    for (name, more) in
        [("uniform", json!({})), ("lsq", json!({})), ("ecq", json!({})), ("ecqx", json!({"step": "learned"}))]
    {
        let mut parameters = more;
        parameters["granularity"] = "channel".into();
        let methods = builtin();
        let (method, parameters) = (methods.find(name).unwrap(), parameters.as_object().unwrap());
        check_resume_with(method, parameters);
        let values: Vec<f32> =
            (0..40).map(|i| (i as f32 * 0.7).sin() * if i < 20 { 1.0 } else { 9.0 }).collect();
        let weights = [WeightTensor { name: "w", shape: &[2, 20], values: &values }];
        let (mut quantizer, _) = method.quantizer(Some(4), parameters).unwrap();
        quantizer.initialize(&weights).unwrap();
        let found = quantizer.assign(&weights, None, StepInfo::POST_TRAINING).unwrap();
        let Content::Levels { codebook: Codebook::PerChannel { steps, .. }, .. } = &found[0].content else {
            panic!("{name}: no step per channel")
        };
        assert!(steps.len() == 2 && steps[1] > 4.0 * steps[0], "{name}: {steps:?}");
    }
}

/// An interrupted run goes on as if nothing had happened in every method.
#[test]
fn state_round_trips_in_every_method() {
    builtin().iter().for_each(check_resume);
}
