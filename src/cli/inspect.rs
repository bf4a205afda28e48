//! `ecqx inspect`: what is in a bitstream, and what it costs.

use super::Global;
use crate::Error;
use crate::codec;
use std::path::PathBuf;

/// List the tensors of a bitstream: shapes, bytes, bits per value beside the entropy
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bitstream
    #[arg(value_name = "IN.nnc")]
    input: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let bytes = std::fs::read(&args.input).map_err(Error::io(&args.input))?;
    let tensors = codec::inspect(&bytes)
        .map_err(|error| Error::format(&args.input, error.offset as u64, error.message))?;
    let values: usize = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    if global.json {
        println!("{}", serde_json::json!({"bytes": bytes.len(), "values": values, "tensors": tensors}));
        return Ok(super::DONE);
    }
    println!(
        "{:<40} {:<8} {:>20} {:>9} {:>10} {:>11} {:>9}",
        "tensor", "kind", "shape", "offset", "bytes", "bits/value", "entropy"
    );
    for tensor in &tensors {
        let kind = match (tensor.kind, tensor.qp) {
            (_, Some(qp)) => format!("f{}{qp}", if tensor.dependent_quantization { " dq " } else { " " }),
            _ => "integer".into(),
        };
        println!(
            "{:<40} {:<8} {:>20} {:>9} {:>10} {:>11.4} {:>9.4}",
            tensor.name,
            kind,
            format!("{:?}", tensor.shape),
            tensor.offset,
            tensor.bytes,
            tensor.bits_per_value,
            tensor.entropy
        );
    }
    let units: usize = tensors.iter().map(|tensor| tensor.bytes).sum();
    println!(
        "{} tensors, {values} values, {} bytes, {} of them headers of the stream",
        tensors.len(),
        bytes.len(),
        bytes.len() - units
    );
    Ok(super::DONE)
}
