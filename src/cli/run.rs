//! `ecqx run`: do what experiments ask for; finished runs are skipped, failed ones become rows and are tried again.

use super::Global;
use super::duration::duration;
use super::experiments::{self, Selection};
use super::interrupt::{self, cancelled};
use super::listing;
use super::progress::Progress;
use super::run_options::RunOptions;
use crate::error::count;
use crate::plan::{Depth, Planned, State, estimate};
use crate::record::RunRecord;
use crate::report::Methods;
use crate::report::records::sort;
use crate::run::Context;
use crate::run::memory;
use crate::run::scheduler::{End, Policy, Task, View, Watch, Work, schedule};
use crate::store::Store;

/// Run experiments; what is finished is skipped
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Runs at a time; they share the cores
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: u32,
    /// Re-run completed runs
    #[arg(long)]
    force: bool,
    /// Stop at the first failed run
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    options: RunOptions,
}

/// What a person sees of it.
struct Screen<'a>(&'a Progress);

impl Watch for Screen<'_> {
    fn begin<'a>(&'a self, experiment: &str, label: &str, seed: Option<u64>) -> Box<dyn View + 'a> {
        Box::new(self.0.start(experiment, label, seed))
    }

    fn claimed(&self, _: &str, task: &Task) {
        self.0.note(&format!("{} is being computed by another process: skipped", task.label()));
    }

    fn settled(&self, _: &str, task: &Task, record: &RunRecord) {
        let how = if record.is_done() { "finished" } else { "tried" };
        self.0.note(&format!("{} was {how} by another process", task.label()));
    }

    fn fewer_jobs(&self, jobs: usize) {
        self.0.note(&format!("the device's memory was full: {} go on", count(jobs, "job")));
    }

    fn cancelled(&self) -> bool {
        cancelled()
    }
}

fn task(planned: &Planned) -> Task {
    Task {
        work: Work::Run(Box::new(planned.run.clone())),
        experiment: planned.experiment.clone(),
        planned_id: None,
        origin: planned.run.label(),
        is_new: matches!(planned.state, State::New),
    }
}

