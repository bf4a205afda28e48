//! Data sets with what real copies of them have wrong, through the real binary; and damaged files of every kind.

use crate::ecqx;
use candle_core::{Device, Tensor};
use ecqx::data::readers;
use ecqx::model::checkpoint;
use ecqx::rng::Rng;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[path = "../damage/mod.rs"]
mod damage;

/// Every reader survives damaged files: no panic and no endless loop. `examples/mutate_readers.rs` goes on for as long as
/// asked and watches memory too.
#[test]
fn damaged_files_are_survived() {
    for reader in readers::names() {
        let corpus = damage::corpus(reader);
        assert!(
            corpus.iter().any(|valid| readers::read(reader, valid).is_ok_and(|found| found > 0)),
            "{reader}"
        );
        let mut rng = Rng::stream(18, reader);
        let rounds = if matches!(reader, "jpeg" | "png") { 500 } else { 3_000 };
        let refused = (0..rounds)
            .filter(|_| readers::read(reader, &damage::mutate(&corpus, &mut rng)).is_err())
            .count();
        assert!(refused > 0, "{reader}: the damage reaches it");
    }
    assert!(readers::read("ogg", b"").is_err());
}

/// A tiny MNIST: `train` and ten test images of 4 × 4 pixels, image i all of brightness 10·(i mod 10), its class i mod 10.
fn mnist(data_dir: &Path, train: usize) {
    let folder = data_dir.join("mnist");
    fs::create_dir_all(&folder).unwrap();
    for (name, count) in [("train", train), ("t10k", 10)] {
        let header = |sides: &[usize]| -> Vec<u8> {
            let sides: Vec<u8> = sides.iter().flat_map(|side| (*side as u32).to_be_bytes()).collect();
            [vec![0, 0, 8, (sides.len() / 4) as u8], sides].concat()
        };
        let images: Vec<u8> = (0..count).flat_map(|i| [(10 * (i % 10)) as u8; 16]).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
        fs::write(
            folder.join(format!("{name}-images-idx3-ubyte")),
            [header(&[count, 4, 4]), images].concat(),
        )
        .unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), [header(&[count]), labels].concat())
            .unwrap();
    }
}

const LINEAR: &str = "name: tiny\ninput_shape: [1, 4, 4]\nlayers:\n  - {name: flatten, kind: flatten}\n  \
    - {name: fc, kind: linear, inputs: 16, outputs: 10}\n";

