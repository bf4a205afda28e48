//! What quantization made of the tensors: levels by layer, and the sizes of the model.

use serde::{Deserialize, Serialize};

/// One quantized tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Parameter name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Number of weights.
    pub weights: usize,
    /// How many of them are exactly zero.
    pub zeros: usize,
    /// How many levels occur at least once (distinct values for tensors without a codebook).
    pub levels_in_use: usize,
    /// Entropy of the level distribution, bits per weight; absent for tensors without a codebook.
    pub entropy: Option<f64>,
    /// Step size of a uniform codebook.
    pub step: Option<f32>,
    /// Bytes of this tensor in the file.
    pub bytes: Option<usize>,
    /// Bit width that a budget gave it; absent where all layers have the method's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
}

/// Sizes of the model, bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// The model file really written. The headline.
    pub file: usize,
    /// Four bytes for every parameter and running statistic.
    pub full_precision: usize,
    /// Entropy bound of the level indices plus four bytes for everything else.
    pub entropy_bound: f64,
    /// Bit width × quantized weights / 8 plus four bytes for everything else.
    pub bits_times_parameters: f64,
    /// Compressed sparse rows with 4-bit column distances (Deep Compression), level indices at the bit width.
    pub csr: Option<usize>,
    /// zstd (level 19) of the level indices as i8 (i16/i32 where they do not fit) plus four bytes for everything else.
    pub zstd: Option<usize>,
    /// xz (preset 9) likewise.
    pub xz: Option<usize>,
}

impl Sizes {
    /// Full precision over file: the compression ratio.
    pub fn compression_ratio(&self) -> f64 {
        self.full_precision as f64 / self.file as f64
    }
}
