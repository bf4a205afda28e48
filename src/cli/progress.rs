//! Progress of `ecqx run`: bars on a terminal, plain lines elsewhere; always on standard error.

use crate::record::{EpochMetrics, Outcome, RunRecord};
use crate::report::column::signed;
use crate::run::BASELINE_PHASE as BASELINE;
use crate::run::scheduler::{Task, View};
use crate::train::Observer;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

/// All runs of a command.
pub struct Progress {
    bars: MultiProgress,
    overall: ProgressBar,
    terminal: bool,
    total: usize,
    /// Characters of the longest name, so that results stand below each other.
    width: usize,
    /// Whether names carry their experiment.
    with_experiment: bool,
}

/// One run.
pub struct RunBar<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    name: String,
    /// What its epochs belong to while the run makes its own baseline.
    in_baseline: AtomicBool,
}

/// What a run is called in a line.
fn name(experiment: Option<&str>, label: &str, seed: Option<u64>) -> String {
    let experiment = experiment.map_or(String::new(), |experiment| format!("{experiment}: "));
    let seed = seed.map_or(String::new(), |seed| format!(" seed={seed}"));
    format!("{experiment}{label}{seed}")
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; a typing error falls back to the default look.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress {
    /// Progress over these tasks.
    pub fn new(tasks: &[Task]) -> Self {
        let total = tasks.len();
        let with_experiment = tasks.windows(2).any(|pair| pair[0].experiment != pair[1].experiment);
        let names = tasks.iter().map(|task| {
            let experiment = with_experiment.then_some(task.experiment.as_str());
            name(experiment, &task.label(), task.seed()).chars().count()
        });
        let width = names.max().unwrap_or(0);
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let overall = match terminal {
            true => bars.add(ProgressBar::new(total as u64)),
            false => ProgressBar::hidden(),
        };
        overall.set_length(total as u64);
        overall.set_style(style("{bar:30} {pos}/{len} runs  {elapsed} elapsed  {eta} left"));
        Self { bars, overall, terminal, total, width, with_experiment }
    }

    /// A line that stays.
    pub fn note(&self, line: &str) {
        self.speaker()(line);
    }

    /// What says a line that stays, from another thread.
    pub fn speaker(&self) -> impl Fn(&str) + Send + use<> {
        let (bars, terminal) = (self.bars.clone(), self.terminal);
        move |line| {
            if terminal {
                // A broken terminal loses a line of progress, nothing else.
                let _ = bars.println(line);
            } else {
                eprintln!("{line}");
            }
        }
    }

    /// Begins a run, or a shared baseline where `seed` is `None`.
    pub fn start(&self, experiment: &str, label: &str, seed: Option<u64>) -> RunBar<'_> {
        let name = name(self.with_experiment.then_some(experiment), label, seed);
        let bar = match self.terminal {
            true => self.bars.insert_before(&self.overall, ProgressBar::new(0)),
            false => ProgressBar::hidden(),
        };
        bar.set_style(style("{spinner} {msg}  {pos}/{len}  {eta}"));
        bar.set_message(name.clone());
        RunBar { progress: self, bar, name, in_baseline: AtomicBool::new(false) }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        self.overall.finish_and_clear();
    }
}

impl RunBar<'_> {
    /// What is being trained: the run, or the baseline that it makes for itself.
    fn now(&self) -> String {
        match self.in_baseline.load(Ordering::Relaxed) && self.name != BASELINE {
            true => format!("{BASELINE} for {}", self.name),
            false => self.name.clone(),
        }
    }
}

impl View for RunBar<'_> {
    /// Ends a run with its result in a line, a baseline without one.
    fn ended(&self, record: Option<&RunRecord>) {
        self.bar.finish_and_clear();
        let Some(record) = record else { return };
        self.progress.overall.inc(1);
        let total = self.progress.total.to_string();
        let count = format!("[{:>width$}/{total}]", self.progress.overall.position(), width = total.len());
        let result = match &record.outcome {
            Outcome::Done(measured) => {
                let drop = record.baseline.as_ref().map_or(String::new(), |baseline| {
                    format!("  {:>6} pp", signed(measured.test.value() - baseline.value(), 2))
                });
                format!(
                    "{} {:6.2} %{drop}  sparsity {:5.1} %  {:>8.1} kB  ratio {:5.1}  {}",
                    measured.test.metric().name(),
                    measured.test.value(),
                    100.0 * measured.sparsity,
                    measured.sizes.file as f64 / 1000.0,
                    measured.sizes.compression_ratio(),
                    super::duration::duration(record.seconds)
                )
            }
            Outcome::Failed(failure) => format!("FAILED: {}", failure.error),
        };
        self.progress.note(&format!("{count} {:<width$}  {result}", self.name, width = self.progress.width));
        for warning in &record.warnings {
            self.progress.note(&format!("  warning: {warning}"));
        }
    }
}

impl Observer for RunBar<'_> {
    fn step(&self, epoch: usize, epochs: usize, step: usize, steps: usize, loss: f64) {
        self.bar.set_length(steps as u64);
        self.bar.set_position(step as u64);
        if epoch > 0 {
            self.bar.set_message(format!("{}  epoch {epoch}/{epochs}  loss {loss:.3}", self.now()));
        }
    }

    fn epoch(&self, metrics: &EpochMetrics) {
        if !self.progress.terminal {
            let number =
                |value: Option<f64>, digits: usize| value.map_or("–".into(), |v| format!("{v:.digits$}"));
            eprintln!(
                "  {}  epoch {}  loss {}  validation {} {} %  {:.1} s",
                self.now(),
                metrics.epoch,
                number(metrics.train_loss, 3),
                metrics.metric().name(),
                number(metrics.validation_value(), 2),
                metrics.seconds
            );
        }
    }

    fn phase(&self, what: &str) {
        self.in_baseline.store(what == BASELINE, Ordering::Relaxed);
        self.bar.set_message(format!("{}  {what}", self.name));
    }

    fn note(&self, line: &str) {
        self.progress.note(line);
    }

    fn cancelled(&self) -> bool {
        super::interrupt::cancelled()
    }

    fn cancelled_now(&self) -> bool {
        super::interrupt::cancelled_now()
    }
}
