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
    for method in ecqx::quant::METHODS {
        let mut arguments = vec!["--weights", "weights.safetensors", "--method", method.name];
        if method.bits.is_some() {
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
