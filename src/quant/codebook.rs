//! Codebooks: which values a quantized tensor may take.

use serde::{Deserialize, Serialize};

/// The values that signed level indices stand for. Index 0 is always the value 0.
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

impl Codebook {
    /// The value of one level; an index outside the codebook is clamped to its ends.
    pub fn value(&self, level: i32) -> f32 {
        match self {
            Self::Uniform { step, lowest, highest } => level.clamp(*lowest, *highest) as f32 * step,
            Self::Explicit { values, zero } => {
                let at = (*zero as i64 + i64::from(level)).clamp(0, values.len() as i64 - 1);
                values.get(at as usize).copied().unwrap_or(0.0)
            }
        }
    }

    /// The values of many levels.
    pub fn values_of(&self, levels: &[i32]) -> Vec<f32> {
        levels.iter().map(|&level| self.value(level)).collect()
    }
}
