//! Expected numbers through the real binary: what is off, in which direction, and mistakes in the files.

use super::ecqx;
use serde_json::Value;
use std::path::Path;

const SPEC: &str = "\
name: checked
dataset: {name: embedded-audio, samples: {train: 192, validation: 64, test: 64}}
model: mlp-gsc
baseline:
  train: {epochs: 1, batch_size: 64}
seeds: [1, 2]
bits: [4]
quantizers:
  - {method: uniform}
";

const EXPECTED: &str = "\
experiment: ../spec.yaml
source: this test
reason: exact repetition
tolerances: {top1_percent: 0.01, file_bytes: 1%}
numbers:
  - {label: uniform 4 bit, column: top1_percent, value: TOP1}
  - {label: uniform 4 bit, seed: 2, column: file_bytes, value: BYTES}
  - {column: baseline_top1_percent, value: BASELINE, tolerance: 0.01}
";

fn check(folder: &Path, arguments: &[&str]) -> (i32, Value, String) {
    let output = ecqx().current_dir(folder).arg("check").args(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default(), text)
}

fn counts(value: &Value) -> [u64; 4] {
    ["ok", "improvements", "regressions", "missing"].map(|key| value[key].as_u64().unwrap())
}

/// Equal numbers pass; a better and a worse one are both off and named as what they are; what was not run is missing
/// where it is asked for, and left out otherwise.
#[test]
fn improvements_and_regressions_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    std::fs::create_dir(at.join("expected")).unwrap();
    let file = at.join("expected/checked.yaml");
    std::fs::write(&file, EXPECTED.replace("TOP1", "50").replace("BYTES", "1").replace("BASELINE", "50"))
        .unwrap();
    let (code, value, _) = check(at, &["--expected", "expected"]);
    assert_eq!(
        (code, counts(&value), value["not_run"].as_array().unwrap().len()),
        (0, [0, 0, 0, 0], 1),
        "{value}"
    );
    let (code, value, _) = check(at, &["expected/checked.yaml"]);
    assert_eq!((code, counts(&value)), (1, [0, 0, 0, 3]), "{value}");

    ecqx().current_dir(at).args(["run", "spec.yaml"]).assert().success();
    let (_, value, _) = check(at, &["expected/checked.yaml"]);
    let actual = |index: usize| value["files"][0]["numbers"][index]["actual"].as_f64().unwrap();
    let write = |top1: f64, bytes: f64, baseline: f64| {
        let text = EXPECTED.replace("TOP1", &top1.to_string());
        let text = text.replace("BYTES", &bytes.to_string()).replace("BASELINE", &baseline.to_string());
        std::fs::write(&file, text).unwrap();
    };
    write(actual(0), actual(1), actual(2));
    let (code, value, _) = check(at, &["--expected", "expected", "--output", "tables"]);
    assert_eq!((code, counts(&value)), (0, [3, 0, 0, 0]), "{value}");
    let table = std::fs::read_to_string(at.join("tables/expected.csv")).unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
    // Higher accuracy and fewer bytes are improvements, a lower baseline is a regression; all three are off.
    write(actual(0) - 1.0, 1.02 * actual(1), actual(2) + 1.0);
    let (code, value, _) = check(at, &["--expected", "expected"]);
    assert_eq!((code, counts(&value)), (1, [0, 2, 1, 0]), "{value}");
    let output = ecqx().current_dir(at).args(["check", "--expected", "expected"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["improvement", "regression", "uniform 4 bit seed=2", "2 improved, 1 regressed"] {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

/// A mistake in a file of expected numbers is named with file, line and what was perhaps meant.
#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    std::fs::create_dir(at.join("expected")).unwrap();
    let valid = EXPECTED.replace("TOP1", "50").replace("BYTES", "1").replace("BASELINE", "50");
    for (from, to, expected) in [
        ("reason:", "reasn:", ["x.yaml:3:", "did you mean 'reason'"]),
        ("tolerance: 0.01", "tolerence: 0.01", ["x.yaml:8:", "did you mean 'tolerance'"]),
        ("column: top1_percent", "column: top1_precent", ["x.yaml:6:", "did you mean 'top1_percent'"]),
        ("{top1_percent: 0.01", "{top_1: 0.01", ["x.yaml:4:", "top_1"]),
        ("file_bytes: 1%", "file_bytes: 1 percent", ["x.yaml:4:", "a percentage such as 2%"]),
        ("file_bytes: 1%", "entropy_bits: 1%", ["x.yaml:7:", "no tolerance"]),
        ("{label: uniform 4 bit, column", "{column", ["x.yaml:6:", "'label' is missing"]),
        ("../spec.yaml", "../spek.yaml", ["x.yaml:1:", "relative to the file"]),
        ("value: 50}", "value: fifty}", ["x.yaml:6:", "value must be a number, found the text 'fifty'"]),
    ] {
        assert!(valid.contains(from), "{from}");
        std::fs::write(at.join("expected/x.yaml"), valid.replacen(from, to, 1)).unwrap();
        let (code, _, text) = check(at, &["expected/x.yaml"]);
        assert_eq!(code, 2, "{to}: {text}");
        for expected in expected {
            assert!(text.contains(expected), "{to}: '{expected}' is not in: {text}");
        }
    }
    assert_eq!(check(at, &["--expected", "nowhere"]).0, 2);
}
