//! Times of the convolution kernels, batch norm and whole training steps, batch 64.
//!
//! `cargo bench --bench kernels`; throughput of convolutions is in multiply-adds. Threads: `RAYON_NUM_THREADS`.

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecqx::model;
use ecqx::nn::init::initialise;
use ecqx::nn::kernels::batch_norm::{Norm, Planes};
use ecqx::nn::kernels::conv2d::{ConvAlgorithm, ConvShape, backward_input, backward_weight, forward};
use ecqx::nn::kernels::epilogue::Epilogue;
use ecqx::nn::{Mode, ops};
use ecqx::rng::Rng;
use std::hint::black_box;

/// As in the program: the system's allocator would dominate.
#[cfg(feature = "cli")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;

fn random(count: usize, name: &str) -> Vec<f32> {
    let mut rng = Rng::stream(1, name);
    (0..count).map(|_| rng.normal()).collect()
}

/// The convolutions of resnet20 and vgg16: input channels, output channels, image size, stride.
fn convolutions(criterion: &mut Criterion) {
    let shapes = [
        (3, 16, 32, 1),
        (16, 16, 32, 1),
        (16, 32, 32, 2),
        (32, 32, 16, 1),
        (64, 64, 8, 1),
        (64, 64, 32, 1),
        (128, 128, 16, 1),
        (256, 256, 8, 1),
        (512, 512, 4, 1),
        (512, 512, 2, 1),
    ];
    for (ins, outs, size, stride) in shapes {
        let out_size = (size - 1) / stride + 1;
        let shape = ConvShape {
            batch: BATCH,
            input: [ins, size, size],
            output: [outs, out_size, out_size],
            kernel: [3, 3],
            stride: [stride; 2],
            padding: [1; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let x = random(BATCH * ins * size * size, "x");
        let weight = random(outs * ins * 9, "weight");
        let gradient = random(BATCH * outs * out_size * out_size, "gradient");
        let epilogue = Epilogue::default();
        let mut group = criterion.benchmark_group(format!("conv 3x3 {ins}-{outs} at {size} stride {stride}"));
        group.sample_size(10).throughput(Throughput::Elements((gradient.len() * ins * 9) as u64));
        group.bench_function("forward", |b| {
            b.iter(|| black_box(forward(&shape, &x, &weight, &epilogue, ConvAlgorithm::Auto)))
        });
        group.bench_function("input gradient", |b| {
            b.iter(|| black_box(backward_input(&shape, &gradient, &weight, ConvAlgorithm::Auto)));
        });
        group.bench_function("weight gradient", |b| {
            b.iter(|| black_box(backward_weight(&shape, &gradient, &x, ConvAlgorithm::Auto)));
        });
        group.finish();
    }
}

fn batch_norms(criterion: &mut Criterion) {
    let planes = Planes { channels: 16, area: 1024 };
    let x = random(BATCH * 16 * 1024, "x");
    let (scale, shift) = (random(16, "scale"), random(16, "shift"));
    let norm = Norm { planes, scale: &scale, shift: &shift, epsilon: 1e-5, relu: true };
    let (_, statistics) = norm.forward_training(&x);
    let mut group = criterion.benchmark_group("batch norm 16 at 32");
    group.sample_size(20).throughput(Throughput::Bytes(4 * x.len() as u64));
    group.bench_function("forward", |b| {
        b.iter(|| black_box(norm.forward_training(&x)));
    });
    group.bench_function("gradients", |b| {
        b.iter(|| black_box(norm.backward(&x, &x, &statistics, true)));
    });
    group.finish();
}

/// Forward and backward pass without the optimizer.
fn steps(criterion: &mut Criterion) {
    for (name, shape) in [("mlp-gsc", vec![735]), ("resnet20", vec![3, 32, 32]), ("vgg16", vec![3, 32, 32])] {
        let network =
            model::build(name, &shape, 10, &model::Options::new()).expect("a model of the registry");
        let parameters = initialise(&network, &Device::Cpu, 1).expect("memory for the parameters");
        let values = random(BATCH * shape.iter().product::<usize>(), "inputs");
        let input =
            Tensor::from_vec(values, [vec![BATCH], shape].concat(), &Device::Cpu).expect("the shape fits");
        let targets: Vec<u32> = (0..BATCH as u32).map(|sample| sample % 10).collect();
        let mut rng = Rng::stream(1, "dropout");
        let mut group = criterion.benchmark_group(format!("step {name}"));
        group.sample_size(10);
        for (what, algorithm) in [
            ("forward and backward", ConvAlgorithm::Auto),
            ("forward and backward in bf16", ConvAlgorithm::Rounded),
        ] {
            group.bench_function(what, |b| {
                b.iter(|| {
                    let mode = Mode::Training(&mut rng, algorithm);
                    let trace = network.forward(&parameters, &input, mode).expect("forward");
                    let logits = trace.logits().detach();
                    let gradient = ops::softmax_cross_entropy_backward(&logits, &targets, 1.0).expect("loss");
                    black_box(network.backward(&parameters, trace, &gradient).expect("backward"))
                });
            });
        }
        group.bench_function("inference", |b| {
            b.iter(|| black_box(network.infer(&parameters, &input).expect("forward")));
        });
        group.finish();
    }
}

criterion_group!(benches, convolutions, batch_norms, steps);
criterion_main!(benches);
