//! What `ecqx quantize` tells of its result.

use crate::quant::quantizer::{Content, QuantizedTensor};
use serde_json::{Value, json};

/// What holds for the whole result, whatever its accuracy.
pub(super) struct Total {
    pub weights: usize,
    pub zeros: usize,
    /// Of the model file, which is the size that runs report.
    pub bytes: usize,
    pub full_precision: usize,
}

impl Total {
    pub fn new(tensors: &[QuantizedTensor], bytes: usize, full_precision: usize) -> Self {
        let counts = tensors.iter().map(|tensor| tensor.content.zeros_and_count());
        let (zeros, weights) = counts.fold((0, 0), |sum, (zeros, count)| (sum.0 + zeros, sum.1 + count));
        Self { weights, zeros, bytes, full_precision }
    }

    /// Percent.
    pub fn sparsity(&self) -> f64 {
        100.0 * self.zeros as f64 / self.weights.max(1) as f64
    }

    /// How many times smaller than in full precision.
    pub fn ratio(&self) -> f64 {
        self.full_precision as f64 / self.bytes.max(1) as f64
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} weights are zero ({:.2} %); {} bytes as .nnc, {:.1} times smaller than float32",
            self.zeros,
            self.weights,
            self.sparsity(),
            self.bytes,
            self.ratio()
        )
    }
}

/// One line per tensor, of what [`describe`] says.
pub(super) fn print_table(layers: &[Value]) {
    println!(
        "{:<40} {:>9} {:>9} {:>7} {:>8} {:>12}",
        "weight", "values", "zeros", "% zero", "levels", "bits/weight"
    );
    for layer in layers {
        println!(
            "{:<40} {:>9} {:>9} {:>7.2} {:>8} {:>12}",
            layer["name"].as_str().unwrap_or(""),
            layer["values"].as_u64().unwrap_or(0),
            layer["zeros"].as_u64().unwrap_or(0),
            layer["sparsity"].as_f64().unwrap_or(0.0),
            layer["levels_in_use"].as_u64().map_or("-".into(), |levels| levels.to_string()),
            layer["entropy"].as_f64().map_or("-".into(), |bits| format!("{bits:.3}")),
        );
    }
}

/// What is told about one tensor; sparsity in percent, entropy in bits per weight.
pub(super) fn describe(tensor: &QuantizedTensor) -> Value {
    match &tensor.content {
        Content::Levels { positions, codebook } => {
            let levels = codebook.levels_of(positions);
            let zeros = codebook.zeros(positions);
            let mut used = levels.clone();
            used.sort_unstable();
            used.dedup();
            let count = levels.len().max(1) as f64;
            json!({
                "name": tensor.name, "values": levels.len(), "zeros": zeros, "sparsity": 100.0 * zeros as f64 / count,
                "levels_in_use": used.len(), "entropy": crate::codec::comparison::entropy_bits(&levels) / count,
            })
        }
        Content::Values(values) => {
            let zeros = values.iter().filter(|value| **value == 0.0).count();
            let sparsity = 100.0 * zeros as f64 / values.len().max(1) as f64;
            json!({"name": tensor.name, "values": values.len(), "zeros": zeros, "sparsity": sparsity})
        }
    }
}
