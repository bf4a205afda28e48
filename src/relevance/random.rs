//! Measures that know nothing about the network: the control group of every comparison.

use super::{RelevanceMeasure, RelevanceTensors};
use crate::nn::{Network, Parameters, Role};
use crate::quant::quantizer::Relevances;
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::Value;

/// Uniform random numbers in (0, 1], new ones for every batch, drawn from a stream of the run's seed.
pub(super) struct Random {
    pub seed: u64,
    /// Batches so far.
    pub batches: u64,
}

/// 1 for every weight.
pub(super) struct Uniform;

fn filled(parameters: &Parameters, mut value: impl FnMut() -> f32) -> Relevances {
    parameters
        .iter()
        .filter(|(_, parameter)| parameter.role == Role::Weight)
        .map(|(name, parameter)| {
            (name.to_owned(), (0..parameter.var.elem_count()).map(|_| value()).collect())
        })
        .collect()
}

impl RelevanceMeasure for Random {
    fn relevance(
        &mut self,
        _: &Network,
        parameters: &Parameters,
        _: &Tensor,
        _: &[u32],
    ) -> Result<Relevances> {
        let mut rng = Rng::stream(self.seed, &format!("random relevance {}", self.batches));
        self.batches += 1;
        Ok(filled(parameters, || 1.0 - rng.uniform()))
    }

    fn state(&self) -> Value {
        self.batches.into()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let wrong = || Error::input("random relevance: the saved state is no number of batches");
        self.batches = state.as_u64().ok_or_else(wrong)?;
        Ok(())
    }
}

impl RelevanceMeasure for Uniform {
    fn relevance(
        &mut self,
        _: &Network,
        parameters: &Parameters,
        _: &Tensor,
        _: &[u32],
    ) -> Result<Relevances> {
        Ok(filled(parameters, || 1.0))
    }

    fn relevance_tensors(
        &mut self,
        _: &Network,
        parameters: &Parameters,
        _: &Tensor,
        _: &[u32],
    ) -> Result<Option<RelevanceTensors>> {
        let weights = parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight);
        let ones = weights.map(|(name, p)| Ok((name.to_owned(), p.var.as_tensor().ones_like()?.detach())));
        ones.collect::<Result<_>>().map(Some)
    }
}
