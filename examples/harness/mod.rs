//! Times of whole training steps on random inputs, for the examples that measure them.
#![allow(dead_code, reason = "each example uses its part")]

use candle_core::{Device, Tensor};
use ecqx::nn::Network;
use ecqx::nn::init::initialise;
use ecqx::rng::Rng;
use std::time::Instant;

/// Standard normal values.
pub fn noise(count: usize) -> Vec<f32> {
    let mut rng = Rng::stream(1, "noise");
    (0..count).map(|_| rng.normal()).collect()
}

/// Milliseconds of `repeats` forward passes in evaluation on `batch` samples.
pub fn inference(network: &Network, batch: usize, repeats: usize) -> ecqx::Result<Vec<f64>> {
    let parameters = initialise(network, &Device::Cpu, 1)?;
    let shape = [vec![batch], network.input_shape.clone()].concat();
    let input = Tensor::from_vec(noise(shape.iter().product()), shape, &Device::Cpu)?;
    let mut times = Vec::new();
    for _ in 0..=repeats {
        let start = Instant::now();
        network.infer(&parameters, &input)?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.remove(0);
    Ok(times)
}

/// Milliseconds of `repeats` training steps: `plain`, or those of a method.
pub fn training(network: &Network, kind: &str, batch: usize, repeats: usize) -> ecqx::Result<Vec<f64>> {
    let method = (kind != "plain").then_some(kind);
    ecqx::selftest::step_times(network, method, &Device::Cpu, [repeats + 1, batch])
}
