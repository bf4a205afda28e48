//! What relevance propagation must do on any network.

use super::*;
use crate::model;
use crate::nn::backend::{Backend, each};
use crate::nn::init::initialise;
use crate::nn::{Layer, Network, Operation, Parameters};
use crate::quant::Profile;
use crate::rng::Rng;
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};

fn settings(spec: &Value) -> Settings {
    Settings::parse(spec, Profile::Default).unwrap()
}

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = Rng::stream(seed, "inputs");
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn sum(values: &Tensor) -> f64 {
    values.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|&v| f64::from(v)).sum()
}

/// A random network without biases: convolutions, ReLU, pooling, residual sums and linear layers.
fn without_biases(choices: &[u8]) -> Network {
    let mut layers: Vec<Layer> = Vec::new();
    let (mut from, mut size, mut channels) = (crate::nn::layer::INPUT.to_owned(), 8usize, 3usize);
    for (index, choice) in choices.iter().enumerate() {
        let name = format!("layer{index}");
        let operation = match choice % 6 {
            0 | 1 => {
                let to = 2 + usize::from(*choice) % 5;
                let operation = Operation::conv(channels, to, 3, 1, 1);
                channels = to;
                operation
            }
            2 => Operation::Relu,
            3 if size >= 4 => {
                size /= 2;
                Operation::MaxPool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0] }
            }
            4 if size >= 4 => {
                size /= 2;
                Operation::AvgPool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0] }
            }
            _ => {
                let inner = format!("{name}.conv");
                layers.push(Layer::new(&inner, Operation::conv(channels, channels, 3, 1, 1), from.clone()));
                layers.push(Layer {
                    name: name.clone(),
                    operation: Operation::Add,
                    inputs: vec![from, inner],
                });
                from = name;
                continue;
            }
        };
        layers.push(Layer::new(&name, operation, from));
        from = name;
    }
    layers.push(Layer::new("flatten", Operation::Flatten, from));
    let inputs = channels * size * size;
    layers.push(Layer::new("linear", Operation::Linear { inputs, outputs: 4, bias: false }, "flatten"));
    Network::new("random", &[3, 8, 8], layers).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// With ε → 0 and no biases nothing is lost: the input's relevance sums to that of the output, on any graph.
    #[test]
    fn relevance_is_conserved(choices in prop::collection::vec(any::<u8>(), 0..7), seed in 0u64..1000) {
        let network = without_biases(&choices);
        let parameters = initialise(&network, &Device::Cpu, seed).unwrap();
        let input = random(seed, &[2, 3, 8, 8]);
        let composite = json!({"conv": "epsilon", "linear": "epsilon", "batch_norm": "epsilon", "first": "none"});
        let spec = json!({"composite": composite, "epsilon": 1e-12, "start": "ones"});
        let run = || explain(&settings(&spec), &network, &parameters, &input, &[1, 3], Wanted::Everything).unwrap();
        let backend = if seed % 2 == 0 { Backend::Native } else { Backend::Composed };
        let found = backend.run(run);
        let (total, given) = (sum(found.input.as_ref().unwrap()), 1.0);
        // Shares of float32 sums near zero are large and cancel: compare with what was moved, not with what remained.
        let moved = found.layers.values().flatten().chain(found.input.as_ref())
            .map(|relevance| sum(&relevance.abs().unwrap())).fold(1.0, f64::max);
        prop_assert!((total - given).abs() <= 1e-4 * moved, "{total} of {given}, moved {moved}");
    }
}

/// Every layer of a YAML-like graph hands on what it got: the sums agree layer by layer, not only at the ends.
#[test]
fn every_layer_conserves() {
    each(check_that_every_layer_conserves);
}

fn check_that_every_layer_conserves() {
    let network = without_biases(&[0, 2, 5, 2, 3, 1, 2, 4]);
    let parameters = initialise(&network, &Device::Cpu, 4).unwrap();
    let composite = json!({"conv": "zplus", "linear": "zplus", "first": "none"});
    let spec = json!({"composite": composite, "epsilon": 1e-12, "start": "probability"});
    // A positive input, so that no copy vanishes and every rule has something to share.
    let input = random(5, &[2, 3, 8, 8]).abs().unwrap();
    let found =
        explain(&settings(&spec), &network, &parameters, &input, &[0, 2], Wanted::Everything).unwrap();
    let linear = sum(&found.layers["linear"][0]);
    let first = found.layers.values().next().unwrap();
    assert!(linear > 0.0);
    assert!((sum(&first[0]) - linear).abs() <= 1e-3 * linear, "{} {linear}", sum(&first[0]));
}

/// The walk that brings weights only finds the same weights as the one that brings everything, for every composite and
/// every model of the registry.
#[test]
fn both_walks_agree_on_all_models() {
    Backend::Native.run(|| check_that_both_walks_agree(4));
    // The small ones: composed on the CPU is slow, and shapes make no difference to the walks.
    Backend::Composed.run(|| check_that_both_walks_agree(1));
}

