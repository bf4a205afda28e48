//! What people read when something is wrong, word by word: `tests/golden/wording.txt` holds every message beside its input.
//! `ECQX_BLESS=1 cargo test --release --test suite wording` writes it anew; read the difference aloud before committing it.

use super::ecqx;
use ecqx::spec::{Experiment, grid};
use std::fmt::Write;
use std::path::Path;

const EXPERIMENT: &str = "\
name: t
dataset: {name: mnist, validation: 20}
model: {file: tiny.yaml}
baseline: {train: {epochs: 1, batch_size: 16, learning_rate: 1e-3}, seed: 0}
bits: 4
quantizers:
  - method: uniform
  - {method: ecq, lambda: 0.05}
";
const MODEL: &str = "\
name: tiny
input_shape: [1, 8, 8]
layers:
  - {name: conv1, kind: conv2d, in_channels: 1, out_channels: 4, kernel: 3, padding: 1, bias: false}
  - {name: bn1, kind: batch_norm, features: 4}
  - {name: relu1, kind: relu}
  - {name: flatten, kind: flatten}
  - {name: fc, kind: linear, inputs: 256, outputs: 10}
";

/// What is replaced in the experiment, and by what.
const EXPERIMENTS: &[(&str, &str)] = &[
    // The cases of the issue.
    ("learning_rate: 1e-3", "lr: 1e-3"),
    ("bits: 4", "bits: \"4\""),
    ("- {method: ecq, lambda: 0.05}", "- {method: ecq, lambda: 0.05}\nbits: 3"),
    ("lambda: 0.05}", "lambda: 0.05, exclude: [*fc*]}"),
    ("1e-3", "-0.001"),
    ("name: t", "name: null"),
    ("- {method: ecq, lambda: 0.05}", "- {method: ecq, lambda: 0.05}\n---\nname: t"),
    ("bits: 4", "bits: [4.0]"),
    ("bits: 4", "bits: 4\nseeds: [18446744073709551616]"),
    ("1e-3", ".nan"),
    ("bits: 4", "bits: 4\na: …"),
    ("bits: 4", "bits: 4\nseeds: 3"),
    // More of these kinds.
    ("bits: 4", "bits: 4\nseeds: 1"),
    ("bits: 4", "bits: 4\nseeds: {count: 0}"),
    ("bits: 4", "bits: 4\nseeds: {number: 3}"),
    ("bits: 4", "bits: 4\nseeds: []"),
    ("bits: 4", "bits: 4\nseeds: [-1]"),
    ("bits: 4", "bits: 4\nseeds: three"),
    ("bits: 4", "bits: 4\nseeds: [1, 2.5]"),
    ("bits: 4", "bits: 4.0"),
    ("bits: 4", "bits: 2-5"),
    ("bits: 4", "bits: -4"),
    ("bits: 4", "bits: 04"),
    ("bits: 4", "bits: 32"),
    ("bits: 4", "bits: []"),
    ("bits: 4", "bits:\u{a0}4"),
    ("bits: 4\n", ""),
    ("1e-3", "0"),
    ("1e-3", "\"1e-3\""),
    ("1e-3", "0.000_1"),
    ("1e-3", "1e9"),
    ("epochs: 1", "epochs: 1.5"),
    ("epochs: 1", "epochs: 0"),
    ("epochs: 1", "epochs: 99999999999999999999"),
    ("epochs: 1", "epoch: 1"),
    ("batch_size: 16", "batch_size: many"),
    ("batch_size: 16", "batch_size: 16, optimizer: adem"),
    ("batch_size: 16", "batch_size: 16, nesterov: yes"),
    ("validation: 20", "validation: 20%"),
    ("validation: 20", "validation: -1"),
    ("validation: 20", "validation: 1.5"),
    ("validation: 20", "samples: {trian: 20}"),
    ("name: mnist, ", ""),
    ("{name: mnist, validation: 20}", "[mnist]"),
    ("name: mnist", "name: mnits"),
    ("{file: tiny.yaml}", "{file: tony.yaml}"),
    ("{file: tiny.yaml}", "{file: .}"),
    ("{file: tiny.yaml}", "resnet21"),
    ("{file: tiny.yaml}", "[resnet20]"),
    ("{file: tiny.yaml}", "{file: tiny.yaml, width: 2}"),
    ("train: {epochs: 1, batch_size: 16, learning_rate: 1e-3}", "checkpoint: x.pt"),
    ("seed: 0", "seed: per_seed"),
    ("bits: 4", "bits: 4\ntraining: {epochs: 2, learning_rate: -1}"),
    ("name: t", "name: my exp"),
    ("name: t", "name: .."),
    ("name: t", "name: true"),
    ("name: t", "name: ''"),
    ("name: t\n", ""),
    ("quantizers:\n  - method: uniform\n  -", "quantizers:"),
    ("quantizers:\n  - method: uniform\n  - {method: ecq, lambda: 0.05}", "quantizers:"),
    ("quantizers:\n  - method: uniform\n  - {method: ecq, lambda: 0.05}", "quantizers: []"),
    ("quantizers:\n  - method: uniform\n  - {method: ecq, lambda: 0.05}", "quantizers: [uniform, ternary]"),
    ("method: ecq", "method: ECQ"),
    ("method: ecq", "method: gptq"),
    ("method: ecq, ", ""),
    ("lambda: 0.05", "lamda: 0.05"),
    ("lambda: 0.05", "lambda:0.05"),
    ("lambda: 0.05", "lambda: -0.05"),
    ("lambda: 0.05", "lambda: .inf"),
    ("lambda: 0.05", "lambda: \"0.05\""),
    ("lambda: 0.05", "lambda: null"),
    ("lambda: 0.05", "lambda: []"),
    ("lambda: 0.05", "lambda: 0.05, exclude: '*fc*'"),
    ("lambda: 0.05", "lambda: 0.05, exclude: ['[a']"),
    ("lambda: 0.05", "lambda: 0.05, exclude_ends: yes"),
    ("lambda: 0.05", "lambda: 0.05, layer_bits: {fc: '8'}"),
    ("lambda: 0.05", "lambda: 0.05, training: {epoch: 2}"),
    ("lambda: 0.05", "lambda: 0.05, training: {epochs: 0}"),
    ("lambda: 0.05", "lambda: 0.05, seeds: 3"),
    ("lambda: 0.05", "lambda: 0.05, bits: x"),
    ("lambda: 0.05", "lambda: 0.05, relevance: lrp"),
    ("  - method", "\t- method"),
    ("lambda: 0.05}", "lambda: 0.05"),
    ("bits: 4", "bits: [4"),
    ("bits: 4", "bits: !!int 4"),
    ("bits: 4", "bits: 4\ndescription: ECQ: the best"),
    ("bits: 4", "bits: 4\nfigures: effect_of_p"),
    ("bits: 4", "bits: 4\nstyle: wide"),
    ("bits: 4", "bits: 4\nstyle: {width: 8.5}"),
    ("bits: 4", "bits: 4\nstyle: {title: false}"),
    ("bits: 4", "bits: 4\nstyle: 8.5"),
    ("bits: 4", "bits: 4\nfigures: [efect_of_p]"),
    ("bits: 4", "bits: 4\ncalibration_samples: lots"),
    ("bits: 4", "bits 4"),
    ("bits: 4", "Bits: 4"),
];

