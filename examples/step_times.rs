//! Times of training steps and of inference, for `make bench-reference`: prints one JSON object.
//! `step_times MODEL plain|ecq|ecqx|inference REPEATS`, MODEL mlp, resnet20 or vgg16; threads: `RAYON_NUM_THREADS`.
//! `step_times gemm peak REPEATS` times a product of 1024×1024 matrices, what the machine can do at best.
//!
//! Beside the times (milliseconds): `peak_bytes`, the largest resident size of the process; `needed_bytes`, what a
//! backward pass needs at least (kept values, parameters, gradients, the optimizer's memory); `operations`, additions and
//! multiplications of the convolutions and linear layers of a step by the direct sums.

mod harness;

use candle_core::{Device, Tensor};
use ecqx::model;
use ecqx::nn::init::initialise;
use ecqx::nn::kernels::gemm::{Matrix, multiply};
use ecqx::nn::{Mode, Network, Operation, ops};
use ecqx::rng::Rng;
use serde_json::json;
use std::collections::HashSet;
use std::time::Instant;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;
const INFERENCE_BATCH: usize = 256;
const PEAK_SIZE: usize = 1024;

fn network(name: &str) -> ecqx::Result<Network> {
    let (shape, classes, registered) = match name {
        "mlp" => (vec![735], 12, "mlp-gsc"),
        _ => (vec![3, 32, 32], 10, name),
    };
    model::build(registered, &shape, classes, &model::Options::new())
}

/// Operations of one sample, forwards; and of those, the ones of the first layer.
fn operations(network: &Network) -> (usize, usize) {
    let of_layer = |index: usize| match network.layers()[index].operation {
        Operation::Linear { inputs, outputs, .. } => 2 * inputs * outputs,
        Operation::Conv2d { in_channels, groups, kernel, .. } => {
            let values: usize = network.output_shape(index).iter().product();
            2 * values * in_channels / groups * kernel[0] * kernel[1]
        }
        _ => 0,
    };
    let all: Vec<usize> = (0..network.layers().len()).map(of_layer).filter(|&count| count > 0).collect();
    (all.iter().sum(), all.first().copied().unwrap_or(0))
}

/// Bytes that a step of `BATCH` samples needs at least: the values that the backward pass reads, each once, and four
/// times the parameters (values, gradients, two moments).
fn needed(network: &Network) -> ecqx::Result<usize> {
    let parameters = initialise(network, &Device::Cpu, 1)?;
    let shape = [vec![BATCH], network.input_shape.clone()].concat();
    let input = Tensor::from_vec(harness::noise(shape.iter().product()), shape, &Device::Cpu)?;
    let mut rng = Rng::stream(1, "dropout");
    let trace = network.forward(&parameters, &input, Mode::Training(&mut rng, ops::ConvAlgorithm::Auto))?;
    let mut seen = HashSet::new();
    let kept = trace.values.iter().filter(|value| seen.insert(value.id()));
    let kept: usize = kept.map(|value| 4 * value.elem_count()).sum();
    Ok(kept + 4 * 4 * parameters.scalars())
}

/// Milliseconds of a matrix product.
fn product_times(repeats: usize) -> Vec<f64> {
    let values = harness::noise(PEAK_SIZE * PEAK_SIZE);
    let matrix = Matrix::new(&values, PEAK_SIZE, PEAK_SIZE);
    let mut out = vec![0.0; values.len()];
    let mut times = Vec::new();
    for _ in 0..=repeats {
        let start = Instant::now();
        multiply(&mut out, matrix, matrix, false, true);
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.remove(0);
    times
}

fn main() -> ecqx::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, kind, repeats] = arguments.as_slice() else {
        panic!("usage: step_times MODEL plain|ecq|ecqx|inference REPEATS, or step_times gemm peak REPEATS")
    };
    let repeats: usize = repeats.parse().expect("a number of repeats");
    // In the pool, as `ecqx run` trains: work need not be handed over from outside.
    let result = rayon::scope(|_| -> ecqx::Result<_> {
        if name == "gemm" {
            return Ok(json!({"milliseconds": product_times(repeats), "operations": 2 * PEAK_SIZE.pow(3)}));
        }
        let network = network(name)?;
        let (forward, first) = operations(&network);
        let (times, operations) = if kind == "inference" {
            (harness::inference(&network, INFERENCE_BATCH, repeats)?, INFERENCE_BATCH * forward)
        } else {
            (harness::training(&network, kind, BATCH, repeats)?, BATCH * (3 * forward - first))
        };
        let peak = ecqx::run::peak_memory();
        Ok(json!({
            "milliseconds": times, "operations": operations, "peak_bytes": peak, "needed_bytes": needed(&network)?,
        }))
    })?;
    println!("{result}");
    Ok(())
}
