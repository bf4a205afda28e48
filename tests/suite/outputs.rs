//! What the commands write, and where: sizes that agree, formats by name, nothing destroyed.

use super::{cases, ecqx};
use ecqx::model::checkpoint;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    ecqx().current_dir(folder).args(arguments).output().unwrap()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
    assert!(err.contains("hint:"), "{err}");
    err
}

/// A folder with the small network as `in.pt`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(cases().join("given/_common/plain.pt"), folder.path().join("in.pt")).unwrap();
    folder
}

const QUANTIZE: [&str; 7] = ["quantize", "--weights", "in.pt", "--method", "ecq", "--bits", "4"];

/// The model file is the same bytes whichever way it is reached: written by `quantize`, coded from its safetensors result,
/// and coded from what `decode --values` made of it; its size is what `quantize` says.
#[test]
fn one_model_file_by_every_way() {
    let folder = folder();
    let at = folder.path();
    let bytes = |name: &str| std::fs::read(at.join(name)).unwrap();
    for method in ["ecq", "kmeans", "ec2t", "lsq", "magnitude", "uniform"] {
        let mut quantize = vec!["quantize", "--weights", "in.pt", "--method", method];
        match method {
            "ec2t" => {}
            "magnitude" => quantize.extend(["--set", "sparsity=0.5"]),
            _ => quantize.extend(["--bits", "3"]),
        }
        done(at, &[&quantize[..], &["--output", "direct.nnc"]].concat());
        let json = done(at, &[&quantize[..], &["--output", "out.safetensors", "--json"]].concat());
        done(at, &["encode", "out.safetensors", "coded.nnc"]);
        assert_eq!(bytes("coded.nnc"), bytes("direct.nnc"), "{method}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["model_bytes"], bytes("direct.nnc").len(), "{method}");
        done(at, &["decode", "--values", "direct.nnc", "back.safetensors"]);
        done(at, &["encode", "back.safetensors", "again.nnc"]);
        if method != "magnitude" {
            // Floats that were quantized once may be quantized a little differently again; levels may not.
            let (again, direct) = (bytes("again.nnc").len() as i64, bytes("direct.nnc").len() as i64);
            assert!((again - direct).abs() <= 8, "{method}: {again}, {direct}");
        }
        for (name, tensor) in checkpoint::read(&at.join("direct.nnc")).unwrap() {
            let back = &checkpoint::read(&at.join("back.safetensors")).unwrap()[&name];
            let flat = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(flat(&tensor), flat(back), "{method} {name}");
        }
    }
}

/// What a run reports as the size of its file is what `quantize` writes for the same method and weights.
#[test]
fn sizes_are_those_of_runs() {
    let folder = folder();
    let at = folder.path();
    let common = cases().join("given/_common");
    std::fs::copy(common.join("tiny.yaml"), at.join("tiny.yaml")).unwrap();
    let experiment = "name: sizes\ndataset: {name: mnist, validation: 20}\nmodel: {file: tiny.yaml}\nbaseline: {checkpoint: in.pt}\nseeds: [1]\nbits: [4]\n\
        quantizers:\n  - {method: ecq, lambda: 0.05}\n";
    std::fs::write(at.join("x.yaml"), experiment).unwrap();
    let data = common.join("data");
    let data = data.to_str().unwrap();
    done(at, &["run", "x.yaml", "--data-dir", data, "--store", "store"]);
    let run = std::fs::read_dir(at.join("store/runs")).unwrap().flatten().next().unwrap().path();
    let model = std::fs::read(run.join("model.nnc")).unwrap();
    done(at, &[&QUANTIZE[..], &["--lambda", "0.05", "--output", "out.safetensors"]].concat());
    done(at, &["encode", "out.safetensors", "out.nnc"]);
    assert_eq!(std::fs::read(at.join("out.nnc")).unwrap().len(), model.len());
}

/// Integers of every width up to 32 bits are coded without loss, PyTorch files too; wider ones are named.
#[test]
fn integers_are_coded() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let given = cases().join("given/st_int8");
    let mut inputs: Vec<_> =
        ["bool", "i8", "u16", "u32ish"].map(|name| given.join(format!("{name}.safetensors"))).into();
    inputs.push(cases().join("checkpoints/integers.pt"));
    let integers = |path: &Path| {
        let state = checkpoint::read(path).unwrap();
        let integers = state.into_iter().filter(|(_, tensor)| tensor.dtype().is_int());
        let values = |tensor: candle_core::Tensor| {
            tensor.flatten_all().unwrap().to_dtype(candle_core::DType::I64).unwrap().to_vec1::<i64>().unwrap()
        };
        integers.map(|(name, tensor)| (name, values(tensor))).collect::<Vec<_>>()
    };
    for input in inputs {
        let expected = integers(&input);
        assert!(!expected.is_empty());
        done(at, &["encode", input.to_str().unwrap(), "x.nnc"]);
        done(at, &["decode", "--values", "x.nnc", "x.safetensors"]);
        done(at, &["decode", "x.nnc", "y.safetensors"]);
        assert_eq!(integers(&at.join("y.safetensors")), expected, "{}", input.display());
        assert_eq!(integers(&at.join("x.nnc")), expected, "{}", input.display());
        assert_eq!(integers(&at.join("x.safetensors")), expected, "{}", input.display());
    }
    let wide = candle_core::Tensor::from_vec(vec![1i64 << 40], 1, &candle_core::Device::Cpu).unwrap();
    checkpoint::write_safetensors(&at.join("wide.safetensors"), [("wide", &wide)]).unwrap();
    let output = run(at, &["encode", "wide.safetensors", "x.nnc"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && err.contains("tensor wide"), "{err}");
}

/// What `encode` makes of a plain PyTorch file is a checkpoint like any other.
#[test]
fn coded_checkpoints_are_evaluated() {
    let folder = folder();
    let at = folder.path();
    done(at, &["encode", "in.pt", "in.nnc"]);
    done(at, &["decode", "in.nnc", "back.safetensors"]);
    let common = cases().join("given/_common");
    let (model, data) = (common.join("tiny.yaml"), common.join("data"));
    for weights in ["in.nnc", "back.safetensors"] {
        let evaluate =
            ["evaluate", "--model", model.to_str().unwrap(), "--dataset", "mnist", "--weights", weights];
        let json = done(at, &[&evaluate[..], &["--json", "--data-dir", data.to_str().unwrap()]].concat());
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(json["top1"].as_f64().unwrap() > 95.0, "{json}");
    }
}

/// A result is what its name says: other names are refused before any work, upper case is understood, `--format` decides.
#[test]
fn names_tell_formats() {
    let folder = folder();
    let at = folder.path();
    for name in ["out.pt", "out.pth", "out"] {
        let err = refused(at, &[&QUANTIZE[..], &["--output", name]].concat());
        assert!(err.contains(".safetensors and .nnc") && !at.join(name).exists(), "{err}");
    }
    done(at, &[&QUANTIZE[..], &["--output", "OUT.NNC"]].concat());
    done(at, &["inspect", "OUT.NNC"]);
    done(at, &[&QUANTIZE[..], &["--output", "out", "--format", "nnc"]].concat());
    assert_eq!(std::fs::read(at.join("out")).unwrap(), std::fs::read(at.join("OUT.NNC")).unwrap());
    let text = done(at, &[&QUANTIZE[..], &["--output", "out.safetensors"]].concat());
    let last = text.lines().last().unwrap();
    let size = std::fs::metadata(at.join("out")).unwrap().len();
    assert!(last.contains("weights are zero") && last.contains(&format!("{size} bytes as .nnc")), "{last}");
}

/// `-` is standard output, with nothing else on it; a report in JSON has no room there.
#[test]
fn standard_output() {
    let folder = folder();
    let at = folder.path();
    done(at, &[&QUANTIZE[..], &["--output", "out.safetensors"]].concat());
    let output = run(at, &[&QUANTIZE[..], &["--output", "-"]].concat());
    assert!(output.status.success() && !at.join("-").exists());
    assert_eq!(output.stdout, std::fs::read(at.join("out.safetensors")).unwrap());
    let coded = run(at, &["encode", "out.safetensors", "-"]);
    done(at, &["encode", "out.safetensors", "out.nnc"]);
    assert_eq!(coded.stdout, std::fs::read(at.join("out.nnc")).unwrap());
    refused(at, &[&QUANTIZE[..], &["--output", "-", "--json"]].concat());
}

/// A named pipe carries the result and stays a pipe; links and modes stay; read-only files, folders and devices are
/// refused by every command before it works.
#[cfg(unix)]
#[test]
fn nothing_is_destroyed() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let folder = folder();
    let at = folder.path();
    done(at, &[&QUANTIZE[..], &["--output", "out.safetensors"]].concat());
    let expected = std::fs::read(at.join("out.safetensors")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at.join("pipe")).status().unwrap().success());
    let reader = {
        let path = at.join("pipe");
        std::thread::spawn(move || std::fs::read(path).unwrap())
    };
    done(at, &[&QUANTIZE[..], &["--output", "pipe"]].concat());
    assert_eq!(reader.join().unwrap(), expected);
    assert!(at.join("pipe").metadata().unwrap().file_type().is_fifo());

    std::fs::set_permissions(at.join("out.safetensors"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("out.safetensors", at.join("link.safetensors")).unwrap();
    let coarser = ["quantize", "--weights", "in.pt", "--method", "ecq", "--bits", "2"];
    done(at, &[&coarser[..], &["--output", "link.safetensors"]].concat());
    assert!(at.join("link.safetensors").symlink_metadata().unwrap().is_symlink());
    assert_ne!(std::fs::read(at.join("out.safetensors")).unwrap(), expected);
    assert_eq!(at.join("out.safetensors").metadata().unwrap().permissions().mode() & 0o777, 0o600);

    std::fs::write(at.join("kept.nnc"), b"kept").unwrap();
    std::fs::set_permissions(at.join("kept.nnc"), std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::create_dir(at.join("folder.nnc")).unwrap();
    // Refused before it is opened: nothing reaches the device.
    for output in ["kept.nnc", "folder.nnc", "/dev/null"] {
        refused(at, &[&QUANTIZE[..], &["--format", "nnc", "--output", output]].concat());
        refused(at, &["encode", "out.safetensors", output]);
        refused(at, &["decode", "missing.nnc", output]);
    }
    assert_eq!(std::fs::read(at.join("kept.nnc")).unwrap(), b"kept");
}

/// Relevance comes from the training split unless asked otherwise; where it comes from the split on which accuracy is
/// measured, `quantize` and `evaluate` say so.
#[test]
fn relevance_of_test_samples_is_warned_of() {
    let folder = folder();
    let at = folder.path();
    let common = cases().join("given/_common");
    let (model, data) = (common.join("tiny.yaml"), common.join("data"));
    let model =
        ["--model", model.to_str().unwrap(), "--dataset", "mnist", "--data-dir", data.to_str().unwrap()];
    for (split, warns) in [(None, false), (Some("test"), true)] {
        let explain = [&["explain", "--weights", "in.pt", "--output", "r.safetensors"], &model[..]].concat();
        done(at, &[&explain[..], &split.map_or(vec![], |split| vec!["--split", split])].concat());
        let quantize = ["quantize", "--weights", "in.pt", "--method", "ecqx", "--bits", "4", "--relevance"];
        let output = run(at, &[&quantize[..], &["r.safetensors", "--output", "q.safetensors"]].concat());
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(err.contains("computed on the test split of mnist"), warns, "{err}");
        let output = run(at, &[&["evaluate", "--weights", "q.safetensors"], &model[..]].concat());
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success());
        assert_eq!(err.contains("with relevance from the test split"), warns, "{err}");
    }
    let facts =
        checkpoint::open(&at.join("r.safetensors"), &checkpoint::ReadOptions::default()).unwrap().metadata;
    assert_eq!((facts["relevance_split"].as_str(), facts["relevance_samples"].as_str()), ("test", "64"));
}
