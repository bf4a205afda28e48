//! Model files: a bitstream that holds a whole quantized model, step sizes and codebooks included.
//!
//! A quantized tensor is coded as its level indices under its own name. Side tensors, absent when empty, say what integers
//! stand for: `.ecqx.steps` has one step size per tensor with a uniform codebook, in file order, as bit patterns of f32 in
//! i32; `.ecqx.channels` has, per tensor with a step per channel, its position among the integer tensors, how many
//! consecutive weights belong to one channel, the number of channels, and the steps; `.ecqx.codebooks` has, per tensor with an explicit one, its position among the integer tensors, the position of
//! zero, the number of values, and the values; `.ecqx.integers` has the positions of integer tensors that are no levels,
//! where there are levels; `.ecqx.unsigned` those of integer tensors whose 32 bits have no sign. All else is floats.

use super::unit::encode_each;
use super::{CodecError, Element, ElementData, EncodeOptions, decode};
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, FloatCoding, QuantizedTensor};
use std::collections::{HashMap, HashSet};

/// Step sizes of uniform codebooks.
const STEPS: &str = ".ecqx.steps";
/// Codebooks with a step per channel.
const CHANNELS: &str = ".ecqx.channels";
/// Explicit codebooks.
const CODEBOOKS: &str = ".ecqx.codebooks";
/// Integer tensors that are no levels.
const INTEGERS: &str = ".ecqx.integers";
/// Integer tensors without a sign.
const UNSIGNED: &str = ".ecqx.unsigned";
/// All of them, in the order in which they are written.
const SIDES: [&str; 5] = [STEPS, CHANNELS, CODEBOOKS, INTEGERS, UNSIGNED];

/// One tensor of a model file.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Floats, or levels of a codebook.
    Tensor(QuantizedTensor),
    /// Integers that stand for themselves.
    Integers {
        /// The tensor's name.
        name: String,
        /// Dimensions; their product is the number of values.
        shape: Vec<usize>,
        /// The values, row-major; bit patterns of u32 where `unsigned`.
        values: Vec<i32>,
        /// Whether the values are u32.
        unsigned: bool,
    },
}

impl Entry {
    /// The tensor's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor(tensor) => &tensor.name,
            Self::Integers { name, .. } => name,
        }
    }

    /// How many values it has.
    pub fn count(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.content.zeros_and_count().1,
            Self::Integers { values, .. } => values.len(),
        }
    }
}

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
/// let model_file::Entry::Tensor(read) = &model_file::read(&file)?[0] else { panic!("a tensor") };
/// assert_eq!(read.content.values(), [0.0, 0.5, 0.0, -1.0]);
/// # Ok::<(), ecqx::codec::CodecError>(())
/// ```
///
/// # Errors
/// As [`super::encode`].
pub fn write(
    tensors: &[QuantizedTensor],
    options: &EncodeOptions,
) -> Result<(Vec<u8>, HashMap<String, usize>), CodecError> {
    write_coded(tensors, options, None)
}

/// As [`write()`]; the named tensors are coded as `coding` says where they hold values: these are multiples of its step, and
/// come back as they are.
///
/// # Errors
/// As [`super::encode`].
pub fn write_coded(
    tensors: &[QuantizedTensor],
    options: &EncodeOptions,
    coding: Option<(FloatCoding, &[String])>,
) -> Result<(Vec<u8>, HashMap<String, usize>), CodecError> {
    let options = sparing_zeros(tensors.iter(), options, coding);
    write_elements(tensors.iter().map(Ref::Tensor), &options, coding)
}

/// Without dependent quantization where it could move an exact zero: pruned weights must keep theirs.
fn sparing_zeros<'t>(
    mut tensors: impl Iterator<Item = &'t QuantizedTensor>,
    options: &EncodeOptions,
    coding: Option<(FloatCoding, &[String])>,
) -> EncodeOptions {
    let is_coded = |name: &String| coding.is_some_and(|(_, names)| names.contains(name));
    let has_pruned = tensors.any(|tensor| is_pruned_float(tensor) && !is_coded(&tensor.name));
    EncodeOptions { dependent_quantization: options.dependent_quantization && !has_pruned, ..*options }
}

/// As [`write()`], with integer tensors too and the options as they are.
///
/// # Errors
/// As [`super::encode`].
pub fn write_entries(
    entries: &[Entry],
    options: &EncodeOptions,
) -> Result<(Vec<u8>, HashMap<String, usize>), CodecError> {
    write_elements(entries.iter().map(borrowed), options, None)
}

