//! Damaged or unfitting input through the real binary: exit code 2, the place, the way out, and never a panic.

use super::ecqx;
use candle_core::{DType, Device, Tensor};
use ecqx::model::{self, checkpoint};
use std::path::Path;

const RECORD: usize = 3073;

/// A CIFAR-10 folder with `count` valid records per file.
fn cifar(folder: &Path, count: usize) {
    let batches = folder.join("cifar-10-batches-bin");
    std::fs::create_dir_all(&batches).unwrap();
    // No two batches alike: that would be a copy in place of a batch.
    let bytes = |file: usize| -> Vec<u8> {
        let value = |i: usize, b: usize| if b == 0 { (i % 10) as u8 } else { (b * 7 + i + file) as u8 };
        (0..count).flat_map(|i| (0..RECORD).map(move |b| value(i, b))).collect()
    };
    for file in 1..=5 {
        std::fs::write(batches.join(format!("data_batch_{file}.bin")), bytes(file)).unwrap();
    }
    std::fs::write(batches.join("test_batch.bin"), bytes(6)).unwrap();
}

fn weights(folder: &Path, model: &str, classes: usize) -> std::path::PathBuf {
    let network = model::build(model, &[3, 32, 32], classes, &model::Options::new()).unwrap();
    let parameters = ecqx::nn::init::initialise(&network, &Device::Cpu, 1).unwrap();
    let path = folder.join(format!("{model}-{classes}.safetensors"));
    let tensors = parameters.iter().map(|(name, parameter)| (name, parameter.var.as_tensor()));
    checkpoint::write_safetensors(&path, tensors).unwrap();
    path
}

fn evaluate(folder: &Path, weights: &Path, more: &[&str]) -> (i32, String) {
    let mut command = ecqx();
    command.current_dir(folder).args(["evaluate", "--model", "resnet20", "--data-dir", ".", "--weights"]);
    let output = command.arg(weights).args(more).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), text)
}

fn refused(result: (i32, String), expected: &[&str]) {
    let (code, text) = result;
    assert_eq!(code, 2, "{text}");
    for expected in expected {
        assert!(text.contains(expected), "'{expected}' is not in: {text}");
    }
}

/// CIFAR-10 batches that are cut off, too long, or hold a label out of range.
#[test]
fn damaged_image_batches() {
    let folder = tempfile::tempdir().unwrap();
    cifar(folder.path(), 1100);
    let weights = weights(folder.path(), "resnet20", 10);
    let run = || evaluate(folder.path(), &weights, &["--dataset", "cifar10"]);
    let (code, text) = run();
    assert_eq!(code, 0, "{text}");
    let file = folder.path().join("cifar-10-batches-bin/data_batch_3.bin");
    let intact = std::fs::read(&file).unwrap();
    std::fs::write(&file, &intact[..intact.len() - 7]).unwrap();
    refused(run(), &["data_batch_3.bin", "byte", "truncated"]);
    std::fs::write(&file, [&intact[..], &[0; 9]].concat()).unwrap();
    refused(run(), &["data_batch_3.bin", "9 bytes more"]);
    let mut wrong = intact.clone();
    wrong[5 * RECORD] = 10;
    std::fs::write(&file, wrong).unwrap();
    refused(run(), &["data_batch_3.bin", &format!("byte {}", 5 * RECORD), "label 10 of record 5"]);
    std::fs::remove_file(&file).unwrap();
    refused(run(), &["data_batch_3.bin"]);
}

/// Speech Commands clips of another rate, cut off, or no WAV at all.
#[test]
fn damaged_clips() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("speech_commands_v0.02");
    let words = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"];
    let clip = |rate: u32| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        (0..rate).for_each(|i| {
            writer.write_sample((f64::from(i) * 0.05).sin().mul_add(9000.0, 0.0) as i16).unwrap()
        });
        writer.finalize().unwrap();
        bytes.into_inner()
    };
    for word in words {
        std::fs::create_dir_all(root.join(word)).unwrap();
        for speaker in 0..6 {
            let name = format!("{speaker:08x}_nohash_0.wav");
            std::fs::write(root.join(word).join(name), clip(16000)).unwrap();
        }
    }
    let lines = |speaker: usize| words.map(|word| format!("{word}/{speaker:08x}_nohash_0.wav\n")).concat();
    std::fs::write(root.join("validation_list.txt"), lines(4)).unwrap();
    std::fs::write(root.join("testing_list.txt"), lines(5)).unwrap();
    let spec = "name: x\ndataset: speech-commands\nmodel: mlp-gsc\nbaseline: {train: {epochs: 1}}\nbits: 4\n\
                quantizers: [{method: uniform}]\n";
    std::fs::write(folder.path().join("x.yaml"), spec).unwrap();
    let run = || {
        let mut command = ecqx();
        let output =
            command.current_dir(folder.path()).args(["run", "x.yaml", "--data-dir", "."]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("panicked"), "{text}");
        (output.status.code().unwrap(), text)
    };
    let victim = root.join("left/00000002_nohash_0.wav");
    let intact = clip(16000);
    std::fs::write(&victim, clip(8000)).unwrap();
    refused(run(), &["00000002_nohash_0.wav", "8000"]);
    std::fs::write(&victim, &intact[..100]).unwrap();
    refused(run(), &["00000002_nohash_0.wav"]);
    std::fs::write(&victim, b"RIFF and nothing else").unwrap();
    refused(run(), &["00000002_nohash_0.wav"]);
    std::fs::write(&victim, &intact).unwrap();
    let (code, text) = run();
    assert_eq!(code, 0, "{text}");
}

