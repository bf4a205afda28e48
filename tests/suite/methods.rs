//! Every method of the registry through the real binary.

use super::ecqx;

/// All methods run on a generated set, with and without training, at 2–5 bit where they have a bit width; each run writes
/// its file and is a row with the accuracy of what came out of it.
#[test]
fn every_method_runs_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let methods = ecqx::quant::builtin();
    // A checkpoint of somebody else's has tests of its own.
    let methods: Vec<_> = methods.iter().filter(|method| !method.reads_checkpoint()).collect();
    let names: Vec<&str> = methods.iter().map(|method| method.name).collect();
    let mut quantizers = String::new();
    for name in &names {
        // Seconds for minutes: the test is about the path.
        let few = if *name == "adaround" { ", iterations: 20" } else { "" };
        quantizers += &format!("  - {{method: {name}{few}}}\n  - {{method: {name}{few}, training: null}}\n");
    }
    quantizers +=
        "  - {method: magnitude, bits: [4], sparsity: 0.7, schedule: one_shot, exclude_ends: true}\n";
    quantizers += "  - {method: ecq, bits: [4], layer_bits: {\"fc1*\": 2}}\n";
    quantizers += "  - {method: ecqx, bits: [4], relevance: [{lrp: {composite: epsilon_plus}}, random, uniform, fisher]}\n";
    for (name, more) in [("uniform", ""), ("lsq", ""), ("ecq", ", step: mse"), ("ecqx", ", step: learned")] {
        quantizers += &format!("  - {{method: {name}, bits: [4], granularity: channel{more}}}\n");
    }
    let yaml = format!(
        "name: methods\n\
         dataset: {{name: embedded-audio, samples: {{train: 192, validation: 64, test: 64}}}}\n\
         model: mlp-gsc\n\
         baseline:\n  train: {{epochs: 2, batch_size: 64}}\n\
         bits: [2, 3, 4, 5]\n\
         training: {{epochs: 1, batch_size: 64, learning_rate: 0.0005, frozen_batch_norm: true}}\n\
         quantizers:\n{quantizers}"
    );
    std::fs::write(folder.path().join("methods.yaml"), yaml).unwrap();
    let output = ecqx().current_dir(folder.path()).args(["run", "methods.yaml", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["failed"], serde_json::json!([]), "{summary}");
    let mut seen: Vec<(String, Option<u64>)> = Vec::new();
    for run in std::fs::read_dir(folder.path().join("store/runs")).unwrap() {
        let record = std::fs::read(run.unwrap().path().join("record.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        let (method, label) = (record["method"].as_str().unwrap().to_owned(), &record["label"]);
        assert_eq!(record["status"], "done", "{label}");
        assert!(record["test"]["top1"].as_f64().unwrap() > 0.0, "{label}");
        assert!(record["sizes"]["file"].as_f64().unwrap_or(1.0) > 0.0, "{label}");
        seen.push((method, record["bits"].as_u64()));
    }
    for method in methods {
        let bits: Vec<Option<u64>> = match method.bits {
            ecqx::quant::Bits::Required(..) => (2..=5).map(Some).collect(),
            _ => vec![None],
        };
        for bits in bits {
            let count = seen.iter().filter(|(name, b)| name == method.name && *b == bits).count();
            assert!(count >= 2, "{} at {bits:?} bit: {count} runs", method.name);
        }
    }
}

/// The record of every run of an experiment on generated audio with these entries.
fn records(entries: &str) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "name: some\n\
         dataset: {{name: embedded-audio, samples: {{train: 192, validation: 64, test: 64}}}}\n\
         model: mlp-gsc\n\
         baseline:\n  train: {{epochs: 2, batch_size: 64}}\n\
         calibration_samples: 64\n\
         training: {{epochs: 1, batch_size: 64, learning_rate: 0.0005, frozen_batch_norm: true}}\n\
         quantizers:\n{entries}"
    );
    std::fs::write(folder.path().join("some.yaml"), yaml).unwrap();
    let output = ecqx().current_dir(folder.path()).args(["run", "some.yaml", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs = std::fs::read_dir(folder.path().join("store/runs")).unwrap();
    let read = |run: std::io::Result<std::fs::DirEntry>| {
        let record = std::fs::read(run.unwrap().path().join("record.json")).unwrap();
        serde_json::from_slice(&record).unwrap()
    };
    runs.map(read).collect()
}

/// A budget's widths keep within it, by everything that costs may be made of, with and without training, for the
/// methods with bit widths from 2 to 8; the record says them by layer.
#[test]
fn budgets_are_kept() {
    let methods = ecqx::quant::builtin();
    let mut entries = String::new();
    // k-means runs to its fixed point at every width, and AdaRound learns at each: too slow for a test.
    let is_slow = |name: &str| ["kmeans", "adaround"].contains(&name);
    let tried = methods.iter().filter(|method| method.bits.range() == Some((2, 8)) && !is_slow(method.name));
    for method in tried {
        let training = if method.name == "ecq" { "" } else { ", training: null" };
        entries += &format!("  - {{method: {}, bits: auto, budget: 3{training}}}\n", method.name);
    }
    entries += "  - {method: uniform, budget: [2.5, 3.5], allocate_by: [fisher, sensitivity, error], training: null}\n";
    entries += "  - {method: ecq, budget_bytes: 250000, allocate_by: error}\n";
    let records = records(&entries);
    assert!(records.len() > 10, "{}", records.len());
    for record in &records {
        let label = &record["label"];
        assert_eq!(record["status"], "done", "{label}");
        let parameters = &record["spec"]["quantizer"]["parameters"];
        let layers = record["layers"].as_array().unwrap();
        let weights: f64 = layers.iter().map(|layer| layer["weights"].as_f64().unwrap()).sum();
        let bits: f64 = layers
            .iter()
            .map(|layer| {
                let bits = layer["bits"].as_f64().unwrap();
                assert!(layer["levels_in_use"].as_f64().unwrap() <= bits.exp2(), "{label}: {layer}");
                bits * layer["weights"].as_f64().unwrap()
            })
            .sum();
        let budget = match parameters["budget"].as_f64() {
            Some(mean) => mean * weights,
            None => 8.0 * parameters["budget_bytes"].as_f64().unwrap(),
        };
        assert!(bits <= budget + 1e-3, "{label}: {bits} of {budget}");
        // Errors fall with every bit, so they use the budget; measured losses need not.
        assert!(
            parameters["allocate_by"] == "sensitivity" || bits > 0.8 * budget,
            "{label}: {bits} of {budget}"
        );
        assert!(record["bits"].is_null(), "{label}");
    }
}

/// Every criterion prunes to the same sparsity, at once and gradually, with one threshold or one a layer; at random does
/// worse than the others before training repairs it.
#[test]
fn criteria_prune_to_the_same_sparsity() {
    let criteria = "[magnitude, lrp, taylor, fisher, lamp, random]";
    let records = records(&format!(
        "  - {{method: magnitude, sparsity: 0.75, criterion: {criteria}, schedule: [gradual, one_shot], \
         threshold: [layer, global]}}\n  \
         - {{method: magnitude, sparsity: 0.75, criterion: {criteria}, training: null, bits: [4]}}\n"
    ));
    assert_eq!(records.len(), 30);
    let mut untrained = std::collections::BTreeMap::new();
    for record in &records {
        assert_eq!(record["status"], "done", "{}", record["label"]);
        let sparsity = record["sparsity"].as_f64().unwrap();
        assert!((sparsity - 0.75).abs() < 2e-3, "{}: {sparsity}", record["label"]);
        let quantizer = &record["spec"]["quantizer"];
        let criterion = quantizer["parameters"]["criterion"].as_str().unwrap_or("magnitude");
        // The measure is the criterion's own.
        let is_measured = !["magnitude", "lamp"].contains(&criterion);
        assert_eq!(quantizer["relevance"].get(criterion).is_some(), is_measured, "{}", record["label"]);
        if record["bits"] == 4 {
            untrained.insert(criterion.to_owned(), record["test"]["loss"].as_f64().unwrap());
        }
    }
    for criterion in ["magnitude", "lrp", "taylor", "fisher"] {
        assert!(untrained[criterion] < untrained["random"], "{untrained:?}");
    }
}
