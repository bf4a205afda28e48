//! The commands that engines and people use around a sweep: exec, status, collect, show, diff, store.

use super::ecqx;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const SPEC: &str = "\
name: engine
dataset: {name: embedded-audio, samples: {train: 192, validation: 64, test: 64}}
model: mlp-gsc
baseline:
  train: {epochs: 1, batch_size: 64}
bits: [2, 4]
quantizers:
  - {method: uniform}
  - {method: ecq, lambda: [0.01, 0.05]}
";
const RUNS: usize = 6;

fn json(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = ecqx().current_dir(folder).args(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Two workers on one plan do every run once; a second pass does nothing; what `run` would have done is the same.
#[test]
fn workers_share_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let plan = ecqx().current_dir(at).args(["plan", "spec.yaml", "--format", "json"]).output().unwrap();
    std::fs::write(at.join("plan.json"), &plan.stdout).unwrap();
    let worker = |order: Vec<usize>| {
        let loop_body: String = order
            .iter()
            .map(|index| format!("\"$ECQX\" exec --plan plan.json --index {index}; c=$?; [ $c = 0 ] || [ $c = 75 ] || exit 9\n"))
            .collect();
        let mut command = Command::new("sh");
        command.current_dir(at).env("ECQX", assert_cmd::cargo::cargo_bin("ecqx")).args(["-c", &loop_body]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut workers = [worker((0..RUNS).collect()), worker((0..RUNS).rev().collect())];
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    for index in 0..RUNS {
        let (code, value) = json(at, &["exec", "--plan", "plan.json", "--index", &index.to_string()]);
        assert_eq!((code, value["status"].as_str()), (0, Some("already done")), "{value}");
    }
    let (code, value) = json(at, &["status", "spec.yaml"]);
    assert_eq!((code, value["done"].as_u64(), value["failed"].as_u64()), (0, Some(RUNS as u64), Some(0)));
    // The same sweep by `run` in another store: the collected tables agree but for times.
    json(at, &["run", "spec.yaml", "--store", "other"]);
    for (store, output) in [("store", "a"), ("other", "b")] {
        let (code, value) = json(at, &["collect", "--store", store, "--output", output]);
        assert_eq!((code, value["runs"].as_u64()), (0, Some(RUNS as u64)));
    }
    let table = |name: &str| {
        let text = std::fs::read_to_string(at.join(name).join("raw.csv")).unwrap();
        text.replace(",exec,", ",engine,")
    };
    assert_eq!(table("a"), table("b"));
    let (code, value) = json(at, &["exec", "--plan", "plan.json", "--index", "99"]);
    assert_eq!(code, 2, "{value}");
}

/// A record can be shown by the beginning of its id, two can be compared, and damage is found and removed.
#[test]
fn records_are_shown_compared_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let (code, _) = json(at, &["run", "spec.yaml"]);
    assert_eq!(code, 0);
    let (_, plan) = json(at, &["plan", "spec.yaml"]);
    let id = |index: usize| plan["runs"][index]["id"].as_str().unwrap().to_owned();
    let (code, record) = json(at, &["show", &id(0)[..12]]);
    assert_eq!((code, record["id"].as_str()), (0, Some(id(0).as_str())));
    let (code, difference) = json(at, &["diff", &id(0), &id(1)]);
    assert_eq!(code, 0);
    assert_eq!(difference["spec.quantizer.bits"], serde_json::json!(["2", "4"]));
    assert!(difference.get("dataset").is_none());
    assert_eq!(json(at, &["show", "zzzz"]).0, 2);
    assert_eq!(json(at, &["store", "verify"]).0, 0);
    let model = at.join("store/runs").join(id(2)).join("model.nnc");
    let mut bytes = std::fs::read(&model).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let (code, value) = json(at, &["store", "verify"]);
    assert_eq!((code, value["damaged"].as_array().map(Vec::len)), (1, Some(1)), "{value}");
    let (code, value) = json(at, &["store", "gc"]);
    assert_eq!((code, value["removed"].as_array().map(Vec::len)), (0, Some(1)), "{value}");
    assert_eq!(json(at, &["store", "verify"]).0, 0);
    let (_, value) = json(at, &["run", "spec.yaml"]);
    assert_eq!((value["done"].as_u64(), value["skipped"].as_u64()), (Some(1), Some(RUNS as u64 - 1)));
}
