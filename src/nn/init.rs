//! Initial values of a network's parameters. Every tensor draws from a stream of its own, named after it, so that a
//! layer more or less leaves the others' values alone.

use super::layer::Operation;
use super::network::Network;
use super::parameters::{Parameters, Role};
use crate::Result;
use crate::rng::Rng;
use candle_core::{Device, Tensor};
use std::collections::HashMap;

/// Fresh parameters: convolutions Kaiming-normal over the fan-out, linear layers uniform in ±1/√inputs (weight and
/// bias, PyTorch's default), batch norm with scale 1, shift 0, mean 0 and variance 1.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) when the device fails.
pub fn initialise(network: &Network, device: &Device, seed: u64) -> Result<Parameters> {
    let operations: HashMap<&str, &Operation> =
        network.layers().iter().map(|layer| (layer.name.as_str(), &layer.operation)).collect();
    let mut parameters = Parameters::new(device.clone());
    for parameter in network.parameter_shapes() {
        let mut rng = Rng::stream(seed, &format!("initialisation {}", parameter.name));
        let count = parameter.shape.iter().product();
        let layer = parameter.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        let mut normal =
            |deviation: f64| (0..count).map(|_| (f64::from(rng.normal()) * deviation) as f32).collect();
        let values: Vec<f32> = match (parameter.role, operations.get(layer)) {
            (Role::Weight, Some(Operation::Conv2d { out_channels, kernel, groups, .. })) => {
                let fan_out = out_channels / groups * kernel[0] * kernel[1];
                normal((2.0 / fan_out as f64).sqrt())
            }
            (Role::Weight | Role::Bias, Some(Operation::Linear { inputs, .. })) => {
                let bound = 1.0 / (*inputs as f32).sqrt();
                (0..count).map(|_| rng.range(-bound, bound)).collect()
            }
            (Role::Affine | Role::Statistic, _)
                if parameter.name.ends_with(".weight") || parameter.name.ends_with(".running_var") =>
            {
                vec![1.0; count]
            }
            _ => vec![0.0; count],
        };
        let values = Tensor::from_vec(values, parameter.shape.as_slice(), &Device::Cpu)?;
        parameters.insert(&parameter.name, &values, parameter.role)?;
    }
    Ok(parameters)
}
