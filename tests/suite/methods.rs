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
        quantizers += &format!("  - {{method: {name}}}\n  - {{method: {name}, training: null}}\n");
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
