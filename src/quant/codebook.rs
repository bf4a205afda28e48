//! Codebooks: which values a quantized tensor may take. How one is fitted to trained weights: `percentile_step.rs` and
//! `granularity.rs`.

use super::ste::SteScale;
use crate::nn::kernels::elementwise::vectorised;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The values that level indices stand for. Level 0 is the value 0 wherever there is one; the position of a level counts
/// from the lowest. At most 256 levels.
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
    /// Level k of a weight of channel c has the value `k · steps[c]`.
    PerChannel {
        /// One step per channel, each positive.
        steps: Vec<f32>,
        /// Consecutive weights of one channel: the product of the dimensions after the channel's. Weight i belongs to
        /// channel `i / stride` modulo the number of channels.
        stride: usize,
        /// Lowest level index, of all channels.
        lowest: i32,
        /// Highest level index, of all channels.
        highest: i32,
    },
    /// Level k has the value `values[zero + k]`; values ascend and `values[zero] == 0`. A codebook without the value 0
    /// has its smallest positive value there, or its last where all are negative.
    Explicit {
        /// All values, ascending.
        values: Vec<f32>,
        /// Position of level 0.
        zero: usize,
    },
}

/// Positions per piece of parallel work.
const PIECE: usize = 1 << 15;

impl Codebook {
    /// Most levels that a codebook has.
    pub const MOST: usize = 256;

    /// Nothing but the value 0.
    pub const ZERO: Self = Self::Uniform { step: 1.0, lowest: 0, highest: 0 };

    /// Lowest and highest level index.
    pub fn range(&self) -> (i32, i32) {
        match self {
            Self::Uniform { lowest, highest, .. } | Self::PerChannel { lowest, highest, .. } => {
                (*lowest, *highest)
            }
            Self::Explicit { values, zero } => (-(*zero as i32), values.len() as i32 - 1 - *zero as i32),
        }
    }

    /// Of how many channels the steps differ; 1 where all weights have one codebook.
    pub fn channels(&self) -> usize {
        match self {
            Self::PerChannel { steps, .. } => steps.len(),
            Self::Uniform { .. } | Self::Explicit { .. } => 1,
        }
    }

    /// The value of one level; an index outside the codebook is clamped to its ends. Of a codebook per channel it is that
    /// of a channel with the mean step ([`pooled`](Self::pooled)).
    pub fn value(&self, level: i32) -> f32 {
        let (lowest, highest) = self.range();
        let level = level.clamp(lowest, highest.max(lowest));
        match self {
            Self::Uniform { step, .. } => level as f32 * step,
            Self::PerChannel { steps, .. } => level as f32 * mean(steps),
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

    /// One codebook for weights that [`equalised`](Self::equalised) brought to the same scale: uniform with the mean step
    /// for a codebook per channel, the codebook itself for others.
    pub fn pooled(&self) -> Cow<'_, Self> {
        match self {
            Self::PerChannel { steps, lowest, highest, .. } => {
                Cow::Owned(Self::Uniform { step: mean(steps), lowest: *lowest, highest: *highest })
            }
            Self::Uniform { .. } | Self::Explicit { .. } => Cow::Borrowed(self),
        }
    }

    /// Weights with each channel scaled from its own step to the mean step, so that one rule assigns them all to the
    /// levels of [`pooled`](Self::pooled). Weights of other codebooks, and of a single channel, stay as they are.
    pub fn equalised<'w>(&self, weights: &'w [f32]) -> Cow<'w, [f32]> {
        let Self::PerChannel { steps, stride, .. } = self else { return Cow::Borrowed(weights) };
        let mean = f64::from(mean(steps));
        let mut scaled = weights.to_vec();
        for (run, weights) in scaled.chunks_mut((*stride).max(1)).enumerate() {
            // In f64: the ratio of two steps may overflow f32.
            let factor = mean / f64::from(self.step_of(run));
            vectorised(|| weights.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32));
        }
        Cow::Owned(scaled)
    }

    /// The step of one run of `stride` weights.
    fn step_of(&self, run: usize) -> f32 {
        match self {
            Self::Uniform { step, .. } => *step,
            Self::PerChannel { steps, .. } => steps.get(run % steps.len().max(1)).copied().unwrap_or(0.0),
            Self::Explicit { .. } => 0.0,
        }
    }

    /// How many of these positions stand for the value 0.
    pub fn zeros(&self, positions: &[u8]) -> usize {
        if self.value(0) != 0.0 {
            return 0;
        }
        let zero = self.zero();
        positions.iter().filter(|position| **position == zero).count()
    }

    /// The position of level 0.
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

    /// Writes the values at these positions, which are those of a whole tensor; both slices have one length.
    pub fn write_values(&self, positions: &[u8], out: &mut [f32]) {
        if let Some(runs) = self.runs() {
            let pieces = out.par_chunks_mut(runs.piece).zip(positions.par_chunks(runs.piece)).enumerate();
            return pieces.for_each(|(piece, (out, positions))| {
                let pairs = out.chunks_mut(runs.stride).zip(positions.chunks(runs.stride));
                for (run, (out, positions)) in (piece * runs.piece / runs.stride..).zip(pairs) {
                    let grid = runs.grid(self.step_of(run));
                    vectorised(|| out.iter_mut().zip(positions).for_each(|(out, &at)| *out = grid.value(at)));
                }
            });
        }
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
        if let Some(runs) = self.runs() {
            let pieces =
                gradient.par_chunks_mut(runs.piece).zip(positions.par_chunks(runs.piece)).enumerate();
            return pieces.for_each(|(piece, (gradient, positions))| {
                let pairs = gradient.chunks_mut(runs.stride).zip(positions.chunks(runs.stride));
                for (run, (gradient, positions)) in (piece * runs.piece / runs.stride..).zip(pairs) {
                    let grid = runs.grid(self.step_of(run));
                    scale.apply_with(gradient, positions, |at| grid.value(at));
                }
            });
        }
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
            Self::PerChannel { .. } | Self::Explicit { .. } => None,
        }
    }

    /// How a codebook per channel cuts a tensor into runs of weights with one step.
    fn runs(&self) -> Option<Runs> {
        let &Self::PerChannel { stride, lowest, highest, .. } = self else { return None };
        let stride = stride.max(1);
        // Whole runs, many of them where they are short.
        Some(Runs { stride, piece: stride * PIECE.div_ceil(stride), lowest, last: highest - lowest })
    }

    /// A value for every possible position.
    fn table(&self) -> [f32; 256] {
        let mut table = [0.0; 256];
        table.iter_mut().zip(self.values()).for_each(|(entry, value)| *entry = value);
        table
    }
}

