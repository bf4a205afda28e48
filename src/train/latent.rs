//! The latent weights of a quantization-aware run, on the host.

use crate::Result;
use crate::nn::Parameters;
use crate::quant::quantizer::WeightTensor;

/// Latent weights: the full-precision weights behind the quantized ones.
pub(super) struct LatentWeights {
    pub names: Vec<String>,
    pub shapes: Vec<Vec<usize>>,
    pub values: Vec<Vec<f32>>,
}

impl LatentWeights {
    pub fn new(parameters: &Parameters, names: &[String]) -> Result<Self> {
        let mut latent = Self { names: names.to_vec(), shapes: Vec::new(), values: Vec::new() };
        for name in names {
            latent.shapes.push(parameters.tensor(name)?.dims().to_vec());
            latent.values.push(parameters.values(name)?);
        }
        Ok(latent)
    }

    pub fn tensors(&self) -> Vec<WeightTensor<'_>> {
        let shapes = self.names.iter().zip(&self.shapes);
        shapes.zip(&self.values).map(|((name, shape), values)| WeightTensor { name, shape, values }).collect()
    }
}
