//! `ecqx quantize` through the real binary.

use super::ecqx;
use candle_core::{Device, Tensor};
use ecqx::model::checkpoint;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn quantize(folder: &Path, arguments: &[&str]) -> (i32, Value, String) {
    let mut command = ecqx();
    command.current_dir(folder).args(["quantize", "--output", "out.safetensors", "--json"]).args(arguments);
    let output = command.output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn checkpoint(folder: &Path) -> PathBuf {
    let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin().powi(3) + 0.05).collect::<Vec<f32>>();
    let first = Tensor::from_vec(wave(400, 0.7), (20, 20), &Device::Cpu).unwrap();
    let bias = Tensor::from_vec(wave(20, 0.3), 20, &Device::Cpu).unwrap();
    let second = Tensor::from_vec(wave(200, 1.3), (10, 20), &Device::Cpu).unwrap();
    let tensors = [("fc1.weight", &first), ("fc1.bias", &bias), ("fc2.weight", &second)];
    let path = folder.join("weights.safetensors");
    checkpoint::write_safetensors(&path, tensors).unwrap();
    path
}

/// Values are levels times step (or the codebook's entry), other tensors are untouched, for every method; the result is a
/// checkpoint like any other.
#[test]
fn every_method_writes_values_levels_and_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path());
    let before = checkpoint::read(&path).unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    // Calibrating methods need a model (below); the codec's own quantization has no levels of a codebook.
    let plain = |method: &&ecqx::quant::Method| {
        !method.needs_calibration && !method.reads_checkpoint() && method.name != "nnc"
    };
    for method in ecqx::quant::builtin().iter().filter(plain) {
        let mut arguments = vec!["--weights", "weights.safetensors", "--method", method.name];
        if method.bits.range().is_some() {
            arguments.extend(["--bits", "3"]);
        }
        if method.needs_relevance {
            // Any file with a tensor of the right shape per weight will do.
            arguments.extend(["--relevance", "weights.safetensors", "--p", "0.2"]);
        }
        let (code, json, err) = quantize(folder.path(), &arguments);
        assert_eq!(code, 0, "{}: {err}", method.name);
        assert_eq!(json["layers"].as_array().unwrap().len(), 2);
        let after = checkpoint::read(&folder.path().join("out.safetensors")).unwrap();
        assert_eq!(flat(&after["fc1.bias"]), flat(&before["fc1.bias"]), "{}", method.name);
        for name in ["fc1.weight", "fc2.weight"] {
            let values = flat(&after[name]);
            let levels = after[&format!("{name}.levels")].flatten_all().unwrap().to_vec1::<i32>().unwrap();
            match (after.get(&format!("{name}.step")), after.get(&format!("{name}.codebook"))) {
                (Some(step), None) => {
                    let step = flat(step)[0];
                    assert!(
                        values.iter().zip(&levels).all(|(v, &l)| *v == l as f32 * step),
                        "{}",
                        method.name
                    );
                }
                (None, Some(codebook)) => {
                    let codebook = flat(codebook);
                    let zero = codebook.iter().position(|v| *v == 0.0).unwrap() as i32;
                    assert!(values.iter().zip(&levels).all(|(v, &l)| *v == codebook[(l + zero) as usize]));
                }
                _ => panic!("{}: {name} has no step or codebook, or both", method.name),
            }
        }
    }
}

/// As a model file: the same weights come back, steps and codebooks are in it. A coded safetensors result gives weights too,
/// rounded as floats are.
#[test]
fn model_files_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    checkpoint(at);
    let command = |arguments: &[&str]| {
        ecqx().current_dir(at).args(arguments).assert().success();
    };
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for method in ["ecq", "kmeans", "lsq"] {
        let quantize = ["quantize", "--weights", "weights.safetensors", "--method", method, "--bits", "3"];
        command(&[&quantize[..], &["--output", "model.nnc"]].concat());
        command(&[&quantize[..], &["--output", "out.safetensors"]].concat());
        command(&["encode", "out.safetensors", "coded.nnc", "--qp", "-60"]);
        let expected = checkpoint::read(&at.join("out.safetensors")).unwrap();
        let model = checkpoint::read(&at.join("model.nnc")).unwrap();
        assert_eq!(model.keys().collect::<Vec<_>>(), ["fc1.weight", "fc1.bias", "fc2.weight"]);
        let coded = checkpoint::read(&at.join("coded.nnc")).unwrap();
        for name in ["fc1.weight", "fc2.weight"] {
            assert_eq!(flat(&model[name]), flat(&expected[name]), "{method} {name}");
            // qp −60: a step of 2^−15; dependent quantization may take the next but one.
            let close =
                flat(&coded[name]).iter().zip(flat(&expected[name])).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close, "{method} {name}");
        }
    }
}

