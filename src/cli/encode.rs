//! `ecqx encode`: tensors of a safetensors file as a bitstream.

use super::Global;
use crate::codec::{self, Element, ElementData, EncodeOptions};
use crate::model::checkpoint;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::io::Write;
use std::path::PathBuf;

/// Code the tensors of a safetensors file as an NNC / DeepCABAC bitstream
///
/// Integer tensors are coded without loss, float tensors are quantized with the parameters below.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tensors to code
    #[arg(value_name = "IN.safetensors")]
    input: PathBuf,
    /// Where the bitstream goes
    #[arg(value_name = "OUT.nnc")]
    output: PathBuf,
    /// Quantization parameter of float tensors with more than one dimension: smaller is finer
    #[arg(long, default_value_t = EncodeOptions::default().qp, allow_negative_numbers = true)]
    qp: i32,
    /// Quantization parameter of the other float tensors
    #[arg(long, default_value_t = EncodeOptions::default().nonweight_qp, allow_negative_numbers = true)]
    nonweight_qp: i32,
    /// Dependent (trellis-coded) quantization of float tensors
    #[arg(
        long,
        value_name = "on|off",
        value_parser = switch,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "on",
        default_value = "on"
    )]
    dq: bool,
}

fn switch(text: &str) -> std::result::Result<bool, String> {
    match text {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err("on or off".into()),
    }
}

/// A tensor as an element: integers stay integers, other numbers become f32.
fn element(name: String, tensor: &Tensor) -> Result<Element> {
    let flat = tensor.flatten_all()?;
    let data = match tensor.dtype() {
        DType::I32 => ElementData::Integers(flat.to_vec1()?),
        DType::U8 => ElementData::Integers(flat.to_vec1::<u8>()?.into_iter().map(i32::from).collect()),
        DType::I16 => ElementData::Integers(flat.to_vec1::<i16>()?.into_iter().map(i32::from).collect()),
        DType::U32 | DType::I64 => {
            let values = flat.to_dtype(DType::I64)?.to_vec1::<i64>()?;
            let narrow = values.iter().map(|&value| i32::try_from(value).ok()).collect::<Option<_>>();
            ElementData::Integers(narrow.ok_or_else(|| {
                Error::input(format!(
                    "tensor {name}: a value does not fit 32 bits, which is all that is coded"
                ))
            })?)
        }
        _ => ElementData::Floats(flat.to_dtype(DType::F32)?.to_vec1()?),
    };
    Ok(Element { name, shape: tensor.dims().to_vec(), data })
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let tensors = checkpoint::read_safetensors(&args.input)?;
    let elements: Vec<Element> =
        tensors.into_iter().map(|(name, tensor)| element(name, &tensor)).collect::<Result<_>>()?;
    let options = EncodeOptions {
        qp: args.qp,
        nonweight_qp: args.nonweight_qp,
        dependent_quantization: args.dq,
        ..EncodeOptions::default()
    };
    let bytes = codec::encode(&elements, &options)
        .map_err(|error| Error::input(format!("{}: {}", args.input.display(), error.message)))?;
    crate::io::write_atomically(&args.output, |file| file.write_all(&bytes))?;
    let values: usize = elements.iter().map(|element| element.shape.iter().product::<usize>()).sum();
    if global.json {
        println!(
            "{}",
            serde_json::json!({"bytes": bytes.len(), "tensors": elements.len(), "values": values})
        );
    } else {
        println!(
            "{}: {} tensors, {values} values, {} bytes ({:.3} bits per value)",
            args.output.display(),
            elements.len(),
            bytes.len(),
            8.0 * bytes.len() as f64 / values.max(1) as f64
        );
    }
    Ok(super::DONE)
}
