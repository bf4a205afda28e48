//! Worker processes of this machine: as many `ecqx exec` at a time as there are workers, each with its share of the cores.

use super::plan::Wave;
use super::shell::line;
use super::submission::Submission;
use super::{Engine, Outcome, Watch};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The pool.
pub(super) struct Local;

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Pause before an entry that another process has claimed is tried again.
const CLAIMED_PAUSE: Duration = Duration::from_secs(1);
/// `ecqx exec`: another process is computing the entry.
const CLAIMED: i32 = 75;
/// `ecqx exec`: stopped on request.
const INTERRUPTED: i32 = 130;

/// Workers and the threads of each: together no more than the cores.
fn shares(submission: &Submission) -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = &submission.options;
    let wanted = options.workers.unwrap_or(cores / options.resources.cpus.unwrap_or(1));
    let longest = submission.plan.len(Wave::Runs).max(submission.plan.len(Wave::Baselines));
    let workers = wanted.clamp(1, longest.max(1));
    (workers, options.resources.cpus.unwrap_or((cores / workers).max(1)))
}

impl Engine for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn about(&self) -> &'static str {
        "worker processes on this machine, which share its cores; waits until the runs are over"
    }

    fn script(&self, submission: &Submission) -> Result<String> {
        refuse_gpus(submission)?;
        let (workers, threads) = shares(submission);
        let mut script =
            format!("# {workers} at a time, {threads} thread(s) each; a killed one is started again\n");
        for wave in [Wave::Baselines, Wave::Runs] {
            for index in 0..submission.plan.len(wave) {
                script += &format!("{} {index}\n", line(&submission.words(wave, threads)));
            }
            if wave == Wave::Baselines && !submission.plan.baselines.is_empty() {
                script += "# the runs begin when the baselines have ended\n";
            }
        }
        Ok(script)
    }

    fn submit(&self, submission: &Submission, watch: &dyn Watch) -> Result<Outcome> {
        refuse_gpus(submission)?;
        let (workers, threads) = shares(submission);
        let plural = if workers == 1 { "" } else { "s" };
        watch.note(&format!("{workers} worker{plural} with {threads} thread(s) each"));
        for wave in [Wave::Baselines, Wave::Runs] {
            let pool = Pool::new(submission, wave, threads, watch);
            pool.work(workers)?;
            if watch.interrupts() > 0 {
                return Ok(Outcome { finished: false, interrupted: true });
            }
        }
        Ok(Outcome { finished: true, interrupted: false })
    }
}

fn refuse_gpus(submission: &Submission) -> Result<()> {
    match submission.options.resources.gpus {
        None => Ok(()),
        Some(_) => Err(Error::input_hint(
            "--resources: the local engine hands out no graphics processors",
            "give --device cuda:N and as many --workers as fit its memory, or use HyperQueue",
        )),
    }
}

/// An entry that waits for a worker.
struct Task {
    index: usize,
    kills: usize,
    not_before: Instant,
    /// Whether its claim was reported already.
    reported: bool,
}

/// One wave.
struct Pool<'a> {
    submission: &'a Submission,
    wave: Wave,
    threads: usize,
    watch: &'a dyn Watch,
    waiting: Mutex<VecDeque<Task>>,
    done: Mutex<usize>,
}

impl<'a> Pool<'a> {
    fn new(submission: &'a Submission, wave: Wave, threads: usize, watch: &'a dyn Watch) -> Self {
        let now = Instant::now();
        let tasks = (0..submission.plan.len(wave)).map(|index| Task {
            index,
            kills: 0,
            not_before: now,
            reported: false,
        });
        let waiting = Mutex::new(tasks.collect());
        Self { submission, wave, threads, watch, waiting, done: Mutex::new(0) }
    }

