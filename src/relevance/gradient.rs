//! Measures from the gradient of the mean loss.

use super::{RelevanceMeasure, RelevanceTensors};
use crate::Result;
use crate::nn::ops::{self, ConvAlgorithm};
use crate::nn::{Backend, Mode, Network, Parameters, Role, transfer};
use crate::quant::quantizer::Relevances;
use candle_core::Tensor;

/// Weight × gradient: first-order Taylor estimate of the loss's change when the weight becomes zero.
pub(super) struct Taylor;

/// Squared gradient of the batch's mean loss: the empirical Fisher information with the batch as one sample.
pub(super) struct Fisher;

/// The gradients of all weights, where they are; `None` for a weight that the loss does not depend on.
fn gradients(
    network: &Network,
    parameters: &Parameters,
    inputs: &Tensor,
    targets: &[u32],
) -> Result<Vec<(String, Option<Tensor>)>> {
    let trace = network.forward(parameters, inputs, Mode::Evaluation(ConvAlgorithm::Auto))?;
    let weights = parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight);
    if Backend::of(inputs) == Backend::Composed {
        let of_logits = ops::loss_backward(&trace.logits().detach(), targets)?;
        let found = network.backward(parameters, trace, &of_logits)?;
        return Ok(weights.map(|(name, _)| (name.to_owned(), found.get(name).cloned())).collect());
    }
    // Not our own walk, which adds in another order: the numbers of earlier results would change in their last bits.
    let found = ops::loss(trace.logits(), targets)?.backward()?;
    let of_weight = |var: &candle_core::Var| found.get(var.as_tensor()).cloned();
    Ok(weights.map(|(name, parameter)| (name.to_owned(), of_weight(&parameter.var))).collect())
}

/// `f(weight, gradient)` for every weight.
fn from_gradients(
    network: &Network,
    parameters: &Parameters,
    inputs: &Tensor,
    targets: &[u32],
    f: impl Fn(f32, f32) -> f32,
) -> Result<Relevances> {
    let mut relevances = Relevances::new();
    for (name, gradient) in gradients(network, parameters, inputs, targets)? {
        let weights = parameters.values(&name)?;
        let values = match gradient {
            Some(gradient) => transfer::values::<f32>(&gradient)?,
            None => vec![0.0; weights.len()],
        };
        relevances.insert(name, weights.iter().zip(values).map(|(&w, g)| f(w, g)).collect());
    }
    Ok(relevances)
}

/// As [`from_gradients`], on the device.
fn tensors_from_gradients(
    network: &Network,
    parameters: &Parameters,
    inputs: &Tensor,
    targets: &[u32],
    f: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Option<RelevanceTensors>> {
    let mut relevances = RelevanceTensors::new();
    for (name, gradient) in gradients(network, parameters, inputs, targets)? {
        let weights = parameters.tensor(&name)?.detach();
        let gradient = gradient.map_or_else(|| weights.zeros_like(), Ok)?;
        relevances.insert(name, f(&weights, &gradient)?);
    }
    Ok(Some(relevances))
}

impl RelevanceMeasure for Taylor {
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        x: &Tensor,
        y: &[u32],
    ) -> Result<Relevances> {
        from_gradients(network, parameters, x, y, |w, g| w * g)
    }

    fn relevance_tensors(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        x: &Tensor,
        y: &[u32],
    ) -> Result<Option<RelevanceTensors>> {
        tensors_from_gradients(network, parameters, x, y, |w, g| w * g)
    }
}

impl RelevanceMeasure for Fisher {
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        x: &Tensor,
        y: &[u32],
    ) -> Result<Relevances> {
        from_gradients(network, parameters, x, y, |_, g| g * g)
    }

    fn relevance_tensors(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        x: &Tensor,
        y: &[u32],
    ) -> Result<Option<RelevanceTensors>> {
        tensors_from_gradients(network, parameters, x, y, |_, g| g.sqr())
    }
}