/// What is wrong with a layer is said, and the result is finite: weights that are no numbers become zero, a pattern that
/// fits no weight does not pass in silence.
#[test]
fn degenerate_layers_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, (4, 4), &Device::Cpu).unwrap();
    let wave = |i: usize| (i as f32 * 0.7).sin();
    let broken = tensor((0..16).map(|i| if i == 5 { f32::NAN } else { wave(i) }).collect());
    let (equal, zero) = (tensor(vec![0.25; 16]), tensor(vec![0.0; 16]));
    let away = tensor((0..16).map(|i| wave(i).signum() + 0.01 * wave(i)).collect());
    let tensors =
        [("nan.weight", &broken), ("equal.weight", &equal), ("zero.weight", &zero), ("away.weight", &away)];
    checkpoint::write_safetensors(&folder.path().join("weights.safetensors"), tensors).unwrap();
    for method in ["ecq", "uniform", "ecqx"] {
        let mut arguments = vec!["--weights", "weights.safetensors", "--method", method, "--bits", "3"];
        arguments.extend(["--set", "layer_bits={\"fcc*\": 2}"]);
        if method == "ecqx" {
            arguments.extend(["--relevance", "weights.safetensors"]);
        }
        let (code, _, err) = quantize(folder.path(), &arguments);
        assert_eq!(code, 0, "{err}");
        let after = checkpoint::read(&folder.path().join("out.safetensors")).unwrap();
        let values = after["nan.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_finite()) && values[5] == 0.0, "{method}: {values:?}");
        assert!(err.contains("nan.weight: 1 of 16 weights are not finite"), "{err}");
        assert!(err.contains("no weight matches 'fcc*'"), "{err}");
        if method != "uniform" {
            assert!(err.contains("equal.weight: the entropy scale"), "{err}");
            assert!(err.contains("zero.weight: no finite weight differs from zero"), "{err}");
            assert!(err.contains("away.weight: no weight is nearest to zero"), "{err}");
        }
        if method == "ecqx" {
            assert!(err.contains("nan.weight: relevance is zero everywhere or not finite"), "{err}");
        }
    }
}

