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

/// What to warn of: layers that keep fewer weights than they have outputs, so that some outputs are constant.
pub fn emptied(layers: &[LayerRecord]) -> Option<String> {
    let kept = |layer: &LayerRecord| layer.weights - layer.zeros;
    let list: Vec<String> = layers
        .iter()
        .filter(|layer| layer.shape.first().is_some_and(|outputs| kept(layer) < *outputs))
        .map(|layer| format!("{} ({} of {})", layer.name, kept(layer), layer.weights))
        .collect();
    (!list.is_empty()).then(|| {
        format!(
            "layers keep fewer weights than they have outputs, so that some outputs no longer depend on the input: {}",
            list.join(", ")
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(shape: &[usize], zeros: usize) -> LayerRecord {
        LayerRecord {
            name: format!("layer{zeros}.weight"),
            shape: shape.to_vec(),
            weights: shape.iter().product(),
            zeros,
            levels_in_use: 2,
            entropy: Some(0.1),
            step: Some(0.1),
            bytes: Some(10),
            bits: None,
        }
    }

    /// A network that has collapsed says where: in the layers of which less than a weight for each output is left.
    #[test]
    fn a_layer_with_fewer_weights_than_outputs_is_named() {
        assert_eq!(emptied(&[layer(&[4, 3, 3, 3], 104), layer(&[2, 5], 0)]), None);
        let warning = emptied(&[layer(&[4, 3, 3, 3], 105), layer(&[2, 5], 0), layer(&[2, 5], 10)]);
        let warning = warning.expect("two layers are all but empty");
        assert!(
            warning.ends_with("the input: layer105.weight (3 of 108), layer10.weight (0 of 10)"),
            "{warning}"
        );
    }
}
