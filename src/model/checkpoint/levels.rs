//! Quantized tensors in a state dict: `NAME` holds the values, `NAME.levels` the level indices, `NAME.step` the step or
//! `NAME.codebook` the levels' values. To and from the entries of a model file.

use super::StateDict;
use crate::codec::model_file::Entry;
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;

/// What stands beside a quantized weight.
pub const SIDE_SUFFIXES: [&str; 3] = [".levels", ".step", ".codebook"];
/// Levels of a codebook in a model file.
const MOST: usize = 256;

/// All tensors as entries of a model file; a weight with its levels is one entry, so its values are not coded twice.
///
/// # Errors
/// [`Error::Input`] naming a tensor with integers of more than 32 bits.
pub fn entries(state: &StateDict) -> Result<Vec<Entry>> {
    let mut found: HashMap<&str, QuantizedTensor> = HashMap::new();
    for name in state.keys() {
        found.extend(quantized(state, name)?.map(|tensor| (name.as_str(), tensor)));
    }
    let find = |name: &str| found.get(name);
    let mut entries = Vec::new();
    for (name, tensor) in state {
        let is_side = SIDE_SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).and_then(find).is_some());
        match find(name) {
            Some(quantized) => entries.push(Entry::Tensor(quantized.clone())),
            None if is_side => {}
            None => entries.push(entry(name, tensor)?),
        }
    }
    Ok(entries)
}

/// A tensor by itself.
fn entry(name: &str, tensor: &Tensor) -> Result<Entry> {
    let (flat, shape) = (tensor.flatten_all()?, tensor.dims().to_vec());
    let name = name.to_owned();
    if !tensor.dtype().is_int() {
        let content = Content::Values(flat.to_dtype(DType::F32)?.to_vec1()?);
        return Ok(Entry::Tensor(QuantizedTensor { name, shape, content }));
    }
    let values = flat.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let signed = values.iter().map(|&value| i32::try_from(value).ok()).collect::<Option<Vec<i32>>>();
    if let Some(values) = signed {
        return Ok(Entry::Integers { name, shape, values, unsigned: false });
    }
    let unsigned = values.iter().map(|&value| Some(u32::try_from(value).ok()? as i32)).collect::<Option<_>>();
    match unsigned {
        Some(values) => Ok(Entry::Integers { name, shape, values, unsigned: true }),
        None => Err(Error::input(format!(
            "tensor {name}: a value does not fit 32 bits, which is all that is coded"
        ))),
    }
}

/// The levels beside a weight, if they are there and say the same as its values.
fn quantized(state: &StateDict, name: &str) -> Result<Option<QuantizedTensor>> {
    let beside = |suffix: &str| state.get(&format!("{name}{suffix}"));
    let (tensor, Some(levels)) = (&state[name], beside(".levels")) else { return Ok(None) };
    if !levels.dtype().is_int() || tensor.dtype().is_int() || levels.dims() != tensor.dims() {
        return Ok(None);
    }
    let floats = |tensor: &Tensor| tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>();
    let levels: Vec<i32> = levels.flatten_all()?.to_dtype(DType::I32)?.to_vec1()?;
    let codebooks = match (beside(".step"), beside(".codebook")) {
        (Some(step), None) => uniform(&floats(step)?, &levels).into_iter().collect(),
        (None, Some(values)) => explicit(floats(values)?),
        _ => Vec::new(),
    };
    let values = floats(tensor)?;
    // Weights that were changed after they were quantized are what they are now.
    let content = codebooks.into_iter().find_map(|codebook| {
        let (lowest, highest) = codebook.range();
        let position = |level: &i32| (lowest..=highest).contains(level).then(|| codebook.position(*level));
        let positions: Vec<u8> = levels.iter().map(position).collect::<Option<_>>()?;
        (codebook.values_of(&positions) == values).then_some(Content::Levels { positions, codebook })
    });
    let Some(content) = content else { return Ok(None) };
    let (name, shape) = (name.to_owned(), tensor.dims().to_vec());
    Ok(Some(QuantizedTensor { name, shape, content }))
}

fn uniform(step: &[f32], levels: &[i32]) -> Option<Codebook> {
    let &[step] = step else { return None };
    let lowest = levels.iter().copied().min().unwrap_or(0).min(0);
    let highest = levels.iter().copied().max().unwrap_or(0).max(0);
    let fits = i64::from(highest) - i64::from(lowest) < MOST as i64;
    (fits && step > 0.0 && step.is_finite()).then_some(Codebook::Uniform { step, lowest, highest })
}

/// The codebook with each of its zeros as level 0: a degenerate layer has several.
fn explicit(values: Vec<f32>) -> Vec<Codebook> {
    if values.len() > MOST || values.iter().any(|value| !value.is_finite()) {
        return Vec::new();
    }
    let zeros = values.iter().enumerate().filter(|(_, value)| **value == 0.0);
    zeros.map(|(zero, _)| Codebook::Explicit { values: values.clone(), zero }).collect()
}

/// The tensors of a model file: values, and with `sides` what `ecqx quantize` writes beside quantized ones.
///
/// # Errors
/// [`Error::Tensor`] when a shape does not fit its values; [`Error::Input`] for two tensors of one name.
pub fn from_entries(entries: Vec<Entry>, sides: bool) -> Result<StateDict> {
    let mut state = StateDict::new();
    let mut add = |name: String, tensor: Tensor| match state.insert(name.clone(), tensor) {
        None => Ok(()),
        Some(_) => Err(Error::input(format!("two tensors are called '{name}'"))),
    };
    let mut beside = Vec::new();
    for entry in entries {
        match entry {
            Entry::Integers { name, shape, values, unsigned: false } => {
                add(name, Tensor::from_vec(values, shape, &Device::Cpu)?)?;
            }
            Entry::Integers { name, shape, values, unsigned: true } => {
                let values = values.into_iter().map(|value| value as u32).collect::<Vec<u32>>();
                add(name, Tensor::from_vec(values, shape, &Device::Cpu)?)?;
            }
            Entry::Tensor(tensor) => {
                let values = tensor.content.values();
                add(tensor.name.clone(), Tensor::from_vec(values, tensor.shape.as_slice(), &Device::Cpu)?)?;
                if sides {
                    beside.extend(side_tensors(&tensor)?);
                }
            }
        }
    }
    beside.into_iter().try_for_each(|(name, tensor)| add(name, tensor))?;
    Ok(state)
}

/// Levels and step or codebook of a quantized tensor, under their names; nothing for other tensors.
///
/// # Errors
/// [`Error::Tensor`] when a shape does not fit its values.
pub fn side_tensors(tensor: &QuantizedTensor) -> Result<Vec<(String, Tensor)>> {
    let Content::Levels { positions, codebook } = &tensor.content else { return Ok(Vec::new()) };
    let name = |suffix: &str| format!("{}{suffix}", tensor.name);
    let levels = Tensor::from_vec(codebook.levels_of(positions), tensor.shape.as_slice(), &Device::Cpu)?;
    let of_codebook = match codebook {
        Codebook::Uniform { step, .. } => (name(".step"), Tensor::from_vec(vec![*step], 1, &Device::Cpu)?),
        Codebook::Explicit { values, .. } => {
            (name(".codebook"), Tensor::from_vec(values.clone(), values.len(), &Device::Cpu)?)
        }
    };
    Ok(vec![(name(".levels"), levels), of_codebook])
}
