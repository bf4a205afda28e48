//! The device's steps against the host's, both on the CPU: levels, gradients, learned values, states, and how often the
//! host waits.

use super::{DeviceContent, DeviceTensor, Readings};
use crate::nn::{Backend, transfer};
use crate::quant::build;
use crate::quant::quantizer::{Content, Quantizer, StepInfo, WeightTensor};
use crate::rng::Rng;
use candle_core::{Device, Tensor};
use serde_json::{Value, json};

static SHAPES: [[usize; 2]; 3] = [[8, 90], [12, 250], [1, 1300]];
const STEPS: usize = 5;

struct Case {
    method: &'static str,
    bits: Option<u32>,
    parameters: Value,
    /// Share of weights that may lie on another level.
    differing: f64,
    /// Most reads of a step, the loss's among them.
    reads: usize,
}

fn weights(step: usize) -> Vec<Vec<f32>> {
    let of_shape = |(index, shape): (usize, &[usize; 2])| {
        let mut rng = Rng::stream(7, &format!("weights {index}"));
        let mut drift = Rng::stream(8, &format!("drift {index} {step}"));
        (0..shape[0] * shape[1]).map(|_| 0.05 * rng.normal() + 0.002 * step as f32 * drift.normal()).collect()
    };
    SHAPES.iter().enumerate().map(of_shape).collect()
}

fn noise(what: &str, step: usize) -> Vec<Vec<f32>> {
    let of_shape = |(index, shape): (usize, &[usize; 2])| {
        let mut rng = Rng::stream(9, &format!("{what} {index} {step}"));
        (0..shape[0] * shape[1]).map(|_| rng.normal()).collect()
    };
    SHAPES.iter().enumerate().map(of_shape).collect()
}

fn host<'a>(values: &'a [Vec<f32>]) -> Vec<WeightTensor<'a>> {
    static NAMES: [&str; 3] = ["a", "b", "c"];
    let tensors = NAMES.iter().zip(&SHAPES).zip(values);
    tensors.map(|((name, shape), values)| WeightTensor { name, shape, values }).collect()
}

fn sent(values: &[Vec<f32>]) -> Vec<Tensor> {
    let tensors = SHAPES.iter().zip(values);
    tensors.map(|(shape, values)| Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).collect()
}

/// Distance of two slices relative to the largest of the second.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(1e-12f32, |l, v| l.max(v.abs()));
    found.iter().zip(expected).fold(0.0f32, |l, (a, e)| l.max((a - e).abs())) / largest
}

fn check(case: &Case) {
    let what = format!("{} {:?} {}", case.method, case.bits, case.parameters);
    let new = || -> Box<dyn Quantizer> {
        build(case.method, case.bits, case.parameters.as_object().unwrap()).unwrap().0
    };
    let (mut on_host, mut on_device) = (new(), new());
    let first = weights(0);
    let at = |step: usize| StepInfo { step, total_steps: STEPS, epoch: step / 3, epochs: 2 };
    on_host.initialize(&host(&first)).unwrap();
    on_device.initialize(&host(&first)).unwrap();
    let mut assigned = on_host.assign(&host(&first), None, at(0)).unwrap();
    let sent_first = on_device.assign(&host(&first), None, at(0)).unwrap();
    let mut resident: Vec<DeviceTensor> =
        sent_first.iter().map(|tensor| DeviceTensor::from_host(tensor, &Device::Cpu).unwrap()).collect();
    on_device.on_device().expect(&what).begin(&host(&first));
    for step in 1..=STEPS {
        let (values, gradients) = (weights(step), noise("gradient", step));
        let relevance = noise("relevance", step);
        let wants = on_host.wants_relevance();
        // Host.
        let tensors = host(&values);
        let mut expected = gradients.clone();
        for (index, gradient) in expected.iter_mut().enumerate() {
            on_host.backward(index, tensors[index], &assigned[index], gradient).unwrap();
        }
        on_host.update(1e-2, at(step)).unwrap();
        let named = || tensors.iter().map(|t| t.name.to_owned()).zip(relevance.iter().cloned()).collect();
        assigned = on_host.assign(&tensors, wants.then(named).as_ref(), at(step)).unwrap();
        // Device.
        let (latent, of_weights, of_relevance) = (sent(&values), sent(&gradients), sent(&relevance));
        let loss = Tensor::new(&[0.25f32, 3.0], &Device::Cpu).unwrap();
        let ((found, loss), traffic) = transfer::count(|| {
            let method = on_device.on_device().unwrap();
            let mut found = Vec::new();
            for (index, gradient) in of_weights.iter().enumerate() {
                found.push(method.backward(index, &latent[index], &resident[index], gradient).unwrap());
            }
            let mut readings = Readings::new(loss);
            method.update(1e-2, at(step), &mut readings).unwrap();
            let relevance = wants.then_some(of_relevance.as_slice());
            resident = method.assign(&latent, relevance, at(step), &mut readings).unwrap();
            (found, readings.finish().unwrap())
        });
        assert_eq!(loss, [0.25, 3.0], "{what}");
        assert!((1..=case.reads).contains(&traffic.reads), "{what}: {traffic:?}");
        for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(distance(&found, expected) < 1e-5, "{what}: gradient {index} at step {step}");
        }
        let (mut differing, mut count) = (0, 0);
        for (expected, found) in assigned.iter().zip(&resident) {
            let found = found.to_host(&expected.name).unwrap();
            assert_eq!(found.shape, expected.shape);
            let (
                Content::Levels { positions: a, codebook: of_a },
                Content::Levels { positions: b, codebook: of_b },
            ) = (&found.content, &expected.content)
            else {
                panic!("{what}: levels")
            };
            assert!(distance(&of_a.values(), &of_b.values()) < 1e-5, "{what}: {of_a:?} {of_b:?}");
            differing += a.iter().zip(b).filter(|(a, b)| a != b).count();
            count += a.len();
            // The values are those of the positions, bit for bit.
            let resident = resident.iter().find(|t| t.values.dims() == expected.shape).unwrap();
            let values = resident.values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(values == of_a.values_of(a), "{what}: values");
        }
        let allowed = (case.differing * count as f64) as usize;
        assert!(differing <= allowed, "{what}: {differing} of {count} levels differ at step {step}");
    }
    assert_eq!(on_device.take_warnings(), on_host.take_warnings(), "{what}");
    // A checkpoint of either continues on the other.
    let state = serde_json::from_str(&on_device.state().unwrap().to_string()).unwrap();
    let mut resumed = new();
    resumed.restore(&state).unwrap();
    let values = weights(STEPS + 1);
    let found = resumed.assign(&host(&values), None, at(STEPS)).unwrap();
    let method = on_device.on_device().unwrap();
    let mut readings = Readings::new(Tensor::new(&[0f32, 0.0], &Device::Cpu).unwrap());
    let resident = method.assign(&sent(&values), None, at(STEPS), &mut readings).unwrap();
    let (mut differing, mut count) = (0, 0);
    for (found, resident) in found.iter().zip(&resident) {
        let (a, b) = (resident.to_host(&found.name).unwrap().content.values(), found.content.values());
        differing += a.iter().zip(&b).filter(|(a, b)| (*a - *b).abs() > 1e-5 * b.abs().max(1e-3)).count();
        count += a.len();
    }
    assert!(differing <= (case.differing * count as f64) as usize, "{what}: resumed, {differing} of {count}");
}

