//! `ecqx exec`: one run, idempotently — what engines call.

use super::Global;
use super::interrupt::{self, cancelled};
use super::progress::Progress;
use super::run_options::RunOptions;
use crate::plan::{Plan, Wave, parse};
use crate::record::{Metrics, RunRecord};
use crate::run::Context;
use crate::run::scheduler::{End, Policy, Task, View, Watch, Work, schedule};
use crate::store::Store;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Execute one run of a plan: exit code 0 done (now or earlier), 1 failed, 75 claimed by another process
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
    wave: WaveName,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Folder in which a relative checkpoint is looked for, besides the data folder (may be repeated)
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Vec<PathBuf>,
    #[command(flatten)]
    options: RunOptions,
}

/// [`Wave`] on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WaveName {
    /// Full-precision weights, shared by runs
    Baselines,
    /// The runs themselves
    Runs,
}

impl Args {
    fn wave(&self) -> Wave {
        match self.wave {
            WaveName::Baselines => Wave::Baselines,
            WaveName::Runs => Wave::Runs,
        }
    }

    /// The entries to do.
    fn tasks(&self) -> Result<Vec<Task>> {
        match (&self.plan, &self.spec) {
            (Some(path), _) if self.all => {
                let plan = Plan::load(path)?;
                Ok((0..plan.len(self.wave())).map(|index| self.entry(&plan, index, None)).collect())
            }
            (Some(path), _) => self.one_of(path).map(|task| vec![task]),
            (None, Some(spec)) => Self::specified(spec).map(|task| vec![task]),
            // The argument parser demands one of the two.
            (None, None) => Err(Error::input("give --spec or --plan")),
        }
    }

    /// A specification by itself.
    fn specified(spec: &str) -> Result<Task> {
        let (text, place) = match spec.trim_start().starts_with('{') {
            true => (spec.to_owned(), "--spec".to_owned()),
            false => (std::fs::read_to_string(spec).map_err(Error::io(Path::new(spec)))?, spec.to_owned()),
        };
        let value: serde_json::Value = parse(&text, &place)?;
        let work = match value.get("quantizer").is_none() && value.get("baseline").is_some() {
            true => Work::Baseline(Box::new(parse(&text, &place)?)),
            false => Work::Run(Box::new(parse(&text, &place)?)),
        };
        Ok(Task { work, experiment: "exec".into(), planned_id: None, origin: place, is_new: true })
    }

    /// The entry that `--index` names.
    fn one_of(&self, path: &Path) -> Result<Task> {
        let index = self.index.ok_or_else(|| {
            Error::input_hint("--plan needs --index N", "or --all for everything that is left")
        })?;
        let plan = Plan::load(path)?;
        let origin = format!("{}, {}[{index}]", path.display(), self.wave().name());
        if index >= plan.len(self.wave()) {
            return Err(Error::input_hint(
                format!("{origin}: there is no such entry: the plan has {}", plan.len(self.wave())),
                "`ecqx plan SPEC --format json` writes plans",
            ));
        }
        Ok(self.entry(&plan, index, Some(origin)))
    }

    fn entry(&self, plan: &Plan, index: usize, origin: Option<String>) -> Task {
        let origin = origin.unwrap_or_else(|| format!("{}[{index}]", self.wave().name()));
        let (work, experiment, id, is_new) = match self.wave() {
            Wave::Runs => {
                let run = plan.runs[index].clone();
                (Work::Run(Box::new(run.spec)), run.experiment, run.id, run.state == "new")
            }
            Wave::Baselines => {
                let baseline = plan.baselines[index].clone();
                (Work::Baseline(Box::new(baseline.spec)), baseline.experiment, baseline.id, true)
            }
        };
        Task { work, experiment, planned_id: Some(id), origin, is_new }
    }
}

/// What a worker's log shows of it.
struct Screen {
    progress: Progress,
    /// A worker over a whole plan meets what others do all the time.
    all: bool,
}

