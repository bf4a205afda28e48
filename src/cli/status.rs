//! `ecqx status`: how far experiments are.

use super::Global;
use super::experiments::{self, Selection, State};
use crate::store::Store;

/// How far experiments are: done, running where, failed, and how long the rest may take
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let context = experiments::context(&args.selection, global)?;
    let planned = experiments::plan(&args.selection, &context)?;
    let claims = Store::open(&args.selection.store)?.claims()?;
    let count = |wanted: fn(&State) -> bool| planned.iter().filter(|p| wanted(&p.state)).count();
    let done = count(|state| matches!(state, State::Done(_)));
    let failed = count(|state| matches!(state, State::Failed));
    let running: Vec<_> = planned
        .iter()
        .filter_map(|p| claims.iter().find(|claim| claim.id == p.id).map(|claim| (p, claim)))
        .collect();
    let stale = claims.iter().filter(|claim| claim.stale).count();
    let rest = super::plan::estimate(&planned);
    if global.json {
        let running: Vec<_> = running
            .iter()
            .map(|(p, claim)| {
                serde_json::json!({
                    "id": p.id, "label": p.run.label(), "seed": p.run.seed, "host": claim.host, "pid": claim.pid,
                    "stale": claim.stale,
                })
            })
            .collect();
        println!(
            "{}",
            serde_json::json!({
                "runs": planned.len(), "done": done, "failed": failed, "running": running, "stale_claims": stale,
                "seconds_left": rest,
            })
        );
        return Ok(super::DONE);
    }
    println!("{done} of {} runs done, {failed} failed, {} claimed", planned.len(), running.len());
    for (p, claim) in &running {
        let note = if claim.stale { "  (stale: its process is gone)" } else { "" };
        println!(
            "  {}: {} seed {}  on {} (process {}){note}",
            p.experiment,
            p.run.label(),
            p.run.seed,
            claim.host,
            claim.pid
        );
    }
    for p in planned.iter().filter(|p| matches!(p.state, State::Failed)) {
        println!("  failed: {}: {} seed {}", p.experiment, p.run.label(), p.run.seed);
    }
    if stale > 0 {
        println!("{stale} stale claims; `ecqx store gc` removes them, a run takes them over by itself");
    }
    if let Some(seconds) = rest {
        println!("estimated time for the rest on one worker: {}", super::run::duration(seconds));
    }
    Ok(super::DONE)
}
