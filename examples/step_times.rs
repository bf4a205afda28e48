//! Times of training steps and of inference, for `make bench-reference`: prints one JSON object of milliseconds.
//! `step_times MODEL plain|ecq|ecqx|inference REPEATS`, MODEL mlp, resnet20 or vgg16; threads: `RAYON_NUM_THREADS`.

use candle_core::{Device, Tensor};
use ecqx::data::{Dataset, Split};
use ecqx::nn::Network;
use ecqx::nn::init::initialise;
use ecqx::relevance::{self, Context};
use ecqx::rng::Rng;
use ecqx::train::quantized::{QuantizationAware, quantizable, quantization_aware};
use ecqx::train::{NoCheckpoints, Observer, TrainingSpec, plain};
use ecqx::{model, quant};
use serde_json::json;
use std::sync::Mutex;
use std::time::Instant;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;

/// Random inputs in memory.
struct Noise {
    shape: Vec<usize>,
    classes: Vec<String>,
    samples: usize,
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
            let start = index % BATCH * size;
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

fn network(name: &str) -> ecqx::Result<(Network, Vec<usize>, usize)> {
    let (shape, classes, registered) = match name {
        "mlp" => (vec![735], 12, "mlp-gsc"),
        _ => (vec![3, 32, 32], 10, name),
    };
    Ok((model::build(registered, &shape, classes, &model::Options::new())?, shape, classes))
}

fn main() -> ecqx::Result<()> {
    // In the pool, as `ecqx run` trains: work need not be handed over from outside.
    rayon::scope(|_| run())
}

fn run() -> ecqx::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, kind, repeats] = arguments.as_slice() else {
        panic!("usage: step_times MODEL plain|ecq|ecqx|inference REPEATS")
    };
    let repeats: usize = repeats.parse().expect("a number of repeats");
    let (network, shape, classes) = network(name)?;
    let parameters = initialise(&network, &Device::Cpu, 1)?;
    let mut rng = Rng::stream(1, "noise");
    let size: usize = shape.iter().product();
    let values: Vec<f32> = (0..256 * size).map(|_| rng.normal()).collect();
    let mut times = Vec::new();
    if kind == "inference" {
        let shape = [vec![256], shape].concat();
        let input = Tensor::from_vec(values, shape, &Device::Cpu)?;
        for _ in 0..=repeats {
            let start = Instant::now();
            network.infer(&parameters, &input)?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        times.remove(0);
    } else {
        let classes = (0..classes).map(|class| class.to_string()).collect();
        let dataset = Noise { shape, classes, samples: (repeats + 1) * BATCH, values };
        let clock = Clock(Mutex::new(vec![Instant::now()]));
        let spec =
            TrainingSpec { epochs: 1, batch_size: BATCH, learning_rate: 1e-4, ..TrainingSpec::default() };
        if kind == "plain" {
            plain::train(&network, &parameters, &dataset, &spec, 1, &clock, &NoCheckpoints)?;
        } else {
            let settings = json!({"lambda": 0.05});
            let settings = settings.as_object().expect("an object");
            let (mut quantizer, scope) = quant::build(kind, Some(4), settings)?;
            let mut measure = relevance::build(None, Context::default())?;
            quantization_aware(
                &network,
                &parameters,
                &quantizable(&parameters, &scope),
                quantizer.as_mut(),
                Some(measure.as_mut()),
                &dataset,
                &QuantizationAware { spec: &spec, seed: 1 },
                &clock,
                &NoCheckpoints,
            )?;
        }
        let ends = clock.0.into_inner().expect("no thread panicked");
        // The first step includes the initial assignment.
        times.extend(ends.windows(2).skip(1).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0));
    }
    let peak = ecqx::run::peak_memory();
    println!("{}", json!({"model": name, "kind": kind, "milliseconds": times, "peak_bytes": peak}));
    Ok(())
}
