//! Other people's checkpoints: every file of `tests/cases` is the same small network in another form. `tests/cases/make.py`
//! makes them with PyTorch, and what PyTorch gives for those that are not exact.

use super::{cases, ecqx};
use candle_core::{Device, Tensor};
use ecqx::model::checkpoint::{self, Checkpoint, FitOptions, ReadOptions, StateDict};
use ecqx::model::yaml;
use ecqx::nn::Network;
use std::path::{Path, PathBuf};

const NETWORK: &str = "name: net\ninput_shape: [3, 3, 3]\nlayers:\n  \
    - {name: conv1, kind: conv2d, in_channels: 3, out_channels: 4, kernel: 3, bias: false}\n  \
    - {name: bn1, kind: batch_norm, features: 4}\n  - {name: relu1, kind: relu}\n  - {name: flatten, kind: flatten}\n  \
    - {name: fc, kind: linear, inputs: 4, outputs: 10}\n";

/// Files that no state dict is read from, and what the message says.
const REFUSED: [(&str, &str); 16] = [
    ("complex.pt", "tensor z: complex64"),
    ("sparse.pt", "tensor fc.weight: a tensor of another kind (sparse tensor)"),
    ("list.pt", "a list, whose tensors have no names"),
    ("tensor.pt", "a single tensor without a name"),
    ("script.pt", "TorchScript"),
    ("ema.pt", "state_dict_ema (8 tensors)"),
    ("two_networks.pt", "discriminator (1 tensors)"),
    ("module_beside.pt", "a whole module"),
    ("whole_module.pt", "whole pickled module"),
    ("collision.pt", "'fc.weight' and 'module.fc.weight'"),
    ("orthogonal.pt", "parametrization that is not read"),
    ("arrays.npz", "numpy arrays"),
    ("gzipped.pt", "gzip"),
    ("page.pt", "web page"),
    ("pointer.safetensors", "Git LFS"),
    ("empty.pt", "is empty"),
];
/// Files that are read, but whose names are not the network's.
const OTHER_NAMES: [&str; 2] = ["other_names.pt", "backbone.pt"];
/// Files with tensors that the network has not.
const EXTRA: [(&str, &str); 5] = [
    ("profiled.pt", "total_ops, conv1.total_params"),
    ("integers.pt", "mask, a, b, c, d, e"),
    ("integers_legacy.pt", "mask, a, d"),
    ("quantization_aware.pt", "fc.weight_fake_quant.scale"),
    ("packed_linear.pt", "fc.scale, fc.zero_point"),
];

fn network() -> Network {
    yaml::parse(NETWORK, Path::new("net.yaml")).unwrap()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// All files of the small network, in a fixed order.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["checkpoints", "given"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(cases().join(folder)).unwrap().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    assert!(files.len() > 75, "{}", files.len());
    files
}

fn refused(path: &Path) -> Option<&'static str> {
    REFUSED.iter().find(|(file, _)| *file == name(path)).map(|(_, what)| *what)
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_dtype(candle_core::DType::F32).unwrap().to_vec1().unwrap()
}

/// Each form gives the network that PyTorch gives, to the last bits; what can't be read says why and what to do.
#[test]
fn every_form_gives_the_same_network() {
    let network = network();
    let plain = checkpoint::read(&cases().join("given/plain.pt")).unwrap();
    for path in files() {
        let file = name(&path);
        let loaded = checkpoint::load_with(
            &path,
            &network,
            &Device::Cpu,
            &ReadOptions::default(),
            FitOptions::default(),
        );
        if let Some(what) = refused(&path) {
            let error = loaded.err().unwrap_or_else(|| panic!("{file} is read"));
            assert!(error.is_user_error() && error.to_string().contains(what), "{file}: {error}");
            continue;
        }
        if OTHER_NAMES.contains(&file) {
            let error = loaded.err().unwrap_or_else(|| panic!("{file} fits"));
            assert!(error.hint().is_some_and(|hint| hint.contains("--rename")), "{file}: {error}");
            continue;
        }
        let loaded = loaded.unwrap_or_else(|error| panic!("{file}: {error} {:?}", error.hint()));
        let expected = cases().join("expected").join(format!("{file}.safetensors"));
        let expected = if expected.is_file() { checkpoint::read(&expected).unwrap() } else { plain.clone() };
        for (name, parameter) in loaded.parameters.iter() {
            let (found, expected) = (flat(parameter.var.as_tensor()), flat(&expected[name]));
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(0.01);
            assert!(found.iter().zip(&expected).all(near), "{file} {name}: {found:?}, expected {expected:?}");
        }
        match EXTRA.iter().find(|(extra, _)| *extra == file) {
            Some((_, list)) => assert!(loaded.warnings[0].contains(list), "{file}: {:?}", loaded.warnings),
            None => assert_eq!(loaded.warnings, [""; 0], "{file}"),
        }
    }
}

