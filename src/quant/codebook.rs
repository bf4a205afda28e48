//! Codebooks: which values a quantized tensor may take, and the rule that fits a uniform one to trained weights.

use super::ste::SteScale;
use crate::nn::kernels::elementwise::vectorised;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The values that level indices stand for. Level 0 is always the value 0; the position of a level counts from the
/// lowest. At most 256 levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codebook {
    /// Level k has the value `k · step`, `lowest ≤ k ≤ highest`, `lowest ≤ 0 ≤ highest`.
    Uniform {
        /// Distance of neighbouring levels, positive.
        step: f32,
        /// Lowest level index.
        lowest: i32,
        /// Highest level index.
        highest: i32,
    },
    /// Level k has the value `values[zero + k]`; values ascend and `values[zero] == 0`.
    Explicit {
        /// All values, ascending.
        values: Vec<f32>,
        /// Position of the value 0.
        zero: usize,
    },
}

/// Positions per piece of parallel work.
const PIECE: usize = 1 << 15;
/// Positions whose values stay in the first-level cache.
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
        let mut magnitudes: Vec<f32> = weights.iter().filter(|w| w.is_finite()).map(|w| w.abs()).collect();
        let (lowest, highest) = match signed {
            false => (0, (1 << bits) - 1),
            true if positive_side_wins(weights) => (-(1 << (bits - 1)) + 1, 1 << (bits - 1)),
            true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        };
        let denominator = if signed { (1 << (bits - 1)) - 1 } else { (1 << bits) - 1 } as f32;
        let mut step = percentile(&mut magnitudes) / denominator;
        if step == 0.0 {
            step = magnitudes.iter().copied().fold(0.0, f32::max) / denominator;
        }
        (step > 0.0 && step.is_finite()).then_some(Self::Uniform { step, lowest, highest })
    }

    /// Nothing but the value 0.
    pub const ZERO: Self = Self::Uniform { step: 1.0, lowest: 0, highest: 0 };

    /// Lowest and highest level index.
    pub fn range(&self) -> (i32, i32) {
        match self {
            Self::Uniform { lowest, highest, .. } => (*lowest, *highest),
            Self::Explicit { values, zero } => (-(*zero as i32), values.len() as i32 - 1 - *zero as i32),
        }
    }

    /// The value of one level; an index outside the codebook is clamped to its ends.
    pub fn value(&self, level: i32) -> f32 {
        let (lowest, highest) = self.range();
        let level = level.clamp(lowest, highest.max(lowest));
        match self {
            Self::Uniform { step, .. } => level as f32 * step,
            Self::Explicit { values, zero } => {
                values.get((*zero as i32 + level) as usize).copied().unwrap_or(0.0)
            }
        }
    }

    /// All values, ascending; the first belongs to the lowest level.
    pub fn values(&self) -> Vec<f32> {
        let (lowest, highest) = self.range();
        (lowest..=highest).map(|level| self.value(level)).collect()
    }

    /// The position of the value 0.
    pub fn zero(&self) -> u8 {
        self.position(0)
    }

    /// The position of a level; an index outside the codebook is clamped to its ends.
    pub fn position(&self, level: i32) -> u8 {
        let (lowest, highest) = self.range();
        (level.clamp(lowest, highest.max(lowest)) - lowest) as u8
    }

    /// The signed level indices at these positions.
    pub fn levels_of(&self, positions: &[u8]) -> Vec<i32> {
        let lowest = self.range().0;
        positions.iter().map(|&position| i32::from(position) + lowest).collect()
    }

    /// The values at these positions.
    pub fn values_of(&self, positions: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; positions.len()];
        self.write_values(positions, &mut values);
        values
    }

    /// Writes the values at these positions; both slices have one length.
    pub fn write_values(&self, positions: &[u8], out: &mut [f32]) {
        let pieces = out.par_chunks_mut(PIECE).zip(positions.par_chunks(PIECE));
        if let Some(grid) = self.grid() {
            return pieces.for_each(|(out, positions)| {
                vectorised(|| out.iter_mut().zip(positions).for_each(|(out, &at)| *out = grid.value(at)));
            });
        }
        let table = self.table();
        pieces.for_each(|(out, positions)| {
            out.iter_mut().zip(positions).for_each(|(out, &at)| *out = table[usize::from(at)]);
        });
    }

    /// Scales the gradient of every weight by the value of its level in use.
    pub fn scale_gradient(&self, positions: &[u8], gradient: &mut [f32], scale: SteScale) {
        let pieces = gradient.par_chunks_mut(PIECE).zip(positions.par_chunks(PIECE));
        if let Some(grid) = self.grid() {
            return pieces.for_each(|(gradient, positions)| {
                scale.apply_with(gradient, positions, |at| grid.value(at))
            });
        }
        let table = self.table();
        pieces.for_each(|(gradient, positions)| {
            scale.apply_with(gradient, positions, |at| table[usize::from(at)]);
        });
    }

    fn grid(&self) -> Option<Grid> {
        match *self {
            Self::Uniform { step, lowest, highest } => Some(Grid { step, lowest, last: highest - lowest }),
            Self::Explicit { .. } => None,
        }
    }

    /// A value for every possible position.
    fn table(&self) -> [f32; 256] {
        let mut table = [0.0; 256];
        table.iter_mut().zip(self.values()).for_each(|(entry, value)| *entry = value);
        table
    }
}

/// The levels of a uniform codebook by position.
#[derive(Clone, Copy)]
struct Grid {
    step: f32,
    lowest: i32,
    last: i32,
}

impl Grid {
    /// As [`Codebook::value`] computes it, in operations that vectorise.
    #[inline(always)]
    fn value(self, position: u8) -> f32 {
        (i32::from(position).min(self.last) + self.lowest) as f32 * self.step
    }
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

    /// Levels, values and ranges agree for both kinds of codebooks.
    #[test]
    fn values_by_level() {
        let uniform = Codebook::Uniform { step: 0.5, lowest: -2, highest: 1 };
        assert_eq!(uniform.values(), [-1.0, -0.5, 0.0, 0.5]);
        assert_eq!(uniform.values_of(&[3, 0, 2]), [0.5, -1.0, 0.0]);
        assert_eq!(uniform.levels_of(&[3, 0, 2]), [1, -2, 0]);
        assert_eq!((uniform.zero(), uniform.position(-1), uniform.position(7)), (2, 1, 3));
        let explicit = Codebook::Explicit { values: vec![-0.7, 0.0, 0.9], zero: 1 };
        assert_eq!(explicit.range(), (-1, 1));
        assert_eq!(explicit.values_of(&[0, 1, 2]), [-0.7, 0.0, 0.9]);
    }

    /// Weights that are all zero (or none at all) have no grid; the caller must decide, not crash.
    #[test]
    fn no_grid_over_nothing() {
        assert_eq!(Codebook::from_weights(&[0.0; 9], 4), None);
        assert_eq!(Codebook::from_weights(&[], 4), None);
        assert_eq!(Codebook::from_weights(&[f32::NAN, 0.0], 4), None);
    }
}