/// Mistakes are exit code 2 and say what is missing.
#[test]
fn mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint(folder.path());
    let other = Tensor::from_vec(vec![1f32; 6], (2, 3), &Device::Cpu).unwrap();
    let tensors = [("fc1.weight", &other)];
    checkpoint::write_safetensors(&folder.path().join("other.safetensors"), tensors).unwrap();
    for (arguments, expected) in [
        (&["--method", "ecqx", "--bits", "4"][..], "--relevance"),
        (&["--method", "ecqx", "--bits", "4", "--relevance", "other.safetensors"], "[2, 3]"),
        (&["--method", "ecqq", "--bits", "4"], "did you mean 'ecq'"),
        (&["--method", "ecq"], "needs a bit width"),
        (&["--method", "ecq", "--bits", "4", "--set", "lambd=1"], "did you mean 'lambda'"),
        (&["--method", "ecq", "--bits", "4", "--set", "lambda"], "no '='"),
        (&["--method", "ecq", "--bits", "4", "--exclude", "*"], "nothing to quantize"),
        (&["--method", "ecq", "--bits", "4", "--profile", "refrence"], "did you mean 'reference'"),
    ] {
        let arguments = [&["--weights", "weights.safetensors"], arguments].concat();
        let (code, _, err) = quantize(folder.path(), &arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
}

/// The pretrained ResNet-20 comes out with the reference's zeros in every layer.
#[test]
fn pretrained_network_matches_the_reference() {
    let (Some(data), Some(shared)) = (std::env::var_os("ECQX_DATA"), std::env::var_os("ECQX_SHARED")) else {
        eprintln!("skipped: ECQX_DATA and ECQX_SHARED are not both set");
        return;
    };
    let golden = std::fs::read(PathBuf::from(shared).join("golden/real/ptq_resnet20.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let weights = PathBuf::from(data).join("pretrained/resnet20.pt");
    let folder = tempfile::tempdir().unwrap();
    for row in golden["rows"].as_array().unwrap().iter().filter(|row| row["p"].is_null()) {
        let (bits, lambda) = (row["bits"].to_string(), row["Lambda"].to_string());
        let arguments = ["--weights", weights.to_str().unwrap(), "--method", "ecq", "--profile", "reference"];
        let arguments = [&arguments[..], &["--bits", &bits, "--lambda", &lambda]].concat();
        let (code, json, err) = quantize(folder.path(), &arguments);
        assert_eq!(code, 0, "{err}");
        // In the order of the state dict, whatever the pickle's reader does.
        assert_eq!(json["layers"][0]["name"], "conv1.weight");
        assert_eq!(json["layers"][19]["name"], "linear.weight");
        for layer in json["layers"].as_array().unwrap() {
            let name = layer["name"].as_str().unwrap();
            let (found, expected) =
                (layer["zeros"].as_i64().unwrap(), row["layer_zeros"][name].as_i64().unwrap());
            assert!(
                (found - expected).abs() <= 2,
                "{bits} bit, Λ {lambda}: {name}: {found}, expected {expected}"
            );
        }
    }
}

/// Methods that calibrate say what they need; with model and data they quantize that model's weights, the same for the same
/// samples; and the codec's own quantization takes the bytes that it says.
#[test]
fn calibration_and_codec_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = ecqx::data::open(
        &serde_json::from_value(serde_json::json!({"name": "embedded-images"})).unwrap(),
        std::path::Path::new("nowhere"),
    )
    .unwrap();
    let options = ecqx::model::Options::new();
    let network =
        ecqx::model::build("cnn-small", dataset.input_shape(), dataset.classes().len(), &options).unwrap();
    let parameters = ecqx::nn::init::initialise(&network, &Device::Cpu, 3).unwrap();
    let tensors: Vec<(&str, &Tensor)> =
        parameters.iter().map(|(name, parameter)| (name, parameter.var.as_tensor())).collect();
    checkpoint::write_safetensors(&folder.path().join("cnn.safetensors"), tensors).unwrap();

    let base = ["--weights", "cnn.safetensors", "--bits", "3", "--method", "optq"];
    let (code, _, err) = quantize(folder.path(), &base);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--model") && err.contains("--dataset"), "{err}");
    let model = ["--model", "cnn-small", "--dataset", "embedded-images", "--samples", "48"];
    let of = |seed: &str| {
        let (code, json, err) = quantize(folder.path(), &[&base[..], &model[..], &["--seed", seed]].concat());
        assert_eq!(code, 0, "{err}");
        json["layers"].clone()
    };
    assert_eq!(of("1"), of("1"));
    assert_ne!(of("1"), of("2"));

    let sizes = ["-30", "-10"].map(|qp| {
        let qp = format!("qp={qp}");
        let arguments = ["--weights", "cnn.safetensors", "--method", "nnc", "--set", qp.as_str()];
        let (code, json, err) = quantize(folder.path(), &arguments);
        assert_eq!(code, 0, "{err}");
        json["model_bytes"].as_u64().unwrap()
    });
    assert!(sizes[1] * 3 < 2 * sizes[0], "{sizes:?}");
}

/// `--bits auto` gives each layer its width within the budget and says what the others would have cost; relevance moves
/// bits to the layer that has it; what is missing is said.
#[test]
fn bits_follow_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path());
    let before = checkpoint::read(&path).unwrap();
    let scaled = |first: f64, second: f64| {
        let tensors = [
            ("fc1.weight", (&before["fc1.weight"] * first).unwrap()),
            ("fc2.weight", (&before["fc2.weight"] * second).unwrap()),
        ];
        let by_name = tensors.iter().map(|(name, tensor)| (*name, tensor));
        checkpoint::write_safetensors(&folder.path().join("relevance.safetensors"), by_name).unwrap();
    };
    let auto = ["--weights", "weights.safetensors", "--method", "uniform", "--bits", "auto"];
    let run = |more: &[&str]| quantize(folder.path(), &[&auto[..], more].concat());
    let widths = |json: &Value| -> Vec<u64> {
        let layers = json["allocation"]["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["bits"].as_u64().unwrap()).collect()
    };
    let (code, json, err) = run(&["--budget", "4", "--allocate-by", "error"]);
    assert_eq!(code, 0, "{err}");
    let found = widths(&json);
    assert!(400 * found[0] + 200 * found[1] <= 4 * 600, "{json}");
    assert_eq!(json["allocation"]["layers"][0]["costs"].as_object().unwrap().len(), 7);
    let mut seen = Vec::new();
    for (first, second) in [(1.0, 1e6), (1e6, 1.0)] {
        scaled(first, second);
        let (code, json, err) = run(&["--budget-bytes", "300", "--relevance", "relevance.safetensors"]);
        assert_eq!(code, 0, "{err}");
        seen.push(widths(&json));
    }
    assert!(seen[0][1] > seen[1][1] && seen[0][0] < seen[1][0], "{seen:?}");
    for (more, expected) in [
        (&["--budget", "4"][..], "--relevance"),
        (&[], "--budget"),
        (&["--budget", "1.5", "--allocate-by", "error"], "too small"),
        (&["--budget", "4", "--allocate-by", "sensitivity"], "experiment"),
        (&["--budget", "4", "--budget-bytes", "9", "--allocate-by", "error"], "exclude each other"),
    ] {
        let (code, _, err) = run(more);
        assert_eq!(code, 2, "{more:?}: {err}");
        assert!(err.contains(expected), "{more:?}: {err}");
    }
}