/// What changes values is told: element types, parametrizations, tensors beside the state dict.
#[test]
fn notes() {
    let notes =
        |file: &str| checkpoint::open(&cases().join(file), &ReadOptions::default()).unwrap().notes.join("\n");
    for (file, expected) in [
        ("given/half.pt", "float16 converted to float32: conv1.weight, bn1.weight, bn1.bias and 4 more"),
        ("given/double.pt", "float64 converted"),
        ("given/quantized_tensor.pt", "quantized int8 converted to float32: conv1.weight"),
        ("checkpoints/qint8_channels.pt", "quantized int8 (per channel) converted to float32: fc.weight"),
        ("checkpoints/float8_e4m3fn.pt", "float8_e4m3fn converted"),
        ("given/pruned.pt", "pruning mask folded into conv1.weight"),
        ("checkpoints/spectral_norm_new.pt", "spectral normalization folded into fc.weight"),
        ("checkpoints/rng_beside.pt", "left out: cpu_state"),
    ] {
        let notes = notes(file);
        assert!(notes.contains(expected), "{file}: {notes}");
    }
    assert_eq!(notes("given/plain.pt"), "");
}

/// Integers of every width keep their values.
#[test]
fn integers_keep_their_values() {
    let state = checkpoint::read(&cases().join("checkpoints/integers.pt")).unwrap();
    let values =
        |name: &str| state[name].to_dtype(candle_core::DType::I64).unwrap().to_vec1::<i64>().unwrap();
    for (name, expected) in [
        ("mask", &[1, 0][..]),
        ("a", &[-128, 127]),
        ("b", &[65535, 0]),
        ("c", &[4_000_000_000]),
        ("d", &[-32768]),
        ("e", &[255]),
    ] {
        assert_eq!(values(name), expected, "{name}");
    }
}

/// No tensor goes missing: whatever is read is in what `quantize` writes, in both formats; only batch counters are not in
/// a model file.
#[test]
fn no_tensor_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut read = 0;
    for path in files() {
        if refused(&path).is_some() {
            continue;
        }
        let before = checkpoint::read(&path).unwrap();
        read += 1;
        for output in ["out.safetensors", "out.nnc"] {
            let output = folder.path().join(output);
            let mut command = ecqx();
            command.args(["quantize", "--method", "ecq", "--bits", "4", "--weights"]).arg(&path);
            let result = command.arg("--output").arg(&output).output().unwrap();
            let err = String::from_utf8_lossy(&result.stderr);
            assert!(result.status.success(), "{}: {err}", path.display());
            let after = checkpoint::read(&output).unwrap();
            for (name, tensor) in &before {
                let is_counter = checkpoint::is_batch_counter(name) && output.extension().unwrap() == "nnc";
                match after.get(name) {
                    Some(found) => assert_eq!(found.dims(), tensor.dims(), "{} {name}", path.display()),
                    None => {
                        assert!(is_counter, "{}: {name} is missing from {}", path.display(), output.display())
                    }
                }
            }
            let sides = after.keys().filter(|name| !before.contains_key(*name));
            assert!(sides.into_iter().all(|name| [".levels", ".step"].iter().any(|end| name.ends_with(end))));
        }
    }
    assert!(read > 60, "{read}");
}

