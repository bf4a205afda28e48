//! `ecqx plan`: the runs of experiments, what is finished, and an estimate of the time for the rest.

use super::Global;
use super::duration::duration;
use super::experiments::{self, Selection};
use crate::Error;
use crate::error::count as plural;
use crate::plan::{Depth, Plan, Planned, State, estimate};
use std::collections::{BTreeSet, HashMap};

/// List the runs of experiments: finished, new, and how long the rest may take
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// table or json
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Runs of one label.
struct Row<'a> {
    experiment: &'a str,
    label: String,
    /// Done, failed, new.
    runs: [usize; 3],
}

/// A row for each label, in the order in which `run` comes to them.
fn rows(planned: &[Planned]) -> Vec<Row<'_>> {
    let mut places: HashMap<(&str, String), usize> = HashMap::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for p in planned {
        let key = (p.experiment.as_str(), p.run.label());
        let at = *places.entry(key).or_insert_with_key(|(experiment, label)| {
            rows.push(Row { experiment, label: label.clone(), runs: [0; 3] });
            rows.len() - 1
        });
        rows[at].runs[match p.state {
            State::Done(_) => 0,
            State::Failed => 1,
            State::New => 2,
        }] += 1;
    }
    rows
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
    let rows = rows(&planned);
    let longest = |lengths: &dyn Fn(&Row<'_>) -> usize, heading: &str| {
        rows.iter().map(lengths).max().unwrap_or(0).max(heading.len())
    };
    let first = longest(&|row| row.experiment.chars().count(), "experiment");
    let second = longest(&|row| row.label.chars().count(), "label");
    println!("{:<first$}  {:<second$} {:>5} {:>7} {:>5}", "experiment", "label", "done", "failed", "new");
    for Row { experiment, label, runs: [done, failed, new] } in &rows {
        println!("{experiment:<first$}  {label:<second$} {done:>5} {failed:>7} {new:>5}");
    }
    let count = |index: usize| rows.iter().map(|row| row.runs[index]).sum::<usize>();
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
