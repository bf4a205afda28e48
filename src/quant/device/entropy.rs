//! Entropy-constrained assignment of all tensors of a network at once: level counts and extremes are taken on the device
//! and read together, the host lays boundaries from them, the device compares.

use super::levels::{assigned, equalised, flat};
use super::relevance::{self, Weighted};
use super::sums::{counts, largest, smallest, total, unpacked};
use super::{Found, Readings, Weighting, plain};
use crate::Result;
use crate::quant::boundaries::Boundaries;
use crate::quant::codebook::Codebook;
use crate::quant::entropy::{EntropyTerm, costs_from, decay};
use candle_core::Tensor;

/// The method: an entropy term and one codebook per tensor (`None`: the tensor is all zeros).
pub struct EntropyMethod<'a> {
    /// The term.
    pub term: &'a EntropyTerm,
    /// The codebooks.
    pub codebooks: &'a [Option<Codebook>],
}

/// One tensor with a codebook.
struct Layer {
    index: usize,
    weights: Tensor,
    pooled: Codebook,
    nearest: Boundaries,
}

impl EntropyMethod<'_> {
    /// Assigns all tensors. One read, and up to three more where relevance weighs the zeros.
    ///
    /// # Errors
    /// Those of the device.
    pub fn assign(
        &self,
        weights: &[Tensor],
        weighting: Option<&Weighting<'_>>,
        readings: &mut Readings,
    ) -> Result<Vec<Found>> {
        let most = weights.iter().map(Tensor::elem_count).max().unwrap_or(0);
        let mut layers = Vec::new();
        for (index, (tensor, codebook)) in weights.iter().zip(self.codebooks).enumerate() {
            let Some(codebook) = codebook else { continue };
            let pooled = codebook.pooled().into_owned();
            let levels = pooled.values();
            let nearest = Boundaries::new(&levels, &vec![0.0; levels.len()]);
            layers.push(Layer { index, weights: equalised(&flat(tensor)?, codebook)?, pooled, nearest });
        }
        let is_plain = self.term.lambda == 0.0;
        let mut parts = Vec::new();
        if !is_plain {
            for layer in &layers {
                parts.push(counts(&assigned(&layer.weights, &layer.nearest)?, layer.nearest.levels.len())?);
                parts.push(Tensor::stack(&[smallest(&layer.weights)?, largest(&layer.weights)?], 0)?);
                if let Some(weighting) = weighting {
                    let magnitude = flat(&weighting.relevance[layer.index])?.abs()?;
                    let most = largest(&magnitude)?.to_dtype(candle_core::DType::F64)?;
                    parts.push(Tensor::stack(&[most, total(&magnitude)?], 0)?);
                }
            }
        }
        let mut numbers = readings.read(parts)?.into_iter();
        let mut found: Vec<Found> = weights.iter().map(|_| (None, [None; 2])).collect();
        let mut weighted = Vec::new();
        for layer in layers {
            let Layer { index, weights, pooled, nearest } = layer;
            let levels = nearest.levels.len();
            let counted = numbers.next().map(|packed| unpacked(&packed, levels));
            let ends = numbers.next().unwrap_or_default();
            let extremes =
                || (ends.first().map_or(0.0, |v| *v as f32), ends.get(1).map_or(0.0, |v| *v as f32));
            let scale = decay(weights.elem_count(), most);
            let costs = costs_from(counted, extremes, nearest, &pooled, self.term, scale);
            let of_relevance = weighting.filter(|_| !is_plain).and_then(|_| numbers.next());
            match (weighting, of_relevance) {
                (Some(weighting), Some(numbers)) if !costs.is_nearest() => {
                    let relevance = flat(&weighting.relevance[index])?;
                    weighted
                        .push((index, Weighted::new(weights, relevance, pooled.zero(), costs, &numbers)?));
                }
                _ => found[index] = plain(&weights, &costs)?,
            }
        }
        if let Some(weighting) = weighting {
            relevance::search_all(weighted, weighting, readings, &mut found)?;
        }
        Ok(found)
    }
}