/// Checkpoints of another model, for other classes, damaged, or of no known kind: ten offending tensors are
/// listed, all of them when asked.
#[test]
fn unfitting_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    cifar(folder.path(), 1100);
    let run = |weights: &Path| evaluate(folder.path(), weights, &["--dataset", "cifar10"]);
    let other = weights(folder.path(), "resnet18", 10);
    refused(
        run(&other),
        &[
            "resnet18-10.safetensors",
            "conv1.weight: shape",
            "more (all with --verbose)",
            "checkpoint of another model",
        ],
    );
    let all = evaluate(folder.path(), &other, &["--dataset", "cifar10", "--verbose"]);
    refused(all, &["fc.weight", "layer1.2.conv1.weight"]);
    let classes = weights(folder.path(), "resnet20", 7);
    refused(run(&classes), &["linear.weight: shape [7, 64], expected [10, 64]", "linear.bias"]);
    let right = std::fs::read(weights(folder.path(), "resnet20", 10)).unwrap();
    for (name, bytes) in [
        ("cut.safetensors", &right[..right.len() / 2]),
        ("cut.pt", &right[..1000]),
        ("empty.pt", &[][..]),
        ("empty.th", &[][..]),
        ("text.pth", b"these are not weights"),
        ("cut.nnc", &right[..300]),
        ("empty.nnc", &[][..]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        refused(run(&path), &[name]);
    }
    refused(run(&folder.path().join("nowhere.pt")), &["nowhere.pt"]);
}

/// What is asked for does not exist.
#[test]
fn unknown_names() {
    let folder = tempfile::tempdir().unwrap();
    cifar(folder.path(), 1100);
    let path = weights(folder.path(), "resnet20", 10);
    refused(evaluate(folder.path(), &path, &["--dataset", "cifar1O"]), &["did you mean 'cifar10'"]);
    refused(evaluate(folder.path(), &path, &["--dataset", "cifar100"]), &["cifar-100-binary", "--data-dir"]);
    refused(
        evaluate(folder.path(), &path, &["--dataset", "cifar10", "--normalization", "imagenett"]),
        &["imagenett"],
    );
    refused(
        evaluate(folder.path(), &path, &["--dataset", "cifar10", "--model-option", "widht=2"]),
        &["widht"],
    );
    let output = ecqx().args(["evaluate", "--model", "resnet2O"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A YAML model whose last layer has too few outputs for the data set is refused before anything is computed.
#[test]
fn yaml_models_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    cifar(folder.path(), 1100);
    let yaml = "name: small\ninput_shape: [3, 32, 32]\nlayers:\n  - {name: flat, kind: flatten}\n  \
                - {name: fc, kind: linear, inputs: 3072, outputs: 4}\n";
    std::fs::write(folder.path().join("small.yaml"), yaml).unwrap();
    let tensors = [
        ("fc.weight", Tensor::zeros((4, 3072), DType::F32, &Device::Cpu).unwrap()),
        ("fc.bias", Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap()),
    ];
    let path = folder.path().join("small.safetensors");
    checkpoint::write_safetensors(&path, tensors.iter().map(|(name, tensor)| (*name, tensor))).unwrap();
    let output = ecqx()
        .current_dir(folder.path())
        .args(["evaluate", "--model", "small.yaml", "--dataset", "cifar10", "--data-dir", ".", "--weights"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    refused((output.status.code().unwrap(), text), &["small.yaml gives 4 classes", "10"]);
}

/// A store that cannot be written is said to be so.
#[test]
fn unwritable_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store"), "a file where a folder should be").unwrap();
    let spec = "name: x\ndataset: {name: embedded-audio, samples: {train: 64, validation: 16, test: 16}}\nmodel: mlp-gsc\n\
                baseline: {train: {epochs: 1}}\nbits: 4\nquantizers: [{method: uniform}]\n";
    std::fs::write(folder.path().join("x.yaml"), spec).unwrap();
    let output = ecqx().current_dir(folder.path()).args(["run", "x.yaml"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code == 1 || code == 2), "{text}");
    assert!(text.contains("store") && !text.contains("panicked"), "{text}");
}

/// A reader that closes early, as `head` does, ends the program without a panic.
#[test]
fn closed_pipe() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ecqx"))
        .args(["ls", "quantizers"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
