//! Times of training steps on a device.

use super::networks::{models, network, parameters};
use super::noise::train;
use crate::nn::{Backend, Network, transfer};
use crate::train::Observer;
use crate::{Error, Result};
use candle_core::Device;
use serde::Serialize;
use std::sync::Mutex;
use std::time::Instant;

/// Samples per step.
const BATCH: usize = 64;

/// The steps of one model.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Model.
    pub model: &'static str,
    /// What is trained: `full precision` or a method.
    pub method: &'static str,
    /// Median of the steps, milliseconds.
    pub milliseconds: f64,
    /// Host reads of a step.
    pub reads: f64,
    /// Bytes of them.
    pub read_bytes: f64,
    /// Bytes that a step sends to the device.
    pub write_bytes: f64,
}

struct Clock(Mutex<Vec<Instant>>);

impl Observer for Clock {
    fn step(&self, _: usize, _: usize, _: usize, _: usize, _: f64) {
        if let Ok(mut ends) = self.0.lock() {
            ends.push(Instant::now());
        }
    }
}

pub fn run(device: &Device, steps: usize, seen: &mut dyn FnMut(Timing)) -> Result<()> {
    if steps == 0 {
        return Ok(());
    }
    for (model, shape, options) in models() {
        let network = network(model, &shape, &options)?;
        let batch_bytes = (4 * BATCH * (network.input_shape.iter().product::<usize>() + 1)) as f64;
        for method in [None, Some("ecq"), Some("ecqx")] {
            let measured = |steps| {
                let times = || step_times(&network, method, device, [steps, BATCH]);
                Backend::Composed.run(|| transfer::count(times))
            };
            // A training of one step more: what both have in common cancels.
            let (_, few) = measured(1);
            let (times, many) = measured(steps + 1);
            let mut times = times?;
            times.sort_by(f64::total_cmp);
            let per_step = |many: usize, few: usize| (many as f64 - few as f64) / steps as f64;
            seen(Timing {
                model,
                method: method.unwrap_or("full precision"),
                milliseconds: times.get(times.len() / 2).copied().unwrap_or(0.0),
                reads: per_step(many.reads, few.reads),
                read_bytes: per_step(many.read_bytes, few.read_bytes),
                // The batch is sent by the thread that made it.
                write_bytes: per_step(many.write_bytes, few.write_bytes) + batch_bytes,
            });
        }
    }
    Ok(())
}

/// Milliseconds of the steps of a training on random inputs but the first, which includes the initial assignment: at full
/// precision where there is no method.
///
/// # Errors
/// [`Error::Input`] for an unknown method, and those of training.
pub fn step_times(
    network: &Network,
    method: Option<&str>,
    device: &Device,
    [steps, batch]: [usize; 2],
) -> Result<Vec<f64>> {
    let parameters = parameters(network, device, false)?;
    let clock = Clock(Mutex::default());
    train(network, &parameters, method, [steps, batch], &clock)?;
    let ends = clock.0.into_inner().map_err(|_| Error::Internal("a step panicked".into()))?;
    Ok(ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect())
}
