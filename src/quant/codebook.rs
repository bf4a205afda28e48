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
