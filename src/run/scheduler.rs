//! Many runs: claims, retries, waves. A baseline that several runs wait for is made first, with all threads; then the
//! runs are spread over the jobs, each of which has a pool of threads of its own, so that they do not get in each other's
//! way. What is begun, skipped and done is told to a [`Watch`]; nothing here prints.

mod queue;
mod task;

use super::{Context, execute, make_baseline};
use crate::record::RunRecord;
use crate::spec::{BaselineRun, RunSpec};
use crate::store::Lookup;
use crate::{Error, Result};
use queue::{Queue, Waiting};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub use task::{End, Policy, Retries, Task, View, Watch, Work};

/// Time between two looks at what other processes have claimed.
const LOOK: Duration = Duration::from_millis(500);

/// What the jobs share.
struct Shared<'a> {
    context: &'a Context,
    tasks: &'a [Task],
    policy: Policy,
    watch: &'a dyn Watch,
    queue: Mutex<Queue>,
    ends: Mutex<Vec<Option<End>>>,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::Internal("a worker panicked".into()))
}

/// Does all tasks and returns what became of each, in their order; `None` for those that were not finished because of an
/// interruption or, with `fail_fast`, a failure.
///
/// # Errors
/// The first error that is not one run's: a store or disk that can't be written, data that can't be read, another plan.
pub fn schedule(
    context: &Context,
    tasks: &[Task],
    policy: Policy,
    watch: &dyn Watch,
) -> Result<Vec<Option<End>>> {
    let threads = rayon::current_num_threads();
    let jobs = policy.jobs.min(tasks.len()).min(threads).max(1);
    let shared = Shared {
        context,
        tasks,
        policy,
        watch,
        queue: Mutex::new(Queue::new(tasks.len(), jobs)),
        ends: Mutex::new(tasks.iter().map(|_| None).collect()),
        stop: AtomicBool::new(false),
    };
    shared.shared_baselines()?;
    let first_error: Mutex<Option<Error>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads / jobs).build();
                let result = match pool {
                    Ok(pool) => pool.install(|| shared.work()),
                    Err(error) => Err(Error::Internal(format!("threads: {error}"))),
                };
                if let Err(error) = result {
                    shared.stop.store(true, Ordering::Relaxed);
                    if let Ok(mut first) = first_error.lock() {
                        first.get_or_insert(error);
                    }
                }
            });
        }
    });
    match first_error.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => shared.ends.into_inner().map_err(|_| Error::Internal("a worker panicked".into())),
    }
}

