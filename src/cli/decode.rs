//! `ecqx decode`: a bitstream as tensors of a safetensors file.

use super::Global;
use super::weights::facts;
use crate::Error;
use crate::codec::{self, ElementData, model_file};
use crate::io::Output;
use crate::model::checkpoint::{self, Metadata, StateDict};
use candle_core::{Device, Tensor};
use std::path::PathBuf;

/// Decode a bitstream into a safetensors file
///
/// Integer tensors come out as integers. With --values the file is what `ecqx quantize` writes: the weights under their
/// names, their level indices and steps or codebooks beside them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bitstream
    #[arg(value_name = "IN.nnc")]
    input: PathBuf,
    /// Where the tensors go; '-' is standard output
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Write the weights of a model file instead of level indices under the weights' names and side tensors
    #[arg(long)]
    values: bool,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let output = Output::new(&args.output)?;
    output.leaves_room_for(global.json)?;
    let bytes = std::fs::read(&args.input).map_err(Error::io(&args.input))?;
    let wrong = |error: codec::CodecError| Error::format(&args.input, error.offset as u64, error.message);
    let tensors: StateDict = if args.values {
        checkpoint::from_entries(model_file::read(&bytes).map_err(wrong)?, true)?
    } else {
        let mut tensors = StateDict::new();
        let mut elements = codec::decode(&bytes).map_err(wrong)?;
        let unsigned = model_file::take_unsigned(&mut elements);
        for element in elements {
            let tensor = match element.data {
                ElementData::Integers(values) if unsigned.contains(&element.name) => {
                    let values = values.into_iter().map(|value| value as u32).collect::<Vec<u32>>();
                    Tensor::from_vec(values, element.shape, &Device::Cpu)?
                }
                ElementData::Integers(values) => Tensor::from_vec(values, element.shape, &Device::Cpu)?,
                ElementData::Floats(values) => Tensor::from_vec(values, element.shape, &Device::Cpu)?,
            };
            if tensors.insert(element.name.clone(), tensor).is_some() {
                let message = format!("two tensors are called '{}'", element.name);
                return Err(Error::format(&args.input, 0, message).into());
            }
        }
        tensors
    };
    let metadata = Metadata::from_iter([(facts::WRITTEN_BY.to_owned(), "ecqx decode".to_owned())]);
    let by_name = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    output.write(&checkpoint::to_safetensors_with(by_name, &metadata)?)?;
    let values: usize = tensors.values().map(Tensor::elem_count).sum();
    if global.json {
        println!("{}", serde_json::json!({"bytes": bytes.len(), "tensors": tensors.len(), "values": values}));
    } else if !output.is_standard_output() {
        println!("{}: {} tensors, {values} values", output.shown(), tensors.len());
    }
    Ok(super::DONE)
}
