//! Worker processes of this machine: `ecqx exec --all`, as often as there are workers, each with its share of the cores.

use super::shell::line;
use super::submission::Submission;
use super::{Engine, Outcome, Watch};
use crate::plan::Wave;
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// The pool.
pub(super) struct Local;

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(300);

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
        for wave in [Wave::Baselines, Wave::Runs].into_iter().filter(|wave| submission.plan.len(*wave) > 0) {
            let command = line(&words(submission, wave, threads));
            script += &format!("# {}\n", wave.name());
            script += &format!("{command} &\n").repeat(workers.min(submission.plan.len(wave)));
            script += "wait\n";
        }
        Ok(script)
    }

    fn submit(&self, submission: &Submission, watch: &dyn Watch) -> Result<Outcome> {
        refuse_gpus(submission)?;
        let (workers, threads) = shares(submission);
        let plural = if workers == 1 { "" } else { "s" };
        watch.note(&format!("{workers} worker{plural} with {threads} thread(s) each"));
        for wave in [Wave::Baselines, Wave::Runs].into_iter().filter(|wave| submission.plan.len(*wave) > 0) {
            let pool = Pool { submission, wave, threads, watch, kills: AtomicUsize::new(0) };
            pool.work(workers.min(submission.plan.len(wave)))?;
            if watch.interrupts() > 0 {
                return Ok(Outcome { finished: false, interrupted: true });
            }
        }
        Ok(Outcome { finished: true, interrupted: false })
    }
}

/// A worker's command: every entry that nobody has done or claimed, data sets opened once.
fn words(submission: &Submission, wave: Wave, threads: usize) -> Vec<String> {
    let mut words = submission.words(wave, threads);
    words.push("--all".into());
    words
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

/// One wave.
struct Pool<'a> {
    submission: &'a Submission,
    wave: Wave,
    threads: usize,
    watch: &'a dyn Watch,
    /// How often a worker's process was killed.
    kills: AtomicUsize,
}

impl Pool<'_> {
    fn work(&self, workers: usize) -> Result<()> {
        let over = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..workers)
                .map(|number| {
                    let over = &over;
                    scope.spawn(move || {
                        let result = self.worker(number);
                        over.fetch_add(1, Ordering::Relaxed);
                        result
                    })
                })
                .collect();
            let mut progress = Progress::new(self.submission, self.wave);
            while over.load(Ordering::Relaxed) < workers {
                std::thread::sleep(LOOK);
                progress.tell(self.watch);
            }
            progress.tell(self.watch);
            handles.into_iter().try_for_each(|handle| {
                handle.join().unwrap_or_else(|_| Err(Error::Internal("a worker panicked".into())))
            })
        })
    }

    /// Keeps one worker's process alive until everything is done.
    fn worker(&self, number: usize) -> Result<()> {
        let log = self.submission.logs().join(format!("{}-worker-{number}.log", self.wave.name()));
        loop {
            let status = self.execute(&log)?;
            match status.code() {
                // Failed runs are rows of the store; interrupted ones have their checkpoint.
                Some(0 | 1 | 130) => return Ok(()),
                Some(code) => {
                    self.watch
                        .note(&format!("worker {number} ended with exit code {code}, see {}", log.display()));
                    return Ok(());
                }
                None if self.watch.interrupts() > 0 => return Ok(()),
                None => {
                    let kills = self.kills.fetch_add(1, Ordering::Relaxed);
                    if kills >= self.submission.options.max_restarts {
                        self.watch.note(&format!("worker {number} was killed ({status}): not started again"));
                        return Ok(());
                    }
                    self.watch.note(&format!("worker {number} was killed ({status}): started again"));
                }
            }
        }
    }

    /// Starts a worker's process and waits for it.
    fn execute(&self, log: &Path) -> Result<ExitStatus> {
        let words = words(self.submission, self.wave, self.threads);
        let file: File = OpenOptions::new().create(true).append(true).open(log).map_err(Error::io(log))?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
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
}

/// What the store has of a wave: an engine's output is never read, its own workers' neither.
struct Progress<'a> {
    submission: &'a Submission,
    wave: Wave,
    /// When each entry's result was written, as far as it was told.
    written: Vec<Option<SystemTime>>,
    told: usize,
}

impl<'a> Progress<'a> {
    fn new(submission: &'a Submission, wave: Wave) -> Self {
        let mut new = Self { submission, wave, written: Vec::new(), told: 0 };
        new.written = (0..submission.plan.len(wave)).map(|index| new.result(index)).collect();
        new
    }

    fn id(&self, index: usize) -> &str {
        match self.wave {
            Wave::Baselines => &self.submission.plan.baselines[index].id,
            Wave::Runs => &self.submission.plan.runs[index].id,
        }
    }

    fn result(&self, index: usize) -> Option<SystemTime> {
        let folder = self.submission.store.join(self.wave.name()).join(self.id(index));
        std::fs::metadata(folder.join("record.json")).and_then(|metadata| metadata.modified()).ok()
    }

    /// One line for each result that is new.
    fn tell(&mut self, watch: &dyn Watch) {
        for index in 0..self.written.len() {
            let now = self.result(index);
            if now.is_none() || now == self.written[index] {
                continue;
            }
            self.written[index] = now;
            self.told += 1;
            let name = match self.wave {
                Wave::Baselines => format!("baseline of {}", self.submission.plan.baselines[index].label),
                Wave::Runs => {
                    let run = &self.submission.plan.runs[index];
                    format!("{}: {} seed={}", run.experiment, run.label, run.seed)
                }
            };
            watch.note(&format!("[{}/{}] {name}", self.told, self.written.len()));
        }
    }
}

/// Asks a process to stop at the end of its epoch. Through `kill`, because the standard library knows SIGKILL only.
fn tell_to_stop(child: &Child) {
    // Without `kill` the child runs to its end, which is the other correct outcome.
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
}

#[cfg(test)]
mod tests {
    use super::super::submission::Options;
    use super::*;
    use crate::plan::{Plan, PlannedRun};
    use std::path::PathBuf;

    fn submission(options: Options, runs: usize) -> Submission {
        let json = serde_json::json!({
            "id": "r", "baseline": "b", "experiment": "e", "label": "uniform 4 bit", "seed": 1, "state": "new",
            "spec": {
                "dataset": "embedded-audio", "model": {"name": "mlp-gsc"}, "baseline": {"checkpoint": "x.pt"},
                "quantizer": {"method": "uniform", "bits": 4}, "seed": 1, "calibration_samples": 256,
            },
        });
        let run = serde_json::from_value::<PlannedRun>(json).unwrap();
        Submission {
            plan: Plan { baselines: Vec::new(), runs: vec![run; runs] },
            folder: PathBuf::from("/s"),
            store: PathBuf::from("/store"),
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
