//! What a program answers with: a safetensors file that is held to the tensors that were asked for. Nothing in it is
//! trusted; every mistake is named with the tensor.

use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor, WeightTensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::path::Path;

/// Levels of a codebook in a model file.
const MOST_LEVELS: usize = 256;
/// Bytes of an answer for each weight that are accepted (i64 levels beside f64 values), and bytes besides.
const BYTES_PER_WEIGHT: u64 = 16;
const MORE_BYTES: u64 = 16 << 20;

/// What is wrong with an answer.
type Found<T> = std::result::Result<T, String>;

/// Reads an answer's file, which has at most what `weights` weights can need.
pub(super) fn read(path: &Path, weights: usize) -> Found<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|_| "it wrote no output file".to_owned())?;
    if !metadata.is_file() {
        return Err("its output is not a regular file".into());
    }
    let most = BYTES_PER_WEIGHT * weights as u64 + MORE_BYTES;
    if metadata.len() > most {
        return Err(format!("its output has {} bytes, more than {most}", metadata.len()));
    }
    std::fs::read(path).map_err(|error| format!("its output can't be read: {error}"))
}

fn parse(bytes: &[u8]) -> Found<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes).map_err(|error| format!("its output is not a safetensors file: {error}"))
}

/// A tensor of floats for each that is wanted.
pub(super) fn floats(bytes: &[u8], wanted: &[WeightTensor<'_>]) -> Found<Vec<Vec<f32>>> {
    let file = parse(bytes)?;
    refuse_others(&file, |name| wanted.iter().any(|tensor| tensor.name == name))?;
    wanted.iter().map(|tensor| values(tensor.name, &find(&file, tensor.name)?, tensor.shape)).collect()
}

/// One quantized tensor for each weight.
pub(super) fn quantized(bytes: &[u8], weights: &[WeightTensor<'_>]) -> Found<Vec<QuantizedTensor>> {
    let file = parse(bytes)?;
    refuse_others(&file, |name| {
        let stem = [".levels", ".step", ".codebook"].iter().find_map(|suffix| name.strip_suffix(suffix));
        weights.iter().any(|weight| weight.name == name || Some(weight.name) == stem)
    })?;
    weights.iter().map(|weight| Ok(weight.quantized(content(&file, weight)?))).collect()
}

fn refuse_others(file: &SafeTensors<'_>, is_known: impl Fn(&str) -> bool) -> Found<()> {
    match file.names().into_iter().find(|name| !is_known(name)) {
        Some(name) => Err(format!("its output has a tensor '{}' that nobody asked for", short(name))),
        None => Ok(()),
    }
}

/// A name of the program's in a message.
fn short(name: &str) -> String {
    crate::error::excerpt(name).into_owned()
}

fn find<'a>(file: &SafeTensors<'a>, name: &str) -> Found<TensorView<'a>> {
    file.tensor(name).map_err(|_| format!("its output has no tensor '{name}'"))
}

fn content(file: &SafeTensors<'_>, weight: &WeightTensor<'_>) -> Found<Content> {
    let name = weight.name;
    let beside = |suffix: &str| file.tensor(&format!("{name}{suffix}")).ok();
    let (plain, levels) = (file.tensor(name).ok(), beside(".levels"));
    let (step, codebook) = (beside(".step"), beside(".codebook"));
    match (plain, levels, step, codebook) {
        (Some(plain), None, None, None) => Ok(Content::Values(values(name, &plain, weight.shape)?)),
        (None, Some(levels), Some(step), None) => {
            let levels = integers(name, &levels, weight.shape)?;
            let steps = values(&format!("{name}.step"), &step, step.shape())?;
            uniform(name, &steps, &levels)
        }
        (None, Some(levels), None, Some(codebook)) => {
            let levels = integers(name, &levels, weight.shape)?;
            let codebook = values(&format!("{name}.codebook"), &codebook, codebook.shape())?;
            explicit(name, codebook, &levels)
        }
        (None, None, None, None) => Err(format!("its output has neither '{name}' nor '{name}.levels'")),
        (None, Some(_), None, None) => {
            Err(format!("its output has '{name}.levels' without '{name}.step' or '{name}.codebook'"))
        }
        _ => Err(format!(
            "its output must have either '{name}' or '{name}.levels' with one of '{name}.step' and '{name}.codebook'"
        )),
    }
}

