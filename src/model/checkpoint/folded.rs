//! Checkpoints of networks whose batch norms were folded into the layers before them.

use super::StateDict;
use crate::Result;
use crate::nn::layer::Operation;
use crate::nn::{Network, ParameterShape};
use candle_core::{Device, Tensor};

/// Adds, for each batch norm of the network of which the checkpoint has nothing, one that changes nothing: scale 1, mean 0,
/// variance 1. Its bias is that of the layer before where the network's layer has none.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) on a defect.
pub fn unfold_batch_norm(state: &mut StateDict, network: &Network) -> Result<()> {
    let shapes = network.parameter_shapes();
    let has_bias =
        |layer: &str| shapes.iter().any(|ParameterShape { name, .. }| *name == format!("{layer}.bias"));
    for layer in network.layers() {
        let Operation::BatchNorm { features, epsilon, .. } = layer.operation else { continue };
        let name = |part: &str| format!("{}.{part}", layer.name);
        if ["weight", "bias", "running_mean", "running_var"]
            .iter()
            .any(|part| state.contains_key(&name(part)))
        {
            continue;
        }
        let constant = |value: f64| Tensor::from_vec(vec![value as f32; features], features, &Device::Cpu);
        let before = layer.inputs.first().filter(|before| !has_bias(before));
        let moved = before.and_then(|before| state.shift_remove(&format!("{before}.bias")));
        state.insert(name("weight"), constant(1.0)?);
        state.insert(name("bias"), moved.map_or_else(|| constant(0.0), Ok)?);
        state.insert(name("running_mean"), constant(0.0)?);
        // The kernels add ε before they take the root.
        state.insert(name("running_var"), constant(1.0 - epsilon)?);
    }
    Ok(())
}
