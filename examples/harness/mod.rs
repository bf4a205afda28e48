//! Times of whole training steps on random inputs, for the examples that measure them.
#![allow(dead_code, reason = "each example uses its part")]

use candle_core::{Device, Tensor};
use ecqx::data::{Dataset, Split};
use ecqx::nn::init::initialise;
use ecqx::nn::{Network, Parameters};
use ecqx::quant;
use ecqx::relevance::{self, Context};
use ecqx::rng::Rng;
use ecqx::train::quantized::{Calibration, QuantizationAware, quantizable, quantization_aware};
use ecqx::train::{NoCheckpoints, Observer, TrainingSpec, full_precision};
use serde_json::json;
use std::sync::Mutex;
use std::time::Instant;

/// Random inputs in memory.
struct Noise {
    shape: Vec<usize>,
    classes: Vec<String>,
    samples: usize,
    /// Samples that `values` holds, over and over.
    held: usize,
    values: Vec<f32>,
}

impl Dataset for Noise {
    fn name(&self) -> &str {
        "noise"
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn input_shape(&self) -> &[usize] {
        &self.shape
    }
    fn len(&self, split: Split) -> usize {
        if split == Split::Train { self.samples } else { 0 }
    }
    fn digest(&self) -> &str {
        "noise"
    }
    fn fill(
        &self,
        _: Split,
        indices: &[usize],
        _: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> ecqx::Result<()> {
        let size: usize = self.shape.iter().product();
        for ((output, target), &index) in inputs.chunks_exact_mut(size).zip(targets).zip(indices) {
            let start = index % self.held * size;
            output.copy_from_slice(&self.values[start..start + size]);
            *target = (index % self.classes.len()) as u32;
        }
        Ok(())
    }
}

/// Notes when each step ends.
struct Clock(Mutex<Vec<Instant>>);

impl Observer for Clock {
    fn step(&self, _: usize, _: usize, _: usize, _: usize, _: f64) {
        if let Ok(mut ends) = self.0.lock() {
            ends.push(Instant::now());
        }
    }
}

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

/// Milliseconds of `repeats` training steps: `full_precision`, `ecq` or `ecqx`.
pub fn training(network: &Network, kind: &str, batch: usize, repeats: usize) -> ecqx::Result<Vec<f64>> {
    let parameters: Parameters = initialise(network, &Device::Cpu, 1)?;
    let shape = network.input_shape.clone();
    let classes = (0..network.classes).map(|class| class.to_string()).collect();
    let values = noise(batch * shape.iter().product::<usize>());
    let dataset = Noise { shape, classes, samples: (repeats + 1) * batch, held: batch, values };
    let clock = Clock(Mutex::new(vec![Instant::now()]));
    let spec = TrainingSpec { epochs: 1, batch_size: batch, learning_rate: 1e-4, ..TrainingSpec::default() };
    if kind == "full_precision" {
        full_precision::train(network, &parameters, &dataset, &spec, 1, &clock, &NoCheckpoints)?;
    } else {
        let settings = json!({"lambda": 0.05});
        let settings = settings.as_object().expect("an object");
        let (mut quantizer, scope) = quant::build(kind, Some(4), settings)?;
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
    let ends = clock.0.into_inner().expect("no thread panicked");
    // The first step includes the initial assignment.
    Ok(ends.windows(2).skip(1).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0).collect())
}
