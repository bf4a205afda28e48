//! `ecqx encode`, `decode`, `inspect` and model files through the real binary.

use super::ecqx;
use candle_core::{Device, Tensor};
use ecqx::model::checkpoint;
use std::path::{Path, PathBuf};

fn command(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn write(folder: &Path) -> (Tensor, Tensor, Tensor) {
    let levels: Vec<i32> = (0..600).map(|i| if i % 3 == 0 { (i % 7) - 3 } else { 0 }).collect();
    let levels = Tensor::from_vec(levels, (20, 30), &Device::Cpu).unwrap();
    let extreme = Tensor::from_vec(vec![i32::MIN, i32::MAX, 0, -1], 4, &Device::Cpu).unwrap();
    let floats: Vec<f32> = (0..64).map(|i| (i as f32 * 0.3).sin()).collect();
    let floats = Tensor::from_vec(floats, (8, 8), &Device::Cpu).unwrap();
    let tensors = [("z.levels", &levels), ("a.extreme", &extreme), ("m.floats", &floats)];
    checkpoint::write_safetensors(&folder.join("in.safetensors"), tensors).unwrap();
    (levels, extreme, floats)
}

/// Integers come back exactly, floats within their step, names and order stay.
#[test]
fn round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let (levels, extreme, floats) = write(folder.path());
    for dq in ["on", "off"] {
        let (code, out, err) = command(
            folder.path(),
            &["encode", "in.safetensors", "out.nnc", "--qp", "-30", "--dq", dq, "--json"],
        );
        assert_eq!(code, 0, "{err}");
        let size = std::fs::metadata(folder.path().join("out.nnc")).unwrap().len();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["bytes"], size);
        let (code, _, err) = command(folder.path(), &["decode", "out.nnc", "back.safetensors"]);
        assert_eq!(code, 0, "{err}");
        let back = checkpoint::read(&folder.path().join("back.safetensors")).unwrap();
        assert_eq!(back.keys().collect::<Vec<_>>(), ["z.levels", "a.extreme", "m.floats"]);
        let integers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<i32>().unwrap();
        assert_eq!(integers(&back["z.levels"]), integers(&levels));
        assert_eq!(integers(&back["a.extreme"]), integers(&extreme));
        assert_eq!(back["z.levels"].dims(), [20, 30]);
        let reals = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // qp −30: step (4 + 2) · 2^(−8 − 2). Dependent quantization chooses a path, not each nearest value.
        let step = 6.0 / 1024.0 * if dq == "on" { 2.0 } else { 0.5001 };
        for (a, b) in reals(&back["m.floats"]).iter().zip(reals(&floats)) {
            assert!((a - b).abs() <= step, "{a} {b}");
        }
    }
}

/// `inspect` accounts for every byte: units and stream headers add up to the file.
#[test]
fn inspect_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    assert_eq!(command(folder.path(), &["encode", "in.safetensors", "out.nnc"]).0, 0);
    let (code, out, _) = command(folder.path(), &["inspect", "out.nnc", "--json"]);
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let tensors = json["tensors"].as_array().unwrap();
    let units: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["bytes"].as_u64().unwrap(), units + tensors[0]["offset"].as_u64().unwrap());
    assert_eq!(json["values"], 668);
    let listed = json["units"].as_array().unwrap();
    assert_eq!(listed.iter().map(|unit| unit["bytes"].as_u64().unwrap()).sum::<u64>(), json["bytes"]);
    let kinds: Vec<&str> = listed.iter().map(|unit| unit["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..4], ["start unit", "parameter set", "topology", "data unit"]);
    let bits = 8.0 * json["bytes"].as_f64().unwrap() / 668.0;
    assert_eq!(json["bits_per_value"].as_f64().unwrap(), bits);
    assert!(json["entropy"].as_f64().unwrap() < bits);
    assert!(tensors[0]["entropy"].as_f64().unwrap() > 0.5);
    let (code, out, _) = command(folder.path(), &["inspect", "out.nnc"]);
    assert_eq!(code, 0);
    assert!(out.contains("z.levels") && out.contains("[20, 30]"), "{out}");
}

/// The reference codec's streams decode with our command, and encode back to the same bytes.
#[test]
fn golden_streams_through_the_commands() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nnc/int_33_128x128_b4_s00.nnc");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&golden, folder.path().join("golden.nnc")).unwrap();
    assert_eq!(command(folder.path(), &["decode", "golden.nnc", "out.safetensors"]).0, 0);
    assert_eq!(command(folder.path(), &["encode", "out.safetensors", "again.nnc"]).0, 0);
    assert_eq!(
        std::fs::read(golden).unwrap(),
        std::fs::read(folder.path().join("again.nnc")).unwrap(),
        "our encoding of the reference's stream"
    );
}

/// A damaged stream is exit code 2 with file and byte, whatever the command; so are files of another kind.
#[test]
fn damage_is_located() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    assert_eq!(command(folder.path(), &["encode", "in.safetensors", "out.nnc"]).0, 0);
    let bytes = std::fs::read(folder.path().join("out.nnc")).unwrap();
    std::fs::write(folder.path().join("cut.nnc"), &bytes[..bytes.len() - 5]).unwrap();
    let mut flipped = bytes;
    flipped[1] ^= 0xff;
    std::fs::write(folder.path().join("flipped.nnc"), flipped).unwrap();
    std::fs::write(folder.path().join("empty.nnc"), b"").unwrap();
    for file in ["cut.nnc", "flipped.nnc", "empty.nnc"] {
        for arguments in [&["decode", file, "x.safetensors"][..], &["inspect", file]] {
            let (code, _, err) = command(folder.path(), arguments);
            assert_eq!(code, 2, "{arguments:?}: {err}");
            assert!(err.contains(file) && err.contains("byte"), "{err}");
        }
    }
    let (code, _, err) = command(folder.path(), &["encode", "cut.nnc", "x.nnc"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("cut.nnc"), "{err}");
    let (code, _, err) = command(folder.path(), &["decode", "missing.nnc", "x.safetensors"]);
    assert!(code != 0 && err.contains("missing.nnc"), "{err}");
}
