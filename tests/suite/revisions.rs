//! Pinned results of every method on generated data: whoever changes what a method or the training computes is told to
//! raise the revision that is part of every run's id.

use ecqx::codec::model_file::{self, Entry};
use ecqx::quant::quantizer::Content;
use ecqx::run::{Context, execute};
use ecqx::spec::run_spec::NUMERICS;
use ecqx::spec::{Experiment, Registry, grid};
use ecqx::store::Store;
use ecqx::train::Silent;
use serde_json::{Map, Value, json};
use std::path::Path;

const FILE: &str = "tests/golden/revisions.json";

/// Six steps from a baseline of 48.
const EXPERIMENT: &str = "\
name: revisions
dataset: {name: embedded-images, samples: {train: 192, validation: 32, test: 64}}
model: cnn-small
baseline: {train: {epochs: 4, batch_size: 16, learning_rate: 0.002}}
seeds: [1]
bits: [3]
training: {epochs: 1, batch_size: 32, learning_rate: 0.0005}
quantizers:
";

/// Share of a layer's weights that may take another level: sums in another order (fewer threads, another vector width)
/// move weights that lie next to a boundary.
const MOVED: f64 = 0.01;
/// The same for methods that make up for each weight's error in the next ones: what differs first is carried on.
const CARRIED: f64 = 0.05;
/// Test images that may be classified otherwise, for the same reason.
const OTHERWISE: f64 = 3.0;
/// Images in the test split.
const TEST: f64 = 64.0;

/// What a method made: accuracy, bytes, and how many weights of each layer take each level.
fn measured(context: &Context, method: &str) -> Value {
    let registry = &context.registry;
    let yaml = format!("{EXPERIMENT}  - {{method: {method}}}\n");
    let experiment = Experiment::parse(&yaml, Path::new("revisions.yaml"), registry).unwrap();
    let run = grid::expand(&experiment, registry).unwrap().runs.remove(0);
    let record = execute(context, &run, "revisions", &Silent).unwrap().record;
    assert!(record.is_done(), "{method}: {record:?}");
    let file = std::fs::read(context.store.run_folder(&record.id).join("model.nnc")).unwrap();
    let mut layers = Map::new();
    for entry in model_file::read(&file).unwrap() {
        let Entry::Tensor(tensor) = entry else { continue };
        let counts: Vec<usize> = match &tensor.content {
            Content::Levels { positions, codebook } => {
                let count =
                    |at: usize| positions.iter().filter(|position| usize::from(**position) == at).count();
                (0..codebook.values().len()).map(count).collect()
            }
            // Without levels zeros are what a method decides.
            Content::Values(values) if tensor.name.ends_with(".weight") && tensor.shape.len() > 1 => {
                let zeros = values.iter().filter(|value| **value == 0.0).count();
                vec![zeros, values.len() - zeros]
            }
            Content::Values(_) => continue,
        };
        layers.insert(tensor.name.clone(), json!(counts));
    }
    let (test, baseline) = (record.test().unwrap().value(), record.baseline.as_ref().unwrap().value());
    json!({"top1": test, "baseline_top1": baseline, "file_bytes": file.len(), "layers": layers})
}

/// In what `found` differs from `pinned` by more than another order of sums explains.
fn difference(pinned: &Value, found: &Value, share: f64) -> Option<String> {
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    for (name, counts) in found["layers"].as_object().into_iter().flatten() {
        let (before, after) = (numbers(&pinned["layers"][name]), numbers(counts));
        // Where errors are carried on, an outermost level with a weight or two may come or go.
        if share > MOVED && before.len().abs_diff(after.len()) == 1 {
            continue;
        }
        let moved: f64 = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
        let all: f64 = after.iter().sum();
        if before.len() != after.len() || moved > (share * all).max(3.0) {
            return Some(format!("{name}: {before:?} levels before, {after:?} now"));
        }
    }
    for key in ["top1", "baseline_top1"] {
        let (before, after) =
            (pinned[key].as_f64().unwrap_or(f64::NAN), found[key].as_f64().unwrap_or(f64::NAN));
        // An absent number is a difference too.
        let is_near = (before - after).abs() <= 100.0 * OTHERWISE / TEST;
        if !is_near {
            return Some(format!("{key}: {before} before, {after} now"));
        }
    }
    let bytes = |value: &Value| value["file_bytes"].as_f64().unwrap_or(f64::NAN);
    let relative = (bytes(found) / bytes(pinned) - 1.0).abs();
    if relative <= share {
        None
    } else {
        Some(format!("{} bytes before, {} now", bytes(pinned), bytes(found)))
    }
}

