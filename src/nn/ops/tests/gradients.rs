//! Every differentiable operation against central finite differences of its own forward function.

use super::{assert_close, floats, random};
use crate::nn::backend;
use crate::nn::ops::{self, Conv2dGeometry, Pool2dGeometry};
use crate::rng::Rng;
use candle_core::{Device, Result, Tensor, Var};

/// Compares the automatic gradient of `⟨direction, f(arguments)⟩` with finite differences, argument by argument.
#[track_caller]
pub(super) fn check(name: &str, shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let mut rng = Rng::stream(11, name);
    let arguments: Vec<Var> =
        shapes.iter().map(|shape| Var::from_tensor(&random(shape, &mut rng)).unwrap()).collect();
    let tensors: Vec<Tensor> = arguments.iter().map(|v| v.as_tensor().clone()).collect();
    let out = f(&tensors).unwrap();
    let direction = random(out.dims(), &mut rng);
    let gradients = (&out * &direction).unwrap().sum_all().unwrap().backward().unwrap();
    let weights: Vec<f64> = floats(&direction).into_iter().map(f64::from).collect();
    let value = |tensors: &[Tensor]| -> f64 {
        floats(&f(tensors).unwrap()).iter().zip(&weights).map(|(&v, w)| f64::from(v) * w).sum()
    };
    let step = 1e-2f32;
    for (index, argument) in arguments.iter().enumerate() {
        let values = floats(argument.as_tensor());
        let moved = |position: usize, by: f32| {
            let mut values = values.clone();
            values[position] += by;
            let mut tensors: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
            tensors[index] = Tensor::from_vec(values, argument.shape(), argument.device()).unwrap();
            value(&tensors)
        };
        let expected: Vec<f64> = (0..values.len())
            .map(|position| (moved(position, step) - moved(position, -step)) / (2.0 * f64::from(step)))
            .collect();
        let actual = gradients.get(argument).unwrap_or_else(|| panic!("{name}: no gradient for {index}"));
        assert_close(actual, &expected, 5e-3, &format!("{name}, argument {index}"));
    }
}

/// The gradients that training uses are those of the function that inference computes.
#[test]
fn convolution() {
    let geometry = Conv2dGeometry {
        stride: [2, 1],
        padding: [1, 2],
        dilation: [1, 2],
        groups: 2,
        ..Conv2dGeometry::default()
    };
    check("conv2d", &[&[2, 4, 7, 6], &[6, 2, 3, 2], &[6]], |t| {
        ops::conv2d(&t[0], &t[1], Some(&t[2]), &geometry)
    });
    let geometry = Conv2dGeometry { padding: [1, 1], ..Conv2dGeometry::default() };
    check("conv2d, 3×3", &[&[2, 3, 5, 9], &[4, 3, 3, 3]], |t| ops::conv2d(&t[0], &t[1], None, &geometry));
}

/// As above.
#[test]
fn linear() {
    check("linear", &[&[3, 5], &[4, 5], &[4]], |t| ops::linear(&t[0], &t[1], Some(&t[2])));
}

/// As above, in training (through the batch's statistics) and evaluation, for images and vectors.
#[test]
fn batch_norm() {
    for shape in [&[4, 3, 3, 2][..], &[9, 3]] {
        check("batch norm, training", &[shape, &[3], &[3]], |t| {
            Ok(ops::batch_norm_training(&t[0], &t[1], &t[2], 1e-2, false)?.output)
        });
        let mean = Tensor::new(&[0.3f32, -0.2, 0.0], &candle_core::Device::Cpu).unwrap();
        let variance = Tensor::new(&[0.7f32, 1.5, 2.0], &candle_core::Device::Cpu).unwrap();
        check("batch norm, evaluation", &[shape, &[3], &[3]], |t| {
            ops::batch_norm_evaluation(&t[0], &t[1], &t[2], &mean, &variance, 1e-5)
        });
    }
}

