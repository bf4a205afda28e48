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
    let (tensor, Some(levels)) = (&state[name], state.get(&format!("{name}.levels"))) else {
        return Ok(None);
    };
    if !levels.dtype().is_int() || tensor.dtype().is_int() || levels.dims() != tensor.dims() {
        return Ok(None);
    }
    let Ok(meanings) = meanings(state, name, levels)? else { return Ok(None) };
    let values = floats(tensor)?;
    // Weights that were changed after they were quantized are what they are now.
    let content = meanings.into_iter().find(|content| content.values() == values);
    let (name, shape) = (name.to_owned(), tensor.dims().to_vec());
    Ok(content.map(|content| QuantizedTensor { name, shape, content }))
}

/// The quantized tensor that `NAME.levels` with `NAME.step` or `NAME.codebook` stand for, whether or not its values are
/// there under `NAME`; `None` without `NAME.levels`. `NAME.step` holds one step, or one per channel: of the first
/// dimension, or of the one in which a shape such as `[1, 8, 1, 1]` is not 1. `NAME.codebook` holds up to 256 ascending
/// values, of which level 0 is the value 0, or the smallest positive one.
///
/// # Errors
/// [`Error::Input`] naming the tensor and what is wrong: levels that are no integers or lie outside the codebook, more than
/// 256 of them, steps that are not positive or do not fit the shape.
pub fn from_sides(state: &StateDict, name: &str) -> Result<Option<QuantizedTensor>> {
    let Some(levels) = state.get(&format!("{name}.levels")) else { return Ok(None) };
    let wrong = |what: String| Error::input(format!("tensor {name}: {what}"));
    if !levels.dtype().is_int() {
        return Err(wrong(format!("{name}.levels must hold integers")));
    }
    let meanings = meanings(state, name, levels)?.map_err(wrong)?;
    let content = meanings.into_iter().next();
    let content = content
        .ok_or_else(|| wrong(format!("{name}.levels lie outside the codebook of at most 256 levels")))?;
    Ok(Some(QuantizedTensor { name: name.to_owned(), shape: levels.dims().to_vec(), content }))
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?)
}

/// What integer levels may stand for, the most likely first, or what is wrong with the tensors beside them.
fn meanings(
    state: &StateDict,
    name: &str,
    levels: &Tensor,
) -> Result<std::result::Result<Vec<Content>, String>> {
    let beside = |suffix: &str| state.get(&format!("{name}{suffix}"));
    let shape = levels.dims();
    let wide: Vec<i64> = levels.flatten_all()?.to_dtype(DType::I64)?.to_vec1()?;
    let Ok(levels) =
        wide.iter().map(|&level| i32::try_from(level)).collect::<std::result::Result<Vec<_>, _>>()
    else {
        return Ok(Err(format!("{name}.levels do not fit 32 bits")));
    };
    let codebooks = match (beside(".step"), beside(".codebook")) {
        (Some(step), None) => uniform(&floats(step)?, step.dims(), &levels, shape),
        (None, Some(values)) => explicit(floats(values)?),
        (Some(_), Some(_)) => Err("has both a step and a codebook".into()),
        (None, None) => Err(format!("{name}.levels has neither {name}.step nor {name}.codebook beside it")),
    };
    let of_codebook = |codebook| Content::of_levels(&levels, codebook);
    Ok(codebooks.map(|codebooks| codebooks.into_iter().filter_map(of_codebook).collect()))
}

/// The codebooks of one step, or of one per channel for every dimension that it fits, the first dimension first.
fn uniform(
    steps: &[f32],
    dimensions: &[usize],
    levels: &[i32],
    shape: &[usize],
) -> std::result::Result<Vec<Codebook>, String> {
    let lowest = levels.iter().copied().min().unwrap_or(0).min(0);
    let highest = levels.iter().copied().max().unwrap_or(0).max(0);
    if i64::from(highest) - i64::from(lowest) >= Codebook::MOST as i64 {
        return Err(format!("levels {lowest} to {highest} are more than {}", Codebook::MOST));
    }
    if let Some(step) = steps.iter().find(|step| !(step.is_finite() && **step > 0.0)) {
        return Err(format!("a step must be positive, found {step}"));
    }
    if let &[step] = steps {
        return Ok(vec![Codebook::Uniform { step, lowest, highest }]);
    }
    let fits = |axis: &usize| {
        let is_spread = dimensions.len() == shape.len()
            && dimensions.iter().enumerate().all(|(at, &n)| n == if at == *axis { steps.len() } else { 1 });
        shape[*axis] == steps.len() && (dimensions.len() == 1 || is_spread)
    };
    let of_axis = |axis: usize| {
        let stride = shape[axis + 1..].iter().product::<usize>().max(1);
        Codebook::PerChannel { steps: steps.to_vec(), stride, lowest, highest }
    };
    let found: Vec<Codebook> = (0..shape.len()).filter(fits).map(of_axis).collect();
    match found.is_empty() || steps.is_empty() {
        true => Err(format!("a step of shape {dimensions:?} fits no dimension of {shape:?}")),
        false => Ok(found),
    }
}