/// What is replaced in the model, and by what.
const MODELS: &[(&str, &str)] = &[
    ("kernel: 3", "kernel: 3x3"),
    ("kernel: 3", "kernel: [3, 3, 3]"),
    ("kernel: 3", "kernal: 3"),
    ("kind: relu", "kind: rely"),
    ("kind: relu", "kind: relu, slope: 0.1"),
    ("bias: false", "bias: no"),
    ("inputs: 256", "inputs: 255"),
    ("inputs: 256", "inputs: -256"),
    ("name: relu1, ", ""),
    ("kind: relu", "kind: relu, input: bn2"),
    ("input_shape: [1, 8, 8]", "input_shape: 1"),
    ("input_shape: [1, 8, 8]", "input_shape: [1, 0, 8]"),
    ("layers:", "layer:"),
    ("outputs: 10", "outputs: 99999999999"),
];

fn explained(error: &ecqx::Error, folder: &Path) -> String {
    assert!(error.is_user_error(), "{error}");
    let hint = error.hint().map_or(String::new(), |hint| format!("\n    hint: {hint}"));
    format!("    {error}{hint}\n").replace(&format!("{}/", folder.display()), "")
}

/// Every message, in one text.
fn all(folder: &Path) -> String {
    let (path, model) = (folder.join("x.yaml"), folder.join("tiny.yaml"));
    let mut text = String::new();
    let mut registry = ecqx::Registry::builtin();
    registry.figures = ecqx::report::figure::builtin().names().collect();
    std::fs::write(&model, MODEL).unwrap();
    for (from, to) in EXPERIMENTS {
        assert!(EXPERIMENT.contains(from), "{from}");
        std::fs::write(&path, EXPERIMENT.replacen(from, to, 1)).unwrap();
        let result =
            Experiment::load(&path, &registry).and_then(|experiment| grid::expand(&experiment, &registry));
        let error = result.err().unwrap_or_else(|| panic!("{from} -> {to} must be refused"));
        let _ =
            write!(text, "{} -> {}\n{}", from.escape_debug(), to.escape_debug(), explained(&error, folder));
    }
    text += "\nmodels\n";
    for (from, to) in MODELS {
        assert!(MODEL.contains(from), "{from}");
        std::fs::write(&model, MODEL.replacen(from, to, 1)).unwrap();
        let error = ecqx::model::yaml::load(&model).err();
        let error = error.unwrap_or_else(|| panic!("{from} -> {to} must be refused"));
        let _ = write!(text, "{from} -> {to}\n{}", explained(&error, folder));
    }
    text
}

