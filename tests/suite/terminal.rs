//! What a person reads on the terminal: results after a run, the list of runs, one run by its label.

use super::ecqx;
use serde_json::Value;
use std::path::Path;

const SPEC: &str = "\
name: terminal
dataset: {name: embedded-audio, samples: {train: 64, validation: 32, test: 32}}
model: mlp-gsc
baseline:
  train: {epochs: 1, batch_size: 32}
seeds: [1, 2]
bits: [4]
quantizers:
  - {method: uniform}
  - {method: ecq, lambda: [0.01, 0.05]}
";

fn call(at: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = ecqx().current_dir(at).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// `run` closes with a row for each working point and the next command; its lines count up, in columns; a second call has
/// the same rows; what `results` and `show` tell agrees with it.
#[test]
fn results_are_shown_where_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let (code, first, told) = call(at, &["run", "spec.yaml", "--store", "results of mine"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("expected time: unknown"), "{told}");
    assert!(told.contains("[1/6] ") && told.contains("[6/6] "), "{told}");
    let columns: Vec<usize> = told
        .lines()
        .filter_map(|line| line.split_once("  top-1 "))
        .filter(|(head, _)| head.starts_with('['))
        .map(|(head, _)| head.chars().count())
        .collect();
    assert!(columns.len() == 6 && columns.iter().all(|column| *column == columns[0]), "{told}");
    let rows: Vec<&str> = first.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 5, "{first}");
    assert!(
        rows[0].starts_with("method") && rows[1].contains("Λ=0.01") && rows[2].contains("Λ=0.05"),
        "{first}"
    );
    assert!(rows[4].starts_with("next: ecqx report spec.yaml --store "), "{first}");
    let (_, again, told) = call(at, &["run", "spec.yaml", "--store", "results of mine"]);
    assert_eq!(again, first);
    assert!(told.contains("6 runs: 6 finished earlier, 0 to do"), "{told}");

    let store = ["--store", "results of mine"];
    let (code, list, _) = call(at, &[&["results", "spec.yaml", "--sort", "accuracy"], &store[..]].concat());
    assert_eq!((code, list.lines().count()), (0, 8), "{list}");
    let (_, json, _) = call(at, &[&["results", "--json", "--filter", "ecq*"], &store[..]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 4);
    let (code, shown, told) = call(at, &[&["show", "ecq 4 bit Λ=0.01 seed=2"], &store[..]].concat());
    assert_eq!(code, 0, "{told}");
    assert!(shown.contains("Λ=0.01 seed=2  (done)") && !shown.contains("provenance."), "{shown}");
    let (code, _, told) = call(at, &[&["show", "ecq 4 bit Λ=0.01"], &store[..]].concat());
    assert!(code == 2 && told.contains("2 runs have the label") && told.contains("seed 2"), "{told}");
    let (_, all, _) = call(at, &[&["show", "uniform 4 bit seed=1", "--all"], &store[..]].concat());
    assert!(all.contains("provenance.version"), "{all}");
}

/// Scripts find a method's parameters inside the method's object, not as entries of their own.
#[test]
fn listings_nest_parameters() {
    let (code, text, _) = call(Path::new("."), &["ls", "quantizers", "--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap();
    let ecqx = items.iter().find(|item| item["name"] == "ecqx").unwrap();
    let parameters = ecqx["parameters"].as_array().unwrap();
    assert_eq!((code, ecqx["strength"].as_str()), (0, Some("lambda")));
    assert!(parameters.iter().any(|p| p["name"] == "p" && p["default"] == 0.1), "{text}");
    assert!(!items.iter().any(|item| item["name"] == "lambda"));
}

/// Outside the repository `check` says what it looks for and how to name it.
#[test]
fn check_says_what_it_looks_for() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, told) = call(folder.path(), &["check"]);
    assert!(code == 2 && told.contains("baselines/expected") && told.contains("--expected"), "{told}");
}
