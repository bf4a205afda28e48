//! Layer-wise relevance propagation (Bach et al. 2015; the paper's section 4): how much each weight, and each input,
//! contributes to the score of the true class. Works on any layer list.
//!
//! [`rule`] holds the rules, [`composite`] says which layer gets which, [`settings`] what a user may choose, [`walk`]
//! walks from the logits to the input. What relevance is used for is not here.

mod affine;
mod combined;
#[cfg(test)]
mod combined_tests;
pub mod composite;
mod elementwise;
#[cfg(test)]
mod golden;
pub mod rule;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod walk;

pub use composite::{COMPOSITES, Composite, Functional};
pub use rule::Rule;
pub use settings::{Canonizer, Product, Residual, Settings, Start};
pub use walk::{Explanation, Wanted, explain};

use super::{RelevanceMeasure, RelevanceTensors};
use crate::Result;
use crate::nn::{Network, Parameters, Role, ops};
use crate::quant::quantizer::Relevances;
use candle_core::Tensor;

/// The measure of the registry.
pub(super) struct Propagation(pub Settings);

impl RelevanceMeasure for Propagation {
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Relevances> {
        let mut found = explain(&self.0, network, parameters, inputs, targets, Wanted::Weights)?.parameters;
        let mut relevances = Relevances::new();
        for (name, parameter) in parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight) {
            // A weight whose layer has no rule has no relevance.
            let values = match found.swap_remove(name) {
                Some(values) => ops::into_values(values)?,
                None => vec![0.0; parameter.var.elem_count()],
            };
            relevances.insert(name.to_owned(), values);
        }
        Ok(relevances)
    }

    fn relevance_tensors(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Option<RelevanceTensors>> {
        let mut found = explain(&self.0, network, parameters, inputs, targets, Wanted::Weights)?.parameters;
        let mut relevances = RelevanceTensors::new();
        for (name, parameter) in parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight) {
            let none = || parameter.var.as_tensor().zeros_like();
            relevances.insert(name.to_owned(), found.swap_remove(name).map_or_else(none, Ok)?);
        }
        Ok(Some(relevances))
    }
}
