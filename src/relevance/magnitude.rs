//! |weight|: the measure that needs no data.

use super::{RelevanceMeasure, RelevanceTensors};
use crate::Result;
use crate::nn::{Network, Parameters, Role};
use crate::quant::quantizer::Relevances;
use candle_core::Tensor;

/// |weight|.
pub(super) struct Magnitude;

impl RelevanceMeasure for Magnitude {
    fn relevance(
        &mut self,
        _: &Network,
        parameters: &Parameters,
        _: &Tensor,
        _: &[u32],
    ) -> Result<Relevances> {
        parameters
            .iter()
            .filter(|(_, parameter)| parameter.role == Role::Weight)
            .map(|(name, _)| {
                Ok((name.to_string(), parameters.values(name)?.iter().map(|w| w.abs()).collect()))
            })
            .collect()
    }

    fn relevance_tensors(
        &mut self,
        _: &Network,
        parameters: &Parameters,
        _: &Tensor,
        _: &[u32],
    ) -> Result<Option<RelevanceTensors>> {
        let weights = parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight);
        let of_weight =
            |(name, _): (&str, _)| Ok((name.to_owned(), parameters.tensor(name)?.detach().abs()?));
        weights.map(of_weight).collect::<Result<_>>().map(Some)
    }
}
