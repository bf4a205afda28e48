//! Assignment of 15 million weights at 4 bit, without and with relevance, beside a copy of the same weights; and of one
//! tensor of growing size, whose cost must grow no faster than the tensor.
//! `cargo bench --bench assignment`; threads: `RAYON_NUM_THREADS`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecqx::quant;
use ecqx::quant::quantizer::{Quantizer, Relevances, StepInfo, WeightTensor};
use ecqx::rng::Rng;
use serde_json::json;
use std::hint::black_box;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The layers of vgg16 for CIFAR, about: 15 million weights in tensors of 2.4 million and less.
const LAYERS: [usize; 13] = [
    1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, 2_359_296, 2_359_296, 2_359_296,
    2_359_296, 2_359_296,
];

/// Normal weights in tensors of these sizes, and signed relevance.
struct Layers {
    names: Vec<String>,
    values: Vec<Vec<f32>>,
    relevance: Relevances,
}

impl Layers {
    fn new(sizes: &[usize]) -> Self {
        let mut rng = Rng::stream(1, "weights");
        let values: Vec<Vec<f32>> =
            sizes.iter().map(|&n| (0..n).map(|_| 0.05 * rng.normal()).collect()).collect();
        let names: Vec<String> = (0..sizes.len()).map(|i| format!("layer{i}.weight")).collect();
        let relevance = names
            .iter()
            .zip(&values)
            .map(|(name, values)| (name.clone(), values.iter().map(|w| w * rng.normal()).collect()))
            .collect();
        Self { names, values, relevance }
    }

    fn weights(&self) -> Vec<WeightTensor<'_>> {
        let tensors = self.names.iter().zip(&self.values);
        tensors.map(|(name, values)| WeightTensor { name, shape: &[1], values }).collect()
    }
}

const AT: StepInfo = StepInfo { step: 1, total_steps: 10, epoch: 0, epochs: 1 };

fn quantizer(method: &str, weights: &[WeightTensor<'_>]) -> Box<dyn Quantizer> {
    let settings = if method == "uniform" { json!({}) } else { json!({"lambda": 0.05}) };
    let parameters = settings.as_object().expect("an object");
    let (mut quantizer, _) = quant::build(method, Some(4), parameters).expect("valid");
    quantizer.initialize(weights).expect("finite weights");
    quantizer
}

fn assignment(criterion: &mut Criterion) {
    let layers = Layers::new(&LAYERS);
    let weights = layers.weights();
    let mut group = criterion.benchmark_group("assignment of 15 million weights");
    group.sample_size(10).throughput(Throughput::Elements(LAYERS.iter().sum::<usize>() as u64));
    group.bench_function("copy", |b| b.iter(|| black_box(&layers.values).clone()));
    for (method, relevance) in [("uniform", None), ("ecq", None), ("ecqx", Some(&layers.relevance))] {
        let mut quantizer = quantizer(method, &weights);
        group.bench_function(method, |b| {
            b.iter(|| quantizer.assign(&weights, relevance, AT).expect("finite weights"))
        });
    }
    group.finish();
}

fn by_size(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assignment with relevance by number of weights");
    group.sample_size(10);
    for size in [100_000usize, 400_000, 1_600_000, 6_400_000, 25_600_000] {
        let layers = Layers::new(&[size]);
        let weights = layers.weights();
        let mut quantizer = quantizer("ecqx", &weights);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(size.to_string(), |b| {
            b.iter(|| quantizer.assign(&weights, Some(&layers.relevance), AT).expect("finite weights"))
        });
    }
    group.finish();
}

criterion_group!(benches, assignment, by_size);
criterion_main!(benches);
