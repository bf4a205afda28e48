//! Times of training steps on a device.

use super::networks::{models, network, parameters};
use super::noise::Noise;
use crate::nn::{Backend, transfer};
use crate::quant;
use crate::relevance::{self, Context};
use crate::train::quantized::{Calibration, QuantizationAware, quantizable, quantization_aware};
use crate::train::{NoCheckpoints, Observer, TrainingSpec, full_precision};
use crate::{Error, Result};
use candle_core::Device;
use serde::Serialize;
use serde_json::json;
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
        for method in ["full precision", "ecq", "ecqx"] {
            let measured =
                |steps| Backend::Composed.run(|| transfer::count(|| times(&network, method, device, steps)));
            // A training of one step more: what both have in common cancels.
            let (_, few) = measured(1);
            let (times, many) = measured(steps + 1);
            let mut times = times?;
            times.sort_by(f64::total_cmp);
            let per_step = |many: usize, few: usize| (many as f64 - few as f64) / steps as f64;
            seen(Timing {
                model,
                method,
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

fn times(network: &crate::nn::Network, method: &str, device: &Device, steps: usize) -> Result<Vec<f64>> {
    let parameters = parameters(network, device, false)?;
    let dataset = Noise::new(&network.input_shape, steps * BATCH);
    let spec = TrainingSpec { epochs: 1, batch_size: BATCH, learning_rate: 1e-4, ..TrainingSpec::default() };
    let clock = Clock(Mutex::default());
    if method == "full precision" {
        full_precision::train(network, &parameters, &dataset, &spec, 1, &clock, &NoCheckpoints)?;
    } else {
        let settings = json!({"lambda": 0.05});
        let none = serde_json::Map::new();
        let (mut quantizer, scope) = quant::build(method, Some(4), settings.as_object().unwrap_or(&none))?;
        let mut measure = relevance::build(&relevance::builtin(), None, Context::default())?;
        quantization_aware(
            network,
            &parameters,
            &quantizable(&parameters, &scope),
            quantizer.as_mut(),
            Some(measure.as_mut()),
            &dataset,
            &QuantizationAware { spec: &spec, seed: 1, calibration: Calibration::default() },
            &clock,
            &NoCheckpoints,
        )?;
    }
    let ends = clock.0.into_inner().map_err(|_| Error::Internal("a step panicked".into()))?;
    Ok(ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect())
}