impl Shared<'_> {
    /// First wave: missing baselines that several of the runs need, one after the other with all threads. Failures are
    /// the runs', which will meet them again.
    fn shared_baselines(&self) -> Result<()> {
        if self.tasks.len() < 2 {
            return Ok(());
        }
        let mut needed: BTreeMap<String, (usize, &Task, &RunSpec)> = BTreeMap::new();
        let mut order = Vec::new();
        for task in self.tasks {
            let Work::Run(run) = &task.work else { continue };
            let resolved = run.resolve(&self.context.registry).and_then(|run| self.context.ids(&run));
            let Ok((id, baseline)) = resolved else { continue };
            // Whoever does the run checks all its files.
            let is_done = matches!(self.context.store.look(&id), Lookup::Found(record) if record.is_done());
            if is_done && !self.policy.force {
                continue;
            }
            needed
                .entry(baseline)
                .or_insert_with_key(|baseline| {
                    order.push(baseline.clone());
                    (0, task, run)
                })
                .0 += 1;
        }
        for id in order {
            let (count, task, run) = &needed[&id];
            // One that another process is making is waited for by the runs, while this one goes on.
            if *count < 2
                || self.context.store.has_baseline(&id)
                || self.is_claimed(&format!("baseline-{id}"))?
            {
                continue;
            }
            let view = self.watch.begin(&task.experiment, "baseline", None);
            let make = || make_baseline(self.context, &run.baseline_run(), &*view);
            // A panic comes again inside of a run, which records it.
            match catch_unwind(AssertUnwindSafe(make)) {
                Ok(Err(error)) if error.is_fatal() => return Err(error),
                _ => view.ended(None),
            }
            if self.watch.cancelled() {
                break;
            }
        }
        Ok(())
    }

    fn is_claimed(&self, id: &str) -> Result<bool> {
        Ok(self.context.store.claims()?.iter().any(|claim| claim.id == id && !claim.stale))
    }

    /// One job: tasks from the queue until it is empty.
    fn work(&self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) && !self.watch.cancelled() {
            let (next, all_claimed) = lock(&self.queue)?.next();
            let Some(mut waiting) = next else { return Ok(()) };
            if all_claimed {
                std::thread::sleep(LOOK);
            }
            let task = &self.tasks[waiting.index];
            let end = match &task.work {
                Work::Run(run) => match self.run(task, run, &mut waiting) {
                    Err(Error::Cancelled) => return Ok(()),
                    end => end?,
                },
                Work::Baseline(spec) => match self.baseline(task, spec) {
                    Err(Error::Cancelled) => return Ok(()),
                    Err(error) => Some(End::NoBaseline(error)),
                    Ok(end) => Some(end),
                },
            };
            if matches!(end, Some(End::Claimed)) && self.policy.wait_for_others {
                waiting.claimed = true;
                lock(&self.queue)?.put_back(waiting);
                continue;
            }
            if end.is_none() {
                // Tried, and to be tried again after the others.
                waiting.tried = true;
                let mut queue = lock(&self.queue)?;
                if queue.put_back(waiting) {
                    self.watch.fewer_jobs(queue.jobs);
                    return Ok(());
                }
                continue;
            }
            let index = waiting.index;
            lock(&self.ends)?[index] = end;
        }
        Ok(())
    }

    /// The record that stands without computing.
    fn settled(&self, id: &str, task: &Task, waiting: &Waiting) -> Option<Box<RunRecord>> {
        if self.policy.force {
            return None;
        }
        match self.context.store.find(id) {
            Lookup::Found(record) if record.is_done() => Some(record),
            // Tried here a moment ago, and found to be worth another try.
            Lookup::Found(_) if waiting.tried => None,
            Lookup::Found(record) if !self.policy.retries.may_try(record.attempts) => Some(record),
            // Another worker of the same plan has just tried it.
            Lookup::Found(record) if task.is_new && self.policy.wait_for_others => Some(record),
            _ => None,
        }
    }

    /// One attempt at a run; `None` when it failed and is to be tried again.
    fn run(&self, task: &Task, run: &RunSpec, waiting: &mut Waiting) -> Result<Option<End>> {
        let run = &run.resolve(&self.context.registry)?;
        let (id, _) = self.context.ids(run)?;
        task.check(&id)?;
        let settled = |waiting: &Waiting| {
            let record = self.settled(&id, task, waiting)?;
            self.watch.settled(&id, task, &record);
            Some(End::Settled(record))
        };
        if let Some(end) = settled(waiting) {
            return Ok(Some(end));
        }
        let Some(_claim) = self.context.store.claim(&id)? else {
            if !waiting.claimed {
                self.watch.claimed(&id, task);
            }
            return Ok(Some(End::Claimed));
        };
        waiting.claimed = false;
        // Another process may have finished it between the two looks.
        if let Some(end) = settled(waiting) {
            return Ok(Some(end));
        }
        let view = self.watch.begin(&task.experiment, &run.label(), Some(run.seed));
        let executed = execute(self.context, run, &task.experiment, &*view)?;
        view.ended(Some(&executed.record));
        waiting.is_out_of_memory = executed.is_out_of_memory;
        // Alone on the device it would fail again.
        let may_pass = !executed.is_out_of_memory || lock(&self.queue)?.jobs > 1;
        if executed.record.is_failed() {
            if self.policy.fail_fast {
                self.stop.store(true, Ordering::Relaxed);
            } else if executed.is_transient
                && may_pass
                && self.policy.retries.may_retry(executed.record.attempts)
                && !self.watch.cancelled()
            {
                // Should the next try not come about, this is how it ended.
                lock(&self.ends)?[waiting.index] = Some(End::Computed(Box::new(executed.record)));
                return Ok(None);
            }
        }
        Ok(Some(End::Computed(Box::new(executed.record))))
    }

    fn baseline(&self, task: &Task, spec: &BaselineRun) -> Result<End> {
        let (_, id) = self.context.ids(&spec.as_run().resolve(&self.context.registry)?)?;
        task.check(&id)?;
        let was_there = self.context.store.has_baseline(&id);
        if !was_there && self.is_claimed(&format!("baseline-{id}"))? {
            self.watch.claimed(&id, task);
            return Ok(End::Claimed);
        }
        let view = self.watch.begin(&task.experiment, "baseline", None);
        let made = make_baseline(self.context, spec, &*view);
        view.ended(None);
        Ok(End::Baseline { id, test: made?, was_there })
    }
}
