use super::*;
use crate::model;
use candle_core::DType;

fn pretrained(name: &str) -> Option<std::path::PathBuf> {
    let Some(folder) = std::env::var_os("ECQX_DATA") else {
        eprintln!("skipped: ECQX_DATA is not set");
        return None;
    };
    Some(Path::new(&folder).join("pretrained").join(name))
}

fn resnet20() -> Network {
    model::build("resnet20", &[3, 32, 32], 10, &model::Options::new()).unwrap()
}

/// The same network in today's and in PyTorch's pre-1.6 format gives the same weights: `module.` prefix, nesting
/// under `state_dict` and the old storage layout are all understood.
#[test]
fn both_pytorch_formats_agree() {
    let (Some(new), Some(old)) = (pretrained("resnet20.pt"), pretrained("resnet20-12fca82f.th")) else {
        return;
    };
    let new = load(&new, &resnet20(), &Device::Cpu).unwrap();
    let old = load(&old, &resnet20(), &Device::Cpu).unwrap();
    assert_eq!(digest(&new).unwrap(), digest(&old).unwrap());
    assert_eq!(new.scalars(), 271_098);
}

/// A checkpoint of another model is refused with every offending tensor named, not just the first.
#[test]
fn mismatches_are_listed_together() {
    let mut state = StateDict::new();
    for parameter in resnet20().parameter_shapes() {
        let tensor = Tensor::zeros(parameter.shape, DType::F32, &Device::Cpu).unwrap();
        state.insert(parameter.name, tensor);
    }
    state.insert("conv1.weight".into(), Tensor::zeros((16, 1, 3, 3), DType::F32, &Device::Cpu).unwrap());
    state.shift_remove("linear.bias");
    state.insert("fc.bias".into(), Tensor::zeros(10, DType::F32, &Device::Cpu).unwrap());
    let message = fit(&state, &resnet20(), &Device::Cpu).unwrap_err().to_string();
    for name in ["conv1.weight", "linear.bias", "fc.bias"] {
        assert!(message.contains(name), "{message}");
    }
}

/// safetensors keep values, shapes and order through a round trip.
#[test]
fn safetensors_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let z = Tensor::from_vec(vec![1f32, -2.5, 3.0], 3, &Device::Cpu).unwrap();
    let a = Tensor::from_vec(vec![7i32, -8, 9, 10], (2, 2), &Device::Cpu).unwrap();
    write_safetensors(&path, [("z", &z), ("a.levels", &a)]).unwrap();
    let back = read(&path).unwrap();
    assert_eq!(back.keys().collect::<Vec<_>>(), ["z", "a.levels"]);
    assert_eq!(back["a.levels"].to_vec2::<i32>().unwrap(), [[7, -8], [9, 10]]);
    assert_eq!(back["z"].to_vec1::<f32>().unwrap(), [1.0, -2.5, 3.0]);
}

/// No prefix of a real checkpoint and no flipped byte in its first kilobytes makes a reader panic.
#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["resnet20.pt", "resnet20-12fca82f.th"] {
        let Some(path) = pretrained(name) else { return };
        let bytes = std::fs::read(path).unwrap();
        let damaged = folder.path().join("damaged.pt");
        for step in 0..60 {
            let cut = bytes.len() * step / 60;
            std::fs::write(&damaged, &bytes[..cut]).unwrap();
            assert!(read(&damaged).is_err(), "{name} cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[step * 37] ^= 0x55;
            std::fs::write(&damaged, &flipped).unwrap();
            let _ = read(&damaged);
        }
    }
}
