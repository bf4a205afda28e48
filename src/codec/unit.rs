//! Units: start, parameter set, topology, one data unit per tensor. Tensors are coded and decoded in parallel.

use super::arithmetic::{Decoder, Encoder};
use super::bits::{BitReader, BitWriter};
use super::{CodecError, Element, ElementData, tensor};
use crate::quant::scalar;
use rayon::prelude::*;

const START: u32 = 0;
const PARAMETER_SET: u32 = 1;
const TOPOLOGY: u32 = 3;
const DATA: u32 = 5;

/// How tensors are coded. The default is what the ECQx pipeline uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Quantization parameter of float tensors with more than one dimension.
    pub qp: i32,
    /// Quantization parameter of the other float tensors.
    pub nonweight_qp: i32,
    /// Steps per octave are 2^density, 0–7.
    pub qp_density: u32,
    /// Dependent (trellis-coded) quantization of float tensors.
    pub dependent_quantization: bool,
    /// Greater-than flags less one, 0–255.
    pub unary_length_minus1: u8,
    /// Choose starting sets per context.
    pub parameter_optimization: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            qp: -40,
            nonweight_qp: -75,
            qp_density: 2,
            dependent_quantization: true,
            unary_length_minus1: 10,
            parameter_optimization: true,
        }
    }
}

/// What [`inspect`] tells about one tensor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TensorSummary {
    /// Name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// `integer` or `float`.
    pub kind: &'static str,
    /// Offset of the unit in the stream.
    pub offset: usize,
    /// Bytes of the whole unit.
    pub bytes: usize,
    /// Bytes of its header.
    pub header_bytes: usize,
    /// Quantization parameter of a float tensor.
    pub qp: Option<i32>,
    /// Whether dependent quantization was used.
    pub dependent_quantization: bool,
    /// Coded bits per value.
    pub bits_per_value: f64,
    /// Entropy of the integers' distribution, bits per value.
    pub entropy: f64,
}

