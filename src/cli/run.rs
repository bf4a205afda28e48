//! `ecqx run`: do what experiments ask for; finished runs are skipped, failed ones become rows.

use super::Global;
use super::experiments::{self, Planned, Selection, State};
use super::progress::Progress;
use crate::run::{Context, RunRecord, Status, execute};
use crate::{Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
}

/// Set by Ctrl-C: runs stop at the end of their epoch.
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// Whether the user asked to stop.
pub(super) fn cancelled() -> bool {
    CANCELLED.load(Ordering::Relaxed)
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
    // Installed once per process; a second handler would be a defect that the next line reports.
    ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(super::INTERRUPTED));
        }
        eprintln!("stopping at the end of the epoch; once more to stop at once (nothing finished is lost)");
    })?;
    let context = experiments::context(&args.selection, global)?;
    let planned = experiments::plan(&args.selection, &context)?;
    let is_due = |p: &&Planned| args.force || !matches!(p.state, State::Done(_));
    let due: Vec<&Planned> = planned.iter().filter(is_due).collect();
    let skipped = planned.len() - due.len();
    let progress = Progress::new(due.len());
    progress.note(&format!("{} runs: {skipped} finished earlier, {} to do", planned.len(), due.len()));
    let outcome = work(args, &context, &due, &progress)?;
    progress.finish();
    if global.json {
        let failed: Vec<_> = outcome
            .iter()
            .filter(|record| record.status == Status::Failed)
            .map(|record| serde_json::json!({"id": record.id, "label": record.label, "error": record.error}))
            .collect();
        let done = outcome.len() - failed.len();
        println!(
            "{}",
            serde_json::json!({
                "runs": planned.len(), "skipped": skipped, "done": done, "failed": failed, "interrupted": cancelled(),
            })
        );
    }
    if cancelled() {
        return Ok(super::INTERRUPTED);
    }
    Ok(if outcome.iter().any(|record| record.status == Status::Failed) { super::FAILED } else { super::DONE })
}

/// Spreads the runs over the jobs. Each job has a pool of threads of its own, so that they do not get in each other's way.
fn work(args: &Args, context: &Context, due: &[&Planned], progress: &Progress) -> Result<Vec<RunRecord>> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let records = Mutex::new(Vec::new());
    let first_error: Mutex<Option<Error>> = Mutex::new(None);
    let jobs = (args.jobs as usize).min(due.len()).max(1);
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let job = || -> Result<()> {
        while !stop.load(Ordering::Relaxed) && !cancelled() {
            let Some(planned) = due.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            let Some(_claim) = context.store.claim(&planned.id)? else {
                progress
                    .note(&format!("{} is being computed by another process: skipped", planned.run.label()));
                continue;
            };
            let watch = progress.start(&planned.experiment, &planned.run.label(), planned.run.seed);
            let record = match execute(context, &planned.run, &planned.experiment, &watch) {
                Ok(record) => record,
                Err(Error::Cancelled) => return Ok(()),
                Err(error) => return Err(error),
            };
            watch.done(&record);
            if record.status == Status::Failed && args.fail_fast {
                stop.store(true, Ordering::Relaxed);
            }
            if let Ok(mut records) = records.lock() {
                records.push(record);
            }
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
        _ => records.into_inner().map_err(|_| Error::Internal("a worker panicked".into())),
    }
}
