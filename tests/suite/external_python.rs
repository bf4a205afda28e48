//! The Python package and its examples. Where no Python with NumPy and safetensors is found, these tests say so and pass.

use super::python::{package, path_with, python};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder with the examples, and a PATH with Python and the program.
struct Place {
    folder: tempfile::TempDir,
    path: std::ffi::OsString,
}

impl Place {
    fn new(python: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = path_with(python, &folder.path().join("bin"));
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python");
        for entry in std::fs::read_dir(examples).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        Self { folder, path }
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("ecqx"));
        command.current_dir(self.folder.path()).args(arguments);
        command.env("PATH", &self.path).env("PYTHONPATH", package()).env_remove("ECQX_DATA");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

const HEAD: &str = "\
name: python
dataset: {name: embedded-audio, samples: {train: 256, validation: 32, test: 64}}
model: mlp-gsc
baseline: {train: {epochs: 2, batch_size: 64}}
";

/// The committed experiment of the examples beside ours, in a short form: every entry is a row of one report.
#[test]
fn examples_stand_beside_ours() {
    let Some(python) = python("numpy, safetensors") else { return };
    let place = Place::new(&python);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/external/embedded-audio.yaml");
    let yaml = std::fs::read_to_string(path).unwrap();
    let (_, quantizers) = yaml.split_once("quantizers:\n").unwrap();
    let quantizers = quantizers.replace("../../examples/python/", "");
    place.write(
        "e.yaml",
        &format!("{HEAD}bits: [4]\ntraining: {{epochs: 1, batch_size: 64}}\nquantizers:\n{quantizers}"),
    );
    place.run(&["run", "e.yaml"]);
    place.run(&["report", "e.yaml", "--output", "report"]);
    let table = std::fs::read_to_string(place.folder.path().join("report/working_points.csv")).unwrap();
    for label in [
        "ecqx 4 bit",
        "uniform 4 bit",
        "round_to_nearest 4 bit",
        "adaptive_rounding 4 bit",
        "learned_clipping 4 bit",
    ] {
        assert!(table.contains(label), "{label}: {table}");
    }
}

/// All files of this name in the runs of a store.
fn files(store: &Path, name: &str) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(store.join("runs")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        runs.map(|run| run.path().join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found
}

/// A run with a program that learns and has a state, killed in the middle of its training, ends with the same file.
#[test]
fn a_killed_run_continues_to_the_same_file() {
    let Some(python) = python("numpy, safetensors") else { return };
    let place = Place::new(&python);
    let entry = "{method: external, command: [python3, learned_clipping.py], options: {rate: 0.5, start: 1}}";
    place.write(
        "e.yaml",
        &format!("{HEAD}bits: [4]\ntraining: {{epochs: 6, batch_size: 32}}\nquantizers:\n  - {entry}\n"),
    );
    let arguments =
        |store| ["run", "e.yaml", "--threads", "1", "--checkpoint-minutes", "0.001", "--store", store];
    place.run(&arguments("straight"));
    let mut child =
        place.command(&arguments("killed")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let checkpoints = place.folder.path().join("killed/checkpoints");
    let (start, mut first) = (Instant::now(), None);
    let store = place.folder.path().join("killed");
    // Some checkpoints of the run itself, not of its baseline.
    while first.is_none_or(|first: Instant| first.elapsed() < Duration::from_millis(150)) {
        assert!(start.elapsed() < Duration::from_secs(200), "no checkpoint of the run");
        let names =
            std::fs::read_dir(&checkpoints).into_iter().flatten().flatten().map(|file| file.file_name());
        // A name that begins with a dot is a file that is still being written.
        let of_run = |name: std::ffi::OsString| {
            let name = name.to_string_lossy();
            !name.starts_with('.') && !name.starts_with("baseline-")
        };
        if first.is_none() && names.into_iter().any(of_run) {
            first = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(files(&store, "record.json").is_empty(), "the run had finished before it was killed");
    let output = place.run(&arguments("killed"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("continues from a checkpoint"), "{told}");
    let [straight, killed] =
        ["straight", "killed"].map(|store| files(&place.folder.path().join(store), "model.nnc"));
    assert_eq!((straight.len(), killed.len()), (1, 1));
    assert!(std::fs::read(&straight[0]).unwrap() == std::fs::read(&killed[0]).unwrap(), "another file");
    // The learned ends were trained: the state matters.
    let record = std::fs::read_to_string(&files(&store, "record.json")[0]).unwrap();
    assert!(record.contains("\"interrupted\""), "{record}");
}

/// What a quantizer may return, wants, prints and raises: through the package to the record.
#[test]
fn quantizers_in_python() {
    let Some(python) = python("numpy, safetensors") else { return };
    let place = Place::new(&python);
    place.write(
        "many.py",
        "import ecqx, numpy as np
class Many(ecqx.Quantizer):
    wants = ('relevance',)
    def start(self, context):
        assert context.bits == 4 and context.seed == 3 and context.options == {'kind': context.options['kind']}
        print('hello from', context.options['kind'])
    def quantize(self, name, weight, context):
        assert weight.dtype == np.float32 and weight.shape == context.shapes[name] == context.relevance.shape
        kind = context.options['kind']
        if kind == 'values':
            return np.sign(weight) * 0.1
        if kind == 'levels':
            return np.clip(np.round(weight / 0.1), -3, 3), 0.1
        if kind == 'codebook':
            values = [0.3, -0.1, 0.1]
            return ecqx.Codebook(np.abs(weight[..., None] - values).argmin(-1), values)
        if kind == 'shape':
            return weight[:-1]
        raise RuntimeError('on purpose')
ecqx.serve(Many())
",
    );
    let kinds = "[values, levels, codebook, shape, raises]";
    place.write(
        "e.yaml",
        &format!(
            "{HEAD}bits: [4]\nseeds: [3]\nquantizers:\n  - {{method: external, command: [python3, many.py], relevance: \
             magnitude, options: {{kind: {kinds}}}}}\n"
        ),
    );
    let output = place.command(&["run", "e.yaml"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("many: hello from levels"), "{told}");
    let mut seen = 0;
    for path in files(&place.folder.path().join("store"), "record.json") {
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let label = record["label"].as_str().unwrap();
        let expected = match label.split("kind=").nth(1).and_then(|rest| rest.split(' ').next()) {
            Some("shape") => "expected shape",
            Some("raises") => "RuntimeError: on purpose",
            _ => "",
        };
        let error = record["error"].as_str().unwrap_or_default();
        assert!(error.contains(expected) && error.is_empty() == expected.is_empty(), "{label}: {error}");
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// Torch tensors are as good as arrays; a module's parameters hold the method's own state.
#[test]
fn a_torch_module_quantizes() {
    let Some(python) = python("numpy, safetensors, torch") else { return };
    let place = Place::new(&python);
    place.write(
        "module.py",
        "import ecqx, torch
class Scale(torch.nn.Module):
    def __init__(self, weight, highest):
        super().__init__()
        self.scale = torch.nn.Parameter(weight.abs().max() / highest)
    def forward(self, weight):
        return torch.round(weight / self.scale), self.scale
class Torch(ecqx.Quantizer):
    def quantize(self, name, weight, context):
        weight = torch.from_numpy(weight)
        return Scale(weight, 2 ** (context.bits - 1) - 1)(weight)
ecqx.serve(Torch())
",
    );
    place.write(
        "e.yaml",
        &format!("{HEAD}bits: [4]\nquantizers:\n  - {{method: external, command: [python3, module.py]}}\n"),
    );
    place.run(&["run", "e.yaml"]);
}