fn check_that_both_walks_agree(models: usize) {
    let shapes = [
        ("resnet20", vec![3, 16, 16]),
        ("vgg16", vec![3, 32, 32]),
        ("resnet18", vec![3, 32, 32]),
        ("mlp-gsc", vec![490]),
    ];
    for (name, shape) in shapes.into_iter().take(models) {
        let network = model::build(name, &shape, 10, &model::Options::new()).unwrap();
        let parameters = initialise(&network, &Device::Cpu, 3).unwrap();
        let input = random(6, &[vec![2], shape].concat());
        for composite in COMPOSITES {
            let settings = settings(&json!({"composite": composite.name}));
            let get = |wanted| explain(&settings, &network, &parameters, &input, &[3, 9], wanted).unwrap();
            let (all, weights) = (get(Wanted::Everything), get(Wanted::Weights));
            assert!(!weights.parameters.is_empty());
            for (parameter, values) in &weights.parameters {
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(
                    flat(values),
                    flat(&all.parameters[parameter]),
                    "{name} {} {parameter}",
                    composite.name
                );
                assert!(flat(values).iter().all(|v| v.is_finite()), "{name} {} {parameter}", composite.name);
            }
            assert_eq!(all.input.unwrap().dims(), input.dims());
        }
    }
}

/// The box rule shares by the distance to the bounds: an input at its lowest value with positive weights gets nothing.
#[test]
fn box_rule_measures_from_the_bounds() {
    each(check_the_box_rule);
}

fn check_the_box_rule() {
    let layers = vec![
        Layer::new("conv", Operation::conv(1, 1, 1, 1, 0), crate::nn::layer::INPUT),
        Layer::new("flatten", Operation::Flatten, "conv"),
    ];
    let network = Network::new("box", &[1, 1, 2], layers).unwrap();
    let parameters = initialise(&network, &Device::Cpu, 1).unwrap();
    parameters.set_values("conv.weight", &[2.0]).unwrap();
    let input = Tensor::from_vec(vec![-1f32, 0.5], (1, 1, 1, 2), &Device::Cpu).unwrap();
    let spec = json!({"composite": "epsilon_gamma_box", "low": -1.0, "high": 1.0, "start": "ones"});
    let relevance = |target| {
        let found =
            explain(&settings(&spec), &network, &parameters, &input, &[target], Wanted::Everything).unwrap();
        found.input.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(relevance(0), [0.0, 0.0]);
    let second = relevance(1);
    assert!(second[0] == 0.0 && (second[1] - 1.0).abs() < 1e-5, "{second:?}");
}

/// A composite written in YAML chooses by name first, then the first layer, then the kind.
#[test]
fn user_composites_choose_by_name() {
    let network = model::build("resnet20", &[3, 16, 16], 10, &model::Options::new()).unwrap();
    let spec = json!({"base": "epsilon_plus", "conv": {"gamma": 0.5}, "names": {"layer2.*.conv1": "flat"}});
    let rules = Composite::parse(&spec).unwrap().rules(&network, crate::relevance::lrp::Functional::Ruled);
    for (layer, rule) in network.layers().iter().zip(rules) {
        let expected = match (&layer.operation, layer.name.as_str()) {
            (_, name) if name.starts_with("layer2.") && name.ends_with("conv1") => Rule::Flat,
            (Operation::Conv2d { .. }, _) => Rule::Gamma(0.5),
            (Operation::BatchNorm { .. }, _) => Rule::ZPlus,
            (Operation::Linear { .. }, _) => Rule::Epsilon,
            (Operation::Relu, _) => Rule::Pass,
            (Operation::Flatten, _) => Rule::Gradient,
            _ => Rule::Norm,
        };
        assert_eq!(rule, expected, "{}", layer.name);
    }
}

/// Wrong settings are errors that name the key.
#[test]
fn wrong_settings_are_refused() {
    for (spec, named) in [
        (json!({"composit": "epsilon_plus"}), "composit"),
        (json!({"composite": "epsilon_pluss"}), "epsilon_pluss"),
        (json!({"composite": {"convv": "zplus"}}), "convv"),
        (json!({"composite": {"conv": "zpluss"}}), "zpluss"),
        (json!({"composite": {"conv": {"alphabeta": [1, 1]}}}), "α − β"),
        (json!({"weight_rule": "pass"}), "no relevance"),
        (json!({"epsilon": 0}), "epsilon"),
        (json!({"low": 1}), "low"),
    ] {
        let message = Settings::parse(&spec, Profile::Default).unwrap_err().to_string();
        assert!(message.contains(named), "{spec}: {message}");
    }
}

/// Targets that are no class of the network are an error, not an index out of range.
#[test]
fn targets_must_be_classes() {
    let network = model::build("mlp-gsc", &[10], 4, &model::Options::new()).unwrap();
    let parameters: Parameters = initialise(&network, &Device::Cpu, 1).unwrap();
    let input = random(1, &[2, 10]);
    let settings = settings(&json!({}));
    for targets in [&[1u32, 4][..], &[1][..]] {
        assert!(explain(&settings, &network, &parameters, &input, targets, Wanted::Weights).is_err());
    }
}