/// As [`write_coded`], with integer tensors too.
///
/// # Errors
/// As [`super::encode`].
pub fn write_entries_coded(
    entries: &[Entry],
    options: &EncodeOptions,
    coding: Option<(FloatCoding, &[String])>,
) -> Result<(Vec<u8>, HashMap<String, usize>), CodecError> {
    let tensors = entries.iter().filter_map(|entry| match entry {
        Entry::Tensor(tensor) => Some(tensor),
        Entry::Integers { .. } => None,
    });
    write_elements(entries.iter().map(borrowed), &sparing_zeros(tensors, options, coding), coding)
}

fn borrowed(entry: &Entry) -> Ref<'_> {
    match entry {
        Entry::Tensor(tensor) => Ref::Tensor(tensor),
        Entry::Integers { name, shape, values, unsigned } => Ref::Integers(name, shape, values, *unsigned),
    }
}

/// Whether a weight that stays in floats has exact zeros, as pruning leaves them.
pub fn has_pruned_floats(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| matches!(entry, Entry::Tensor(tensor) if is_pruned_float(tensor)))
}

fn is_pruned_float(tensor: &QuantizedTensor) -> bool {
    match &tensor.content {
        Content::Values(values) => tensor.shape.len() > 1 && values.contains(&0.0),
        Content::Levels { .. } => false,
    }
}

enum Ref<'t> {
    Tensor(&'t QuantizedTensor),
    Integers(&'t str, &'t [usize], &'t [i32], bool),
}

fn write_elements<'t>(
    tensors: impl Iterator<Item = Ref<'t>>,
    options: &EncodeOptions,
    coding: Option<(FloatCoding, &[String])>,
) -> Result<(Vec<u8>, HashMap<String, usize>), CodecError> {
    let (mut steps, mut channels, mut codebooks) = (Vec::new(), Vec::new(), Vec::new());
    let mut elements = Vec::new();
    let (mut plain, mut without_sign) = (Vec::new(), Vec::new());
    let mut position = 0;
    for tensor in tensors {
        let (name, shape, data) = match tensor {
            Ref::Integers(name, shape, values, unsigned) => {
                plain.push(position);
                without_sign.extend(unsigned.then_some(position));
                (name, shape, ElementData::Integers(values.to_vec()))
            }
            Ref::Tensor(QuantizedTensor { name, shape, content: Content::Values(values) }) => {
                (name.as_str(), shape.as_slice(), ElementData::Floats(values.clone()))
            }
            Ref::Tensor(QuantizedTensor {
                name,
                shape,
                content: Content::Levels { positions, codebook },
            }) => {
                match codebook {
                    Codebook::Uniform { step, .. } => steps.push(step.to_bits() as i32),
                    Codebook::PerChannel { steps, stride, .. } => {
                        channels.extend([position, *stride as i32, steps.len() as i32]);
                        channels.extend(steps.iter().map(|step| step.to_bits() as i32));
                    }
                    Codebook::Explicit { values, zero } => {
                        codebooks.extend([position, *zero as i32, values.len() as i32]);
                        codebooks.extend(values.iter().map(|value| value.to_bits() as i32));
                    }
                }
                (name.as_str(), shape.as_slice(), ElementData::Integers(codebook.levels_of(positions)))
            }
        };
        position += i32::from(matches!(data, ElementData::Integers(_)));
        elements.push(Element { name: name.to_owned(), shape: shape.to_vec(), data });
    }
    if steps.is_empty() && channels.is_empty() && codebooks.is_empty() {
        // Then every integer stands for itself, and nothing need say so.
        plain.clear();
    }
    for (name, data) in SIDES.into_iter().zip([steps, channels, codebooks, plain, without_sign]) {
        if !data.is_empty() {
            let element =
                Element { name: name.into(), shape: vec![data.len()], data: ElementData::Integers(data) };
            elements.push(element);
        }
    }
    let of = |name: &str| match coding {
        Some((coding, names)) if names.iter().any(|coded| coded == name) => EncodeOptions {
            qp: coding.qp,
            nonweight_qp: coding.qp,
            dependent_quantization: coding.dependent,
            ..*options
        },
        _ => *options,
    };
    let (bytes, sizes) = encode_each(&elements, options, &of)?;
    let sizes = elements.into_iter().map(|element| element.name).zip(sizes).collect();
    Ok((bytes, sizes))
}

