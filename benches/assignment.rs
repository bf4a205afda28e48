//! Assignment of 15 million weights at 4 bit, without and with relevance, beside a copy of the same weights.
//! `cargo bench --bench assignment`; threads: `RAYON_NUM_THREADS`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecqx::quant;
use ecqx::quant::quantizer::{Relevances, StepInfo, WeightTensor};
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

fn assignment(criterion: &mut Criterion) {
    let mut rng = Rng::stream(1, "weights");
    let values: Vec<Vec<f32>> =
        LAYERS.iter().map(|&n| (0..n).map(|_| 0.05 * rng.normal()).collect()).collect();
    let names: Vec<String> = (0..LAYERS.len()).map(|i| format!("layer{i}.weight")).collect();
    let weights: Vec<WeightTensor<'_>> =
        names.iter().zip(&values).map(|(name, values)| WeightTensor { name, shape: &[1], values }).collect();
    let relevance: Relevances = names
        .iter()
        .zip(&values)
        .map(|(name, values)| (name.clone(), values.iter().map(|w| w * rng.normal()).collect()))
        .collect();
    let mut group = criterion.benchmark_group("assignment of 15 million weights");
    group.sample_size(10).throughput(Throughput::Elements(LAYERS.iter().sum::<usize>() as u64));
    group.bench_function("copy", |b| b.iter(|| black_box(&values).clone()));
    let at = StepInfo { step: 1, total_steps: 10, epoch: 0, epochs: 1 };
    for (method, relevance) in [("uniform", None), ("ecq", None), ("ecqx", Some(&relevance))] {
        let settings = if method == "uniform" { json!({}) } else { json!({"lambda": 0.05}) };
        let parameters = settings.as_object().expect("an object");
        let (mut quantizer, _) = quant::build(method, Some(4), parameters).expect("valid");
        quantizer.initialize(&weights).expect("finite weights");
        group.bench_function(method, |b| {
            b.iter(|| quantizer.assign(&weights, relevance, at).expect("finite weights"))
        });
    }
    group.finish();
}

criterion_group!(benches, assignment);
criterion_main!(benches);
