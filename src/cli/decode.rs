//! `ecqx decode`: a bitstream as tensors of a safetensors file.

use super::Global;
use crate::codec::{self, ElementData};
use crate::model::checkpoint::{self, StateDict};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::path::PathBuf;

/// Decode a bitstream into a safetensors file
///
/// Integer tensors come out as integers; with --values, level indices of a model file become the weights they stand for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bitstream
    #[arg(value_name = "IN.nnc")]
    input: PathBuf,
    /// Where the tensors go
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Write the weights of a model file instead of level indices and side tensors
    #[arg(long)]
    values: bool,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let bytes = std::fs::read(&args.input).map_err(Error::io(&args.input))?;
    let tensors: StateDict = if args.values {
        checkpoint::from_model_file(&bytes, &args.input)?
    } else {
        let elements = codec::decode(&bytes)
            .map_err(|error| Error::format(&args.input, error.offset as u64, error.message))?;
        let tensor = |element: codec::Element| {
            let tensor = match element.data {
                ElementData::Integers(values) => Tensor::from_vec(values, element.shape, &Device::Cpu)?,
                ElementData::Floats(values) => Tensor::from_vec(values, element.shape, &Device::Cpu)?,
            };
            Ok((element.name, tensor))
        };
        elements.into_iter().map(tensor).collect::<Result<_>>()?
    };
    checkpoint::write_safetensors(
        &args.output,
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)),
    )?;
    let values: usize = tensors.values().map(Tensor::elem_count).sum();
    if global.json {
        println!("{}", serde_json::json!({"bytes": bytes.len(), "tensors": tensors.len(), "values": values}));
    } else {
        println!("{}: {} tensors, {values} values", args.output.display(), tensors.len());
    }
    Ok(super::DONE)
}