/// Prepends a unit's size: two bytes, or four with the top bit set.
fn unit(body: &[u8]) -> Result<Vec<u8>, CodecError> {
    let size = body.len() + 2;
    let mut bytes = if size < 1 << 15 {
        (size as u16).to_be_bytes().to_vec()
    } else {
        let size = u32::try_from(size + 2).ok().filter(|size| *size < 1 << 31);
        let size = size.ok_or_else(|| CodecError::new(0, "a unit would exceed 2 GiB"))?;
        (size | 1 << 31).to_be_bytes().to_vec()
    };
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// A unit's type, independent, without partial data.
fn header(kind: u32) -> BitWriter {
    let mut header = BitWriter::default();
    header.fixed(6, kind);
    header.fixed(2, 0b10);
    header
}

/// Encodes tensors in order.
///
/// # Errors
/// When a name holds a zero byte, a shape does not fit its values, or a value is not finite.
pub fn encode(elements: &[Element], options: &EncodeOptions) -> Result<Vec<u8>, CodecError> {
    Ok(encode_with_sizes(elements, options)?.0)
}

/// As [`encode`], with the bytes of each tensor's unit.
///
/// # Errors
/// As [`encode`].
pub fn encode_with_sizes(
    elements: &[Element],
    options: &EncodeOptions,
) -> Result<(Vec<u8>, Vec<usize>), CodecError> {
    encode_each(elements, options, &|_| *options)
}

/// As [`encode_with_sizes`], with options for each tensor by name, all of one density, which is that of `options`.
pub(super) fn encode_each(
    elements: &[Element],
    options: &EncodeOptions,
    of: &(dyn Fn(&str) -> EncodeOptions + Sync),
) -> Result<(Vec<u8>, Vec<usize>), CodecError> {
    let mut start = header(START);
    start.fixed(8, 0);
    let mut parameters = header(PARAMETER_SET);
    // Topology carriage, no sparsification or pruning maps, quantization method, no index references, reserved bits.
    for (count, value) in [(1, 1), (4, 0), (3, 1), (1, 0), (7, 0), (3, options.qp_density & 7), (13, 0)] {
        parameters.fixed(count, value);
    }
    parameters.align();
    let mut topology = header(TOPOLOGY);
    topology.fixed(16, 0);
    topology.text("");
    let mut stream = Vec::new();
    for part in [start, parameters, topology] {
        stream.extend(unit(&part.into_bytes())?);
    }
    let units: Vec<Vec<u8>> = elements
        .par_iter()
        .map(|element| encode_element(element, &of(&element.name)))
        .collect::<Result<_, _>>()?;
    let sizes = units.iter().map(Vec::len).collect();
    units.iter().for_each(|unit| stream.extend_from_slice(unit));
    Ok((stream, sizes))
}

fn encode_element(element: &Element, options: &EncodeOptions) -> Result<Vec<u8>, CodecError> {
    let wrong = |what: String| CodecError::new(0, format!("tensor {}: {what}", element.name));
    if element.name.contains('\0') {
        return Err(wrong("its name holds a zero byte".into()));
    }
    let count = match &element.data {
        ElementData::Integers(values) => values.len(),
        ElementData::Floats(values) => values.len(),
    };
    if element.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(count) {
        return Err(wrong(format!("shape {:?} does not fit {count} values", element.shape)));
    }
    let dependent = options.dependent_quantization && matches!(element.data, ElementData::Floats(_));
    let density = options.qp_density & 7;
    let (integers, qp) = match &element.data {
        ElementData::Integers(values) => (std::borrow::Cow::Borrowed(values.as_slice()), None),
        ElementData::Floats(values) => {
            let qp = if element.shape.len() > 1 { options.qp } else { options.nonweight_qp };
            let (integers, qp) = scalar::quantize(values, qp, density, dependent)
                .ok_or_else(|| wrong("a value is not finite or far too large".into()))?;
            let limit = 1 << (5 + density);
            if !(-limit..limit).contains(&qp) {
                return Err(wrong(format!(
                    "quantization parameter {qp} must lie in {}–{}",
                    -limit,
                    limit - 1
                )));
            }
            (integers.into(), Some(qp))
        }
    };
    let mut fields = header(DATA);
    // Payload type, one element, no out-of-band format, dimensions in the unit.
    for (count, value) in [(5, u32::from(qp.is_some())), (1, 0), (1, 0), (1, 1)] {
        fields.fixed(count, value);
    }
    fields.text(&element.name);
    if qp.is_some() {
        // No codebook.
        fields.fixed(1, 0);
    }
    // Dependent quantization, dimensions and unary length present, no compressed parameter types.
    for (count, value) in [(1, u32::from(dependent)), (1, 1), (1, 1), (4, 0)] {
        fields.fixed(count, value);
    }
    fields.golomb(1, element.shape.len());
    for &dimension in &element.shape {
        fields.golomb(7, dimension);
    }
    fields.fixed(8, u32::from(options.unary_length_minus1));
    if element.shape.len() > 1 {
        // Row-major scan.
        fields.fixed(4, 0);
    }
    fields.align();
    let mut encoder = Encoder::new();
    if let Some(qp) = qp {
        encoder.bypass(6 + density, qp as u32 & ((1 << (6 + density)) - 1));
    }
    let flags = usize::from(options.unary_length_minus1) + 1;
    tensor::encode(&mut encoder, &integers, dependent, flags, options.parameter_optimization);
    let mut body = fields.into_bytes();
    body.extend(encoder.finish());
    unit(&body)
}

/// A data unit whose header is read and whose payload is not.
struct Pending {
    name: String,
    shape: Vec<usize>,
    count: usize,
    is_float: bool,
    dependent: bool,
    flags: usize,
    density: u32,
    base_qp: i32,
    offset: usize,
    payload: usize,
    end: usize,
}

/// Reads all units' headers.
fn scan(bytes: &[u8]) -> Result<Vec<Pending>, CodecError> {
    let mut pending = Vec::new();
    let (mut density, mut base_qp) = (0, 0);
    let mut position = 0;
    while position < bytes.len() {
        let error = |offset, message: &str| CodecError::new(offset, message);
        let mut fields = BitReader::new(bytes, position, bytes.len());
        let long = fields.flag()?;
        let size = fields.fixed(if long { 31 } else { 15 })? as usize;
        let end = position.checked_add(size).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| error(position, "a unit's size runs past the stream"))?;
        let mut fields = BitReader::new(bytes, fields.offset(), end);
        let kind = fields.fixed(6)?;
        fields.flag()?;
        if fields.flag()? {
            return Err(error(fields.offset(), "partial units are not supported"));
        }
        if (position == 0) != (kind == START) {
            return Err(error(position, "the stream must begin with its only start unit"));
        }
        match kind {
            START => drop(fields.fixed(8)?),
            PARAMETER_SET => {
                fields.flag()?;
                let maps = fields.fixed(4)?;
                let method = fields.fixed(3)?;
                if maps != 0 || fields.flag()? {
                    return Err(error(fields.offset(), "maps and index references are not supported"));
                }
                fields.fixed(7)?;
                (density, base_qp) =
                    if method & 3 != 0 { (fields.fixed(3)?, fields.signed(13)?) } else { (0, 0) };
                fields.align()?;
            }
            TOPOLOGY => {
                fields.fixed(16)?;
                fields.text()?;
            }
            DATA => {
                let unit = data_unit(&mut fields, position, end, density, base_qp)?;
                pending.push(unit);
            }
            _ => return Err(error(position, &format!("unit type {kind} is not supported"))),
        }
        if kind != DATA && fields.offset() != end {
            return Err(error(fields.offset(), "a unit's size does not fit its content"));
        }
        position = end;
    }
    if bytes.is_empty() {
        return Err(CodecError::new(0, "the stream is empty"));
    }
    Ok(pending)
}