fn all(method: &'static str, parameters: Value, differing: f64, reads: usize) {
    for bits in [2, 3, 4, 5, 8] {
        let case = Case { method, bits: Some(bits), parameters: parameters.clone(), differing, reads };
        Backend::Composed.run(|| check(&case));
    }
}

/// ECQ's levels are the host's, weight by weight, in one read with the loss.
#[test]
fn ecq_levels_are_equal() {
    for profile in ["default", "reference"] {
        all("ecq", json!({"lambda": 0.1, "profile": profile}), 0.0, 1);
    }
    all("ecq", json!({"lambda": 0.0}), 0.0, 1);
    all("ecq", json!({"lambda": 0.1, "granularity": "channel"}), 0.0, 1);
    // A learned step comes from sums in another order: one read before the assignment's.
    all("ecq", json!({"lambda": 0.1, "step": "learned"}), 0.005, 2);
}

/// ECQx's levels are the host's but for thresholds that logarithms of another library move over the limit.
#[test]
fn ecqx_levels_are_nearly_equal() {
    for p in [0.0, 0.02, 0.3] {
        all("ecqx", json!({"lambda": 0.1, "p": p}), 0.002, 4);
    }
    all("ecqx", json!({"lambda": 0.3, "p": 0.1, "band": "above"}), 0.002, 4);
    all("ecqx", json!({"lambda": 0.1, "p": 0.1, "granularity": "channel"}), 0.002, 4);
}

/// Methods without an entropy term wait for the loss alone.
#[test]
fn grids_are_equal() {
    for granularity in ["tensor", "channel"] {
        all("uniform", json!({"granularity": granularity}), 0.0, 1);
        all("lsq", json!({"granularity": granularity}), 0.002, 1);
    }
}

/// Three levels, learned or measured.
#[test]
fn ternary_methods_are_equal() {
    for (method, parameters, reads) in [
        ("ternary", json!({}), 1),
        ("ternary", json!({"levels": "mean", "threshold": 0.3}), 1),
        ("ec2t", json!({"lambda": 0.05}), 2),
        ("ec2t", json!({"lambda": 0.05, "levels_epochs": 1}), 2),
    ] {
        Backend::Composed.run(|| check(&Case { method, bits: None, parameters, differing: 0.002, reads }));
    }
}

/// Layers without a valid codebook are zeros there too, NaN weights take a level, and levels that nearly coincide are
/// searched through as on the host.
#[test]
fn odd_layers_are_equal() {
    let doubtful =
        crate::quant::boundaries::Boundaries::new(&[-0.5, 0.1, 0.100_000_01, 0.7], &[0.0, 0.01, 0.0, 0.02]);
    let odd =
        [f32::NAN, -0.5, 0.1, 0.100_000_01, 0.3, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.2, 0.400_000_03];
    let tensor = Tensor::new(&odd, &Device::Cpu).unwrap();
    let found =
        Backend::Composed.run(|| super::assigned(&tensor, &doubtful).unwrap().to_vec1::<u8>().unwrap());
    assert_eq!(found, doubtful.assign(&odd));
    let values = [0.0f32; 12];
    let zeros = [WeightTensor { name: "w", shape: &[3, 4], values: &values }];
    for (method, bits) in
        [("ecq", Some(4)), ("lsq", Some(4)), ("ternary", None), ("ec2t", None), ("uniform", Some(3))]
    {
        let (mut quantizer, _) = build(method, bits, &serde_json::Map::new()).unwrap();
        quantizer.initialize(&zeros).unwrap();
        let method = quantizer.on_device().unwrap();
        let mut readings = Readings::new(Tensor::new(&[0f32, 0.0], &Device::Cpu).unwrap());
        let latent = [Tensor::new(&values, &Device::Cpu).unwrap().reshape((3, 4)).unwrap()];
        let found = Backend::Composed
            .run(|| method.assign(&latent, None, StepInfo::POST_TRAINING, &mut readings))
            .unwrap();
        assert!(matches!(found[0].content, DeviceContent::Levels { .. }));
        assert_eq!(found[0].values.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
    }
}
