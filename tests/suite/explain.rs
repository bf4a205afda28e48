//! `ecqx explain` through the real binary.

use super::ecqx;
use candle_core::{Device, Tensor};
use ecqx::model::{self, checkpoint};
use ecqx::nn::init::initialise;
use ecqx::quant::Profile;
use ecqx::relevance::lrp::{self, Settings, Wanted};
use std::path::Path;

/// A random checkpoint of a small perceptron and a file with three samples.
fn prepare(folder: &Path) -> (ecqx::nn::Network, ecqx::nn::Parameters, Tensor, Vec<u32>) {
    let network = model::build("mlp-gsc", &[1, 6, 5], 4, &model::Options::new()).unwrap();
    let parameters = initialise(&network, &Device::Cpu, 7).unwrap();
    let tensors = parameters.iter().map(|(name, parameter)| (name, parameter.var.as_tensor()));
    checkpoint::write_safetensors(&folder.join("weights.safetensors"), tensors).unwrap();
    let values: Vec<f32> = (0..90).map(|i| (i as f32 * 0.37).sin()).collect();
    let input = Tensor::from_vec(values, (3, 1, 6, 5), &Device::Cpu).unwrap();
    let target = Tensor::from_vec(vec![0i64, 3, 1], 3, &Device::Cpu).unwrap();
    let samples = [("input", &input), ("target", &target)];
    checkpoint::write_safetensors(&folder.join("samples.safetensors"), samples).unwrap();
    (network, parameters, input, vec![0, 3, 1])
}

fn explain(folder: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = ecqx();
    command.current_dir(folder).args(["explain", "--model", "mlp-gsc", "--weights", "weights.safetensors"]);
    command.args(["--input", "samples.safetensors", "--output", "out.safetensors"]).args(more).assert()
}

/// The file holds every parameter's relevance and the input's, as the library computes them; figures are drawn.
#[test]
fn writes_the_relevance_of_weights_and_input() {
    let folder = tempfile::tempdir().unwrap();
    let (network, parameters, input, targets) = prepare(folder.path());
    explain(folder.path(), &["--composite", "epsilon_plus", "--figure", "figures", "--json"]).success();
    let settings =
        Settings::parse(&serde_json::json!({"composite": "epsilon_plus"}), Profile::Default).unwrap();
    let expected =
        lrp::explain(&settings, &network, &parameters, &input, &targets, Wanted::Everything).unwrap();
    let found = checkpoint::read(&folder.path().join("out.safetensors")).unwrap();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.parameters.len() + 1);
    for (name, relevance) in &expected.parameters {
        assert_eq!(flat(&found[name]), flat(relevance), "{name}");
    }
    assert_eq!(flat(&found["input"]), flat(expected.input.as_ref().unwrap()));
    for figure in ["heat_maps", "relevance_over_magnitude"] {
        for extension in ["svg", "png", "csv"] {
            assert!(folder.path().join(format!("figures/{figure}.{extension}")).is_file());
        }
    }
}

/// Weights from a pipe serve too: they are read once, though the number of classes comes from them.
#[test]
fn weights_are_read_once() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    explain(folder.path(), &[]).success();
    let by_name = std::fs::read(folder.path().join("out.safetensors")).unwrap();
    let weights = std::fs::read(folder.path().join("weights.safetensors")).unwrap();
    let mut command = ecqx();
    command.current_dir(folder.path()).args(["explain", "--model", "mlp-gsc", "--weights", "-"]);
    command.args(["--input", "samples.safetensors", "--output", "piped.safetensors"]);
    command.write_stdin(weights).assert().success();
    assert_eq!(by_name, std::fs::read(folder.path().join("piped.safetensors")).unwrap());
}

/// A composite in a YAML file is read, and changes the result.
#[test]
fn composites_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    std::fs::write(folder.path().join("rules.yaml"), "linear: {gamma: 0.5}\nfirst: wsquare\n").unwrap();
    explain(folder.path(), &["--composite", "rules.yaml"]).success();
    let own = std::fs::read(folder.path().join("out.safetensors")).unwrap();
    explain(folder.path(), &[]).success();
    assert_ne!(own, std::fs::read(folder.path().join("out.safetensors")).unwrap());
}

/// Mistakes end with exit code 2 and name what is wrong.
#[test]
fn mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for (more, expected) in [
        (&["--composite", "epsilon_pluss"][..], "did you mean 'epsilon_plus'"),
        (&["--weight-rule", "norm"], "weight_rule"),
        (&["--epsilon", "0"], "--epsilon must be positive"),
        (&["--target", "9"], "true class below 4"),
        (&["--profile", "theirs"], "theirs"),
    ] {
        let output = explain(folder.path(), more).code(2).get_output().clone();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{more:?}: {text}");
    }
    std::fs::write(folder.path().join("samples.safetensors"), b"nonsense").unwrap();
    explain(folder.path(), &[]).code(2);
}
