//! The learning rate at a step.

use super::settings::{Schedule, TrainingSpec};

/// The learning rate of step `step` (from 0) of a run of `epochs × steps_per_epoch` steps.
pub fn learning_rate(spec: &TrainingSpec, step: usize, steps_per_epoch: usize) -> f64 {
    let total = (spec.epochs * steps_per_epoch) as f64;
    let warmup = spec.warmup_epochs * steps_per_epoch as f64;
    let at = step as f64;
    if at < warmup {
        return spec.learning_rate * (at + 1.0) / warmup.max(1.0);
    }
    let progress = ((at - warmup) / (total - warmup).max(1.0)).clamp(0.0, 1.0);
    spec.learning_rate
        * match spec.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Schedule::Step if progress >= 0.75 => 0.01,
            Schedule::Step if progress >= 0.5 => 0.1,
            Schedule::Step => 1.0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Warm-up rises to the full rate, cosine falls to nearly zero, and a step schedule drops by tens.
    #[test]
    fn shapes() {
        let spec =
            |schedule| TrainingSpec { epochs: 10, learning_rate: 1.0, schedule, ..TrainingSpec::default() };
        let cosine = TrainingSpec { warmup_epochs: 1.0, ..spec(Schedule::Cosine) };
        assert!((learning_rate(&cosine, 0, 100) - 0.01).abs() < 1e-9);
        assert!((learning_rate(&cosine, 99, 100) - 1.0).abs() < 1e-9);
        assert!(learning_rate(&cosine, 999, 100) < 1e-4);
        let step = spec(Schedule::Step);
        assert_eq!([0, 500, 750].map(|at| learning_rate(&step, at, 100)), [1.0, 0.1, 0.01]);
    }
}
