//! What is to be done, how to go about it, who watches, and what became of it.

use crate::record::{Metrics, RunRecord};
use crate::spec::{BaselineRun, RunSpec};
use crate::train::Observer;
use crate::{Error, Result};

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Work {
    /// A run.
    Run(Box<RunSpec>),
    /// A baseline alone.
    Baseline(Box<BaselineRun>),
}

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Task {
    /// What.
    pub work: Work,
    /// Name of the experiment.
    pub experiment: String,
    /// The id that a plan gives it; checked, since this machine may see other data than the one that planned.
    pub planned_id: Option<String>,
    /// Where it was read, for messages.
    pub origin: String,
    /// Whether a failed record of it is another worker's attempt at the same plan: it was new when the plan was made.
    pub is_new: bool,
}

impl Task {
    pub(super) fn check(&self, id: &str) -> Result<()> {
        match &self.planned_id {
            Some(planned) if planned != id => Err(Error::input_hint(
                format!("{}: the plan says {planned}, here it is {id}", self.origin),
                "data, checkpoint or version of ecqx differ from those that were planned with: plan again",
            )),
            _ => Ok(()),
        }
    }

    /// What it is called in progress lines.
    pub fn label(&self) -> String {
        match &self.work {
            Work::Run(run) => run.label(),
            Work::Baseline(_) => "baseline".into(),
        }
    }

    /// The run's seed; none of a baseline.
    pub fn seed(&self) -> Option<u64> {
        match &self.work {
            Work::Run(run) => Some(run.seed),
            Work::Baseline(_) => None,
        }
    }
}

/// How often failed runs are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Retries after the first attempt, counted over all calls.
    pub max: u32,
    /// Whether this call tries runs again that have used them up.
    pub even_used_up: bool,
}

impl Retries {
    /// Whether this call tries a run that failed `attempts` times in earlier ones.
    pub fn may_try(self, attempts: u32) -> bool {
        self.even_used_up || self.may_retry(attempts)
    }

    /// Whether a run that has been tried `attempts` times has retries left.
    pub fn may_retry(self, attempts: u32) -> bool {
        attempts <= self.max
    }
}

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Runs at a time; no more than there are threads.
    pub jobs: usize,
    /// Do finished runs again.
    pub force: bool,
    /// Begin nothing after the first failure.
    pub fail_fast: bool,
    /// Come back to what other processes have claimed until it is done: their process may be killed.
    pub wait_for_others: bool,
    /// After failures.
    pub retries: Retries,
}

/// Watches one piece of work.
pub trait View: Observer {
    /// It ended: a run with this record, a baseline with none.
    fn ended(&self, record: Option<&RunRecord>);
}

/// Watches all of it.
pub trait Watch: Sync {
    /// A piece of work begins; a baseline that several runs share has no seed of theirs.
    fn begin<'a>(&'a self, experiment: &str, label: &str, seed: Option<u64>) -> Box<dyn View + 'a>;
    /// Another process holds it.
    fn claimed(&self, id: &str, task: &Task);
    /// A run needs no computing: it has this record by now.
    fn settled(&self, id: &str, task: &Task, record: &RunRecord);
    /// A device's memory was full: this many jobs go on.
    fn fewer_jobs(&self, jobs: usize) {
        let _ = jobs;
    }
    /// Whether to stop at the next epoch's end.
    fn cancelled(&self) -> bool;
}

/// What became of a task.
#[derive(Debug)]
pub enum End {
    /// The run was computed here, successfully or not.
    Computed(Box<RunRecord>),
    /// The run had a record that stands: a result, or a failure that has used up its attempts.
    Settled(Box<RunRecord>),
    /// The baseline is there.
    Baseline {
        /// Its id.
        id: String,
        /// On the test split.
        test: Metrics,
        /// Whether it was there before.
        was_there: bool,
    },
    /// The baseline can't be made.
    NoBaseline(Error),
    /// Another process holds it.
    Claimed,
}
