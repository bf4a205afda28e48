//! Whole networks on both backends: the composed walk against the native one, judged by what one-ulp changes of the input
//! do to the native walk's own results.

use super::backend::Backend;
use super::init::initialise;
use super::layer::{INPUT, Layer, Operation};
use super::{Mode, Network, Parameters, Role, ops, transfer};
use crate::model;
use crate::rng::Rng;
use crate::selftest::{self, Values as Found, disturb};
use candle_core::{Device, Tensor};
use serde_json::json;

fn input(network: &Network, batch: usize) -> Tensor {
    let mut rng = Rng::stream(2, &network.name);
    let shape = [vec![batch], network.input_shape.clone()].concat();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Every value moved by one unit in the last place, up and down in turn.
fn disturbed(x: &Tensor) -> Tensor {
    let mut values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    disturb(&mut values);
    Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap()
}

fn parameters(network: &Network) -> Parameters {
    let parameters = initialise(network, &Device::Cpu, 1).unwrap();
    let mut rng = Rng::stream(5, "statistics");
    for (name, parameter) in parameters.iter() {
        if matches!(parameter.role, Role::Statistic | Role::Affine) {
            let values: Vec<f32> = (0..parameter.var.elem_count()).map(|_| rng.range(0.5, 1.5)).collect();
            parameters.set_values(name, &values).unwrap();
        }
    }
    parameters
}

/// Largest distance in the Euclidean norm, relative to the expected values, of results that are all finite.
fn distance(found: &Found, expected: &Found) -> (f64, String) {
    assert_eq!(found.len(), expected.len());
    for ((name, found), (other, expected)) in found.iter().zip(expected) {
        assert_eq!((name, found.len()), (other, expected.len()));
        assert!(found.iter().all(|v| v.is_finite()), "{name}");
    }
    selftest::distance(found, expected)
}

/// Loss, logits, gradients of all parameters and running statistics of one training pass, and the logits of inference.
fn pass(network: &Network, x: &Tensor, frozen: bool) -> (Found, transfer::Traffic) {
    let parameters = parameters(network);
    let targets: Vec<u32> = (0..x.dims()[0] as u32).map(|i| i % network.classes as u32).collect();
    let mut dropout = Rng::stream(3, "dropout");
    let exact = ops::ConvAlgorithm::Auto;
    let mode = match frozen {
        true => Mode::TrainingFrozenNorm(&mut dropout, exact),
        false => Mode::Training(&mut dropout, exact),
    };
    let ((logits, gradients), traffic) = transfer::count(|| {
        let trace = network.forward(&parameters, x, mode).unwrap();
        let logits = trace.logits().detach();
        let loss = ops::training_loss(&logits, &targets).unwrap();
        (logits, network.backward(&parameters, trace, &loss.gradient).unwrap())
    });
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut found: Found = vec![("logits".into(), flat(&logits))];
    found.extend(gradients.iter().map(|(name, gradient)| (name.to_owned(), flat(gradient))));
    let statistics = parameters.iter().filter(|(_, parameter)| parameter.role == Role::Statistic);
    found.extend(statistics.map(|(name, parameter)| (name.to_owned(), flat(parameter.var.as_tensor()))));
    found.push(("inference".into(), flat(&network.infer(&parameters, x).unwrap())));
    (found, traffic)
}

fn compare(network: &Network) {
    let x = input(network, 4);
    for frozen in [false, true] {
        let (expected, _) = Backend::Native.run(|| pass(network, &x, frozen));
        let (other, _) = Backend::Native.run(|| pass(network, &disturbed(&x), frozen));
        let (found, traffic) = Backend::Composed.run(|| pass(network, &x, frozen));
        assert_eq!(traffic.reads, 0, "{}: {traffic:?}", network.name);
        // Logits and statistics are continuous; a gradient jumps where rounding flips a ReLU or a maximum near its edge, by
        // about one over the root of the active values.
        for (is_gradient, tolerance) in [(false, 1e-5), (true, 5e-3)] {
            let of = |found: &Found| -> Found {
                let is = |name: &str| name.ends_with(".weight") || name.ends_with(".bias");
                found.iter().filter(|(name, _)| is(name) == is_gradient).cloned().collect()
            };
            let (floor, _) = distance(&of(&other), &of(&expected));
            let (error, at) = distance(&of(&found), &of(&expected));
            let allowed = f64::max(tolerance, 30.0 * floor);
            assert!(error <= allowed, "{} {at}: {error:e}, noise {floor:e}", network.name);
        }
    }
}

/// Training passes and inference of every model agree to rounding, and a pass reads nothing from the device.
#[test]
fn composed_walks_agree_on_all_models() {
    for (name, shape, options) in [
        ("resnet20", vec![3, 16, 16], json!({})),
        ("cnn-small", vec![3, 16, 16], json!({})),
        ("vgg16", vec![3, 32, 32], json!({})),
        ("resnet18", vec![3, 32, 32], json!({})),
        ("mlp-gsc", vec![1, 49, 10], json!({"dropout": 0.3, "batch_norm": true})),
    ] {
        compare(&model::build(name, &shape, 10, options.as_object().unwrap()).unwrap());
    }
}

/// A network with unequal strides, paddings and dilations runs composed as well: nothing fails at the first pass.
#[test]
fn unequal_geometries_are_composed() {
    let conv = |stride, padding, dilation| Operation::Conv2d {
        in_channels: 4,
        out_channels: 4,
        kernel: [3, 2],
        stride,
        padding,
        dilation,
        groups: 2,
        bias: true,
    };
    let layers = vec![
        Layer::new("a", conv([2, 1], [1, 1], [1, 1]), INPUT),
        Layer::new("b", conv([1, 1], [1, 0], [1, 1]), "a"),
        Layer::new("c", conv([1, 1], [2, 1], [2, 1]), "b"),
        Layer::new("pool", Operation::AvgPool2d { kernel: [2, 3], stride: [1, 2], padding: [1, 1] }, "c"),
        Layer::new("flatten", Operation::Flatten, "pool"),
        Layer::new("fc", Operation::Linear { inputs: 140, outputs: 5, bias: true }, "flatten"),
    ];
    compare(&Network::new("unequal", &[4, 12, 9], layers).unwrap());
}