/// The jobs that the device's memory has room for, at most as many as asked for.
fn jobs_on_device(
    wanted: usize,
    context: &Context,
    planned: &[Planned],
    progress: &Progress,
) -> crate::Result<usize> {
    let (Some(free), true) = (memory::free(&context.device), wanted > 1) else { return Ok(wanted) };
    let runs = planned.iter().map(|planned| &planned.run);
    let Some(each) = context.memory_estimate(runs)? else { return Ok(wanted) };
    let jobs = memory::side_by_side(free, each).min(wanted);
    if jobs < wanted {
        progress.note(&format!(
            "{} instead of {wanted}: a run takes about {} MB of the device's {} MB that are free",
            count(jobs, "job"),
            each >> 20,
            free >> 20
        ));
    }
    Ok(jobs)
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    interrupt::install()?;
    let mut context = experiments::context(&args.selection, global)?;
    args.options.configure(&mut context);
    // Before any work: a store that can't be written is an error now.
    context.store = Store::open(&args.selection.store)?;
    let planned = experiments::plan(&args.selection, &context, Depth::Files)?;
    let retries = args.options.retries();
    let (mut due, mut skipped, mut given_up) = (Vec::new(), 0, Vec::new());
    for planned in &planned {
        match planned.state {
            State::Done(_) if !args.force => skipped += 1,
            State::Failed if !args.force && !retries.may_try(planned.attempts) => given_up.push(planned),
            _ => {
                // A recipe that can't be followed here is known before anything is trained.
                let has_baseline = context.store.has_baseline(&planned.baseline);
                let fits = context.check_recipes(&planned.run, has_baseline);
                fits.map_err(|error| error.at(planned.run.label()))?;
                due.push(task(planned));
            }
        }
    }
    if !due.is_empty() {
        context.store.check_writable()?;
    }
    let progress = Progress::new(&due);
    progress.note(&format!(
        "{}: {skipped} finished earlier, {} to do",
        count(planned.len(), "run"),
        due.len()
    ));
    if !due.is_empty() {
        progress.note(&expected_time(&planned, args));
    }
    if !given_up.is_empty() {
        progress.note(&format!(
            "{} without attempts left (--max-retries); --retry-failed tries again",
            count(given_up.len(), "failed run")
        ));
    }
    let jobs = jobs_on_device(args.jobs as usize, &context, &planned, &progress)?;
    let policy =
        Policy { jobs, force: args.force, fail_fast: args.fail_fast, wait_for_others: false, retries };
    let ends =
        interrupt::told_to(progress.speaker(), || schedule(&context, &due, policy, &Screen(&progress)))?;
    progress.finish();
    let computed: Vec<RunRecord> = ends
        .into_iter()
        .filter_map(|end| match end {
            Some(End::Computed(record)) => Some(*record),
            _ => None,
        })
        .collect();
    let failed: Vec<&RunRecord> = computed.iter().filter(|record| record.is_failed()).collect();
    if global.json {
        let mut list: Vec<_> = failed
            .iter()
            .map(|record| {
                serde_json::json!({
                    "id": record.id, "label": record.label, "error": record.error(), "attempts": record.attempts,
                })
            })
            .collect();
        list.extend(given_up.iter().map(|p| {
            serde_json::json!({
                "id": p.id, "label": p.run.label(), "error": "not tried again", "attempts": p.attempts,
            })
        }));
        println!(
            "{}",
            serde_json::json!({
                "runs": planned.len(), "skipped": skipped, "done": computed.len() - failed.len(), "failed": list,
                "interrupted": cancelled(),
            })
        );
    }
    let (total, failures) = (planned.len(), failed.len() + given_up.len());
    let now_done = skipped + computed.len() - failed.len();
    let is_well = failed.is_empty() && given_up.is_empty();
    let interrupted = cancelled();
    if !global.json {
        // What is done and what comes next, also after an interruption.
        let all = count(total, "run");
        if interrupted {
            eprintln!("{now_done} of {all} done; the same command continues");
        } else {
            finished(planned, computed, global, args);
            if failures > 0 {
                let selection = named(args);
                eprintln!(
                    "{now_done} of {all} done, {failures} failed; `ecqx results --failed{selection}` says why"
                );
            } else if now_done < total {
                eprintln!("{now_done} of {all} done");
            }
        }
    }
    if interrupted {
        return Ok(super::INTERRUPTED);
    }
    Ok(if is_well { super::DONE } else { super::FAILED })
}

/// How long it may take, from what the store has of these experiments.
fn expected_time(planned: &[Planned], args: &Args) -> String {
    match estimate::seconds_left(planned, &Default::default()) {
        Some(seconds) => format!(
            "expected time: about {} with {} at a time, from the finished runs here",
            duration(seconds / f64::from(args.jobs)),
            count(args.jobs as usize, "run")
        ),
        None => "expected time: unknown until a run of each data set and model is done".into(),
    }
}

/// Rows of working points that fit a screen.
const ROWS: usize = 24;

/// A short table of all finished runs of the experiments, and what to do next.
fn finished(planned: Vec<Planned>, computed: Vec<RunRecord>, global: &Global, args: &Args) {
    let methods = Methods::new(&global.registry);
    let mut records = computed;
    records.extend(planned.into_iter().filter_map(|planned| match planned.state {
        State::Done(record) => Some(*record),
        _ => None,
    }));
    // New results stand before those of the same id that were done again; sorting keeps the first.
    sort(&mut records, &methods);
    let lines = listing::working_points(&records, &methods).lines();
    if lines.len() < 2 {
        return;
    }
    println!();
    lines.iter().take(ROWS + 1).for_each(|line| println!("{line}"));
    if lines.len() > ROWS + 1 {
        println!("… {}: `ecqx results` lists them", count(lines.len() - ROWS - 1, "more row"));
    }
    println!("\nnext: ecqx report{}", named(args));
}

/// The experiments and the store, as they stand behind a command.
fn named(args: &Args) -> String {
    let specs: String = args.selection.specs.iter().map(|spec| format!(" {}", spec.display())).collect();
    match args.selection.store.to_str() {
        Some("store") => specs,
        _ => format!("{specs} --store {}", args.selection.store.display()),
    }
}
