//! `ecqx plan`: the runs of experiments, what is finished, and an estimate of the time for the rest.

use super::Global;
use super::experiments::{self, Planned, Selection, State};
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
    let planned = experiments::plan(&args.selection, &context)?;
    let missing: BTreeSet<&str> = planned
        .iter()
        .filter(|p| !matches!(p.state, State::Done(_)) && !context.store.has_baseline(&p.baseline))
        .map(|p| p.baseline.as_str())
        .collect();
    if global.json || args.format == "json" {
        let runs: Vec<_> = planned
            .iter()
            .map(|p| {
                let spec = p.run.json()?;
                Ok(serde_json::json!({
                    "id": p.id, "baseline": p.baseline, "experiment": p.experiment, "label": p.run.label(),
                    "seed": p.run.seed, "state": state(&p.state), "spec": spec,
                }))
            })
            .collect::<crate::Result<_>>()?;
        println!("{}", serde_json::json!({"baselines": missing, "runs": runs}));
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
        "{} runs: {} done, {} failed, {} new; {} baselines to make",
        planned.len(),
        count(0),
        count(1),
        count(2),
        missing.len()
    );
    match estimate(&planned) {
        Some(seconds) => println!("estimated time for the rest: {}", super::run::duration(seconds)),
        None if count(1) + count(2) > 0 => {
            println!("estimated time: unknown until a run of each experiment is done")
        }
        None => {}
    }
    Ok(super::DONE)
}

fn state(state: &State) -> &'static str {
    match state {
        State::Done(_) => "done",
        State::Failed => "failed",
        State::New => "new",
    }
}

/// Seconds for the unfinished runs, from the mean of each experiment's finished ones; `None` while one has none.
pub(super) fn estimate(planned: &[Planned]) -> Option<f64> {
    let mut measured: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for p in planned {
        if let State::Done(record) = &p.state {
            let entry = measured.entry(&p.experiment).or_default();
            entry.0 += record.seconds;
            entry.1 += 1;
        }
    }
    let rest = planned.iter().filter(|p| !matches!(p.state, State::Done(_)));
    let seconds: Option<Vec<f64>> =
        rest.map(|p| measured.get(p.experiment.as_str()).map(|(sum, n)| sum / *n as f64)).collect();
    seconds.filter(|seconds| !seconds.is_empty()).map(|seconds| seconds.iter().sum())
}