impl Watch for Screen {
    fn begin<'a>(&'a self, experiment: &str, label: &str, seed: Option<u64>) -> Box<dyn View + 'a> {
        Box::new(self.progress.start(experiment, label, seed))
    }

    fn claimed(&self, id: &str, _: &Task) {
        if !self.all {
            self.progress.note(&format!("{id}: claimed by another process"));
        }
    }

    fn settled(&self, id: &str, _: &Task, record: &RunRecord) {
        if !self.all && record.is_failed() {
            self.progress.note(&format!(
                "{id}: failed {} times and is not tried again; --retry-failed does",
                record.attempts
            ));
        }
    }

    fn cancelled(&self) -> bool {
        cancelled()
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    interrupt::install()?;
    let tasks = args.tasks()?;
    let store = Store::open(&args.store)?;
    let mut context = Context::new(
        global.registry.clone(),
        store,
        global.data_dir(),
        args.checkpoint_dir.clone(),
        global.device()?,
    );
    args.options.configure(&mut context);
    let policy = Policy {
        jobs: 1,
        force: false,
        fail_fast: false,
        wait_for_others: args.all,
        retries: args.options.retries(),
    };
    let screen = Screen { progress: Progress::new(&tasks), all: args.all };
    let ends = schedule(&context, &tasks, policy, &screen)?;
    screen.progress.finish();
    match args.all {
        true => Ok(code_of_all(&tasks, ends, global)),
        false => Ok(code_of_one(ends.into_iter().next().flatten(), global)?),
    }
}

/// An entry with the value of its task's metric under that one's name; `top1` is null where there is no result.
fn with_score(mut entry: serde_json::Value, test: Option<&Metrics>) -> serde_json::Value {
    entry["top1"] = serde_json::Value::Null;
    if let Some(test) = test {
        entry[test.metric().key()] = test.value().into();
    }
    entry
}

/// Tells what became of an entry; its exit code.
fn code_of_one(end: Option<End>, global: &Global) -> Result<u8> {
    let (record, status) = match end {
        None => return Ok(super::INTERRUPTED),
        Some(End::Claimed) => return Ok(super::CLAIMED),
        Some(End::NoBaseline(error)) => return Err(error),
        Some(End::Baseline { id, test, was_there }) => {
            if global.json {
                let status = if was_there { "already done" } else { "done" };
                println!(
                    "{}",
                    with_score(serde_json::json!({"id": id, "status": status, "error": null}), Some(&test))
                );
            }
            return Ok(super::DONE);
        }
        Some(End::Computed(record)) => (record, "done"),
        Some(End::Settled(record)) => (record, "already done"),
    };
    if global.json {
        let status = if record.is_failed() { "failed" } else { status };
        println!(
            "{}",
            with_score(
                serde_json::json!({
                    "id": record.id, "status": status, "error": record.error(), "attempts": record.attempts,
                }),
                record.test(),
            )
        );
    }
    Ok(if record.is_failed() { super::FAILED } else { super::DONE })
}

/// The exit code of a worker.
fn code_of_all(tasks: &[Task], ends: Vec<Option<End>>, global: &Global) -> u8 {
    if ends.iter().any(Option::is_none) {
        return super::INTERRUPTED;
    }
    let mut failed = false;
    for (task, end) in tasks.iter().zip(ends.into_iter().flatten()) {
        match end {
            End::Computed(record) | End::Settled(record) => failed |= record.is_failed(),
            // A baseline that can't be made is no reason to leave the others.
            End::NoBaseline(error) => {
                eprintln!("error: {}: {error}", task.origin);
                failed = true;
            }
            End::Baseline { .. } | End::Claimed => {}
        }
    }
    if global.json {
        println!("{}", serde_json::json!({"entries": tasks.len(), "failed": failed}));
    }
    if failed { super::FAILED } else { super::DONE }
}
