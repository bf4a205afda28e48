//! Statistics of results: summaries over seeds, Pareto fronts, comparison at equal size. Numbers in, numbers out.

mod compare;
mod front;
mod trade;

pub use compare::{Comparison, DEPTH, compare};
pub use front::{Point, accuracy_at, hypervolume, pareto_front, size_at};
pub use trade::{AtEqual, Hypervolume, at_equal, hypervolumes};

use crate::rng::Rng;

/// Mean and sample standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1); `None` for a single value.
    pub std: Option<f64>,
    /// Number of values.
    pub n: usize,
}

impl Summary {
    /// Of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }
}

/// Percentile bootstrap interval of the mean at 95 %, with 10,000 resamples from a fixed seed; `None` with fewer than two
/// values. With few seeds it is narrower than it should be, which reports say.
pub fn bootstrap_interval(values: &[f64]) -> Option<(f64, f64)> {
    const RESAMPLES: usize = 10_000;
    if values.len() < 2 {
        return None;
    }
    let mut rng = Rng::stream(0, "bootstrap");
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            (0..values.len()).map(|_| values[rng.below(values.len())]).sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    Some((at(0.025), at(0.975)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One seed gives no spread: a report must not print ± 0.
    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(Summary::of(&[3.0]), Some(Summary { mean: 3.0, std: None, n: 1 }));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(bootstrap_interval(&[3.0]), None);
        assert!((Summary::of(&[1.0, 3.0]).and_then(|s| s.std).unwrap() - 2f64.sqrt()).abs() < 1e-12);
    }

    /// The interval is the same each time and contains the mean.
    #[test]
    fn bootstrap_is_deterministic() {
        let values = [0.1, 0.4, 0.2, 0.9];
        let (low, high) = bootstrap_interval(&values).unwrap();
        assert_eq!(bootstrap_interval(&values), Some((low, high)));
        assert!(low < 0.4 && 0.4 < high && low >= 0.1 && high <= 0.9);
    }
}
