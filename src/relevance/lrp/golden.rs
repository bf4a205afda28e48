//! The reference's relevances of small networks, for every composite and canonizer.

use super::*;
use crate::nn::layer::INPUT;
use crate::nn::{Layer, Network, Operation, Parameters};
use crate::quant::Profile;
use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;

fn vectors(name: &str) -> Option<Value> {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/lrp/{name}.json.gz"));
    let shared = std::env::var_os("ECQX_SHARED")
        .map(|shared| PathBuf::from(shared).join(format!("golden/lrp/{name}.json.gz")));
    let path = if kept.exists() { kept } else { shared? };
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn tensor(value: &Value) -> Tensor {
    let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
    let data: Vec<f32> =
        value["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

fn flat(values: &Tensor) -> Vec<f32> {
    values.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference relative to the largest expected value.
fn difference(actual: &Tensor, expected: &Value) -> f32 {
    let (actual, expected) = (flat(actual), flat(&tensor(expected)));
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(1e-30f32, |largest, value| largest.max(value.abs()));
    actual.iter().zip(&expected).fold(0.0f32, |worst, (a, e)| worst.max((a - e).abs())) / largest
}

/// Builds a layer list as it is written down.
#[derive(Default)]
struct Builder(Vec<Layer>);

impl Builder {
    fn add(&mut self, name: &str, operation: Operation, input: &str) -> String {
        self.0.push(Layer::new(name, operation, input));
        name.into()
    }

    /// A residual block as in torchvision's and in CIFAR ResNets.
    fn block(&mut self, name: &str, input: &str, [from, to]: [usize; 2], projected: bool) -> String {
        let at = |part: &str| format!("{name}.{part}");
        let stride = if from == to { 1 } else { 2 };
        let out = self.add(&at("conv1"), Operation::conv(from, to, 3, stride, 1), input);
        let out = self.add(&at("bn1"), Operation::batch_norm(to), &out);
        let out = self.add(&at("relu1"), Operation::Relu, &out);
        let out = self.add(&at("conv2"), Operation::conv(to, to, 3, 1, 1), &out);
        let main = self.add(&at("bn2"), Operation::batch_norm(to), &out);
        let identity = if from == to {
            input.into()
        } else if projected {
            let out = self.add(&at("downsample.0"), Operation::conv(from, to, 1, stride, 0), input);
            self.add(&at("downsample.1"), Operation::batch_norm(to), &out)
        } else {
            let shortcut = Operation::Shortcut { stride, in_channels: from, out_channels: to };
            self.add(&at("shortcut"), shortcut, input)
        };
        self.0.push(Layer { name: at("add"), operation: Operation::Add, inputs: vec![identity, main] });
        self.add(&at("relu2"), Operation::Relu, &at("add"))
    }
}

fn network(name: &str, input: &[usize]) -> Network {
    let linear = |inputs, outputs| Operation::Linear { inputs, outputs, bias: true };
    let with_bias = |from, to, stride| match Operation::conv(from, to, 3, stride, 1) {
        Operation::Conv2d {
            in_channels, out_channels, kernel, stride, padding, dilation, groups, ..
        } => Operation::Conv2d {
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            bias: true,
        },
        other => other,
    };
    let mut net = Builder::default();
    match name {
        "mlp" => {
            net.add("fc1", linear(10, 8), INPUT);
            net.add("relu", Operation::Relu, "fc1");
            net.add("fc2", linear(8, 4), "relu");
        }
        "cnn" => {
            net.add("conv1", Operation::conv(3, 4, 3, 1, 1), INPUT);
            net.add("bn1", Operation::batch_norm(4), "conv1");
            net.add("relu1", Operation::Relu, "bn1");
            net.add("conv2", with_bias(4, 6, 2), "relu1");
            net.add("relu2", Operation::Relu, "conv2");
            net.add("pool", Operation::GlobalAvgPool, "relu2");
            net.add("flatten", Operation::Flatten, "pool");
            net.add("fc", linear(6, 4), "flatten");
        }
        "cnn_maxpool" => {
            let window = ([2, 2], [2, 2], [0, 0]);
            let (kernel, stride, padding) = window;
            net.add("conv1", with_bias(3, 4, 1), INPUT);
            net.add("relu1", Operation::Relu, "conv1");
            net.add("maxpool", Operation::MaxPool2d { kernel, stride, padding }, "relu1");
            net.add("conv2", Operation::conv(4, 6, 3, 1, 1), "maxpool");
            net.add("bn2", Operation::batch_norm(6), "conv2");
            net.add("relu2", Operation::Relu, "bn2");
            net.add("avgpool", Operation::AvgPool2d { kernel, stride, padding }, "relu2");
            net.add("flatten", Operation::Flatten, "avgpool");
            net.add("fc1", linear(24, 8), "flatten");
            net.add("relu3", Operation::Relu, "fc1");
            net.add("fc2", linear(8, 4), "relu3");
        }
        _ => {
            let projected = name == "res_torchvision";
            let names = if projected { ["block1", "block2"] } else { ["layer1", "layer2"] };
            let width = if projected { 6 } else { 8 };
            net.add("conv1", Operation::conv(3, 4, 3, 1, 1), INPUT);
            net.add("bn1", Operation::batch_norm(4), "conv1");
            net.add("relu", Operation::Relu, "bn1");
            let out = net.block(names[0], "relu", [4, 4], projected);
            let out = net.block(names[1], &out, [4, width], projected);
            net.add("avgpool", Operation::GlobalAvgPool, &out);
            net.add("flatten", Operation::Flatten, "avgpool");
            net.add(if projected { "fc" } else { "linear" }, linear(width, 4), "flatten");
        }
    }
    Network::new(name, input, net.0).unwrap()
}

/// Every composite, canonizer, start and weight rule gives the reference's relevance of weights, biases, batch norms
/// and inputs. Tolerance, relative to the largest value of each tensor: 1e-4 plus five times what the reference's own
/// float32 differs from its float64 (ε-rule layers divide by pre-activations near zero), never more than 2e-3.
#[test]
fn relevances_match_the_reference() {
    crate::nn::backend::each(match_the_reference);
}

fn match_the_reference() {
    let mut checked = 0;
    for name in ["mlp", "cnn", "cnn_maxpool", "res_torchvision", "res_cifar"] {
        let Some(vectors) = vectors(name) else {
            eprintln!("skipped {name}: ECQX_SHARED is not set");
            continue;
        };
        let input = tensor(&vectors["input"]);
        let network = network(name, &input.dims()[1..]);
        let mut parameters = Parameters::new(Device::Cpu);
        for shape in network.parameter_shapes() {
            let values = tensor(&vectors["state_dict"][&shape.name]);
            assert_eq!(values.dims(), shape.shape, "{name} {}", shape.name);
            parameters.insert(&shape.name, &values, shape.role).unwrap();
        }
        let targets: Vec<u32> = flat(&tensor(&vectors["target"])).iter().map(|&t| t as u32).collect();
        for case in vectors["cases"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap_or("").to_owned();
            let (composite, canonizer) = (text("composite"), text("canonizer"));
            if case["weight_relevance"].is_null()
                || !COMPOSITES.iter().any(|known| known.name == composite)
                || !["vgg", "resnet"].contains(&canonizer.as_str())
            {
                continue;
            }
            let start = match text("output_type").as_str() {
                "output" => "logit".to_owned(),
                other => other.to_owned(),
            };
            let spec = json!({
                "composite": composite, "canonizer": canonizer, "start": start, "weight_rule": text("weight_rule"),
            });
            let settings = Settings::parse(&spec, Profile::Reference).unwrap();
            let found =
                explain(&settings, &network, &parameters, &input, &targets, Wanted::Everything).unwrap();
            let tolerance = (1e-4 + 5.0 * case["f32_vs_f64_maxrel"].as_f64().unwrap()).min(2e-3) as f32;
            let expected = case["weight_relevance_f64"].as_object().unwrap();
            assert_eq!(found.parameters.len(), expected.len(), "{name} {spec}");
            for (parameter, expected) in expected {
                let error = difference(&found.parameters[parameter], expected);
                assert!(error <= tolerance, "{name} {spec} {parameter}: {error} > {tolerance}");
            }
            let expected =
                if case["input_relevance_f64"].is_null() { "input_relevance" } else { "input_relevance_f64" };
            let error = difference(found.input.as_ref().unwrap(), &case[expected]);
            assert!(error <= tolerance, "{name} {spec} input: {error} > {tolerance}");
            checked += 1;
        }
    }
    assert!(checked >= 30 || std::env::var_os("ECQX_SHARED").is_none());
    if std::env::var_os("ECQX_SHARED").is_some() {
        assert_eq!(checked, 150);
    }
    assert!(checked > 0);
}
