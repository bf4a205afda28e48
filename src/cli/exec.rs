//! `ecqx exec`: one run, idempotently — what engines call.

use super::Global;
use super::interrupt;
use super::progress::Progress;
use super::run_options::RunOptions;
use crate::engine::{Plan, Wave, parse};
use crate::record::{RunRecord, Status};
use crate::run::{Context, execute, make_baseline};
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
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Position in the plan's wave, from 0
    #[arg(long, value_name = "N", requires = "plan")]
    index: Option<usize>,
    /// Do every entry of the wave that nobody has done or claimed, and wait for those that others are doing
    #[arg(long, requires = "plan", conflicts_with = "index")]
    all: bool,
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
    /// Whether it is one of all entries of a plan, which other workers do too.
    all: bool,
    /// Whether it was new when the plan was made.
    new: bool,
}

impl Args {
    fn load(&self) -> Result<Entry> {
        match (&self.plan, &self.spec) {
            (Some(path), _) => self.planned(path),
            (None, Some(spec)) => {
                let (text, place) = match spec.trim_start().starts_with('{') {
                    true => (spec.clone(), "--spec".to_owned()),
                    false => (crate::io::read_text(Path::new(spec))?, spec.clone()),
                };
                let value: serde_json::Value = parse(&text, &place)?;
                let work = match value.get("quantizer").is_none() && value.get("baseline").is_some() {
                    true => Work::Baseline(Box::new(parse(&text, &place)?)),
                    false => Work::Run(Box::new(parse(&text, &place)?)),
                };
                Ok(Entry { work, experiment: "exec".into(), id: None, place, all: false, new: true })
            }
            // The argument parser demands one of the two.
            (None, None) => Err(Error::input("give --spec or --plan")),
        }
    }

    fn planned(&self, path: &Path) -> Result<Entry> {
        let index = self.index.ok_or_else(|| {
            Error::input_hint("--plan needs --index N", "or --all for everything that is left")
        })?;
        let plan = Plan::load(path)?;
        let place = format!("{}, {}[{index}]", path.display(), self.wave.name());
        if index >= plan.len(self.wave) {
            return Err(Error::input_hint(
                format!("{place}: there is no such entry: the plan has {}", plan.len(self.wave)),
                "`ecqx plan SPEC --format json` writes plans",
            ));
        }
        Ok(self.entry(&plan, index, place))
    }

    fn entry(&self, plan: &Plan, index: usize, place: String) -> Entry {
        let all = self.all;
        match self.wave {
            Wave::Runs => {
                let run = plan.runs[index].clone();
                let work = Work::Run(Box::new(run.spec));
                Entry {
                    work,
                    experiment: run.experiment,
                    id: Some(run.id),
                    place,
                    all,
                    new: run.state == "new",
                }
            }
            Wave::Baselines => {
                let baseline = plan.baselines[index].clone();
                let work = Work::Baseline(Box::new(baseline.spec));
                Entry { work, experiment: baseline.experiment, id: Some(baseline.id), place, all, new: true }
            }
        }
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
    let open = || -> Result<Context> {
        let store = Store::open(&args.store)?;
        let mut context =
            Context::new(store, global.data_dir(), args.checkpoint_dir.clone(), global.device()?);
        args.options.configure(&mut context);
        Ok(context)
    };
    if let (Some(path), true) = (&args.plan, args.all) {
        let plan = Plan::load(path)?;
        return Ok(all(args, &plan, &open()?, global)?);
    }
    let entry = args.load()?;
    Ok(one(&open()?, &entry, &args.options, global)?)
}

/// One entry.
fn one(context: &Context, entry: &Entry, options: &RunOptions, global: &Global) -> Result<u8> {
    let outcome = match &entry.work {
        Work::Run(run) => do_run(context, run, entry, options, global),
        Work::Baseline(spec) => do_baseline(context, spec, entry, global),
    };
    match outcome {
        Err(Error::Cancelled) => Ok(super::INTERRUPTED),
        outcome => outcome,
    }
}

/// A worker: all entries of a wave. One whose worker is killed elsewhere is taken over, so entries that others have
/// claimed are looked at again until they are done.
fn all(args: &Args, plan: &Plan, context: &Context, global: &Global) -> Result<u8> {
    // One JSON object per process: there is none for many entries.
    let quiet = Global { json: false, ..global.clone() };
    let mut waiting: Vec<usize> = (0..plan.len(args.wave)).collect();
    let (total, mut code) = (waiting.len(), super::DONE);
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut claimed = Vec::new();
        for index in waiting {
            if interrupt::cancelled() {
                return Ok(super::INTERRUPTED);
            }
            let entry = args.entry(plan, index, format!("{}[{index}]", args.wave.name()));
            match one(context, &entry, &args.options, &quiet) {
                Ok(super::DONE) => {}
                Ok(super::CLAIMED) => claimed.push(index),
                Ok(super::INTERRUPTED) => return Ok(super::INTERRUPTED),
                Ok(other) => code = other,
                // A baseline that cannot be made is no reason to leave the others.
                Err(error) if args.wave == Wave::Baselines => {
                    eprintln!("error: {}: {error}", entry.place);
                    code = super::FAILED;
                }
                Err(error) => return Err(error),
            }
        }
        waiting = claimed;
        if waiting.len() == before {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
    if global.json {
        println!("{}", serde_json::json!({"entries": total, "failed": code == super::FAILED}));
    }
    Ok(code)
}

fn claimed(id: &str, entry: &Entry) -> u8 {
    // A worker over a whole plan meets the others' claims all the time.
    if !entry.all {
        eprintln!("{id}: claimed by another process");
    }
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
        // Another worker of the same plan has just tried it.
        Lookup::Found(record) if entry.all && entry.new => Some(record),
        _ => None,
    };
    let mut status = "already done";
    let record = match settled() {
        Some(record) => *record,
        None => {
            let Some(_claim) = context.store.claim(&id)? else { return Ok(claimed(&id, entry)) };
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
    if failed && status == "already done" && !entry.all {
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
        return Ok(claimed(&id, entry));
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
