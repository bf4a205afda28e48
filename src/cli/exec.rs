//! `ecqx exec`: one run, idempotently — what engines call.

use super::Global;
use super::interrupt;
use super::progress::Progress;
use super::run_options::RunOptions;
use crate::engine::{Plan, Wave, parse};
use crate::run::{Context, RunRecord, Status, execute, make_baseline};
use crate::spec::{BaselineRun, RunSpec};
use crate::store::{Lookup, Store};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Do one run of a plan: exit code 0 done (now or earlier), 1 failed, 75 claimed by another process
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's (or baseline's) specification as JSON, or a file with it, as in the plan's "spec"
    #[arg(long, value_name = "JSON|FILE", required_unless_present = "plan", conflicts_with = "plan")]
    spec: Option<String>,
    /// A plan: what `ecqx plan SPEC… --format json` printed
    #[arg(long, value_name = "FILE", requires = "index")]
    plan: Option<PathBuf>,
    /// Position in the plan's wave, from 0
    #[arg(long, value_name = "N")]
    index: Option<usize>,
    /// Which list of the plan the index is for
    #[arg(long, value_enum, default_value = "runs", requires = "plan")]
    wave: Wave,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Folder in which a relative checkpoint is looked for, besides the data folder (may be repeated)
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Vec<PathBuf>,
    #[command(flatten)]
    options: RunOptions,
}

/// What is to be done.
enum Work {
    Run(Box<RunSpec>),
    Baseline(Box<BaselineRun>),
}

/// One entry.
struct Entry {
    work: Work,
    experiment: String,
    /// The id that the plan gives it.
    id: Option<String>,
    /// Where it stands, for messages.
    place: String,
}

impl Args {
    fn load(&self) -> Result<Entry> {
        match (&self.plan, &self.spec) {
            (Some(path), _) => self.planned(path),
            (None, Some(spec)) => {
                let (text, place) = match spec.trim_start().starts_with('{') {
                    true => (spec.clone(), "--spec".to_owned()),
                    false => {
                        (std::fs::read_to_string(spec).map_err(Error::io(Path::new(spec)))?, spec.clone())
                    }
                };
                let value: serde_json::Value = parse(&text, &place)?;
                let work = match value.get("quantizer").is_none() && value.get("baseline").is_some() {
                    true => Work::Baseline(Box::new(parse(&text, &place)?)),
                    false => Work::Run(Box::new(parse(&text, &place)?)),
                };
                Ok(Entry { work, experiment: "exec".into(), id: None, place })
            }
            // The argument parser demands one of the two.
            (None, None) => Err(Error::input("give --spec or --plan")),
        }
    }

    fn planned(&self, path: &Path) -> Result<Entry> {
        let mut plan = Plan::load(path)?;
        let index = self.index.unwrap_or(0);
        let place = format!("{}, {}[{index}]", path.display(), self.wave.name());
        if index >= plan.len(self.wave) {
            return Err(Error::input_hint(
                format!("{place}: there is no such entry: the plan has {}", plan.len(self.wave)),
                "`ecqx plan SPEC --format json` writes plans",
            ));
        }
        Ok(match self.wave {
            Wave::Runs => {
                let run = plan.runs.swap_remove(index);
                let work = Work::Run(Box::new(run.spec));
                Entry { work, experiment: run.experiment, id: Some(run.id), place }
            }
            Wave::Baselines => {
                let baseline = plan.baselines.swap_remove(index);
                let work = Work::Baseline(Box::new(baseline.spec));
                Entry { work, experiment: baseline.experiment, id: Some(baseline.id), place }
            }
        })
    }
}

impl Entry {
    /// An engine's machine may see other data or weights than the one that planned; its result would be another run's.
    fn check(&self, id: &str) -> Result<()> {
        match &self.id {
            Some(planned) if planned != id => Err(Error::input_hint(
                format!("{}: the plan says {planned}, here it is {id}", self.place),
                "data, checkpoint or version of ecqx differ from those that were planned with: plan again",
            )),
            _ => Ok(()),
        }
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    interrupt::install()?;
    let entry = args.load()?;
    let mut context = Context::new(
        Store::open(&args.store)?,
        global.data_dir(),
        args.checkpoint_dir.clone(),
        global.device()?,
    );
    args.options.configure(&mut context);
    let outcome = match &entry.work {
        Work::Run(run) => do_run(&context, run, &entry, &args.options, global),
        Work::Baseline(spec) => do_baseline(&context, spec, &entry, global),
    };
    match outcome {
        Err(Error::Cancelled) => Ok(super::INTERRUPTED),
        outcome => Ok(outcome?),
    }
}

fn claimed(id: &str) -> u8 {
    eprintln!("{id}: claimed by another process");
    super::CLAIMED
}

fn do_run(
    context: &Context,
    run: &RunSpec,
    entry: &Entry,
    options: &RunOptions,
    global: &Global,
) -> Result<u8> {
    let (id, _) = context.ids(run)?;
    entry.check(&id)?;
    // What needs no computing: a result, or a failure that has used up its attempts.
    let settled = || match context.store.find(&id) {
        Lookup::Found(record) if record.status == Status::Done => Some(record),
        Lookup::Found(record) if !options.may_try(record.attempts) => Some(record),
        _ => None,
    };
    let mut status = "already done";
    let record = match settled() {
        Some(record) => *record,
        None => {
            let Some(_claim) = context.store.claim(&id)? else { return Ok(claimed(&id)) };
            // Another process may have finished it between the two looks.
            match settled() {
                Some(record) => *record,
                None => {
                    status = "done";
                    attempt(context, run, entry, options)?
                }
            }
        }
    };
    let failed = record.status == Status::Failed;
    if failed && status == "already done" {
        eprintln!("{id}: failed {} times and is not tried again; --retry-failed does", record.attempts);
    }
    if global.json {
        let status = if failed { "failed" } else { status };
        println!(
            "{}",
            serde_json::json!({
                "id": id, "status": status, "error": record.error, "attempts": record.attempts,
                "top1": record.test.map(|t| t.top1),
            })
        );
    }
    Ok(if failed { super::FAILED } else { super::DONE })
}

/// Does the run, again where a failure may pass by itself.
fn attempt(context: &Context, run: &RunSpec, entry: &Entry, options: &RunOptions) -> Result<RunRecord> {
    let progress = Progress::new(1);
    loop {
        let watch = progress.start(&entry.experiment, &run.label(), run.seed);
        let outcome = execute(context, run, &entry.experiment, &watch)?;
        watch.done(&outcome.record);
        let again = outcome.may_pass && options.may_retry(outcome.record.attempts);
        if !again || interrupt::cancelled() {
            return Ok(outcome.record);
        }
    }
}

fn do_baseline(context: &Context, spec: &BaselineRun, entry: &Entry, global: &Global) -> Result<u8> {
    let (_, id) = context.ids(&spec.as_run())?;
    entry.check(&id)?;
    let there = context.store.has_baseline(&id);
    let holder = format!("baseline-{id}");
    if !there && context.store.claims()?.iter().any(|claim| claim.id == holder && !claim.stale) {
        return Ok(claimed(&id));
    }
    let progress = Progress::new(1);
    let watch = progress.start(&entry.experiment, "baseline", 0);
    let test = make_baseline(context, spec, &watch)?;
    progress.finish();
    if global.json {
        let status = if there { "already done" } else { "done" };
        println!("{}", serde_json::json!({"id": id, "status": status, "error": null, "top1": test.top1}));
    }
    Ok(super::DONE)
}