fn uniform(name: &str, steps: &[f32], levels: &[i32]) -> Found<Content> {
    let &[step] = steps else {
        return Err(format!("'{name}.step' must have one value, found {}", steps.len()));
    };
    if step <= 0.0 {
        return Err(format!("'{name}.step' must be positive, found {step}"));
    }
    let (lowest, highest) = range(levels);
    if i64::from(highest) - i64::from(lowest) >= MOST_LEVELS as i64 {
        return Err(format!("'{name}.levels' spans {lowest} to {highest}, more than {MOST_LEVELS} levels"));
    }
    let codebook = Codebook::Uniform { step, lowest, highest };
    if [lowest, highest].iter().any(|level| !codebook.value(*level).is_finite()) {
        return Err(format!("'{name}': levels of {lowest} to {highest} times {step} are not finite"));
    }
    Ok(levels_of(codebook, levels))
}

/// Lowest and highest level, zero included.
fn range(levels: &[i32]) -> (i32, i32) {
    levels.iter().fold((0, 0), |(low, high), &level| (low.min(level), high.max(level)))
}

fn explicit(name: &str, values: Vec<f32>, levels: &[i32]) -> Found<Content> {
    if values.len() > MOST_LEVELS {
        return Err(format!("'{name}.codebook' has {} values, more than {MOST_LEVELS}", values.len()));
    }
    if values.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(format!("'{name}.codebook' must ascend"));
    }
    let Some(zero) = values.iter().position(|value| *value == 0.0) else {
        return Err(format!("'{name}.codebook' must hold 0, which is level 0"));
    };
    let codebook = Codebook::Explicit { values, zero };
    let ((lowest, highest), found) = (codebook.range(), range(levels));
    if found.0 < lowest || found.1 > highest {
        return Err(format!(
            "'{name}.levels' spans {} to {}, its codebook {lowest} to {highest}",
            found.0, found.1
        ));
    }
    Ok(levels_of(codebook, levels))
}

fn levels_of(codebook: Codebook, levels: &[i32]) -> Content {
    Content::Levels { positions: levels.iter().map(|level| codebook.position(*level)).collect(), codebook }
}

fn same_shape(name: &str, view: &TensorView<'_>, shape: &[usize]) -> Found<()> {
    match view.shape() == shape {
        true => Ok(()),
        false => Err(format!("'{name}' must have shape {shape:?}, found {:?}", view.shape())),
    }
}

fn values(name: &str, view: &TensorView<'_>, shape: &[usize]) -> Found<Vec<f32>> {
    same_shape(name, view, shape)?;
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        other => return Err(format!("'{name}' must be F32, found {other:?}")),
    };
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!("'{name}' must be finite, found {} at {at}", values[at])),
        None => Ok(values),
    }
}

fn integers(name: &str, view: &TensorView<'_>, shape: &[usize]) -> Found<Vec<i32>> {
    let name = format!("{name}.levels");
    same_shape(&name, view, shape)?;
    let data = view.data();
    match view.dtype() {
        Dtype::I8 => Ok(data.iter().map(|byte| i32::from(byte.cast_signed())).collect()),
        Dtype::U8 => Ok(data.iter().map(|byte| i32::from(*byte)).collect()),
        Dtype::I16 => {
            Ok(data.as_chunks().0.iter().map(|bytes| i32::from(i16::from_le_bytes(*bytes))).collect())
        }
        Dtype::I32 => Ok(data.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()),
        Dtype::I64 => {
            let wide = data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            let narrow = wide.map(|level| i32::try_from(level).ok()).collect::<Option<_>>();
            narrow.ok_or_else(|| format!("'{name}' has a level of more than 32 bits"))
        }
        other => Err(format!("'{name}' must be I32, found {other:?}")),
    }
}