/// Samples with a NaN among their logits count as wrong, and `evaluate` says how many there were.
#[test]
fn non_finite_logits_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    mnist(folder.path(), 20);
    fs::write(path("tiny.yaml"), LINEAR).unwrap();
    let evaluate = |spoiled: Option<usize>| -> Value {
        // The first class always wins, unless a weight of another one is NaN.
        let mut weights = vec![0f32; 160];
        let mut bias = vec![0f32; 10];
        bias[0] = 1.0;
        if let Some(at) = spoiled {
            weights[at] = f32::NAN;
        }
        let weights = Tensor::from_vec(weights, (10, 16), &Device::Cpu).unwrap();
        let bias = Tensor::from_vec(bias, 10, &Device::Cpu).unwrap();
        let file = checkpoint::to_safetensors([("fc.weight", &weights), ("fc.bias", &bias)]).unwrap();
        fs::write(path("w.safetensors"), file).unwrap();
        let output = ecqx()
            .current_dir(folder.path())
            .args([
                "evaluate",
                "--json",
                "--data-dir",
                ".",
                "--model",
                "tiny.yaml",
                "--weights",
                "w.safetensors",
            ])
            .args(["--dataset", "mnist"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let sound = evaluate(None);
    assert_eq!((&sound["top1"], &sound["non_finite"]), (&10.0.into(), &0.into()), "{sound}");
    let spoiled = evaluate(Some(5 * 16));
    assert_eq!((&spoiled["top1"], &spoiled["top5"]), (&0.0.into(), &0.0.into()), "{spoiled}");
    assert_eq!((&spoiled["non_finite"], &spoiled["loss"]), (&10.into(), &Value::Null), "{spoiled}");
    assert!(spoiled["warnings"].to_string().contains("10 of 10 samples have logits that are not finite"));
}

/// A last batch of one sample does not stop a network with batch norm, and the record says how many samples went where.
#[test]
fn a_last_batch_of_one_is_trained_with_batch_norm() {
    let folder = tempfile::tempdir().unwrap();
    mnist(folder.path(), 9 + 4);
    let model = "name: tiny\ninput_shape: [1, 4, 4]\nlayers:\n  - {name: flatten, kind: flatten}\n  \
        - {name: fc, kind: linear, inputs: 16, outputs: 10}\n  - {name: bn, kind: batch_norm, features: 10}\n";
    fs::write(folder.path().join("tiny.yaml"), model).unwrap();
    let experiment = "name: lone\ndataset: {name: mnist, validation: 4}\nmodel: {file: tiny.yaml}\n\
        baseline: {train: {epochs: 1, batch_size: 8, learning_rate: 0.01}}\nseeds: [1]\nbits: [4]\nquantizers:\n  \
        - {method: ecq, lambda: [0.1], training: {epochs: 1, batch_size: 8, learning_rate: 0.01}}\n";
    fs::write(folder.path().join("x.yaml"), experiment).unwrap();
    let output =
        ecqx().current_dir(folder.path()).args(["run", "x.yaml", "--data-dir", "."]).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let record = record(folder.path()).expect("a finished run has a record");
    assert_eq!(record["status"], "done", "{record}");
    assert_eq!(record["provenance"]["samples"], serde_json::json!({"train": 9, "validation": 4, "test": 10}));
}

/// The best epoch on validation samples needs some: without them nothing begins.
#[test]
fn the_best_epoch_needs_validation_samples() {
    let folder = tempfile::tempdir().unwrap();
    mnist(folder.path(), 20);
    fs::write(folder.path().join("tiny.yaml"), LINEAR).unwrap();
    let experiment = "name: best\ndataset: {name: mnist, validation: 0}\nmodel: {file: tiny.yaml}\n\
        baseline: {train: {epochs: 1, select: best_validation}}\nbits: [4]\nquantizers: [{method: uniform}]\n";
    fs::write(folder.path().join("x.yaml"), experiment).unwrap();
    for command in ["validate", "run"] {
        let output =
            ecqx().current_dir(folder.path()).args([command, "x.yaml", "--data-dir", "."]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {text}");
        assert!(text.contains("best_validation needs a validation split"), "{command}: {text}");
    }
    assert!(record(folder.path()).is_none());
}

/// Errors of tensors, as of a batch of one that can't be merged, are tried once and leave no backtrace anywhere.
#[test]
fn tensor_errors_are_tried_once() {
    let folder = tempfile::tempdir().unwrap();
    mnist(folder.path(), 9);
    let model = "name: tiny\ninput_shape: [1, 4, 4]\nlayers:\n  - {name: flatten, kind: flatten}\n  \
        - {name: fc, kind: linear, inputs: 16, outputs: 10}\n  - {name: bn, kind: batch_norm, features: 10}\n";
    fs::write(folder.path().join("tiny.yaml"), model).unwrap();
    let experiment = "name: ones\ndataset: {name: mnist, validation: 4}\nmodel: {file: tiny.yaml}\n\
        baseline: {train: {epochs: 1, batch_size: 1}}\nseeds: [1]\nbits: [4]\nquantizers: [{method: ecq, lambda: [0.1]}]\n";
    fs::write(folder.path().join("x.yaml"), experiment).unwrap();
    let output = ecqx()
        .current_dir(folder.path())
        .env("RUST_BACKTRACE", "1")
        .args(["run", "x.yaml", "--data-dir", "."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let record = record(folder.path()).expect("a failed run has a record");
    assert_eq!((&record["status"], &record["attempts"]), (&"failed".into(), &1.into()), "{record}");
    let error = record["error"].as_str().unwrap();
    assert!(error.contains("batches of two or more samples") && !error.contains('\n'), "{error}");
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    for text in [text, record.to_string()] {
        assert!(!text.contains("candle_core::") && !text.contains("rust_begin_unwind"), "{text}");
    }
}

/// The record of a run in a store anywhere below `folder`.
fn record(folder: &Path) -> Option<Value> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = record(&path) {
                return Some(found);
            }
        } else if path.file_name()? == "record.json" {
            let record: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            // A baseline's record has no status.
            if record.get("status").is_some() {
                return Some(record);
            }
        }
    }
    None
}
