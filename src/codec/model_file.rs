//! Model files: a bitstream that holds a whole quantized model, step sizes and codebooks included.
//!
//! A quantized tensor is coded as its level indices under its own name. Two side tensors, absent when empty, say what the
//! indices stand for, as bit patterns of f32 in i32: `.ecqx.steps` has one step size per tensor with a uniform codebook,
//! in file order; `.ecqx.codebooks` has, per tensor with an explicit one, its position among the integer tensors, the
//! position of zero, the number of values, and the values. Everything else is coded as floats.

use super::{CodecError, Element, ElementData, EncodeOptions, decode, encode_with_sizes};
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor};
use std::collections::{HashMap, HashSet};

/// Step sizes of uniform codebooks.
const STEPS: &str = ".ecqx.steps";
/// Explicit codebooks.
const CODEBOOKS: &str = ".ecqx.codebooks";

/// Writes a model; returns the file and the bytes of each tensor in it.
///
/// ```
/// use ecqx::codec::{EncodeOptions, model_file};
/// use ecqx::quant::codebook::Codebook;
/// use ecqx::quant::quantizer::{Content, QuantizedTensor};
/// let codebook = Codebook::Uniform { step: 0.5, lowest: -2, highest: 1 };
/// let content = Content::Levels { positions: vec![2, 3, 2, 0], codebook };
/// let weight = QuantizedTensor { name: "fc.weight".into(), shape: vec![2, 2], content };
/// let (file, bytes) = model_file::write(std::slice::from_ref(&weight), &EncodeOptions::default())?;
/// assert!(bytes["fc.weight"] < file.len());
/// assert_eq!(model_file::read(&file)?[0].content.values(), [0.0, 0.5, 0.0, -1.0]);
/// # Ok::<(), ecqx::codec::CodecError>(())
/// ```
///
/// # Errors
/// As [`super::encode`].
pub fn write(
    tensors: &[QuantizedTensor],
    options: &EncodeOptions,
) -> Result<(Vec<u8>, HashMap<String, usize>), CodecError> {
    let (mut steps, mut codebooks, mut elements) = (Vec::new(), Vec::new(), Vec::new());
    let mut integers = 0;
    for tensor in tensors {
        let data = match &tensor.content {
            Content::Values(values) => ElementData::Floats(values.clone()),
            Content::Levels { positions, codebook } => {
                match codebook {
                    Codebook::Uniform { step, .. } => steps.push(step.to_bits() as i32),
                    Codebook::Explicit { values, zero } => {
                        codebooks.extend([integers, *zero as i32, values.len() as i32]);
                        codebooks.extend(values.iter().map(|value| value.to_bits() as i32));
                    }
                }
                integers += 1;
                ElementData::Integers(codebook.levels_of(positions))
            }
        };
        elements.push(Element { name: tensor.name.clone(), shape: tensor.shape.clone(), data });
    }
    for (name, data) in [(STEPS, steps), (CODEBOOKS, codebooks)] {
        if !data.is_empty() {
            let element =
                Element { name: name.into(), shape: vec![data.len()], data: ElementData::Integers(data) };
            elements.push(element);
        }
    }
    // Dependent quantization can move an exact zero; pruned weights must keep theirs.
    let pruned = tensors.iter().any(|tensor| match &tensor.content {
        Content::Values(values) => tensor.shape.len() > 1 && values.contains(&0.0),
        Content::Levels { .. } => false,
    });
    let dependent_quantization = options.dependent_quantization && !pruned;
    let (bytes, sizes) = encode_with_sizes(&elements, &EncodeOptions { dependent_quantization, ..*options })?;
    let sizes = elements.into_iter().map(|element| element.name).zip(sizes).collect();
    Ok((bytes, sizes))
}

