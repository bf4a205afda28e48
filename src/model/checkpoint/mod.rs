//! Checkpoints: PyTorch state dicts and safetensors in, safetensors out, and the check against a network.
//!
//! One file per format.

mod bitstream;
mod pickle_bounds;
mod pytorch;
mod safetensors_file;

use crate::nn::{Network, Parameters};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use indexmap::IndexMap;
use std::path::Path;

pub use safetensors_file::{to_safetensors, write_safetensors};

/// Tensors by name in file order.
pub type StateDict = IndexMap<String, Tensor>;

/// Keys under which training scripts nest their state dict.
const NESTING_KEYS: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "weights"];

/// Reads a checkpoint: `.safetensors`, `.nnc` or a PyTorch file (`.pt`, `.pth`, `.th`, …) with a plain state dict or
/// one nested under a usual key. A `module.` prefix is dropped, and so are batch counters.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is damaged or of another kind.
pub fn read(path: &Path) -> Result<StateDict> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let tensors = match extension {
        "safetensors" => safetensors_file::parse(&bytes, path)?,
        "nnc" => bitstream::parse(&bytes, path)?,
        _ => pytorch::parse(bytes, path)?,
    };
    Ok(tensors
        .into_iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, tensor)| (name.strip_prefix("module.").map_or(name.clone(), str::to_string), tensor))
        .collect())
}

/// The tensors of a safetensors file as they are, in the order of their data.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is damaged.
pub fn read_safetensors(path: &Path) -> Result<StateDict> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    safetensors_file::parse(&bytes, path)
}

/// The decoded tensors of a model file; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] with the offset of what is damaged.
pub fn from_model_file(bytes: &[u8], path: &Path) -> Result<StateDict> {
    bitstream::parse(bytes, path)
}

/// Reads a checkpoint and checks it against a network.
///
/// # Errors
/// As [`read`]; [`Error::Input`] listing every tensor that is missing, unexpected or of another shape.
pub fn load(path: &Path, network: &Network, device: &Device) -> Result<Parameters> {
    fit(&read(path)?, network, device).map_err(|error| match error {
        Error::Input { message, hint } => {
            Error::Input { message: format!("{}: {message}", path.display()), hint }
        }
        other => other,
    })
}

/// Arranges the tensors of a state dict as a network's parameters.
///
/// # Errors
/// [`Error::Input`] listing every tensor that is missing, unexpected or of another shape.
pub fn fit(state: &StateDict, network: &Network, device: &Device) -> Result<Parameters> {
    let mut parameters = Parameters::new(device.clone());
    let mut wrong = Vec::new();
    let expected = network.parameter_shapes();
    for parameter in &expected {
        match state.get(&parameter.name) {
            None => wrong.push(format!("{}: missing, expected shape {:?}", parameter.name, parameter.shape)),
            Some(tensor) if tensor.dims() != parameter.shape => {
                wrong.push(format!(
                    "{}: shape {:?}, expected {:?}",
                    parameter.name,
                    tensor.dims(),
                    parameter.shape
                ));
            }
            Some(tensor) => {
                parameters.insert(&parameter.name, &tensor.to_dtype(DType::F32)?, parameter.role)?
            }
        }
    }
    let is_expected = |name: &str| expected.iter().any(|parameter| parameter.name == name);
    // Levels, steps and codebooks that `ecqx quantize` writes beside a weight.
    let beside = |name: &str| {
        let known = |suffix| name.strip_suffix(suffix).is_some_and(is_expected);
        [".levels", ".step", ".codebook"].into_iter().any(known)
    };
    for name in state.keys().filter(|name| !is_expected(name) && !beside(name)) {
        wrong.push(format!("{name}: the model has no such tensor"));
    }
    if wrong.is_empty() {
        return Ok(parameters);
    }
    Err(Error::input_hint(
        format!("the weights do not fit model {}:\n  {}", network.name, wrong.join("\n  ")),
        "is it a checkpoint of another model, or for another number of classes?",
    ))
}

/// Content digest of parameters: 64 hex digits over names, shapes and values.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) when values cannot be read from the device.
pub fn digest(parameters: &Parameters) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, parameter) in parameters.iter() {
        hasher.update(name.as_bytes());
        for &dimension in parameter.var.dims() {
            hasher.update(&(dimension as u64).to_le_bytes());
        }
        for value in parameters.values(name)? {
            hasher.update(&value.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

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
}
