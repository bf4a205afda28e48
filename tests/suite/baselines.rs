//! Baselines per run seed and baselines that are trained on from a checkpoint, through the real binary.

use super::ecqx;
use serde_json::Value;
use std::path::Path;

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = ecqx().current_dir(folder).args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn experiment(folder: &Path, name: &str, baseline: &str) -> String {
    let file = format!("{name}.yaml");
    let text = format!(
        "name: {name}\ndataset: {{name: embedded-audio, samples: {{train: 192, validation: 64, test: 64}}}}\nmodel: \
         mlp-gsc\nbaseline: {baseline}\nbits: 4\nseeds: [1, 2]\nquantizers: [{{method: uniform}}, {{method: ecq}}]\n"
    );
    std::fs::write(folder.join(&file), text).unwrap();
    file
}

const TRAIN: &str = "{epochs: 1, batch_size: 64}";

fn records(folder: &Path) -> Vec<Value> {
    let list = json(folder, &["results"]);
    let ids = list["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
    ids.map(|id| json(folder, &["show", &id])).collect()
}

/// `seed: per_run`: as many baselines as seeds, each that of `seed: N`; records say which, and the report puts the runs of
/// one setting together in spite of them.
#[test]
fn a_baseline_per_run_seed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let one = experiment(folder, "one", &format!("{{train: {TRAIN}, seed: 1}}"));
    let each = experiment(folder, "each", &format!("{{train: {TRAIN}, seed: per_run}}"));
    let baselines = |file: &str| {
        let plan = json(folder, &["plan", file]);
        let ids = |runs: &Value, key: &str| -> Vec<String> {
            runs.as_array().unwrap().iter().map(|run| run[key].as_str().unwrap().to_owned()).collect()
        };
        (ids(&plan["baselines"], "id"), ids(&plan["runs"], "baseline"))
    };
    let (shared, _) = baselines(&one);
    let (own, of_runs) = baselines(&each);
    assert_eq!((shared.len(), own.len()), (1, 2));
    assert!(own.contains(&shared[0]), "the baseline of seed 1 is one, whoever asks for it");
    assert_eq!(of_runs[0], of_runs[2]);
    assert_ne!(of_runs[0], of_runs[1]);

    json(folder, &["run", &each]);
    let report = json(folder, &["report", &each, "--output", "reports"]);
    assert!(!report["files"].as_array().unwrap().is_empty());
    let raw = std::fs::read_to_string(folder.join("reports/raw.csv")).unwrap();
    // Every second part is between quotes; commas there separate nothing.
    let unquoted = |line: &str| -> String { line.split('"').step_by(2).collect() };
    let rows: Vec<String> = raw.lines().map(unquoted).collect();
    let mut lines = rows.iter().map(|line| line.split(',').collect::<Vec<_>>());
    let heading = lines.next().unwrap();
    let column = |name: &str| heading.iter().position(|heading| *heading == name).unwrap();
    let (seed, baseline) = (column("seed"), column("baseline_seed"));
    let runs: Vec<_> = lines.collect();
    assert_eq!(runs.len(), 4);
    let digests: std::collections::HashSet<String> = records(folder)
        .iter()
        .map(|record| record["provenance"]["baseline_digest"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(digests.len(), 2);
    assert!(runs.iter().all(|row| row[seed] == row[baseline]), "{raw}");
    let working = std::fs::read_to_string(folder.join("reports/working_points.csv")).unwrap();
    assert_eq!(working.lines().count(), 3, "two settings of two seeds each: {working}");
}

/// `checkpoint` with `train`: the weights begin at the checkpoint's, the identity is that of the checkpoint's content,
/// recipe and seed, wherever it lies.
#[test]
fn training_on_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = experiment(folder, "first", &format!("{{train: {TRAIN}}}"));
    json(folder, &["run", &first]);
    let stored = std::fs::read_dir(folder.join("store/baselines")).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(stored.join("weights.safetensors"), folder.join("a.safetensors")).unwrap();
    std::fs::copy(folder.join("a.safetensors"), folder.join("b.safetensors")).unwrap();
    let recipe = "{epochs: 1, batch_size: 64, learning_rate: 1e-6}";
    let spec = |name: &str, file: &str, seed: &str| {
        experiment(folder, name, &format!("{{checkpoint: {file}, train: {recipe}, seed: {seed}}}"))
    };
    let id = |file: &str| {
        let plan = json(folder, &["plan", file]);
        plan["baselines"][0]["id"].as_str().unwrap().to_owned()
    };
    let tuned = spec("tuned", "a.safetensors", "3");
    assert_eq!(id(&tuned), id(&spec("copied", "b.safetensors", "3")));
    assert_ne!(id(&tuned), id(&spec("seeded", "a.safetensors", "4")));
    assert_ne!(id(&tuned), id(&experiment(folder, "plain", "{checkpoint: a.safetensors}")));

    let accuracy = |file: &str, store: &str| {
        json(folder, &["run", file, "--store", store]);
        let baseline =
            std::fs::read_dir(folder.join(store).join("baselines")).unwrap().next().unwrap().unwrap();
        let record = std::fs::read(baseline.path().join("record.json")).unwrap();
        serde_json::from_slice::<Value>(&record).unwrap()
    };
    let before = accuracy(&first, "store-first");
    let after = accuracy(&tuned, "store-tuned");
    // A rate of 1e-6 moves the weights, but nowhere: training from nothing would be at chance.
    let top1 = |record: &Value| record["test"]["top1"].as_f64().unwrap();
    assert!((top1(&before) - top1(&after)).abs() < 5.0, "{before} {after}");
    assert_ne!(before["digest"], after["digest"]);
    assert_eq!(after["epochs"].as_array().unwrap().len(), 1);
}