/// Wording stays, and nothing of a library's or of the language's inside is in it.
#[test]
fn wording_stays() {
    let folder = tempfile::tempdir().unwrap();
    let text = all(folder.path());
    super::check_golden("wording.txt", &text);
    for leak in
        ["untagged", "variant", "struct", "u32", "f64", "usize", "policy", "YAML_", "00000000", "`ecqx::"]
    {
        assert!(!text.contains(leak), "{leak}");
    }
}

fn call(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), text)
}

/// A folder, a missing file, bytes that are no text in place of a file: the user's, in every command, with the way out.
#[test]
fn what_is_no_file_is_the_users() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("folder.yaml")).unwrap();
    std::fs::write(at.join("sweep.yaml"), EXPERIMENT).unwrap();
    std::fs::write(at.join("latin1.yaml"), b"name: caf\xe9\n").unwrap();
    std::fs::write(at.join("utf16.yaml"), b"\xff\xfen\0a\0").unwrap();
    for (file, expected) in [
        ("folder.yaml", "folder.yaml is a folder, and a file is needed"),
        ("sweeb.yaml", "sweeb.yaml: no such file\nhint: did you mean 'sweep.yaml'?"),
        ("latin1.yaml", "latin1.yaml:1: not a text file, or not in UTF-8 (byte 9 is 0xe9)"),
        ("utf16.yaml", "utf16.yaml is encoded as UTF-16, and UTF-8 is needed\nhint: save it as UTF-8"),
        ("sweep.yaml/x", "sweep.yaml/x: a part of this path is a file, and a folder is needed"),
    ] {
        for command in ["validate", "plan", "run", "report", "status"] {
            let (code, text) = call(at, &[command, file]);
            assert_eq!(code, 2, "{command} {file}: {text}");
            assert!(text.starts_with(&format!("error: {expected}")), "{command} {file}: {text}");
        }
        for command in
            [["exec", "--spec", file, ""], ["exec", "--plan", file, "--all"], ["check", file, "", ""]]
        {
            let command: Vec<&str> = command.into_iter().filter(|word| !word.is_empty()).collect();
            let (code, text) = call(at, &command);
            assert_eq!(code, 2, "{command:?}: {text}");
        }
    }
    for weights in ["folder.yaml", "nowhere.pt", "sweep.yaml/x"] {
        let arguments =
            ["quantize", "--method", "ecq", "--bits", "4", "--output", "o.nnc", "--weights", weights];
        let (code, text) = call(at, &arguments);
        assert_eq!(code, 2, "{weights}: {text}");
        assert!(!text.contains("os error"), "{text}");
    }
}

