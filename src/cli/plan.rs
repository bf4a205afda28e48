//! `ecqx plan`: the runs of experiments, what is finished, and an estimate of the time for the rest.

use super::Global;
use super::duration::duration;
use super::experiments::{self, Selection};
use crate::Error;
use crate::error::count as plural;
use crate::plan::{Depth, Plan, State, estimate};
use std::collections::{BTreeMap, BTreeSet};

/// List the runs of experiments: finished, new, and how long the rest may take
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// table or json
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let context = experiments::context(&args.selection, global)?;
    let planned = experiments::plan(&args.selection, &context, Depth::Records)?;
    let missing: BTreeSet<&str> = planned
        .iter()
        .filter(|p| !matches!(p.state, State::Done(_)) && !context.store.has_baseline(&p.baseline))
        .map(|p| p.baseline.as_str())
        .collect();
    if global.json || args.format == "json" {
        let plan = Plan::new(&planned, &context.store);
        let text = serde_json::to_string(&plan).map_err(|error| Error::Internal(format!("plan: {error}")))?;
        println!("{text}");
        return Ok(super::DONE);
    }
    let mut rows: BTreeMap<(usize, &str, String), [usize; 3]> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for p in &planned {
        if !order.contains(&p.experiment.as_str()) {
            order.push(&p.experiment);
        }
        let at = order.iter().position(|name| *name == p.experiment).unwrap_or(0);
        let row = rows.entry((at, &p.experiment, p.run.label())).or_default();
        row[match p.state {
            State::Done(_) => 0,
            State::Failed => 1,
            State::New => 2,
        }] += 1;
    }
    let width = rows.keys().map(|(_, _, label)| label.chars().count()).max().unwrap_or(0).max(5);
    println!("{:<24} {:<width$} {:>5} {:>7} {:>5}", "experiment", "label", "done", "failed", "new");
    for ((_, experiment, label), [done, failed, new]) in &rows {
        println!("{experiment:<24} {label:<width$} {done:>5} {failed:>7} {new:>5}");
    }
    let count = |index: usize| rows.values().map(|row| row[index]).sum::<usize>();
    println!(
        "{}: {} done, {} failed, {} new; {} to make",
        plural(planned.len(), "run"),
        count(0),
        count(1),
        count(2),
        plural(missing.len(), "baseline")
    );
    match estimate::seconds_left(&planned, &Default::default()) {
        Some(seconds) => println!("estimated time for the rest: {}", duration(seconds)),
        None if count(1) + count(2) > 0 => {
            println!("estimated time: unknown until a run of each experiment is done")
        }
        None => {}
    }
    Ok(super::DONE)
}