    fn work(&self, workers: usize) -> Result<()> {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.worker())).collect();
            handles.into_iter().try_for_each(|handle| {
                handle.join().unwrap_or_else(|_| Err(Error::Internal("a worker panicked".into())))
            })
        })
    }

    fn push(&self, task: Task) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.push_back(task);
        }
    }

    fn worker(&self) -> Result<()> {
        while self.watch.interrupts() == 0 {
            let Some(task) = self.waiting.lock().ok().and_then(|mut waiting| waiting.pop_front()) else {
                return Ok(());
            };
            if task.not_before > Instant::now() {
                self.push(task);
                std::thread::sleep(POLL);
                continue;
            }
            let status = self.execute(task.index)?;
            self.judge(task, status);
        }
        Ok(())
    }

    /// Starts the command for an entry and waits for it.
    fn execute(&self, index: usize) -> Result<ExitStatus> {
        let words = self.submission.words(self.wave, self.threads);
        let log = self.submission.logs().join(format!("{}-{index}.log", self.wave.name()));
        let file: File = OpenOptions::new().create(true).append(true).open(&log).map_err(Error::io(&log))?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg(index.to_string())
            .current_dir(&self.submission.working_folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        // A group of its own: Ctrl-C reaches this process alone, which passes it on once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(Error::io(&words[0]))?;
        let mut told = false;
        loop {
            if let Some(status) = child.try_wait().map_err(Error::io(&words[0]))? {
                return Ok(status);
            }
            match self.watch.interrupts() {
                0 => {}
                1 if !told => {
                    told = true;
                    tell_to_stop(&child);
                }
                1 => {}
                // What it had finished is in the store; its claim is recognised as stale.
                _ => drop(child.kill()),
            }
            std::thread::sleep(POLL);
        }
    }

    /// Says how an entry ended; what can still be done returns to the queue.
    fn judge(&self, mut task: Task, status: ExitStatus) {
        let label = match self.wave {
            Wave::Baselines => &self.submission.plan.baselines[task.index].label,
            Wave::Runs => &self.submission.plan.runs[task.index].label,
        };
        let seed = match self.wave {
            Wave::Baselines => String::new(),
            Wave::Runs => format!(" seed={}", self.submission.plan.runs[task.index].seed),
        };
        let name = format!("{}: {label}{seed}", self.wave.name());
        let word = match status.code() {
            Some(0) => "done".to_owned(),
            Some(CLAIMED) => {
                if !task.reported {
                    self.watch.note(&format!("{name}: being computed by another process, waiting for it"));
                }
                task.reported = true;
                task.not_before = Instant::now() + CLAIMED_PAUSE;
                return self.push(task);
            }
            Some(INTERRUPTED) => return,
            Some(code) => format!("FAILED (exit code {code}), see {}", self.submission.logs().display()),
            None if self.watch.interrupts() > 0 => return,
            None if task.kills < self.submission.options.max_retries => {
                task.kills += 1;
                self.watch.note(&format!("{name}: its process was killed ({status}): started again"));
                return self.push(task);
            }
            None => format!("FAILED: its process was killed ({status}) {} times", task.kills + 1),
        };
        let count = self.done.lock().map_or(0, |mut done| {
            *done += 1;
            *done
        });
        self.watch.note(&format!("[{count}/{}] {name}  {word}", self.submission.plan.len(self.wave)));
    }
}

/// Asks a process to stop at the end of its epoch. Through `kill`, because the standard library knows SIGKILL only.
fn tell_to_stop(child: &Child) {
    // Without `kill` the child runs to its end, which is the other correct outcome.
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::super::submission::Options;
    use super::*;
    use std::path::PathBuf;

    fn submission(options: Options, runs: usize) -> Submission {
        let json = serde_json::json!({
            "id": "r", "baseline": "b", "experiment": "e", "label": "uniform 4 bit", "seed": 1, "state": "new",
            "spec": {
                "dataset": "embedded-audio", "model": {"name": "mlp-gsc"}, "baseline": {"checkpoint": "x.pt"},
                "quantizer": {"method": "uniform", "bits": 4}, "seed": 1, "calibration_samples": 256,
            },
        });
        let run = serde_json::from_value::<super::super::plan::PlannedRun>(json).unwrap();
        Submission {
            plan: Plan { baselines: Vec::new(), runs: vec![run; runs] },
            folder: PathBuf::from("/s"),
            working_folder: PathBuf::from("/"),
            exec: vec!["ecqx".into(), "exec".into()],
            device: "cpu".into(),
            options,
        }
    }

    /// Workers × threads never exceeds the cores, unless the user asks for more workers than cores.
    #[test]
    fn threads_share_the_cores() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let with = |workers, cpus| {
            let mut options = Options { workers, ..Options::default() };
            options.resources.cpus = cpus;
            shares(&submission(options, 1000))
        };
        assert_eq!(with(None, None), (cores, 1));
        assert_eq!(with(None, Some(cores)), (1, cores));
        assert_eq!(with(Some(1), None), (1, cores));
        assert_eq!(with(Some(4 * cores), None), (4 * cores, 1));
        assert_eq!(shares(&submission(Options::default(), 1)), (1, cores));
    }
}
