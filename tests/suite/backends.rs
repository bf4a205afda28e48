//! `ECQX_BACKEND`, `--device` and `ecqx selftest` through the real binary. The comparisons themselves are tests of the
//! library; here composed operations run whole commands.

use super::ecqx;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn run(folder: &Path, backend: &str, arguments: &[&str]) -> Output {
    ecqx().current_dir(folder).env("ECQX_BACKEND", backend).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A run computes the same by either backend up to a few samples, and its record says which it was.
#[test]
fn runs_agree_and_say_their_backend() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "name: tiny\ndataset: {name: embedded-audio, samples: {train: 256, validation: 64, test: 200}}\n\
                model: mlp-gsc\nbaseline: {train: {epochs: 2, batch_size: 64}}\nbits: [4]\n\
                training: {epochs: 1, batch_size: 64}\nquantizers: [{method: ecqx, lambda: [0.05]}]\n";
    std::fs::write(folder.path().join("tiny.yaml"), spec).unwrap();
    let mut accuracies = Vec::new();
    for backend in ["native", "composed"] {
        let store = format!("store-{backend}");
        let output = run(folder.path(), backend, &["run", "tiny.yaml", "--store", &store]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let records: Vec<Value> = walk(&folder.path().join(&store))
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name == "record.json"))
            .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
            .collect();
        let record = records.iter().find(|record| record["provenance"]["backend"] == backend);
        let record = record.unwrap_or_else(|| panic!("no record of the {backend} backend: {records:?}"));
        let text = record.to_string();
        accuracies.push(find(record, "top1").unwrap_or_else(|| panic!("no accuracy in {text}")));
    }
    assert!(
        (accuracies[0] - accuracies[1]).abs() <= 2.0,
        "{accuracies:?} %: more than 4 of 200 samples apart"
    );
}

/// A recipe that the backend has nothing for is refused before anything is trained; that of a baseline which
/// the store has already is not in the way.
#[test]
fn recipes_are_checked_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, baseline: &str, recipe: &str| {
        let spec = format!(
            "name: tiny\ndataset: {{name: embedded-audio, samples: {{train: 64, validation: 16, test: 16}}}}\n\
             model: mlp-gsc\nbaseline: {{train: {{epochs: 1{baseline}}}}}\nbits: [4]\n\
             training: {{epochs: 1{recipe}}}\nquantizers: [{{method: uniform}}]\n"
        );
        std::fs::write(folder.path().join(name), spec).unwrap();
    };
    let code = |backend: &str, arguments: &[&str], said: &str| {
        let output = run(folder.path(), backend, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{arguments:?} does not say {said}: {text}");
        output.status.code()
    };
    write("run.yaml", "", ", precision: bf16");
    write("baseline.yaml", ", precision: bf16", "");
    for command in ["validate", "run"] {
        for spec in ["run.yaml", "baseline.yaml"] {
            assert_eq!(code("composed", &[command, spec], "bf16"), Some(2), "{command} {spec}");
        }
    }
    assert!(!walk(folder.path()).iter().any(|path| path.ends_with("record.json")));
    assert_eq!(code("native", &["run", "baseline.yaml"], "done"), Some(0));
    let records = || walk(folder.path()).iter().filter(|path| path.ends_with("record.json")).count();
    let before = records();
    let again = ["run", "baseline.yaml", "--force"];
    assert_eq!(code("composed", &again, "done"), Some(0), "the baseline is there");
    assert_eq!(records(), before);
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

/// The first number of this name, in the test split where there is one.
fn find(value: &Value, name: &str) -> Option<f64> {
    if let Some(found) = value.get("test").and_then(|test| test.get(name)).and_then(Value::as_f64) {
        return Some(found);
    }
    match value {
        Value::Object(map) => map.values().find_map(|value| find(value, name)),
        Value::Array(values) => values.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// The pretrained ResNet-20 classifies a thousand images alike.
#[test]
fn evaluation_agrees_on_real_data() {
    let (Some(data), Some(shared)) = (std::env::var_os("ECQX_DATA"), std::env::var_os("ECQX_SHARED")) else {
        eprintln!("skipped: ECQX_DATA or ECQX_SHARED is not set");
        return;
    };
    let pretrained = Path::new(&shared).join("data/pretrained");
    let Some(weights) = walk(&pretrained).into_iter().find(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.contains("resnet20") && (name.ends_with(".pt") || name.ends_with(".safetensors"))
    }) else {
        eprintln!("skipped: there is no pretrained ResNet-20");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let evaluate = |backend: &str| {
        let (data, weights) = (data.to_string_lossy(), weights.to_string_lossy());
        let arguments = [
            "evaluate",
            "--model",
            "resnet20",
            "--weights",
            &weights,
            "--dataset",
            "cifar10",
            "--samples",
            "1000",
        ];
        let more = ["--data-dir", &data, "--json"];
        json(&run(folder.path(), backend, &[&arguments[..], &more[..]].concat()))
    };
    let (native, composed) = (evaluate("native"), evaluate("composed"));
    let top1 = |value: &Value| value["top1"].as_f64().unwrap();
    assert!((top1(&native) - top1(&composed)).abs() <= 0.1001, "{native} {composed}");
    let loss = |value: &Value| value["loss"].as_f64().unwrap();
    assert!((loss(&native) - loss(&composed)).abs() <= 1e-4 * loss(&native), "{native} {composed}");
}

/// Unknown backends, GPUs that are not there and backends that a device does not have are the user's to correct.
#[test]
fn wrong_devices_are_user_errors() {
    let folder = tempfile::tempdir().unwrap();
    let selftest = ["selftest", "--only", "assignment", "--timed-steps", "0"];
    for (backend, device, named) in [
        ("fast", "cpu", "ECQX_BACKEND=fast"),
        ("native", "cuda", "--device cuda"),
        ("composed", "tpu", "--device tpu"),
    ] {
        let output = run(folder.path(), backend, &[&selftest[..], &["--device", device]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(named) && error.contains("hint: "), "{error}");
        assert!(!error.contains("panicked") && error.lines().count() <= 3, "{error}");
    }
}

/// The self-test tells what it compared, as a table and as JSON, and ends with 0 where all is well.
#[test]
fn selftest_reports() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["selftest", "--only", "assignment", "--weights", "2000", "--timed-steps", "0"];
    let found = json(&run(folder.path(), "native", &[&arguments[..], &["--json"]].concat()));
    assert_eq!(found["passed"], true, "{found}");
    let checks = found["checks"].as_array().unwrap();
    assert!(checks.len() > 20 && checks.iter().all(|check| check["group"] == "assignment"));
    assert!(checks.iter().any(|check| check["name"] == "ecqx, 8 bit"));
    let table = run(folder.path(), "native", &arguments);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.status.success() && text.contains("ecq, 4 bit"), "{text}");
    assert!(text.contains(&format!("{0} of {0} checks passed", checks.len())), "{text}");
}
