//! `ecqx selftest`: does this device compute what the CPU's kernels compute, and how fast does it train?

use super::{DONE, FAILED, Global};
use crate::nn::Backend;
use crate::run::provenance;
use crate::selftest::{Check, Extent, GROUPS, Timing, checks, timings};
use candle_core::Device;
use serde_json::json;

/// Test a device against the CPU's kernels: operations, gradients, relevance, assignments, short trainings; then time steps
///
/// Run this first on a new GPU. On the CPU it tests the composed operations, which a GPU runs. A result may differ from
/// the native one by as much as the native results differ among themselves when inputs change in their last bit.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compare only operations, networks (with relevance), assignments (with the codec), or trainings
    #[arg(long, value_name = "GROUP", value_parser = GROUPS)]
    only: Option<String>,
    /// Weights of the largest tensor that is assigned
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u64).range(16..=60_000_000))]
    weights: u64,
    /// Steps of every short training
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    steps: u64,
    /// Timed steps of every model; 0 leaves the benchmark out
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1000))]
    timed_steps: u64,
}

pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let device = global.device()?;
    let extent = Extent {
        weights: args.weights as usize,
        steps: args.steps as usize,
        steps_of_large: args.steps as usize,
        timed_steps: args.timed_steps as usize,
        ..Extent::default()
    };
    let told = provenance::gather(&device, None);
    if !global.json {
        println!(
            "{} on {} ({} threads)",
            provenance::program(),
            subject(&device, &told.device),
            told.threads
        );
        println!("{:<6} {:<11} {:<44} {:>9} {:>9}  note", "", "group", "what", "distance", "allowed");
    }
    let mut found: Vec<Check> = Vec::new();
    checks(&device, &extent, args.only.as_deref(), &mut |check| {
        if !global.json {
            println!("{}", row(&check));
        }
        found.push(check);
    });
    let failed = found.iter().filter(|check| !check.passed).count();
    let mut times: Vec<Timing> = Vec::new();
    if extent.timed_steps > 0 {
        if !global.json {
            println!(
                "\n{:<10} {:<15} {:>9} {:>7} {:>12} {:>12}",
                "model", "training", "ms/step", "reads", "read bytes", "sent bytes"
            );
        }
        timings(&device, &extent, &mut |timing| {
            if !global.json {
                println!("{}", timing_row(&timing));
            }
            times.push(timing);
        })?;
    }
    if global.json {
        println!(
            "{}",
            json!({
                "passed": failed == 0, "device": told.device, "backend": Backend::Composed.name(), "checks": found,
                "timings": times,
            })
        );
    } else {
        println!("\n{} of {} checks passed", found.len() - failed, found.len());
    }
    Ok(if failed == 0 { DONE } else { FAILED })
}

/// What is tested, in words.
fn subject(device: &Device, name: &str) -> String {
    match device {
        Device::Cpu => "the CPU with composed operations".into(),
        _ => name.to_owned(),
    }
}

fn row(check: &Check) -> String {
    let mark = if check.passed { "ok" } else { "FAILED" };
    format!(
        "{mark:<6} {:<11} {:<44} {:>9.1e} {:>9.1e}  {}",
        check.group, check.name, check.error, check.allowed, check.note
    )
}

fn timing_row(timing: &Timing) -> String {
    format!(
        "{:<10} {:<15} {:>9.1} {:>7.1} {:>12.0} {:>12.0}",
        timing.model, timing.method, timing.milliseconds, timing.reads, timing.read_bytes, timing.write_bytes
    )
}
