//! `ecqx inspect`: what is in a bitstream, and what it costs.

use super::Global;
use crate::Error;
use crate::codec;
use crate::codec::model_file::{self, Entry};
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::Content;
use std::collections::HashMap;
use std::path::PathBuf;

/// List the units and tensors of a bitstream: shapes, bytes, bits per value beside the entropy bound, codebooks
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
    let units = codec::units(&bytes)
        .map_err(|error| Error::format(&args.input, error.offset as u64, error.message))?;
    let codebooks = codebooks(&bytes);
    let entropy: f64 = tensors.iter().map(|t| t.entropy * t.shape.iter().product::<usize>() as f64).sum();
    let (bits, entropy) = (8.0 * bytes.len() as f64 / values.max(1) as f64, entropy / values.max(1) as f64);
    if global.json {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|tensor| {
                let mut json = serde_json::to_value(tensor).unwrap_or_default();
                if let Some(codebook) = codebooks.get(&tensor.name) {
                    json["codebook"] = json_of(codebook);
                }
                json
            })
            .collect();
        println!(
            "{}",
            serde_json::json!({
                "bytes": bytes.len(), "values": values, "bits_per_value": bits, "entropy": entropy,
                "units": units, "tensors": tensors,
            })
        );
        return Ok(super::DONE);
    }
    println!(
        "{:<40} {:<8} {:>20} {:>9} {:>10} {:>11} {:>9}  {:<8}",
        "tensor", "kind", "shape", "offset", "bytes", "bits/value", "entropy", "codebook"
    );
    for unit in units.iter().filter(|unit| unit.kind != codec::DATA_UNIT) {
        println!("{:<70} {:>9} {:>10}", format!("({})", unit.kind), unit.offset, unit.bytes);
    }
    for tensor in &tensors {
        let kind = match (tensor.kind, tensor.qp) {
            (_, Some(qp)) => format!("f{}{qp}", if tensor.dependent_quantization { " dq " } else { " " }),
            _ => "integer".into(),
        };
        let codebook = codebooks.get(&tensor.name).map(in_words).unwrap_or_default();
        let line = format!(
            "{:<40} {:<8} {:>20} {:>9} {:>10} {:>11.4} {:>9.4}  {codebook}",
            tensor.name,
            kind,
            format!("{:?}", tensor.shape),
            tensor.offset,
            tensor.bytes,
            tensor.bits_per_value,
            tensor.entropy
        );
        println!("{}", line.trim_end());
    }
    println!(
        "{:<40} {:<8} {:>20} {:>9} {:>10} {:>11.4} {:>9.4}",
        format!("{} units, {} tensors", units.len(), tensors.len()),
        "",
        format!("{values} values"),
        "",
        bytes.len(),
        bits,
        entropy
    );
    Ok(super::DONE)
}

/// The codebooks of a model file by tensor; none of another stream.
fn codebooks(bytes: &[u8]) -> HashMap<String, Codebook> {
    let of_entry = |entry| match entry {
        Entry::Tensor(tensor) => match tensor.content {
            Content::Levels { codebook, .. } => Some((tensor.name, codebook)),
            Content::Values(_) => None,
        },
        Entry::Integers { .. } => None,
    };
    model_file::read(bytes).unwrap_or_default().into_iter().filter_map(of_entry).collect()
}

fn in_words(codebook: &Codebook) -> String {
    match codebook {
        Codebook::Uniform { step, .. } => format!("step {step}"),
        Codebook::PerChannel { steps, .. } => format!("{} steps", steps.len()),
        Codebook::Explicit { values, .. } => format!("{} values", values.len()),
    }
}

fn json_of(codebook: &Codebook) -> serde_json::Value {
    match codebook {
        Codebook::Uniform { step, .. } => serde_json::json!({"kind": "uniform", "step": step}),
        Codebook::PerChannel { steps, stride, .. } => {
            serde_json::json!({"kind": "per_channel", "steps": steps, "stride": stride})
        }
        Codebook::Explicit { values, zero } => {
            serde_json::json!({"kind": "explicit", "values": values, "zero": zero})
        }
    }
}
