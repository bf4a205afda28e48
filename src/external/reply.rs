//! What a program answers with: a safetensors file that is held to the tensors that were asked for. Nothing in it is
//! trusted; every mistake is named with the tensor.

use super::exchange::UNANSWERED;
use crate::model::checkpoint::{StateDict, from_sides};
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor, WeightTensor};
use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::io::Read;
use std::path::Path;

/// Bytes of an answer for each weight that are accepted (i64 levels beside f64 values), and bytes besides.
const BYTES_PER_WEIGHT: u64 = 16;
const MORE_BYTES: u64 = 16 << 20;

/// What is wrong with an answer.
type Found<T> = std::result::Result<T, String>;

/// Reads an answer's file, which has at most what `weights` weights can need, into `bytes`: room that is used again costs
/// less than new pages.
pub(super) fn read(path: &Path, weights: usize, bytes: &mut Vec<u8>) -> Found<()> {
    let metadata = std::fs::metadata(path).map_err(|_| "it wrote no output file".to_owned())?;
    if !metadata.is_file() {
        return Err("its output is not a regular file".into());
    }
    let most = BYTES_PER_WEIGHT * weights as u64 + MORE_BYTES;
    if metadata.len() > most {
        return Err(format!("its output has {} bytes, more than {most}", metadata.len()));
    }
    bytes.clear();
    // The file may grow while it is read.
    let read = std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(bytes));
    read.map_err(|error| format!("its output can't be read: {error}"))?;
    match bytes.starts_with(&UNANSWERED) {
        true => Err("it wrote no output file".into()),
        false => Ok(()),
    }
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
            with_levels(weight, &levels, step_of(name, &step)?, ".step")
        }
        (None, Some(levels), None, Some(codebook)) => {
            with_levels(weight, &levels, codebook_of(name, &codebook)?, ".codebook")
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

fn step_of(name: &str, step: &TensorView<'_>) -> Found<Vec<f32>> {
    values(&format!("{name}.step"), step, step.shape())
}

fn codebook_of(name: &str, codebook: &TensorView<'_>) -> Found<Vec<f32>> {
    let values = values(&format!("{name}.codebook"), codebook, codebook.shape())?;
    match values.is_sorted() {
        true => Ok(values),
        false => Err(format!("'{name}.codebook' must ascend")),
    }
}

/// Levels with their step, steps or codebook, read as everywhere else.
fn with_levels(
    weight: &WeightTensor<'_>,
    levels: &TensorView<'_>,
    values: Vec<f32>,
    suffix: &str,
) -> Found<Content> {
    let name = weight.name;
    let levels = integers(name, levels, weight.shape)?;
    let count = values.len();
    let beside = || -> crate::Result<Option<QuantizedTensor>> {
        let state = StateDict::from_iter([
            (format!("{name}.levels"), Tensor::from_vec(levels, weight.shape, &Device::Cpu)?),
            (format!("{name}{suffix}"), Tensor::from_vec(values, count, &Device::Cpu)?),
        ]);
        from_sides(&state, name)
    };
    let found = beside().map_err(|error| error.to_string())?;
    let content = found.ok_or_else(|| format!("its output has no tensor '{name}.levels'"))?.content;
    if let Content::Levels { codebook, .. } = &content {
        let (lowest, highest) = codebook.range();
        let largest = match codebook {
            Codebook::PerChannel { steps, .. } => steps.iter().copied().fold(0.0, f32::max),
            Codebook::Uniform { step, .. } => *step,
            Codebook::Explicit { .. } => 1.0,
        };
        if [lowest, highest].iter().any(|level| !(*level as f32 * largest).is_finite()) {
            return Err(format!("'{name}': levels of {lowest} to {highest} times {largest} are not finite"));
        }
    }
    Ok(content)
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
    // Without an early end the loop is one of vectors.
    if values.iter().fold(true, |all, value| all & value.is_finite()) {
        return Ok(values);
    }
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