/// Numbers on the command line: negative ones are values, what is no number is said in words, threads are bounded.
#[test]
fn numbers_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let quantize = |more: &[&str]| {
        let head = ["quantize", "--weights", "x.pt", "--method", "ecq", "--output", "o.nnc"];
        call(at, &[&head[..], more].concat())
    };
    for (more, expected) in [
        (&["--bits", "4", "--lambda", "-0.05"][..], "lambda must be from 0 to"),
        (&["--bits", "4", "--lambda=-0.05"], "found -0.05"),
        (&["--bits", "4", "--lambda", "-1e-3"], "found -0.001"),
        (&["--bits", "4", "--lambda", "nan"], "give a finite number"),
        (&["--bits", "4", "--lambda", "inf"], "give a finite number"),
        (&["--bits", "4", "--lambda", "0,05"], "write 0.05, with a point"),
        (&["--bits", "4", "--lambda", "much"], "give a number, such as 0.05"),
        (&["--bits", "-4"], "-4"),
        (&["--bits", "four"], "'four'"),
        (&["--bits", "99"], "bits must be from 2 to 8, found 99"),
        (&["--bits", "4", "--set", "lambda=[0.1]"], "lambda must be a number from 0 to 10, found [0.1]"),
        (&["--bits", "4", "--set", "lamda=0.1"], "did you mean 'lambda'?"),
        (&["--threads", "0"], "give a whole number of 1 or more"),
        (&["--threads", "-1"], "give a whole number of 1 or more"),
        (&["--threads", "many"], "give a whole number of 1 or more"),
    ] {
        let (code, text) = quantize(more);
        assert_eq!(code, 2, "{more:?}: {text}");
        assert!(text.contains(expected), "{more:?}: {text}");
        assert!(!text.contains("invalid digit") && !text.contains("invalid float"), "{text}");
    }
    let (code, text) = call(at, &["ls", "models", "--threads", "100000"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning: --threads 100000: 256 are used"), "{text}");
}

/// `validate` finds what would cost a run its time: a checkpoint that is not there, patterns that fit no weight, splits
/// without samples, data of one class; and it says what it could not look at.
#[test]
fn validate_looks_further() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("tiny.yaml"), MODEL).unwrap();
    let idx = |name: &str, dimensions: &[u32], data: Vec<u8>| {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        std::fs::create_dir_all(at.join("data/mnist")).unwrap();
        std::fs::write(at.join("data/mnist").join(name), bytes).unwrap();
    };
    let data = |train: u32, one_class: bool| {
        for (prefix, n) in [("train", train), ("t10k", 40)] {
            let labels = (0..n).map(|i| if one_class { 7 } else { (i % 10) as u8 }).collect();
            idx(
                &format!("{prefix}-images-idx3-ubyte"),
                &[n, 8, 8],
                (0..n * 64).map(|i| (i % 251) as u8).collect(),
            );
            idx(&format!("{prefix}-labels-idx1-ubyte"), &[n], labels);
        }
    };
    let validate = |from: &str, to: &str| {
        std::fs::write(at.join("x.yaml"), EXPERIMENT.replacen(from, to, 1)).unwrap();
        call(at, &["validate", "x.yaml"])
    };
    assert_eq!(
        validate("", ""),
        (
            0,
            "x.yaml: t is valid, 2 runs\n  note: data set mnist was not found, so it was not checked\n"
                .into()
        )
    );
    let one = "quantizers:\n  - method: uniform\n  - {method: ecq, lambda: 0.05}";
    let (code, text) = validate(one, "quantizers: [{method: uniform}]");
    assert!(code == 0 && text.starts_with("x.yaml: t is valid, 1 run\n"), "{text}");
    let (code, text) = validate(
        "{train: {epochs: 1, batch_size: 16, learning_rate: 1e-3}, seed: 0}",
        "{checkpoint: gone.pt}",
    );
    assert_eq!(code, 2, "{text}");
    assert!(text.starts_with("error: x.yaml: checkpoint gone.pt: not found (tried "), "{text}");
    for (from, to, expected) in [
        (
            "lambda: 0.05",
            "lambda: 0.05, exclude: ['*conv2*']",
            "x.yaml: ecq: exclude: no weight matches '*conv2*'",
        ),
        ("lambda: 0.05", "lambda: 0.05, layer_bits: {fcc.weight: 8}", "hint: did you mean 'fc.weight'?"),
    ] {
        let (code, text) = validate(from, to);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    data(100, false);
    let (code, text) = validate("", "");
    assert_eq!((code, text.as_str()), (0, "x.yaml: t is valid, 2 runs\n"));
    let (code, text) = validate("validation: 20", "validation: 100");
    assert_eq!(code, 2, "{text}");
    data(100, true);
    let (code, text) = validate("", "");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("of one class, '7'"), "{text}");
}

/// A model whose name has a slash leaves its figures in the report's folder, under names that any file system takes.
#[test]
fn model_names_make_no_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let spec = "name: x\ndataset: {name: embedded-images, samples: {train: 64, validation: 16, test: 32}}\n\
        model: {file: m.yaml}\nbaseline: {train: {epochs: 1, batch_size: 32}}\nbits: 4\n\
        quantizers: [{method: ecq, lambda: [0.0, 0.1]}]\n";
    let (_, text) = call(at, &["ls", "models", "--json"]);
    assert!(text.contains("cnn-small"));
    let shape = {
        let spec = serde_json::from_value(serde_json::json!({"name": "embedded-images",
            "samples": {"train": 64, "validation": 16, "test": 32}}))
        .unwrap();
        ecqx::data::open(&spec, at).unwrap().input_shape().to_vec()
    };
    let size: usize = shape.iter().product();
    let classes = 10;
    let model = format!(
        "name: \"timm/tiny\"\ninput_shape: {shape:?}\nlayers:\n  - {{name: flat, kind: flatten}}\n  - {{name: fc, kind: linear, inputs: {size}, outputs: {classes}}}\n"
    );
    std::fs::write(at.join("m.yaml"), model).unwrap();
    std::fs::write(at.join("x.yaml"), spec).unwrap();
    let (code, text) = call(at, &["run", "x.yaml"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = call(at, &["report", "x.yaml", "--output", "r"]);
    assert_eq!(code, 0, "{text}");
    for entry in std::fs::read_dir(at.join("r")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.is_file(), "{}", path.display());
    }
}
