//! Experiments from YAML to report, and the mistakes a user can make on the way.

use super::ecqx;
use std::path::Path;

const TINY: &str = "\
name: tiny
dataset: {name: embedded-audio, samples: {train: 192, validation: 64, test: 64}}
model: mlp-gsc
baseline:
  train: {epochs: 1, batch_size: 64}
bits: [4]
quantizers:
  - {method: ecq, lambda: [0.0, 0.05]}
  - {method: ecqx, lambda: 0.05, relevance: taylor}
  - {method: magnitude, sparsity: 0.5}
";

fn stderr_of(yaml: &str, arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.yaml");
    std::fs::write(&path, yaml).unwrap();
    let output = ecqx().args(arguments).arg(&path).arg("--data-dir").arg(folder.path()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Every mistake is exit code 2 with the place and the way out.
#[test]
fn mistakes_in_a_specification() {
    for (from, to, expected) in [
        ("quantizers:", "quantisers:", "did you mean 'quantizers'"),
        ("method: ecq,", "method: eqc,", "did you mean 'ecq'"),
        ("lambda: 0.05, rel", "lamda: 0.05, rel", "did you mean 'lambda'"),
        ("model: mlp-gsc", "model: mlp-gcs", "did you mean 'mlp-gsc'"),
        ("embedded-audio", "embeded-audio", "did you mean"),
        ("bits: [4]", "bits: [9]", "bits must be from 2 to 8, found 9"),
        ("bits: [4]", "bits: four", "spec.yaml:6"),
        (
            "epochs: 1,",
            "epochs: 0,",
            "spec.yaml:5:19: baseline.train.epochs must be from 1 to 10000, found 0",
        ),
        ("relevance: taylor", "relevance: tailor", "did you mean 'taylor'"),
        ("sparsity: 0.5", "sparsity: 1.5", "sparsity must be from 0 to"),
        ("epochs: 1,", "epoch: 1,", "spec.yaml:5:11: baseline.train has no key 'epoch'"),
        ("epochs: 1,", "epoch: 1,", "did you mean 'epochs'"),
        ("sparsity: 0.5}", "sparsity: 0.5, training: {epoch: 2}}", "did you mean 'epochs'"),
        ("{train: 192,", "{trian: 192,", "did you mean 'train'"),
        ("name: embedded-audio,", "name: embedded-audio, image_size: 9,", "no setting 'image_size'"),
        ("model: mlp-gsc", "model: {name: mlp-gsc, dropuot: 0.2}", "did you mean 'dropout'"),
        ("relevance: taylor", "relevance: {lrp: {composit: epsilon_plus}}", "did you mean 'composite'"),
        ("relevance: taylor", "relevance: {lrp: {composite: epsilon_pls}}", "did you mean 'epsilon_plus'"),
        ("relevance: taylor", "profile: refrence", "did you mean 'reference'"),
        (
            "method: magnitude,",
            "method: magnitude, relevance: lrp,",
            "spec.yaml:10:5: method magnitude uses no relevance",
        ),
        ("method: magnitude,", "method: ternary,", "ternary has no parameter 'sparsity'"),
        ("  train: {epochs: 1, batch_size: 64}", "  seed: 1", "baseline.seed is of training"),
        ("  train: {epochs: 1, batch_size: 64}", "  {}", "baseline needs 'checkpoint: PATH'"),
        ("64}\nbits", "64}\n  seed: per_seed\nbits", "a whole number, or per_run"),
        ("  train: {epochs", "  checkpoint: x.pt\n  train: {epochs", "x.pt"),
    ] {
        let (code, message) = stderr_of(&TINY.replacen(from, to, 1), &["validate"]);
        assert_eq!(code, 2, "{to}: {message}");
        assert!(message.contains(expected), "{to}: {message}");
        assert!(message.contains("spec.yaml"), "{to}: no place in {message}");
    }
}

/// A model that cannot take the data set's inputs is refused before anything is trained.
#[test]
fn impossible_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let model =
        "name: small\ninput_shape: [7]\nlayers:\n  - {name: fc, kind: linear, inputs: 7, outputs: 12}\n";
    std::fs::write(folder.path().join("small.yaml"), model).unwrap();
    let spec = TINY.replace("model: mlp-gsc", "model: {file: small.yaml}");
    std::fs::write(folder.path().join("spec.yaml"), spec).unwrap();
    for command in ["plan", "run"] {
        let output = ecqx().current_dir(folder.path()).args([command, "spec.yaml"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("spec.yaml: model small takes [7]"), "{message}");
    }
}

/// Missing data is the user's to mend, and the message says where it was looked for.
#[test]
fn missing_data() {
    let yaml =
        TINY.replace("{name: embedded-audio, samples: {train: 192, validation: 64, test: 64}}", "cifar10");
    let (code, message) = stderr_of(&yaml.replace("mlp-gsc", "resnet20"), &["plan"]);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("--data-dir"), "{message}");
}

fn run(folder: &Path, store: &str) -> (i32, serde_json::Value) {
    let spec = folder.join("tiny.yaml");
    std::fs::write(&spec, TINY).unwrap();
    let arguments = ["run", "tiny.yaml", "--store", store, "--json"];
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), json)
}

fn table(folder: &Path, store: &str) -> String {
    let reports = format!("reports-{store}");
    let arguments = ["report", "tiny.yaml", "--store", store, "--output", &reports, "--json"];
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for file in files["files"].as_array().unwrap() {
        let size = std::fs::metadata(folder.join(file.as_str().unwrap())).unwrap().len();
        assert!(size > 0, "{file} is empty");
    }
    let raw = std::fs::read_dir(folder.join(&reports)).unwrap().map(|entry| entry.unwrap().path());
    let path = raw
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("raw"))
        .find(|path| path.extension().is_some_and(|extension| extension == "csv"));
    std::fs::read_to_string(path.expect("a raw table")).unwrap()
}

/// A run makes every result once, a second call does nothing, a damaged result is done again, and the same seed gives
/// the same table in another store.
#[test]
fn run_resume_and_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let (code, json) = run(folder.path(), "first");
    assert_eq!((code, json["done"].as_u64(), json["skipped"].as_u64()), (0, Some(4), Some(0)), "{json}");
    let (code, json) = run(folder.path(), "first");
    assert_eq!((code, json["done"].as_u64(), json["skipped"].as_u64()), (0, Some(0), Some(4)), "{json}");

    let runs = folder.path().join("first/runs");
    let victim = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path().join("record.json");
    let text = std::fs::read_to_string(&victim).unwrap().replacen("\"top1\"", "\"top2\"", 1);
    std::fs::write(&victim, text).unwrap();
    let (code, json) = run(folder.path(), "first");
    assert_eq!((code, json["done"].as_u64(), json["skipped"].as_u64()), (0, Some(1), Some(3)), "{json}");

    let (code, _) = run(folder.path(), "second");
    assert_eq!(code, 0);
    assert_eq!(
        table(folder.path(), "first"),
        table(folder.path(), "second"),
        "the same seed gives another table"
    );
}
