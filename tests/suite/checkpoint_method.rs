//! `method: checkpoint`: files of somebody else's quantizer as runs of an experiment.

use super::ecqx;
use ecqx::codec::model_file::{self, Entry};
use ecqx::model::checkpoint;
use ecqx::quant::codebook::Codebook;
use ecqx::quant::quantizer::Content;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A baseline of one step: what the rows are compared with does not matter here.
const EXPERIMENT: &str = "\
name: theirs
dataset: {name: embedded-images, samples: {train: 16, validation: 16, test: 32}}
model: resnet20
baseline: {train: {epochs: 1, batch_size: 16}}
training: {epochs: 1, batch_size: 16}
quantizers:
  - {method: checkpoint, label: adaround, weights: 'made/{kind}_w{bits}_s{seed}.safetensors', bits: [4, 3], options: {kind: [mine]}}
  - {method: uniform, bits: [4], granularity: channel, training: null}
";

/// Writes a quantized ResNet-20; `false` where there is no Python.
fn make(bits: u32, path: &Path) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quantized_resnet20.py");
    let python = std::env::var_os("ECQX_PYTHON").unwrap_or_else(|| "python3".into());
    let Ok(output) = Command::new(python).arg(script).args([&bits.to_string(), "1"]).arg(path).output()
    else {
        eprintln!("skipped: no python3");
        return false;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn records(folder: &Path) -> Vec<Value> {
    let runs = std::fs::read_dir(folder.join("store/runs")).unwrap();
    let record = |run: std::io::Result<std::fs::DirEntry>| {
        serde_json::from_slice(&std::fs::read(run.unwrap().path().join("record.json")).unwrap()).unwrap()
    };
    runs.map(record).collect()
}

/// Every file is a row under its label, with the size of its model file; weights with levels come out of that file with the
/// bits that they had, whichever kind of codebook they have; the tensor without levels is told with its bytes. Another file
/// under the same name is another run, a missing one is named before anything runs.
#[test]
fn files_of_others_are_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("made")).unwrap();
    std::fs::write(folder.join("theirs.yaml"), EXPERIMENT).unwrap();
    let file = |bits: u32| folder.join(format!("made/mine_w{bits}_s1.safetensors"));
    if !make(4, &file(4)) {
        return;
    }
    for command in ["validate", "plan", "run"] {
        let output = ecqx().current_dir(folder).args([command, "theirs.yaml"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {message}");
        assert!(message.contains("made/mine_w3_s1.safetensors: not found"), "{command}: {message}");
    }
    make(3, &file(3));
    let output = ecqx().current_dir(folder).args(["run", "theirs.yaml", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = records(folder);
    let theirs: Vec<&Value> = records.iter().filter(|record| record["method"] == "adaround").collect();
    assert_eq!((records.len(), theirs.len()), (3, 2));
    let mut sizes = Vec::new();
    for record in theirs {
        let id = record["id"].as_str().unwrap();
        assert_eq!(record["status"], "done");
        let model = std::fs::read(folder.join("store/runs").join(id).join("model.nnc")).unwrap();
        assert_eq!(record["sizes"]["file"].as_u64(), Some(model.len() as u64));
        sizes.push(model.len());
        let bits = record["bits"].as_u64().unwrap() as u32;
        assert!(record["label"].as_str().unwrap().starts_with(&format!("adaround {bits} bit")), "{record}");
        let given = checkpoint::read(&file(bits)).unwrap();
        let mut kinds = [0; 4];
        for entry in model_file::read(&model).unwrap() {
            let Entry::Tensor(tensor) = entry else { panic!("integers") };
            if !tensor.name.ends_with(".weight") || tensor.shape.len() < 2 {
                continue;
            }
            let expected: Vec<f32> = given[&tensor.name].flatten_all().unwrap().to_vec1().unwrap();
            let found = tensor.content.values();
            let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == (b + 0.0).to_bits());
            match &tensor.content {
                Content::Values(_) => {
                    assert_eq!(tensor.name, "linear.weight");
                    kinds[0] += 1;
                    continue;
                }
                Content::Levels { codebook: Codebook::Uniform { .. }, .. } => kinds[1] += 1,
                Content::Levels { codebook: Codebook::PerChannel { stride, .. }, .. } => {
                    assert_eq!(*stride == 9, tensor.name == "layer2.0.conv1.weight", "{}", tensor.name);
                    kinds[2] += 1;
                }
                Content::Levels { codebook: Codebook::Explicit { .. }, .. } => kinds[3] += 1,
            }
            assert!(same, "{} of {bits} bit", tensor.name);
        }
        assert_eq!(kinds, [1, 1, 17, 1], "{bits} bit");
        let warnings = record["warnings"].to_string();
        assert!(
            warnings.contains("linear.weight: no levels were recognised: coded as floats, "),
            "{warnings}"
        );
        assert_eq!(warnings.matches("no levels were recognised").count(), 1, "{warnings}");
    }
    sizes.sort_unstable();
    // 3 bits cost less than 4, and both less than a sixth of 32.
    assert!(sizes[0] < sizes[1] && sizes[1] < 4 * 270_000 / 6, "{sizes:?}");
    let state = || {
        let output = ecqx().current_dir(folder).args(["plan", "theirs.yaml", "--json"]).output().unwrap();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["runs"].as_array().unwrap().iter().filter(|run| run["state"] == "done").count()
    };
    assert_eq!(state(), 3);
    std::fs::copy(file(3), file(4)).unwrap();
    assert_eq!(state(), 2, "the id has the file's digest");
}
