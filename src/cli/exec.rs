//! `ecqx exec`: one run, idempotently — what engines call.

use super::Global;
use super::progress::Progress;
use crate::run::{Context, Status, execute};
use crate::spec::RunSpec;
use crate::store::{Lookup, Store};
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Do one run of a plan: exit code 0 done (now or earlier), 1 failed, 75 claimed by another process
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's specification as JSON, or a file with it, as in the plan's "spec"
    #[arg(long, value_name = "JSON|FILE", required_unless_present = "plan", conflicts_with = "plan")]
    spec: Option<String>,
    /// A plan: what `ecqx plan SPEC… --format json` printed
    #[arg(long, value_name = "FILE", requires = "index")]
    plan: Option<PathBuf>,
    /// Position of the run in the plan, from 0
    #[arg(long, value_name = "N")]
    index: Option<usize>,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Folder in which a relative checkpoint is looked for, besides the data folder
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
}

impl Args {
    /// The run and the experiment it belongs to.
    fn load(&self) -> Result<(RunSpec, String)> {
        let parsed = |text: &str, place: &str| {
            serde_json::from_str::<Value>(text)
                .map_err(|error| Error::input(format!("{place}: not JSON: {error}")))
        };
        let (spec, experiment, place) = match (&self.plan, &self.spec) {
            (Some(path), _) => {
                let place = path.display().to_string();
                let plan = parsed(&std::fs::read_to_string(path).map_err(Error::io(path))?, &place)?;
                let runs = plan["runs"].as_array().map_or(&[][..], Vec::as_slice);
                let index = self.index.unwrap_or(0);
                let run = runs.get(index).ok_or_else(|| {
                    Error::input_hint(
                        format!("{place}: there is no run {index}: the plan has {}", runs.len()),
                        "`ecqx plan SPEC --format json` writes plans",
                    )
                })?;
                let experiment = run["experiment"].as_str().unwrap_or("exec").to_owned();
                (run["spec"].clone(), experiment, format!("{place}, run {index}"))
            }
            (None, Some(spec)) => {
                let (text, place) = match spec.trim_start().starts_with('{') {
                    true => (spec.clone(), "--spec".to_owned()),
                    false => {
                        (std::fs::read_to_string(spec).map_err(Error::io(Path::new(spec)))?, spec.clone())
                    }
                };
                (parsed(&text, &place)?, "exec".to_owned(), place)
            }
            // The argument parser demands one of the two.
            (None, None) => return Err(Error::input("give --spec or --plan")),
        };
        let run = serde_json::from_value(spec).map_err(|error| Error::input(format!("{place}: {error}")))?;
        Ok((run, experiment))
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let (run, experiment) = args.load()?;
    let folders = args.checkpoint_dir.iter().cloned().collect();
    let context = Context::new(Store::open(&args.store)?, global.data_dir(), folders, global.device()?);
    let (id, _) = context.ids(&run)?;
    let finished = |context: &Context| match context.store.find(&id) {
        Lookup::Found(record) if record.status == Status::Done => Some(record),
        _ => None,
    };
    let mut status = "already done";
    let record = match finished(&context) {
        Some(record) => *record,
        None => {
            let Some(_claim) = context.store.claim(&id)? else {
                eprintln!("{id}: claimed by another process");
                return Ok(super::CLAIMED);
            };
            // Another process may have finished it between the two looks.
            match finished(&context) {
                Some(record) => *record,
                None => {
                    status = "done";
                    let progress = Progress::new(1);
                    let watch = progress.start(&experiment, &run.label(), run.seed);
                    let record = execute(&context, &run, &experiment, &watch)?;
                    watch.done(&record);
                    record
                }
            }
        }
    };
    let failed = record.status == Status::Failed;
    if global.json {
        let status = if failed { "failed" } else { status };
        println!(
            "{}",
            serde_json::json!({"id": id, "status": status, "error": record.error, "top1": record.test.map(|t| t.top1)})
        );
    }
    Ok(if failed { super::FAILED } else { super::DONE })
}
