//! `ecqx run`: do what experiments ask for; finished runs are skipped, failed ones become rows and are tried again.

use super::Global;
use super::experiments::{self, Planned, Selection, State};
use super::interrupt::{self, cancelled};
use super::progress::Progress;
use super::run_options::RunOptions;
use crate::error::count;
use crate::record::{RunRecord, Status};
use crate::run::{Context, execute};
use crate::store::Store;
use crate::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Run experiments; what is finished is skipped
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Runs at a time; they share the cores
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: u32,
    /// Do finished runs again
    #[arg(long)]
    force: bool,
    /// Stop at the first failed run
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    options: RunOptions,
}

/// Seconds as hours, minutes and seconds.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    interrupt::install()?;
    let mut context = experiments::context(&args.selection, global)?;
    args.options.configure(&mut context);
    // Before any work: a store that can't be written is an error now.
    context.store = Store::open(&args.selection.store)?;
    let planned = experiments::plan_thoroughly(&args.selection, &context)?;
    let (mut due, mut skipped, mut given_up) = (VecDeque::new(), 0, Vec::new());
    for planned in &planned {
        match planned.state {
            State::Done(_) if !args.force => skipped += 1,
            State::Failed if !args.force && !args.options.may_try(planned.attempts) => given_up.push(planned),
            _ => due.push_back(planned),
        }
    }
    if !due.is_empty() {
        context.store.check_writable()?;
    }
    let progress = Progress::new(due.len());
    progress.note(&format!(
        "{}: {skipped} finished earlier, {} to do",
        count(planned.len(), "run"),
        due.len()
    ));
    if !given_up.is_empty() {
        progress.note(&format!(
            "{} without attempts left (--max-retries); --retry-failed tries again",
            count(given_up.len(), "failed run")
        ));
    }
    let outcome = work(args, &context, due, &progress)?;
    progress.finish();
    let failed: Vec<&RunRecord> = outcome.iter().filter(|record| record.status == Status::Failed).collect();
    if global.json {
        let mut list: Vec<_> = failed
            .iter()
            .map(|record| {
                serde_json::json!({
                    "id": record.id, "label": record.label, "error": record.error, "attempts": record.attempts,
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
                "runs": planned.len(), "skipped": skipped, "done": outcome.len() - failed.len(), "failed": list,
                "interrupted": cancelled(),
            })
        );
    }
    if cancelled() {
        return Ok(super::INTERRUPTED);
    }
    Ok(if failed.is_empty() && given_up.is_empty() { super::DONE } else { super::FAILED })
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::Internal("a worker panicked".into()))
}

/// Spreads the runs over the jobs. Each job has a pool of threads of its own, so that they do not get in each other's way.
/// Returns the last record of each run.
fn work(
    args: &Args,
    context: &Context,
    due: VecDeque<&Planned>,
    progress: &Progress,
) -> Result<Vec<RunRecord>> {
    let jobs = (args.jobs as usize).min(due.len()).max(1);
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let queue = Mutex::new(due);
    let stop = AtomicBool::new(false);
    let records = Mutex::new(BTreeMap::new());
    let first_error: Mutex<Option<Error>> = Mutex::new(None);
    let job = || -> Result<()> {
        while !stop.load(Ordering::Relaxed) && !cancelled() {
            let Some(planned) = lock(&queue)?.pop_front() else { return Ok(()) };
            let Some(_claim) = context.store.claim(&planned.id)? else {
                progress
                    .note(&format!("{} is being computed by another process: skipped", planned.run.label()));
                continue;
            };
            // Another process may have finished it since the plan was made.
            if !args.force && context.store.is_done(&planned.id) {
                progress.note(&format!("{} was finished by another process", planned.run.label()));
                continue;
            }
            let watch = progress.start(&planned.experiment, &planned.run.label(), planned.run.seed);
            let outcome = match execute(context, &planned.run, &planned.experiment, &watch) {
                Ok(outcome) => outcome,
                Err(Error::Cancelled) => return Ok(()),
                Err(error) => return Err(error),
            };
            watch.done(&outcome.record);
            if outcome.record.status == Status::Failed {
                if args.fail_fast {
                    stop.store(true, Ordering::Relaxed);
                } else if outcome.may_pass && args.options.may_retry(outcome.record.attempts) {
                    lock(&queue)?.push_back(planned);
                }
            }
            lock(&records)?.insert(outcome.record.id.clone(), outcome.record);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let result = match pool {
                    Ok(pool) => pool.install(job),
                    Err(error) => Err(Error::Internal(format!("threads: {error}"))),
                };
                if let Err(error) = result {
                    stop.store(true, Ordering::Relaxed);
                    if let Ok(mut first) = first_error.lock() {
                        first.get_or_insert(error);
                    }
                }
            });
        }
    });
    match first_error.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => records
            .into_inner()
            .map(|records| records.into_values().collect())
            .map_err(|_| Error::Internal("a worker panicked".into())),
    }
}
