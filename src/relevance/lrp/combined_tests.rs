//! Relevance through products, concatenations, norms of rows and activations.

use super::*;
use crate::nn::init::initialise;
use crate::nn::ops::Activation;
use crate::nn::{Layer, Operation};
use crate::quant::Profile;
use crate::rng::Rng;
use candle_core::Device;
use serde_json::{Value, json};

fn sum(values: &Tensor) -> f64 {
    values.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|&v| f64::from(v)).sum()
}

fn layer(name: &str, operation: Operation, inputs: &[&str]) -> Layer {
    Layer { name: name.into(), operation, inputs: inputs.iter().map(|&input| input.into()).collect() }
}

/// A network without biases of every layer that is new here; the gate is a branch of its own.
fn network(activation: Activation) -> Network {
    let linear = |inputs, outputs| Operation::Linear { inputs, outputs, bias: false };
    let layers = vec![
        layer("conv", Operation::conv(3, 6, 3, 1, 1), &["input"]),
        layer("group", Operation::GroupNorm { groups: 2, features: 6, epsilon: 1e-5 }, &["conv"]),
        layer("act", Operation::Activation(activation), &["group"]),
        layer("depthwise", Operation::depthwise(6, 3, 1, 1), &["act"]),
        layer("squeeze", Operation::GlobalAvgPool, &["depthwise"]),
        layer("gate", Operation::conv(6, 6, 1, 1, 0), &["squeeze"]),
        layer("excite", Operation::Multiply, &["depthwise", "gate"]),
        layer("both", Operation::Concat, &["excite", "conv"]),
        layer("pool", Operation::AdaptiveAvgPool2d { output: [3, 2] }, &["both"]),
        layer("flatten", Operation::Flatten, &["pool"]),
        layer("layer", Operation::LayerNorm { shape: vec![72], epsilon: 1e-5 }, &["flatten"]),
        layer("fc", linear(72, 4), &["layer"]),
    ];
    Network::new("new layers", &[3, 7, 7], layers).unwrap()
}

fn input() -> Tensor {
    let mut rng = Rng::stream(4, "inputs");
    let values: Vec<f32> = (0..2 * 3 * 7 * 7).map(|_| rng.normal()).collect();
    Tensor::from_vec(values, (2, 3, 7, 7), &Device::Cpu).unwrap()
}

fn explained(spec: Value, activation: Activation) -> (Explanation, f64) {
    let network = network(activation);
    let parameters = initialise(&network, &Device::Cpu, 3).unwrap();
    let settings = Settings::parse(&spec, Profile::Default).unwrap();
    let found = explain(&settings, &network, &parameters, &input(), &[1, 3], Wanted::Everything).unwrap();
    let moved = found.layers.values().flatten().map(|r| sum(&r.abs().unwrap())).fold(1.0, f64::max);
    (found, moved)
}

/// The rules that promise it keep the sum of relevance through every new layer, down to the input: by shares (ε) through
/// norms, and past them.
#[test]
fn new_layers_conserve_relevance() {
    use Activation::{Gelu, HardSwish, LeakyRelu, Relu6, Sigmoid, Silu, Softmax, Tanh};
    for activation in [Relu6, LeakyRelu { slope: 0.1 }, Silu, HardSwish, Gelu, Sigmoid, Tanh, Softmax] {
        for (norm, product) in [("epsilon", "uniform"), ("pass", "uniform"), ("pass", "signal")] {
            let composite =
                json!({"conv": "epsilon", "linear": "epsilon", "batch_norm": norm, "first": "none"});
            let spec = json!({"composite": composite, "epsilon": 1e-12, "start": "ones", "product": product});
            let (found, moved) = explained(spec, activation);
            let total = sum(found.input.as_ref().unwrap());
            assert!(
                (total - 1.0).abs() <= 2e-4 * moved,
                "{activation:?}, {norm}, {product}: {total}, moved {moved}"
            );
        }
    }
}

/// A product gives half to each factor, so that the weights behind a gate have relevance; `signal` gives them none.
#[test]
fn products_share_as_they_are_told() {
    let of = |product: &str| explained(json!({"product": product}), Activation::Silu).0;
    let uniform = of("uniform");
    let [signal, gate] = &uniform.layers["excite"][..] else { panic!("two factors") };
    assert!((sum(signal) - sum(gate)).abs() <= 1e-4 * sum(&signal.abs().unwrap()));
    assert!(sum(&uniform.parameters["gate.weight"].abs().unwrap()) > 0.0);
    assert_eq!(sum(&of("signal").parameters["gate.weight"].abs().unwrap()), 0.0);
    let error = Settings::parse(&json!({"product": "sgnal"}), Profile::Default).unwrap_err();
    assert!(error.to_string().contains("product"), "{error}");
}

/// Of a task of several labels relevance starts at every label that a sample has: the sum of what each alone gives.
#[test]
fn relevance_starts_at_all_labels() {
    let network = network(Activation::Silu);
    let parameters = initialise(&network, &Device::Cpu, 3).unwrap();
    for start in ["logit", "ones", "probability"] {
        let settings = Settings::parse(&json!({"start": start}), Profile::Default).unwrap();
        let of = |targets: &[u32]| {
            explain(&settings, &network, &parameters, &input(), targets, Wanted::Everything).unwrap()
        };
        let both = of(&[0, 1, 2, 1, 0, 0, 0, 1]);
        let parts = [of(&[0, 1, 0, 0, 0, 0, 0, 1]), of(&[0, 0, 0, 1, 0, 0, 0, 0])];
        let found = both.input.unwrap();
        let expected = (parts[0].input.as_ref().unwrap() + parts[1].input.as_ref().unwrap()).unwrap();
        let error = sum(&(&found - &expected).unwrap().abs().unwrap());
        assert!(error <= 1e-4 * sum(&found.abs().unwrap()), "{start}: {error}");
        if start != "probability" {
            let single = of(&[1, 3]).input.unwrap();
            let same = of(&[0, 1, 2, 0, 2, 0, 0, 1]).input.unwrap();
            assert_eq!(sum(&(single - same).unwrap().abs().unwrap()), 0.0, "{start}");
        }
    }
}

/// Parts of a concatenation get the relevance of their own channels.
#[test]
fn concatenations_hand_on_their_channels() {
    let (found, _) = explained(json!({}), Activation::Tanh);
    let whole = &found.layers["pool"][0];
    let [first, second] = &found.layers["both"][..] else { panic!("two parts") };
    let parts = Tensor::cat(&[first, second], 1).unwrap();
    assert_eq!(sum(&(parts - whole).unwrap().abs().unwrap()), 0.0);
}
