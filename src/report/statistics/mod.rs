//! Statistics of results: summaries over seeds, Pareto fronts, comparison at equal size. Numbers in, numbers out.

mod compare;
mod curve;
mod front;
#[cfg(test)]
mod simulation;
mod student;
mod trade;

pub use compare::{Comparison, DEPTH, compare, nothing_in_common};
pub use front::{Point, accuracy_at, hypervolume, pareto_front, size_at};
pub use student::quantile;
pub use trade::{AtEqual, Hypervolume, at_equal, hypervolumes};

/// A 95 % interval, its lower and its upper end.
pub type Interval = (f64, f64);

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

    /// Half the width of the 95 % t-interval of the mean: with three values 4.303 standard errors. `None` for a single
    /// value.
    pub fn half_width(&self) -> Option<f64> {
        self.std.map(|std| quantile(self.n - 1) * std / (self.n as f64).sqrt())
    }

    /// The 95 % t-interval of the mean; `None` for a single value.
    pub fn interval(&self) -> Option<Interval> {
        self.half_width().map(|half| (self.mean - half, self.mean + half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One seed gives no spread and no interval: a report must not print ± 0.
    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(Summary::of(&[3.0]), Some(Summary { mean: 3.0, std: None, n: 1 }));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[3.0]).and_then(|s| s.interval()), None);
        assert!((Summary::of(&[1.0, 3.0]).and_then(|s| s.std).unwrap() - 2f64.sqrt()).abs() < 1e-12);
    }

    /// Three values whose signs agree do not show a difference yet: the interval is 4.303 standard errors wide on each
    /// side.
    #[test]
    fn three_values_have_a_wide_interval() {
        let (low, high) = Summary::of(&[0.2, 0.6, 1.0]).unwrap().interval().unwrap();
        let half = 4.302_653 * 0.4 / 3f64.sqrt();
        assert!((low - (0.6 - half)).abs() < 1e-5 && (high - (0.6 + half)).abs() < 1e-5, "{low} {high}");
        assert!(low < 0.0);
    }
}
