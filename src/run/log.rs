//! The end of a run's log, for the record of a failed one, and its energy: an observer between the run and its watcher.

use super::energy::{Meter, POWERCAP};
use super::provenance::now;
use crate::record::EpochMetrics;
use crate::train::Observer;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that are kept.
const LINES: usize = 40;
/// Time between two looks at the energy counters, which go round in many minutes.
const LOOK: Duration = Duration::from_secs(60);

/// Passes everything on and remembers the end of it.
pub(super) struct Log<'a> {
    watcher: &'a dyn Observer,
    lines: Mutex<VecDeque<String>>,
    energy: Mutex<(Instant, Meter)>,
}

impl<'a> Log<'a> {
    pub fn new(watcher: &'a dyn Observer) -> Self {
        let energy = Mutex::new((Instant::now(), Meter::start(Path::new(POWERCAP))));
        Self { watcher, lines: Mutex::default(), energy }
    }

    fn add(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{} {line}", now()));
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Joules that the processor packages have used since the beginning; `None` where the machine does not tell.
    pub fn joules(&self) -> Option<f64> {
        self.energy.lock().unwrap_or_else(PoisonError::into_inner).1.joules()
    }
}

impl Observer for Log<'_> {
    fn step(&self, epoch: usize, epochs: usize, step: usize, steps: usize, loss: f64) {
        let mut energy = self.energy.lock().unwrap_or_else(PoisonError::into_inner);
        if energy.0.elapsed() >= LOOK {
            energy.0 = Instant::now();
            energy.1.sample();
        }
        drop(energy);
        self.watcher.step(epoch, epochs, step, steps, loss);
    }

    fn epoch(&self, metrics: &EpochMetrics) {
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        self.add(&format!(
            "epoch {}: training loss {}, validation {} {} %, zeros {}, {:.1} s",
            metrics.epoch,
            number(metrics.train_loss),
            metrics.metric().name(),
            number(metrics.validation_value()),
            number(metrics.sparsity),
            metrics.seconds
        ));
        self.watcher.epoch(metrics);
    }

    fn phase(&self, what: &str) {
        self.add(what);
        self.watcher.phase(what);
    }

    fn note(&self, line: &str) {
        self.add(line);
        self.watcher.note(line);
    }

    fn cancelled(&self) -> bool {
        self.watcher.cancelled()
    }

    fn cancelled_now(&self) -> bool {
        self.watcher.cancelled_now()
    }
}