/// Reads a model, or any other stream: without step sizes and codebooks, integers stand for themselves.
///
/// # Errors
/// As [`super::decode`], and when step sizes or codebooks are missing or do not fit.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, CodecError> {
    let wrong = |message: String| CodecError { offset: 0, message };
    let mut sides: HashMap<String, Vec<i32>> = HashMap::new();
    let mut elements = Vec::new();
    for element in decode(bytes)? {
        match element.data {
            ElementData::Integers(values) if SIDES.contains(&element.name.as_str()) => {
                drop(sides.insert(element.name, values));
            }
            _ => elements.push(element),
        }
    }
    let mut side = |name: &str| sides.remove(name).unwrap_or_default();
    let (steps, channels, codebooks) = (side(STEPS), side(CHANNELS), side(CODEBOOKS));
    let has_levels = !steps.is_empty() || !channels.is_empty() || !codebooks.is_empty();
    let plain: HashSet<i32> = side(INTEGERS).into_iter().collect();
    let without_sign: HashSet<i32> = side(UNSIGNED).into_iter().collect();
    let mut explicit = parse_codebooks(&codebooks).ok_or_else(|| wrong(format!("{CODEBOOKS} is damaged")))?;
    let mut channels = parse_channels(&channels).ok_or_else(|| wrong(format!("{CHANNELS} is damaged")))?;
    let mut steps = steps.into_iter().map(|bits| f32::from_bits(bits as u32));
    let mut entries = Vec::with_capacity(elements.len());
    let mut position = 0;
    for Element { name, shape, data } in elements {
        let levels = match data {
            ElementData::Floats(values) => {
                let content = Content::Values(values);
                entries.push(Entry::Tensor(QuantizedTensor { name, shape, content }));
                continue;
            }
            ElementData::Integers(levels) => levels,
        };
        let at = position;
        position += 1;
        if !has_levels || plain.contains(&at) {
            let unsigned = without_sign.contains(&at);
            entries.push(Entry::Integers { name, shape, values: levels, unsigned });
            continue;
        }
        let lowest = levels.iter().copied().min().unwrap_or(0).min(0);
        let highest = levels.iter().copied().max().unwrap_or(0).max(0);
        let codebook = match (explicit.remove(&at), channels.remove(&at)) {
            (Some(codebook), _) => codebook,
            (None, Some((stride, steps))) => {
                if stride.checked_mul(steps.len()).is_none_or(|run| !levels.len().is_multiple_of(run)) {
                    return Err(wrong(format!("tensor {name} does not fit its steps in {CHANNELS}")));
                }
                Codebook::PerChannel { steps, stride, lowest, highest }
            }
            (None, None) => {
                let step = steps.next().filter(|step| step.is_finite() && *step > 0.0);
                let step = step.ok_or_else(|| wrong(format!("tensor {name} has no step size in {STEPS}")))?;
                Codebook::Uniform { step, lowest, highest }
            }
        };
        let content = Content::of_levels(&levels, codebook)
            .ok_or_else(|| wrong(format!("tensor {name} has levels outside its codebook of at most 256")))?;
        entries.push(Entry::Tensor(QuantizedTensor { name, shape, content }));
    }
    Ok(entries)
}

/// Takes the list of tensors without a sign out of a decoded stream; returns their names.
pub fn take_unsigned(elements: &mut Vec<Element>) -> HashSet<String> {
    let listed = |element: &Element| match &element.data {
        ElementData::Integers(positions) if element.name == UNSIGNED => Some(positions.clone()),
        _ => None,
    };
    let Some(positions) = elements.iter().find_map(listed) else { return HashSet::new() };
    elements.retain(|element| listed(element).is_none());
    let integers = elements.iter().filter(|element| matches!(element.data, ElementData::Integers(_)));
    let unsigned = integers.zip(0i32..).filter(|(_, at)| positions.contains(at));
    unsigned.map(|(element, _)| element.name.clone()).collect()
}

/// Stride and steps by position among the integer tensors; `None` when the layout is not ours.
fn parse_channels(mut rest: &[i32]) -> Option<HashMap<i32, (usize, Vec<f32>)>> {
    let mut channels = HashMap::new();
    while let [position, stride, count, tail @ ..] = rest {
        let (stride, count) = (usize::try_from(*stride).ok()?, usize::try_from(*count).ok()?);
        let steps: Vec<f32> = tail.get(..count)?.iter().map(|&bits| f32::from_bits(bits as u32)).collect();
        if stride == 0 || count == 0 || !steps.iter().all(|step| step.is_finite() && *step > 0.0) {
            return None;
        }
        channels.insert(*position, (stride, steps));
        rest = &tail[count..];
    }
    rest.is_empty().then_some(channels)
}

/// Explicit codebooks by position among the integer tensors; `None` when the layout is not ours.
fn parse_codebooks(mut rest: &[i32]) -> Option<HashMap<i32, Codebook>> {
    let mut codebooks = HashMap::new();
    while let [position, zero, count, tail @ ..] = rest {
        let (zero, count) = (usize::try_from(*zero).ok()?, usize::try_from(*count).ok()?);
        let values: Vec<f32> = tail.get(..count)?.iter().map(|&bits| f32::from_bits(bits as u32)).collect();
        if count > Codebook::MOST || zero >= count || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        codebooks.insert(*position, Codebook::Explicit { values, zero });
        rest = &tail[count..];
    }
    rest.is_empty().then_some(codebooks)
}

#[cfg(test)]
mod tests;
