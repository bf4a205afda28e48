//! Progress of `ecqx run`: bars on a terminal, plain lines elsewhere; always on standard error.

use crate::record::{EpochMetrics, Outcome, RunRecord};
use crate::run::scheduler::View;
use crate::train::Observer;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// All runs of a command.
pub struct Progress {
    bars: MultiProgress,
    overall: ProgressBar,
    terminal: bool,
    total: usize,
}

/// One run.
pub struct RunBar<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    name: String,
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; a typing error falls back to the default look.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress {
    /// Progress over `total` runs.
    pub fn new(total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let overall = match terminal {
            true => bars.add(ProgressBar::new(total as u64)),
            false => ProgressBar::hidden(),
        };
        overall.set_length(total as u64);
        overall.set_style(style("{bar:30} {pos}/{len} runs  {elapsed} elapsed  {eta} left"));
        Self { bars, overall, terminal, total }
    }

    /// A line that stays.
    pub fn note(&self, line: &str) {
        if self.terminal {
            // A broken terminal loses a line of progress, nothing else.
            let _ = self.bars.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Begins a run.
    pub fn start(&self, experiment: &str, label: &str, seed: u64) -> RunBar<'_> {
        let name = format!("{experiment}: {label} seed={seed}");
        let bar = match self.terminal {
            true => self.bars.insert_before(&self.overall, ProgressBar::new(0)),
            false => ProgressBar::hidden(),
        };
        bar.set_style(style("{spinner} {msg}  {pos}/{len}  {eta}"));
        bar.set_message(name.clone());
        RunBar { progress: self, bar, name }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        self.overall.finish_and_clear();
    }
}

impl View for RunBar<'_> {
    /// Ends a run with its result in a line, a baseline without one.
    fn ended(&self, record: Option<&RunRecord>) {
        self.bar.finish_and_clear();
        let Some(record) = record else { return };
        self.progress.overall.inc(1);
        let count = format!("[{}/{}]", self.progress.overall.position(), self.progress.total);
        let result = match &record.outcome {
            Outcome::Done(measured) => format!(
                "top-1 {:.2} %, zeros {:.1} %, {:.1} kB (ratio {:.1}), {}",
                measured.test.top1,
                100.0 * measured.sparsity,
                measured.sizes.file as f64 / 1000.0,
                measured.sizes.compression_ratio(),
                super::duration::duration(record.seconds)
            ),
            Outcome::Failed(failure) => format!("FAILED: {}", failure.error),
        };
        self.progress.note(&format!("{count} {}  {result}", self.name));
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
            self.bar.set_message(format!("{}  epoch {epoch}/{epochs}  loss {loss:.3}", self.name));
        }
    }

    fn epoch(&self, metrics: &EpochMetrics) {
        if !self.progress.terminal {
            let number =
                |value: Option<f64>, digits: usize| value.map_or("–".into(), |v| format!("{v:.digits$}"));
            eprintln!(
                "  {}  epoch {}  loss {}  validation top-1 {} %  {:.1} s",
                self.name,
                metrics.epoch,
                number(metrics.train_loss, 3),
                number(metrics.validation_top1, 2),
                metrics.seconds
            );
        }
    }

    fn phase(&self, what: &str) {
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
