//! `ecqx encode`: tensors of a checkpoint as a bitstream.

use super::Global;
use super::weights::facts;
use crate::Error;
use crate::codec::EncodeOptions;
use crate::codec::model_file::{self, Entry};
use crate::io::Output;
use crate::model::checkpoint::{self, ReadOptions};
use std::path::PathBuf;

/// Encode the tensors of a checkpoint as an NNC / DeepCABAC bitstream
///
/// Integer tensors of up to 32 bits are coded without loss, float tensors are quantized with the parameters below. Where
/// level indices stand beside a weight, as `ecqx quantize` writes them, they are coded in its place: the result is the
/// model file that `ecqx quantize` would have written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tensors to code: a safetensors or PyTorch file
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where the bitstream goes; '-' is standard output
    #[arg(value_name = "OUT.nnc")]
    output: PathBuf,
    /// Which dictionary of a PyTorch file holds the tensors: its keys, joined by dots
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Quantization parameter of float tensors with more than one dimension: smaller is finer
    #[arg(long, default_value_t = EncodeOptions::default().qp, allow_negative_numbers = true)]
    qp: i32,
    /// Quantization parameter of the other float tensors
    #[arg(long, default_value_t = EncodeOptions::default().nonweight_qp, allow_negative_numbers = true)]
    nonweight_qp: i32,
    /// Dependent (trellis-coded) quantization of float tensors [default: on, but off for pruned weights that ecqx wrote]
    #[arg(
        long,
        value_name = "on|off",
        value_parser = switch,
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    dq: Option<bool>,
}

fn switch(text: &str) -> std::result::Result<bool, String> {
    match text {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err("on or off".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let output = Output::new(&args.output)?;
    output.leaves_room_for(global.json)?;
    let read = ReadOptions { key: args.key.clone(), as_stored: true, ..ReadOptions::default() };
    let checkpoint = checkpoint::open(&args.input, &read)?;
    checkpoint.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let written_by = checkpoint.metadata.get(facts::WRITTEN_BY).map_or("", String::as_str);
    let is_ours = written_by.starts_with("ecqx ");
    let mut tensors = checkpoint.tensors;
    if is_ours {
        let counters = super::quantize::leave_out_counters(&mut tensors);
        if counters > 0 {
            eprintln!("note: {counters} batch counters are not coded: inference does not use them");
        }
    }
    let entries = checkpoint::entries(&tensors)?;
    let is_pruned = is_ours && model_file::has_pruned_floats(&entries);
    let options = EncodeOptions {
        qp: args.qp,
        nonweight_qp: args.nonweight_qp,
        dependent_quantization: args.dq.unwrap_or(!is_pruned),
        ..EncodeOptions::default()
    };
    let (bytes, _) = model_file::write_entries(&entries, &options)
        .map_err(|error| Error::input(format!("{}: {}", args.input.display(), error.message)))?;
    output.write(&bytes)?;
    let values: usize = entries.iter().map(Entry::count).sum();
    if global.json {
        println!("{}", serde_json::json!({"bytes": bytes.len(), "tensors": entries.len(), "values": values}));
    } else if !output.is_standard_output() {
        println!(
            "{}: {} tensors, {values} values, {} bytes ({:.3} bits per value)",
            output.shown(),
            entries.len(),
            bytes.len(),
            8.0 * bytes.len() as f64 / values.max(1) as f64
        );
    }
    Ok(super::DONE)
}
