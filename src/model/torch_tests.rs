//! Our architectures against PyTorch's: `tests/golden/torch/make.py` writes the numbers, torchvision's models among them.

use crate::model::{self, Options, yaml};
use crate::nn::ops::ConvAlgorithm;
use crate::nn::{Mode, Network, Parameters, Role};
use candle_core::{Device, Tensor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Golden {
    shape: Vec<usize>,
    options: Options,
    /// Trained scalars.
    parameters: usize,
    /// Tensors of the state dict without counts of batches.
    tensors: usize,
    logits: Vec<Vec<f64>>,
}

/// `count` numbers in (−1, 1), as in make.py: a hash of the position, started by a hash of the name.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed =
        name.bytes().fold(0x811C_9DC5u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..count as u32).map(move |at| {
        let mut x = at.wrapping_add(seed);
        x ^= x >> 16;
        x = x.wrapping_mul(0x7FEB_352D);
        x ^= x >> 15;
        x = x.wrapping_mul(0x846C_A68B);
        x ^= x >> 16;
        (f64::from(x) + 0.5) / f64::from(1u32 << 31) - 1.0
    })
}

/// Parameters by make.py's formula.
fn parameters(network: &Network) -> Parameters {
    let mut parameters = Parameters::new(Device::Cpu);
    for shape in network.parameter_shapes() {
        let (name, dims) = (&shape.name, &shape.shape);
        let scale = |u: f64| match () {
            () if name.ends_with("running_var") => 1.0 + 0.5 * u,
            () if name.ends_with("running_mean") || name.ends_with(".bias") => 0.1 * u,
            () if dims.len() == 1 => 1.0 + 0.25 * u,
            () => (6.0 / dims[1..].iter().product::<usize>() as f64).sqrt() * u,
        };
        let values: Vec<f32> = uniform(name, dims.iter().product()).map(|u| scale(u) as f32).collect();
        let values = Tensor::from_vec(values, dims.as_slice(), &Device::Cpu).unwrap();
        parameters.insert(name, &values, shape.role).unwrap();
    }
    parameters
}

fn goldens() -> BTreeMap<String, Golden> {
    serde_json::from_str(include_str!("../../tests/golden/torch/logits.json")).unwrap()
}

/// The same weights under the same names give the same logits as in PyTorch: a checkpoint means here what it means there.
/// Both ways through the network (with all values, and fused) are held to it.
#[test]
fn logits_are_those_of_pytorch() {
    for (name, golden) in goldens() {
        let network = if name == "layers" {
            yaml::parse(include_str!("../../tests/golden/torch/layers.yaml"), Path::new("layers.yaml"))
                .unwrap()
        } else {
            model::build(&name, &golden.shape, 10, &golden.options).unwrap()
        };
        let shapes = network.parameter_shapes();
        let trained = shapes.iter().filter(|p| p.role != Role::Statistic);
        let scalars: usize = trained.map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!((scalars, shapes.len()), (golden.parameters, golden.tensors), "{name}");
        let parameters = parameters(&network);
        let count = 2 * golden.shape.iter().product::<usize>();
        let input: Vec<f32> = uniform("input", count).map(|u| u as f32).collect();
        let input = Tensor::from_vec(input, [vec![2], golden.shape].concat(), &Device::Cpu).unwrap();
        let mode = Mode::Evaluation(ConvAlgorithm::Direct);
        let traced = network.forward(&parameters, &input, mode).unwrap().logits().detach();
        for logits in [traced, network.infer(&parameters, &input).unwrap()] {
            let actual = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let expected = golden.logits.concat();
            let largest = expected.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
            for (&actual, expected) in actual.iter().zip(&expected) {
                let error = (f64::from(actual) - expected).abs();
                assert!(error <= 1e-4 * largest, "{name}: {actual} instead of {expected}");
            }
        }
    }
}