/// Where several dictionaries hold tensors, `--key` chooses; names are mended with `--rename`; `--strict` refuses what is
/// too much.
#[test]
fn options_choose_and_mend() {
    let open = |file: &str, options: &ReadOptions| {
        checkpoint::open(&cases().join("checkpoints").join(file), options)
    };
    let with_key = |key: &str| ReadOptions { key: Some(key.into()), ..ReadOptions::default() };
    let weights = |checkpoint: Checkpoint| flat(&checkpoint.tensors["fc.bias"]);
    let plain = flat(&checkpoint::read(&cases().join("given/plain.pt")).unwrap()["fc.bias"]);
    assert_eq!(weights(open("ema.pt", &with_key("state_dict")).unwrap()), plain);
    assert_eq!(weights(open("ema.pt", &with_key("state_dict_ema")).unwrap()), [0.0; 10]);
    assert_eq!(weights(open("nested_twice.pt", &with_key("checkpoint.model.state_dict")).unwrap()), plain);
    let error = open("ema.pt", &with_key("model")).unwrap_err().to_string();
    assert!(
        error.contains("no dictionary of tensors is called 'model'") && error.contains("state_dict_ema"),
        "{error}"
    );
    assert!(
        open("module_beside.pt", &with_key("model")).unwrap_err().hint().unwrap().contains("state_dict()")
    );

    let (network, cpu) = (network(), Device::Cpu);
    for (file, pattern) in [("other_names.pt", "linear.*=fc.*"), ("backbone.pt", "backbone.*=*")] {
        let path = cases().join("checkpoints").join(file);
        let error = checkpoint::load(&path, &network, &cpu).unwrap_err();
        assert!(
            error.hint().unwrap().contains(&format!("--rename '{pattern}'")),
            "{error} {:?}",
            error.hint()
        );
        let renames = vec![pattern.parse().unwrap()];
        let options = ReadOptions { renames, ..ReadOptions::default() };
        checkpoint::load_with(&path, &network, &cpu, &options, FitOptions::default()).unwrap();
    }
    let strict = FitOptions { strict: true, ..FitOptions::default() };
    let profiled = cases().join("given/profiled.pt");
    let error =
        checkpoint::load_with(&profiled, &network, &cpu, &ReadOptions::default(), strict).unwrap_err();
    assert!(error.to_string().contains("total_ops, conv1.total_params"), "{error}");
}

/// Of many names that do not fit, ten are listed with the number of the rest, all of them when asked.
#[test]
fn long_lists_are_cut() {
    let network = ecqx::model::build("resnet20", &[3, 32, 32], 10, &ecqx::model::Options::new()).unwrap();
    let lines = |verbose| {
        let options = FitOptions { verbose, ..FitOptions::default() };
        let error = checkpoint::fit_with(&StateDict::new(), &network, &Device::Cpu, options).unwrap_err();
        error.to_string().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let short = lines(false);
    assert_eq!(short.len(), 12, "{short:?}");
    assert!(short[11].contains("more (all with --verbose)"), "{short:?}");
    assert_eq!(lines(true).len(), 1 + network.parameter_shapes().len());
}

fn evaluate(weights: &Path) -> (f64, String) {
    let common = cases().join("given/_common");
    let mut command = ecqx();
    command
        .arg("evaluate")
        .arg("--data-dir")
        .arg(common.join("data"))
        .arg("--model")
        .arg(common.join("tiny.yaml"));
    let output = command.args(["--dataset", "mnist", "--json", "--weights"]).arg(weights).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (json["top1"].as_f64().unwrap_or(f64::NAN), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The cases that were handed in reach through the command what the plain file reaches: protocols, prefixes, an archive
/// whose folder has 21 letters, weight normalization. Masks and integers change the weights, not the reading.
#[test]
fn given_cases_reach_the_same_accuracy() {
    let given = |file: &str| cases().join("given").join(file);
    let (plain, err) = evaluate(&given("_common/plain.pt"));
    assert!(plain > 90.0, "{plain} {err}");
    for file in [
        "pickle_protocols/proto3_legacy.pt",
        "pickle_protocols/proto4.pt",
        "pickle_protocols/proto5.pt",
        "prefixes/lightning.ckpt",
        "prefixes/module_orig_mod.pt",
        "prefixes/orig_mod.pt",
        "zip_stem_21/resnet20_cifar10_best.pt",
        "masks_norms_skipped/weight_norm_old.pt",
        "masks_norms_skipped/weight_norm_param.pt",
    ] {
        let (top1, err) = evaluate(&given(file));
        assert_eq!(top1, plain, "{file}: {err}");
    }
    for file in ["masks_norms_skipped/pruned_mask.pt", "qint8_dropped/qint8.pt"] {
        let (top1, err) = evaluate(&given(file));
        assert!(top1 > 60.0, "{file}: {top1} {err}");
    }
    let (top1, err) = evaluate(&given("prefix_collision/both_prefix.pt"));
    assert!(top1.is_nan() && err.contains("'conv1.weight' and 'module.conv1.weight'"), "{err}");
    assert!(err.contains("--rename 'module.*=other.*'"), "{err}");
}

/// `--weights` finds what lies below the data folder, and says where it looked.
#[test]
fn weights_are_looked_up_in_the_data_folder() {
    let data = cases().join("given/_common");
    let run = |weights: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = ecqx();
        command.current_dir(folder.path()).args([
            "quantize",
            "--method",
            "ecq",
            "--bits",
            "4",
            "--weights",
            weights,
        ]);
        command.args(["--output", "x.nnc", "--data-dir"]).arg(&data).output().unwrap()
    };
    assert!(run("plain.pt").status.success());
    let missing = run("plane.pt");
    let err = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.code() == Some(2) && err.contains("_common/plane.pt"), "{err}");
}
