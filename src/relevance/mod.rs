//! Relevance of weights: layer-wise relevance propagation and other measures for comparison.

use crate::Result;
use crate::nn::{Network, Parameters};
use crate::quant::quantizer::Relevances;
use candle_core::Tensor;

/// Something that says how much each weight matters for a batch.
pub trait RelevanceMeasure: Send {
    /// Signed relevance of every parameter with role `Weight`, summed over the batch. `inputs` is (batch, …),
    /// `targets` the true classes; the network runs in evaluation mode.
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Relevances>;
}

/// Builds the measure that an experiment's `relevance:` entry names; absent means the default composite of LRP.
///
/// # Errors
/// [`Error::Input`] for an unknown measure or setting.
pub fn build(spec: Option<&serde_json::Value>, seed: u64) -> Result<Box<dyn RelevanceMeasure>> {
    let _ = (spec, seed);
    Err(crate::Error::input("relevance is not built in yet"))
}