/// As above, for what is computed together with the ReLU behind it. Shifts keep every value clear of the ReLU's edge, on
/// either side.
#[test]
fn fused_with_relu() {
    let shift = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu);
    check("linear with ReLU", &[&[3, 5], &[4, 5], &[4]], |t| {
        ops::linear_relu(&t[0], &t[1], Some(&(&t[2] + shift(&[20.0, -20.0, 25.0, 30.0], &[4])?)?))
    });
    check("addition with ReLU", &[&[2, 3], &[2, 3]], |t| {
        ops::add_relu(&(&t[0] + shift(&[9.0, -9.0, 8.0, -8.0, 9.0, 9.0], &[2, 3])?)?, &t[1])
    });
    check("batch norm with ReLU", &[&[4, 3, 3, 2], &[3], &[3]], |t| {
        let bias = (&t[2] + shift(&[20.0, -20.0, 25.0], &[3])?)?;
        Ok(ops::batch_norm_training(&t[0], &t[1], &bias, 1e-2, true)?.output)
    });
}

/// As above; the maximum is piecewise linear, so inputs are spread out first to keep clear of its edges.
#[test]
fn pooling() {
    let geometry = Pool2dGeometry { kernel: [3, 2], stride: [2, 1], padding: [1, 0] };
    check("average pooling", &[&[2, 2, 5, 4]], |t| ops::avg_pool2d(&t[0], &geometry));
    check("global average", &[&[2, 3, 3, 5]], |t| ops::global_avg_pool(&t[0]));
    check("maximum pooling", &[&[2, 2, 5, 4]], |t| ops::max_pool2d(&(&t[0] * 100.0)?, &geometry));
}

/// As above, for what has no parameters.
#[test]
fn activations_and_shortcut() {
    check("relu", &[&[2, 10]], |t| ops::relu(&t[0]));
    check("add", &[&[3, 5], &[3, 5]], |t| ops::add(&t[0], &t[1]));
    check("shortcut", &[&[2, 3, 5, 4]], |t| ops::shortcut(&t[0], 2, 8));
    check("dropout", &[&[6, 5]], |t| ops::dropout(&t[0], 0.4, &mut Rng::stream(3, "mask")));
}

/// As above.
#[test]
fn cross_entropy() {
    check("cross entropy", &[&[4, 6]], |t| ops::softmax_cross_entropy(&t[0], &[0, 5, 2, 2]));
}

/// The gradient with smoothed labels against central differences of its loss in f64; 1e-5 is what f32 leaves of the gradient.
#[test]
fn smoothed_cross_entropy() {
    let (batch, classes, smoothing, targets) = (3, 4, 0.2, [0u32, 3, 1]);
    let logits: Vec<f64> = (0..batch * classes).map(|at| (at as f64 * 1.7).sin() * 2.0).collect();
    let loss = |logits: &[f64]| -> f64 {
        let of_row = |(row, &target): (&[f64], &u32)| -> f64 {
            let log_sum = row.iter().map(|value| value.exp()).sum::<f64>().ln();
            let of_class = |(class, value): (usize, &f64)| {
                let hit = if class == target as usize { 1.0 - smoothing } else { 0.0 };
                (hit + smoothing / classes as f64) * (log_sum - value)
            };
            row.iter().enumerate().map(of_class).sum()
        };
        logits.chunks(classes).zip(&targets).map(of_row).sum::<f64>() / batch as f64
    };
    let values: Vec<f32> = logits.iter().map(|value| *value as f32).collect();
    backend::each(|| {
        let tensor = Tensor::from_vec(values.clone(), (batch, classes), &Device::Cpu).unwrap();
        let plain = ops::training_loss(&tensor, &targets).unwrap().gradient;
        let smoothed = floats(&ops::smooth_labels(&plain, &targets, smoothing).unwrap());
        for (at, actual) in smoothed.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut logits = logits.clone();
                logits[at] += by;
                loss(&logits)
            };
            let expected = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            assert!((f64::from(actual) - expected).abs() < 1e-5, "{at}: {actual}, expected {expected}");
        }
    });
}
