//! Measures from the gradient of the mean loss.

use super::RelevanceMeasure;
use crate::Result;
use crate::nn::ops::{self, ConvAlgorithm};
use crate::nn::{Mode, Network, Parameters, Role};
use crate::quant::quantizer::Relevances;
use candle_core::Tensor;

/// Weight × gradient: first-order Taylor estimate of the loss's change when the weight becomes zero.
pub(super) struct Taylor;

/// Squared gradient of the batch's mean loss: the empirical Fisher information with the batch as one sample.
pub(super) struct Fisher;

/// `f(weight, gradient)` for every weight.
fn from_gradients(
    network: &Network,
    parameters: &Parameters,
    inputs: &Tensor,
    targets: &[u32],
    f: impl Fn(f32, f32) -> f32,
) -> Result<Relevances> {
    let trace = network.forward(parameters, inputs, Mode::Evaluation(ConvAlgorithm::Auto))?;
    let gradients = ops::loss(trace.logits(), targets)?.backward()?;
    let mut relevances = Relevances::new();
    for (name, parameter) in parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight) {
        let weights = parameters.values(name)?;
        let values = match gradients.get(parameter.var.as_tensor()) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.0; weights.len()],
        };
        relevances.insert(name.into(), weights.iter().zip(values).map(|(&w, g)| f(w, g)).collect());
    }
    Ok(relevances)
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
}