fn data_unit(
    fields: &mut BitReader<'_>,
    offset: usize,
    end: usize,
    density: u32,
    base_qp: i32,
) -> Result<Pending, CodecError> {
    let unsupported = |fields: &BitReader<'_>, what: &str| {
        Err(CodecError::new(fields.offset(), format!("{what} is not supported")))
    };
    let payload_type = fields.fixed(5)?;
    if payload_type > 1 {
        return unsupported(fields, &format!("payload type {payload_type}"));
    }
    if fields.flag()? {
        return unsupported(fields, "a unit with several elements");
    }
    let has_format = fields.flag()?;
    if !fields.flag()? {
        return unsupported(fields, "a unit without dimensions");
    }
    let name = fields.text()?;
    let is_float = payload_type == 1;
    if is_float && fields.flag()? {
        return unsupported(fields, "a codebook");
    }
    let dependent = fields.flag()? && is_float;
    if has_format {
        fields.fixed(7)?;
    }
    let (dimensions, unary) = (fields.flag()?, fields.flag()?);
    if !dimensions || !unary || fields.fixed(4)? != 0 {
        return unsupported(fields, "this form of data unit");
    }
    let rank = fields.golomb(1)?;
    if rank > 64 {
        return unsupported(fields, &format!("a tensor of {rank} dimensions"));
    }
    let mut shape = Vec::with_capacity(rank);
    for _ in 0..rank {
        shape.push(fields.golomb(7)?);
    }
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|n| *n <= u32::MAX as usize);
    let count = count.ok_or_else(|| CodecError::new(fields.offset(), "the dimensions are out of range"))?;
    let flags = fields.fixed(8)? as usize + 1;
    if rank > 1 && fields.fixed(4)? != 0 {
        return unsupported(fields, "a scan order other than row-major");
    }
    fields.align()?;
    let payload = fields.offset();
    Ok(Pending { name, shape, count, is_float, dependent, flags, density, base_qp, offset, payload, end })
}

impl Pending {
    /// Integers and, for floats, the quantization parameter.
    fn integers(&self, bytes: &[u8]) -> Result<(Vec<i32>, Option<i32>), CodecError> {
        let mut decoder = Decoder::new(bytes, self.payload, self.end);
        let qp = self.is_float.then(|| {
            let width = 6 + self.density;
            let value = decoder.bypass(width);
            let sign = value >> (width - 1) & 1;
            self.base_qp + value as i32 - ((sign as i32) << width)
        });
        let values = tensor::decode(&mut decoder, self.count, self.dependent, self.flags)?;
        let end = decoder.finish()?;
        if end != self.end {
            return Err(CodecError::new(
                end,
                format!("the payload ends {} bytes before its unit", self.end - end),
            ));
        }
        Ok((values, qp))
    }
}

/// Decodes a stream.
///
/// # Errors
/// [`CodecError`] with the offset of whatever is wrong; never a panic, and no more memory than the values decoded so far.
pub fn decode(bytes: &[u8]) -> Result<Vec<Element>, CodecError> {
    scan(bytes)?
        .into_par_iter()
        .map(|unit| {
            let (integers, qp) = unit.integers(bytes)?;
            let data = match qp {
                None => ElementData::Integers(integers),
                Some(qp) => ElementData::Floats(scalar::dequantize(&integers, qp, unit.density)),
            };
            Ok(Element { name: unit.name, shape: unit.shape, data })
        })
        .collect()
}

/// Describes the tensors of a stream.
///
/// # Errors
/// As [`decode`].
pub fn inspect(bytes: &[u8]) -> Result<Vec<TensorSummary>, CodecError> {
    scan(bytes)?
        .into_par_iter()
        .map(|unit| {
            let (integers, qp) = unit.integers(bytes)?;
            let size = unit.end - unit.offset;
            Ok(TensorSummary {
                kind: if unit.is_float { "float" } else { "integer" },
                offset: unit.offset,
                bytes: size,
                header_bytes: unit.payload - unit.offset,
                qp,
                dependent_quantization: unit.dependent,
                bits_per_value: 8.0 * size as f64 / integers.len().max(1) as f64,
                entropy: super::comparison::entropy_bits(&integers) / integers.len().max(1) as f64,
                name: unit.name,
                shape: unit.shape,
            })
        })
        .collect()
}