/// The codebook with each of its zeros as level 0: a degenerate layer has several. One without zero has its smallest
/// positive value there.
fn explicit(values: Vec<f32>) -> std::result::Result<Vec<Codebook>, String> {
    if values.is_empty() || values.len() > Codebook::MOST || values.iter().any(|value| !value.is_finite()) {
        return Err(format!("a codebook has 1 to {} finite values", Codebook::MOST));
    }
    let mut zeros: Vec<usize> = (0..values.len()).filter(|&at| values[at] == 0.0).collect();
    if zeros.is_empty() && !values.is_sorted() {
        return Err("the values of a codebook must ascend".into());
    }
    if zeros.is_empty() {
        zeros.push(values.partition_point(|value| *value < 0.0).min(values.len() - 1));
    }
    Ok(zeros.into_iter().map(|zero| Codebook::Explicit { values: values.clone(), zero }).collect())
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
        Codebook::PerChannel { steps, stride, .. } => {
            let shape = step_shape(&tensor.shape, steps.len(), *stride);
            (name(".step"), Tensor::from_vec(steps.clone(), shape, &Device::Cpu)?)
        }
        Codebook::Explicit { values, .. } => {
            (name(".codebook"), Tensor::from_vec(values.clone(), values.len(), &Device::Cpu)?)
        }
    };
    Ok(vec![(name(".levels"), levels), of_codebook])
}

/// One value per channel of the first dimension, and for another dimension a shape that says which, such as `[1, 8, 1, 1]`.
fn step_shape(shape: &[usize], channels: usize, stride: usize) -> Vec<usize> {
    let fits =
        |axis: &usize| shape[*axis] == channels && shape[axis + 1..].iter().product::<usize>() == stride;
    match (0..shape.len()).find(fits) {
        Some(axis) if axis > 0 => (0..shape.len()).map(|at| if at == axis { channels } else { 1 }).collect(),
        _ => vec![channels],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(of: Vec<(&str, Tensor)>) -> StateDict {
        of.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
    }

    fn tensor<T: candle_core::WithDType>(values: &[T], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    /// Each kind of codebook comes back from what is written beside the weights, with the values and without.
    #[test]
    fn sides_round_trip() {
        let codebooks = [
            Codebook::Uniform { step: 0.3, lowest: -1, highest: 2 },
            Codebook::PerChannel { steps: vec![0.3, 0.7], stride: 2, lowest: -1, highest: 2 },
            Codebook::PerChannel { steps: vec![0.3, 0.7], stride: 1, lowest: -1, highest: 2 },
            Codebook::Explicit { values: vec![-0.5, 0.0, 0.1, 0.4], zero: 1 },
            Codebook::Explicit { values: vec![-0.5, -0.1, 0.1, 0.4], zero: 2 },
        ];
        for codebook in codebooks {
            let content = Content::Levels { positions: vec![0, 3, 1, 2, 2, 0, 1, 3], codebook };
            let weight = QuantizedTensor { name: "w".into(), shape: vec![4, 2], content };
            let weight = match &weight.content {
                Content::Levels { codebook: Codebook::PerChannel { stride: 2, .. }, .. } => {
                    QuantizedTensor { shape: vec![2, 2, 2], ..weight }
                }
                _ => weight,
            };
            let sides: StateDict = side_tensors(&weight).unwrap().into_iter().collect();
            assert_eq!(from_sides(&sides, "w").unwrap().unwrap(), weight);
            let whole = from_entries(vec![Entry::Tensor(weight.clone())], true).unwrap();
            assert_eq!(entries(&whole).unwrap(), [Entry::Tensor(weight)]);
        }
    }

    /// What is wrong beside levels is said with the tensor's name; without levels there is nothing to read.
    #[test]
    fn wrong_sides_are_named() {
        let levels = || ("w.levels", tensor(&[0i32, 1, -1, 300], &[2, 2]));
        let small = || ("w.levels", tensor(&[0i64, 1, -1, 1], &[2, 2]));
        let step = |values: &[f32]| ("w.step", tensor(values, &[values.len()]));
        let codebook = |values: &[f32]| ("w.codebook", tensor(values, &[values.len()]));
        let cases = [
            (vec![levels(), step(&[0.5])], "more than 256"),
            (vec![small(), step(&[-0.5])], "must be positive, found -0.5"),
            (vec![small(), step(&[0.5, f32::NAN])], "must be positive, found NaN"),
            (vec![small(), step(&[0.5, 0.1, 0.2])], "fits no dimension of [2, 2]"),
            (vec![small(), step(&[])], "fits no dimension"),
            (vec![small()], "neither w.step nor w.codebook"),
            (vec![small(), step(&[0.5]), codebook(&[0.0])], "both a step and a codebook"),
            (vec![small(), codebook(&[0.0, 1.0])], "outside the codebook"),
            (vec![small(), codebook(&[1.0, 0.5, -1.0])], "must ascend"),
            (vec![small(), codebook(&[])], "1 to 256"),
            (vec![("w.levels", tensor(&[0f32], &[1])), step(&[0.5])], "must hold integers"),
        ];
        for (tensors, expected) in cases {
            let message = from_sides(&state(tensors), "w").unwrap_err().to_string();
            assert!(message.starts_with("tensor w: ") && message.contains(expected), "{message}");
        }
        assert_eq!(from_sides(&state(vec![step(&[0.5])]), "w").unwrap(), None);
    }
}
