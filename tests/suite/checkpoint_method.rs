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
  - {method: checkpoint, label: theirs, weights: 'made/{kind}_w{bits}_s{seed}.safetensors', bits: [4, 3], options: {kind: [mine]}}
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
    let theirs: Vec<&Value> = records.iter().filter(|record| record["method"] == "theirs").collect();
    assert_eq!((records.len(), theirs.len()), (3, 2));
    let mut sizes = Vec::new();
    for record in theirs {
        let id = record["id"].as_str().unwrap();
        assert_eq!(record["status"], "done");
        let model = std::fs::read(folder.join("store/runs").join(id).join("model.nnc")).unwrap();
        assert_eq!(record["sizes"]["file"].as_u64(), Some(model.len() as u64));
        sizes.push(model.len());
        let bits = record["bits"].as_u64().unwrap() as u32;
        assert!(record["label"].as_str().unwrap().starts_with(&format!("theirs {bits} bit")), "{record}");
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

/// The network of `tests/cases`, with an input as large as the data set's: the mean takes the place of a single window.
const NETWORK: &str = "name: net\ninput_shape: [3, 32, 32]\nlayers:\n  \
    - {name: conv1, kind: conv2d, in_channels: 3, out_channels: 4, kernel: 3, bias: false}\n  \
    - {name: bn1, kind: batch_norm, features: 4}\n  - {name: relu1, kind: relu}\n  \
    - {name: pool, kind: global_avg_pool}\n  - {name: flatten, kind: flatten}\n  \
    - {name: fc, kind: linear, inputs: 4, outputs: 10}\n";

/// What PyTorch keeps of quantized networks, as runs: its quantized tensors (one scale, one per channel) are grids, masks are
/// zeros, and a network with folded batch norms is asked about before it is one without. Two files under one label
/// are refused.
#[test]
fn files_of_pytorch_are_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("net.yaml"), NETWORK).unwrap();
    let files =
        ["given/plain.pt", "given/quantized_tensor.pt", "checkpoints/qint8_channels.pt", "given/pruned.pt"];
    for file in files {
        let path = super::cases().join(file);
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    // The batch norm folded by hand, and the weights on a grid of 15 levels after it.
    let plain = checkpoint::read(&folder.join("plain.pt")).unwrap();
    let values = |name: &str| plain[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let scale: Vec<f32> = values("bn1.weight")
        .iter()
        .zip(values("bn1.running_var"))
        .map(|(weight, variance)| weight / (variance + 1e-5).sqrt())
        .collect();
    let weights = values("conv1.weight");
    let scaled: Vec<f32> = weights.iter().enumerate().map(|(i, weight)| weight * scale[i / 27]).collect();
    let step = scaled.iter().fold(0.0f32, |most, value| most.max(value.abs())) / 7.0;
    let on_grid: Vec<f32> = scaled.iter().map(|value| (value / step).round() * step).collect();
    let moved = values("bn1.bias").into_iter().zip(values("bn1.running_mean")).zip(&scale);
    let bias: Vec<f32> = moved.map(|((bias, mean), scale)| bias - mean * scale).collect();
    let device = candle_core::Device::Cpu;
    let folded = std::collections::HashMap::from([
        ("conv1.weight", candle_core::Tensor::from_vec(on_grid.clone(), (4, 3, 3, 3), &device).unwrap()),
        ("conv1.bias", candle_core::Tensor::from_vec(bias, 4, &device).unwrap()),
        ("fc.weight", plain["fc.weight"].clone()),
        ("fc.bias", plain["fc.bias"].clone()),
    ]);
    candle_core::safetensors::save(&folded, folder.join("folded.safetensors")).unwrap();

    let experiment = |entries: &str| {
        let text = format!(
            "name: theirs\ndataset: {{name: embedded-images, samples: {{train: 16, validation: 16, test: 32}}}}\n\
             model: {{file: net.yaml}}\nbaseline: {{checkpoint: plain.pt}}\nquantizers:\n{entries}"
        );
        std::fs::write(folder.join("theirs.yaml"), text).unwrap();
        let output = ecqx().current_dir(folder).args(["run", "theirs.yaml"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, message) = experiment(
        "  - {method: checkpoint, weights: quantized_tensor.pt}\n  - {method: checkpoint, weights: pruned.pt}\n",
    );
    assert!(code == Some(2) && message.contains("give each a 'label'"), "{message}");
    let (code, message) = experiment("  - {method: checkpoint, weights: folded.safetensors}\n");
    assert!(code == Some(1) && message.contains("write 'batch_norm: folded'"), "{code:?} {message}");
    let (code, message) = experiment(
        "  - {method: checkpoint, label: one scale, weights: quantized_tensor.pt}\n  \
           - {method: checkpoint, label: by channel, weights: qint8_channels.pt}\n  \
           - {method: checkpoint, label: pruned, weights: pruned.pt}\n  \
           - {method: checkpoint, label: folded, weights: folded.safetensors, batch_norm: folded}\n",
    );
    assert_eq!(code, Some(0), "{message}");
    let record = |label: &str| {
        let is_this = |record: &Value| record["method"] == label && record["status"] == "done";
        records(folder).into_iter().find(is_this).unwrap_or_else(|| panic!("no run of {label}"))
    };
    let content = |label: &str, tensor: &str| {
        let id = record(label)["id"].as_str().unwrap().to_owned();
        let model = std::fs::read(folder.join("store/runs").join(id).join("model.nnc")).unwrap();
        let entries = model_file::read(&model).unwrap().into_iter();
        let mut found = entries.filter_map(|entry| match entry {
            Entry::Tensor(found) if found.name == tensor => Some(found.content),
            _ => None,
        });
        found.next().unwrap_or_else(|| panic!("{label} has no {tensor}"))
    };
    let is_uniform =
        |content: &Content| matches!(content, Content::Levels { codebook: Codebook::Uniform { .. }, .. });
    assert!(is_uniform(&content("one scale", "conv1.weight")));
    let by_channel = content("by channel", "fc.weight");
    let is_by_channel =
        matches!(by_channel, Content::Levels { codebook: Codebook::PerChannel { stride: 4, .. }, .. });
    assert!(is_by_channel, "{by_channel:?}");
    let pruned = content("pruned", "conv1.weight").values();
    let masked = checkpoint::read(&folder.join("pruned.pt")).unwrap()["conv1.weight"].clone();
    assert_eq!(pruned, masked.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    assert!(pruned.iter().filter(|value| **value == 0.0).count() > 20, "{pruned:?}");
    let found = content("folded", "conv1.weight");
    assert!(is_uniform(&found) && found.values() == on_grid, "{found:?}");
}