/// Reads a model.
///
/// # Errors
/// As [`super::decode`], and when step sizes or codebooks are missing or do not fit.
pub fn read(bytes: &[u8]) -> Result<Vec<QuantizedTensor>, CodecError> {
    let wrong = |message: String| CodecError { offset: 0, message };
    let (mut steps, mut codebooks) = (Vec::new(), Vec::new());
    let mut elements = Vec::new();
    for element in decode(bytes)? {
        match (element.name.as_str(), &element.data) {
            (STEPS, ElementData::Integers(values)) => steps.clone_from(values),
            (CODEBOOKS, ElementData::Integers(values)) => codebooks.clone_from(values),
            _ => elements.push(element),
        }
    }
    if steps.is_empty() && codebooks.is_empty() {
        // Not a model file of ours but a coded `ecqx quantize`: the weights are there, so their levels may go.
        let names: HashSet<String> = elements.iter().map(|element| element.name.clone()).collect();
        let beside = |name: &str| name.strip_suffix(".levels").is_some_and(|weight| names.contains(weight));
        elements.retain(|element| !beside(&element.name));
    }
    let mut explicit = parse_codebooks(&codebooks).ok_or_else(|| wrong(format!("{CODEBOOKS} is damaged")))?;
    let mut steps = steps.into_iter().map(|bits| f32::from_bits(bits as u32));
    let mut tensors = Vec::with_capacity(elements.len());
    let mut integers = 0;
    for Element { name, shape, data } in elements {
        let content = match data {
            ElementData::Floats(values) => Content::Values(values),
            ElementData::Integers(levels) => {
                let codebook = match explicit.remove(&integers) {
                    Some(codebook) => codebook,
                    None => {
                        let step = steps.next().filter(|step| step.is_finite() && *step > 0.0);
                        let step =
                            step.ok_or_else(|| wrong(format!("tensor {name} has no step size in {STEPS}")))?;
                        let lowest = levels.iter().copied().min().unwrap_or(0).min(0);
                        let highest = levels.iter().copied().max().unwrap_or(0).max(0);
                        Codebook::Uniform { step, lowest, highest }
                    }
                };
                integers += 1;
                let (lowest, highest) = codebook.range();
                let position = |level: &i32| {
                    let inside = (lowest..=highest).contains(level);
                    inside.then(|| u8::try_from(i64::from(*level) - i64::from(lowest)).ok()).flatten()
                };
                let positions = levels.iter().map(position).collect::<Option<_>>();
                let positions = positions.ok_or_else(|| {
                    wrong(format!("tensor {name} has levels outside its codebook of at most 256"))
                })?;
                Content::Levels { positions, codebook }
            }
        };
        tensors.push(QuantizedTensor { name, shape, content });
    }
    Ok(tensors)
}

/// Explicit codebooks by position among the integer tensors; `None` when the layout is not ours.
fn parse_codebooks(mut rest: &[i32]) -> Option<HashMap<i32, Codebook>> {
    let mut codebooks = HashMap::new();
    while let [position, zero, count, tail @ ..] = rest {
        let (zero, count) = (usize::try_from(*zero).ok()?, usize::try_from(*count).ok()?);
        let values: Vec<f32> = tail.get(..count)?.iter().map(|&bits| f32::from_bits(bits as u32)).collect();
        if zero >= count || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        codebooks.insert(*position, Codebook::Explicit { values, zero });
        rest = &tail[count..];
    }
    rest.is_empty().then_some(codebooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model comes back with the same levels and the same bits of step sizes and codebooks.
    #[test]
    fn round_trip() {
        let tensor = |name: &str, content| QuantizedTensor { name: name.into(), shape: vec![2, 2], content };
        let tensors = vec![
            tensor(
                "a.weight",
                Content::Levels {
                    positions: vec![2, 0, 3, 2],
                    codebook: Codebook::Uniform { step: 0.123_456_79, lowest: -2, highest: 1 },
                },
            ),
            tensor(
                "b.weight",
                Content::Levels {
                    positions: vec![2, 1, 0, 1],
                    codebook: Codebook::Explicit { values: vec![-0.3, 0.0, 0.7], zero: 1 },
                },
            ),
        ];
        let (bytes, sizes) = write(&tensors, &EncodeOptions::default()).unwrap();
        assert_eq!(read(&bytes).unwrap(), tensors);
        assert!(sizes["a.weight"] > 0);
    }

    /// A stream of plain integers is no model: the missing step size is named.
    #[test]
    fn missing_steps_are_named() {
        let data = ElementData::Integers(vec![1, 2]);
        let element = Element { name: "w".into(), shape: vec![2], data };
        let bytes = super::super::encode(&[element], &EncodeOptions::default()).unwrap();
        assert!(read(&bytes).unwrap_err().to_string().contains("tensor w"));
    }
}
