//! Uniform quantization: the nearest level of the layer's grid, post-training or with the straight-through estimator.

use super::assignment::nearest;
use super::codebook::Codebook;
use super::options::{Scope, from_state, settings, to_state};
use super::quantizer::{Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::registry::Method;
use crate::Result;
use serde::Deserialize;
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "uniform",
    about: "nearest level of a uniform grid per tensor",
    bits: Some((2, 8)),
    bits_optional: false,
    needs_relevance: false,
    parameters: &[],
    build: |method, scope, parameters| {
        settings::<Settings>(method, parameters)?;
        Ok(Box::new(Uniform { scope, codebooks: Vec::new() }))
    },
};

#[derive(Deserialize)]
struct Settings {}

struct Uniform {
    scope: Scope,
    codebooks: Vec<Option<Codebook>>,
}

/// The nearest levels of a tensor; all zeros without a codebook. Used by pruning with levels too.
pub(super) fn round(tensor: &WeightTensor<'_>, codebook: Option<&Codebook>) -> Content {
    match codebook {
        Some(codebook) => {
            let positions = nearest(tensor.values, &codebook.values());
            Content::Levels { positions, codebook: codebook.clone() }
        }
        None => Content::zeros(tensor.values.len()),
    }
}

impl Quantizer for Uniform {
    fn method(&self) -> &'static str {
        METHOD.name
    }

    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<Vec<QuantizedTensor>> {
        self.codebooks.clear();
        for tensor in weights {
            self.codebooks
                .push(Codebook::from_weights(tensor.values, self.scope.required_bits(tensor.name)?));
        }
        self.assign(weights, None, StepInfo::POST_TRAINING)
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        _: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        Ok(weights
            .iter()
            .enumerate()
            .map(|(index, tensor)| {
                let content = round(tensor, self.codebooks.get(index).and_then(Option::as_ref));
                QuantizedTensor { name: tensor.name.into(), shape: tensor.shape.to_vec(), content }
            })
            .collect())
    }

    fn state(&self) -> Result<Value> {
        to_state(&self.codebooks)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.codebooks = from_state(state)?;
        Ok(())
    }
}
