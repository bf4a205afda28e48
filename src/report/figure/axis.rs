//! An axis: the range of its values, where a value lies between two places, and which values are written at it.

use crate::report::column::short;

/// Ticks of a logarithmic scale times a power of ten, from many to few.
const LOGARITHMIC: [&[f64]; 5] = [
    &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
    &[1.0, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 3.0],
    &[1.0],
];

/// Steps between linear ticks, times a power of ten.
const FACTORS: [f64; 5] = [1.0, 2.0, 2.5, 5.0, 10.0];

/// As [`short`], with a minus sign in place of the hyphen of programs.
fn number(value: f64) -> String {
    short(value).replace('-', "−")
}

/// A range on a linear or logarithmic scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    pub logarithmic: bool,
}

impl Axis {
    /// Smallest and largest finite value with a margin of a twentieth on both sides; `None` without values. No axis of
    /// ours has negative values, and a margin must not suggest them.
    pub fn around(values: impl Iterator<Item = f64>, logarithmic: bool) -> Option<Self> {
        let usable = values.filter(|value| value.is_finite() && (!logarithmic || *value > 0.0));
        let (low, high) =
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        if low > high {
            return None;
        }
        if logarithmic {
            let margin = (high / low).powf(0.05).max(1.05);
            return Some(Self { low: low / margin, high: high * margin, logarithmic });
        }
        let margin = match (high - low) * 0.05 {
            margin if margin > 0.0 => margin,
            _ => (high.abs() * 0.05).max(0.05),
        };
        let from = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
        Some(Self { low: from, high: high + margin, logarithmic })
    }

    /// Share of the way from low to high.
    fn share(&self, value: f64) -> f64 {
        match self.logarithmic {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// Place of `value` where low lies at `from` and high at `to`.
    pub fn place(&self, value: f64, from: i32, to: i32) -> i32 {
        (f64::from(from) + self.share(value) * f64::from(to - from)).round() as i32
    }

    /// Values to write at the axis, at most about `count`, with their text: multiples of 1, 2, 2.5 or 5 times a power of ten.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let values = match self.logarithmic {
            true => self.logarithmic_ticks(count),
            false => self.linear_ticks(count, &FACTORS),
        };
        values.into_iter().map(|value| (value, number(value))).collect()
    }

    /// As [`ticks`](Self::ticks) on a linear scale, whole numbers alone: for what is counted, as layers and epochs are.
    pub fn whole_ticks(&self, count: usize) -> Vec<(f64, String)> {
        let values = self.linear_ticks(count, &[1.0, 2.0, 5.0, 10.0]);
        let whole = values.into_iter().filter(|value| value.fract() == 0.0);
        whole.map(|value| (value, number(value))).collect()
    }

    fn linear_ticks(&self, count: usize, factors: &[f64]) -> Vec<f64> {
        let rough = (self.high - self.low) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = factors.iter().map(|f| f * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }

    fn logarithmic_ticks(&self, count: usize) -> Vec<f64> {
        let (from, to) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let within = |factors: &[f64]| -> Vec<f64> {
            (from..=to)
                .flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)))
                .filter(|value| (self.low..=self.high).contains(value))
                .collect()
        };
        for factors in LOGARITHMIC {
            let ticks = within(factors);
            if ticks.len() <= count.max(2) {
                // A range within one step has too few round values: take its linear ones.
                return if ticks.len() < 2 { self.linear_ticks(count, &FACTORS) } else { ticks };
            }
        }
        within(&[1.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Round values, texts without rounding dust.
    #[test]
    fn ticks_are_round() {
        let texts = |axis: Axis, count| axis.ticks(count).into_iter().map(|(_, t)| t).collect::<Vec<_>>();
        let linear = Axis { low: 0.0, high: 0.62, logarithmic: false };
        assert_eq!(texts(linear, 4), ["0", "0.2", "0.4", "0.6"]);
        let logarithmic = Axis { low: 18.0, high: 260.0, logarithmic: true };
        assert_eq!(texts(logarithmic, 5), ["20", "50", "100", "200"]);
        let narrow = Axis { low: 6.8, high: 18.5, logarithmic: true };
        assert_eq!(texts(narrow, 6), ["8", "10", "12", "15"]);
        let layers = Axis { low: 0.5, high: 7.3, logarithmic: false };
        let whole: Vec<String> = layers.whole_ticks(4).into_iter().map(|(_, text)| text).collect();
        assert_eq!(whole, ["2", "4", "6"]);
        assert_eq!(logarithmic.place(18.0, 10, 90), 10);
        assert_eq!(logarithmic.place(260.0, 10, 90), 90);
    }

    proptest! {
        /// Every axis has ticks inside its range, not many more than asked for, and every value inside it.
        #[test]
        fn ticks_lie_inside(low in 0.0..1e6f64, width in 1e-3..1e6f64, count in 2usize..8, logarithmic in any::<bool>()) {
            let low = if logarithmic { low + 1e-3 } else { low };
            let axis = Axis::around([low, low + width].into_iter(), logarithmic).unwrap();
            prop_assert!(axis.low <= low && low + width <= axis.high);
            let ticks = axis.ticks(count);
            prop_assert!(ticks.len() <= 2 * count + 4, "{ticks:?}");
            let slack = 1e-6 * (axis.high - axis.low);
            prop_assert!(ticks.iter().all(|(v, _)| (axis.low - slack..=axis.high + slack).contains(v)));
        }
    }
}