/// Mean of some steps; 0 for none.
fn mean(steps: &[f32]) -> f32 {
    let sum: f64 = steps.iter().map(|&step| f64::from(step)).sum();
    (sum / steps.len().max(1) as f64) as f32
}

/// The runs of a codebook per channel.
#[derive(Clone, Copy)]
struct Runs {
    /// Weights in a run.
    stride: usize,
    /// Weights in a piece of parallel work, whole runs.
    piece: usize,
    lowest: i32,
    last: i32,
}

impl Runs {
    fn grid(self, step: f32) -> Grid {
        Grid { step, lowest: self.lowest, last: self.last }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels, values and ranges agree for all kinds of codebooks.
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
        let channels = Codebook::PerChannel { steps: vec![0.5, 2.0], stride: 2, lowest: -1, highest: 1 };
        assert_eq!(channels.values_of(&[0, 2, 2, 0, 1, 2]), [-0.5, 0.5, 2.0, -2.0, 0.0, 0.5]);
        assert_eq!((channels.channels(), channels.zeros(&[1, 0, 1])), (2, 2));
        assert_eq!(channels.values(), [-1.25, 0.0, 1.25], "the mean step's");
    }

    /// Channels of any length and number have their own steps in values and gradients, along the pieces of parallel work.
    #[test]
    fn steps_by_channel() {
        for (channels, stride) in [(3, 1), (5, 7), (2, PIECE + 3), (PIECE + 5, 2)] {
            let steps: Vec<f32> = (1..=channels).map(|c| c as f32 * 0.25).collect();
            let codebook = Codebook::PerChannel { steps: steps.clone(), stride, lowest: -2, highest: 1 };
            let count = 2 * channels * stride;
            let positions: Vec<u8> = (0..count).map(|i| (i * 7 % 4) as u8).collect();
            let expected: Vec<f32> = positions
                .iter()
                .enumerate()
                .map(|(i, &at)| (i32::from(at) - 2) as f32 * steps[i / stride % channels])
                .collect();
            assert!(codebook.values_of(&positions) == expected, "{channels} {stride}");
            let mut gradient = vec![0.5f32; count];
            codebook.scale_gradient(&positions, &mut gradient, SteScale::CentroidSigned);
            let scaled = |value: &f32| if *value == 0.0 { 0.5 } else { 0.5 * value };
            assert!(gradient.iter().eq(expected.iter().map(scaled).collect::<Vec<_>>().iter()));
        }
    }

    /// Equal weights in units of their channel's step are equal after equalising; a single channel changes no bit.
    #[test]
    fn equalised_channels() {
        let codebook = Codebook::PerChannel { steps: vec![0.5, 1.5], stride: 2, lowest: -2, highest: 1 };
        assert_eq!(codebook.equalised(&[0.5, -0.25, 1.5, -0.75]).as_ref(), [1.0, -0.5, 1.0, -0.5]);
        assert_eq!(codebook.pooled().as_ref(), &Codebook::Uniform { step: 1.0, lowest: -2, highest: 1 });
        let single = Codebook::PerChannel { steps: vec![0.137], stride: 3, lowest: -2, highest: 1 };
        let weights = [0.1f32, -0.333, 7e-39];
        assert_eq!(single.equalised(&weights).as_ref(), weights);
    }

    /// Zeros are counted by value: a codebook without the value 0 has none.
    #[test]
    fn codebook_without_zero() {
        let binary = Codebook::Explicit { values: vec![-0.5, 0.5], zero: 1 };
        assert_eq!((binary.range(), binary.zeros(&[0, 1, 1])), ((-1, 0), 0));
        assert_eq!(binary.levels_of(&[0, 1]), [-1, 0]);
    }
}
