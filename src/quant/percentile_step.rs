//! The reference's uniform codebook for trained weights: the 99.9th percentile of |w| is the outermost level.

use super::codebook::Codebook;

/// The share of |w| that the outermost level covers.
const PERCENTILE: f64 = 0.999;

impl Codebook {
    /// The uniform codebook of `bits` bits for trained weights (ECQx reference, spec "Codebook"): the step is the 99.9th
    /// percentile of |w| over `2^(bits−1) − 1`, and the side that wins most of five votes has the extra level. Weights
    /// without negative values get `0 … 2^bits − 1`. Values that are not finite are ignored.
    ///
    /// Returns `None` when there is no valid step size: no finite weight differs from zero.
    pub fn from_weights(weights: &[f32], bits: u32) -> Option<Self> {
        Self::over(weights, bits, weights.iter().any(|&w| w < 0.0))
    }

    /// As [`from_weights`](Self::from_weights), with levels on both sides of zero even where no weight is negative (the
    /// reference's `uint_support=False`).
    pub fn signed(weights: &[f32], bits: u32) -> Option<Self> {
        Self::over(weights, bits, true)
    }

    fn over(weights: &[f32], bits: u32, signed: bool) -> Option<Self> {
        let (lowest, highest) = match signed {
            false => (0, (1 << bits) - 1),
            true if positive_side_wins(weights) => (-(1 << (bits - 1)) + 1, 1 << (bits - 1)),
            true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        };
        let step = percentile_step(weights, lowest, highest)?;
        Some(Self::Uniform { step, lowest, highest })
    }
}

/// The step at which the 99.9th percentile of |w| (the largest, where that is zero) is the outermost level of the shorter
/// side of `lowest … highest`. `None` where no finite weight differs from zero.
pub(super) fn percentile_step(weights: &[f32], lowest: i32, highest: i32) -> Option<f32> {
    let mut magnitudes: Vec<f32> = weights.iter().filter(|w| w.is_finite()).map(|w| w.abs()).collect();
    let denominator = if lowest < 0 { highest.min(-lowest) } else { highest } as f32;
    let mut step = percentile(&mut magnitudes) / denominator;
    if step == 0.0 {
        step = magnitudes.iter().copied().fold(0.0, f32::max) / denominator;
    }
    (step > 0.0 && step.is_finite()).then_some(step)
}

/// Percentile with linear interpolation between order statistics; 0 for no values.
fn percentile(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let at = PERCENTILE * (values.len() - 1) as f64;
    let (index, share) = (at.floor() as usize, at.fract());
    let (_, &mut below, above) = values.select_nth_unstable_by(index, f32::total_cmp);
    let above = above.iter().copied().fold(f32::INFINITY, f32::min);
    if above.is_infinite() {
        return below;
    }
    let share = share as f32;
    // The form that is exact at both ends, each in its half.
    if share < 0.5 { below + (above - below) * share } else { above - (above - below) * (1.0 - share) }
}

/// The five votes: largest magnitude, mean, count, sum, and standard deviation (n − 1) of the positive against the
/// negative weights. A tie or an undefined number counts for the negative side.
fn positive_side_wins(weights: &[f32]) -> bool {
    #[derive(Default)]
    struct Side {
        count: usize,
        sum: f64,
        squares: f64,
        max: f32,
    }
    impl Side {
        fn add(&mut self, magnitude: f32) {
            self.count += 1;
            self.sum += f64::from(magnitude);
            self.squares += f64::from(magnitude) * f64::from(magnitude);
            self.max = self.max.max(magnitude);
        }
        fn mean(&self) -> f64 {
            self.sum / self.count as f64
        }
        /// Undefined (NaN) for fewer than two values.
        fn deviation(&self) -> f64 {
            let n = self.count as f64;
            ((self.squares - self.sum * self.sum / n).max(0.0) / (n - 1.0)).sqrt()
        }
    }
    let (mut positive, mut negative) = (Side::default(), Side::default());
    for &w in weights {
        if w > 0.0 {
            positive.add(w);
        } else if w < 0.0 {
            negative.add(-w);
        }
    }
    let deviation_wins =
        positive.count > 1 && negative.count > 1 && positive.deviation() > negative.deviation();
    let votes = [
        positive.max > negative.max,
        positive.mean() > negative.mean(),
        positive.count > negative.count,
        positive.sum > negative.sum,
        deviation_wins,
    ];
    votes.iter().filter(|vote| **vote).count() >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights that are all zero (or none at all) have no grid; the caller must decide, not crash.
    #[test]
    fn no_grid_over_nothing() {
        assert_eq!(Codebook::from_weights(&[0.0; 9], 4), None);
        assert_eq!(Codebook::from_weights(&[], 4), None);
        assert_eq!(Codebook::from_weights(&[f32::NAN, 0.0], 4), None);
    }
}