/// The table, a method a line.
fn text(table: &Value) -> String {
    let native = &table["native"];
    let line = |(name, found): (&String, &Value)| format!("    {}: {found}", Value::from(name.as_str()));
    let methods: Vec<String> = native["methods"].as_object().into_iter().flatten().map(line).collect();
    let numerics = &native["numerics"];
    format!(
        "{{\"native\": {{\n  \"numerics\": {numerics},\n  \"methods\": {{\n{}\n}}}}}}\n",
        methods.join(",\n")
    )
}

/// Settings whose results are in people's stores give the same results, or their revision is another one.
#[test]
fn changed_numbers_ask_for_a_revision() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let registry = Registry::builtin();
    let context =
        Context::new(registry.clone(), store, "nowhere".into(), Vec::new(), candle_core::Device::Cpu);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let mut methods = Map::new();
    // What others compute is not ours to pin.
    for method in
        registry.quantizers.iter().filter(|method| !method.runs_program() && !method.reads_checkpoint())
    {
        let mut found = measured(&context, method.name);
        found["revision"] = method.revision.into();
        methods.insert(method.name.into(), found);
    }
    // By backend: others round otherwise.
    let found = json!({"native": {"numerics": NUMERICS, "methods": methods}});
    if std::env::var_os("ECQX_BLESS").is_some() {
        std::fs::write(&path, text(&found)).unwrap();
    }
    let pinned: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let (pinned, found) = (&pinned["native"], &found["native"]);
    assert_eq!(
        pinned["numerics"], found["numerics"],
        "NUMERICS was raised: write {FILE} anew with ECQX_BLESS=1"
    );
    for (name, found) in found["methods"].as_object().unwrap() {
        let pinned = &pinned["methods"][name];
        assert_eq!(
            pinned["revision"], found["revision"],
            "the revision of '{name}' is another one: write {FILE} anew with ECQX_BLESS=1"
        );
        let carries = registry.quantizers.get(name).is_some_and(|method| method.needs_calibration);
        if let Some(difference) = difference(pinned, found, if carries { CARRIED } else { MOVED }) {
            panic!(
                "'{name}' gives other numbers ({difference}): raise the revision of the method, or NUMERICS in \
                 src/spec/run_spec.rs if all methods changed, and write {FILE} anew with ECQX_BLESS=1"
            );
        }
    }
}

/// The comparison notices what it is for: a layer whose levels moved, another accuracy, another file.
#[test]
fn differences_are_noticed() {
    let pinned =
        json!({"top1": 50.0, "baseline_top1": 60.0, "file_bytes": 1000, "layers": {"a": [100, 800, 100]}});
    let change = |pointer: &str, value: Value| {
        let mut found = pinned.clone();
        *found.pointer_mut(pointer).unwrap() = value;
        difference(&pinned, &found, MOVED)
    };
    assert_eq!(difference(&pinned, &pinned, MOVED), None);
    assert_eq!(change("/layers/a", json!([105, 795, 100])), None);
    assert!(change("/layers/a", json!([120, 780, 100])).is_some());
    assert!(change("/layers/a", json!([100, 900])).is_some());
    assert!(change("/top1", json!(40.0)).is_some());
    assert!(change("/top1", json!(null)).is_some());
    assert!(change("/file_bytes", json!(1020)).is_some());
}
