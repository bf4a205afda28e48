//! The composed operations against the native ones, both on the CPU: values, gradients, NaN, strided tensors, and that
//! nothing is read back from the device.

use super::{assert_close, floats, random};
use crate::nn::backend::Backend;
use crate::nn::ops::{self, Conv2dGeometry, Pool2dGeometry};
use crate::nn::transfer;
use crate::rng::Rng;
use candle_core::{Device, Result, Tensor};
use proptest::prelude::*;

/// Relative to the largest value: sums in another order.
const TOLERANCE: f64 = 1e-5;

/// Runs `work` with both backends: values that are NaN must be so in both, the others agree to [`TOLERANCE`].
#[track_caller]
fn compare(what: &str, work: impl Fn() -> Result<Vec<Tensor>>) {
    let expected = Backend::Native.run(&work).unwrap();
    let (actual, traffic) = Backend::Composed.run(|| transfer::count(&work));
    let actual = actual.unwrap();
    assert_eq!(traffic.reads, 0, "{what}: values were read back");
    assert_eq!(actual.len(), expected.len());
    for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        assert_eq!(actual.dims(), expected.dims(), "{what} {index}");
        let (a, e) = (floats(actual), floats(expected));
        for (at, (a, e)) in a.iter().zip(&e).enumerate() {
            assert_eq!(a.is_nan(), e.is_nan(), "{what} {index}: value {at} is {a}, native {e}");
            if e.is_infinite() {
                assert_eq!(a, e, "{what} {index}: value {at}");
            }
        }
        let finite = |values: &[f32]| values.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect();
        let (a, e): (Vec<f32>, Vec<f32>) = (finite(&a), finite(&e));
        let e: Vec<f64> = e.into_iter().map(f64::from).collect();
        let a = Tensor::from_vec(a, e.len(), &Device::Cpu).unwrap();
        assert_close(&a, &e, TOLERANCE, &format!("{what}, result {index}"));
    }
}

fn convolve(x: &[usize; 4], weight: &[usize; 4], geometry: &Conv2dGeometry, seed: u64) {
    let mut rng = Rng::stream(seed, "composed convolution");
    let (x, weight, bias) = (random(x, &mut rng), random(weight, &mut rng), random(&weight[..1], &mut rng));
    let out = Backend::Native.run(|| ops::conv2d(&x, &weight, None, geometry)).unwrap();
    let grad = random(out.dims(), &mut rng);
    compare(&format!("{geometry:?} of {:?} by {:?}", x.dims(), weight.dims()), || {
        Ok(vec![
            ops::conv2d(&x, &weight, Some(&bias), geometry)?,
            ops::conv2d_finished(&x, &weight, Some(&bias), Some(&bias), true, geometry)?,
            ops::conv2d_backward_input(&grad, &weight, x.dims(), geometry)?,
            ops::conv2d_backward_weight(&grad, &x, weight.dims(), geometry)?,
        ])
    });
}

/// The sizes of the models, 49 × 10 with stride 2 (on which candle's autograd fails), and every kind of unequal geometry.
#[test]
fn convolutions() {
    let geometry = |stride, padding, dilation, groups| Conv2dGeometry {
        stride,
        padding,
        dilation,
        groups,
        ..Conv2dGeometry::default()
    };
    let even = |stride, padding, dilation, groups| geometry([stride; 2], [padding; 2], [dilation; 2], groups);
    convolve(&[2, 3, 9, 9], &[4, 3, 3, 3], &even(1, 1, 1, 1), 1);
    convolve(&[2, 3, 8, 8], &[4, 3, 3, 3], &even(2, 1, 1, 1), 2);
    convolve(&[2, 3, 8, 8], &[4, 3, 1, 1], &even(2, 0, 1, 1), 3);
    convolve(&[2, 3, 16, 16], &[4, 3, 7, 7], &even(2, 3, 1, 1), 4);
    convolve(&[2, 4, 8, 8], &[4, 1, 3, 3], &even(2, 1, 1, 4), 5);
    convolve(&[2, 1, 49, 10], &[4, 1, 3, 3], &even(2, 1, 1, 1), 6);
    convolve(&[1, 2, 5, 5], &[3, 2, 1, 1], &even(1, 2, 1, 1), 7);
    convolve(&[1, 2, 12, 11], &[3, 2, 3, 3], &geometry([2, 1], [1; 2], [1; 2], 1), 8);
    convolve(&[1, 2, 12, 11], &[3, 2, 3, 3], &geometry([1; 2], [1, 0], [1; 2], 1), 9);
    convolve(&[1, 4, 12, 11], &[6, 2, 3, 2], &geometry([1; 2], [0; 2], [2, 1], 2), 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any stride, padding, dilation, groups, kernel and image size.
    #[test]
    fn convolution(
        (groups, ins, outs) in (1usize..3, 1usize..4, 1usize..4),
        (height, width) in (1usize..10, 1usize..12),
        kernel in (1usize..4, 1usize..4),
        stride in (1usize..4, 1usize..4),
        padding in (0usize..4, 0usize..4),
        dilation in (1usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        let geometry = Conv2dGeometry {
            stride: stride.into(),
            padding: padding.into(),
            dilation: dilation.into(),
            groups,
            ..Conv2dGeometry::default()
        };
        prop_assume!(geometry.output_size([height, width], kernel.into()).is_some());
        convolve(&[2, ins * groups, height, width], &[outs * groups, ins, kernel.0, kernel.1], &geometry, seed);
    }

    /// Any window, stride, padding and image size, with ties, NaN and infinities among the values.
    #[test]
    fn pooling(
        (height, width) in (1usize..12, 1usize..12),
        kernel in (1usize..5, 1usize..5),
        stride in (1usize..4, 1usize..4),
        padding in (0usize..3, 0usize..3),
        odd in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            Just(f32::NAN), Just(f32::INFINITY), Just(-1e6f32)
        ]), 0..4),
        seed in any::<u64>(),
    ) {
        let geometry = Pool2dGeometry { kernel: kernel.into(), stride: stride.into(), padding: padding.into() };
        let Some([rows, columns]) = geometry.output_size([height, width]) else { return Ok(()) };
        let mut rng = Rng::stream(seed, "composed pooling");
        let x = (random(&[2, 3, height, width], &mut rng) * 2.0).unwrap().round().unwrap();
        let mut values = floats(&x);
        let count = values.len();
        odd.iter().for_each(|(at, value)| values[at.index(count)] = *value);
        let strange = Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap();
        let grad = random(&[2, 3, rows, columns], &mut rng);
        compare(&format!("{geometry:?}"), || {
            Ok(vec![
                ops::max_pool2d(&strange, &geometry)?,
                ops::max_pool2d_backward(&grad, &strange, &geometry)?,
                ops::avg_pool2d(&x, &geometry)?,
                ops::avg_pool2d_backward(&grad, x.dims(), &geometry)?,
            ])
        });
    }
}

/// One very low activation leaves small ones elsewhere as they are.
#[test]
fn max_pooling_keeps_small_values_beside_low_ones() {
    let x = Tensor::new(&[[[[1e-6f32, 2e-6], [-1e6, 0.0]]]], &Device::Cpu).unwrap();
    let geometry = Pool2dGeometry { kernel: [2; 2], stride: [1; 2], padding: [1; 2] };
    let out = Backend::Composed.run(|| ops::max_pool2d(&x, &geometry)).unwrap();
    assert_eq!(floats(&out), [1e-6, 2e-6, 2e-6, 1e-6, 2e-6, 2e-6, -1e6, 0.0, 0.0]);
}

/// Statistics, output and gradients in training and evaluation, of images and vectors, also far from zero.
#[test]
fn batch_norm() {
    let mut rng = Rng::stream(1, "composed batch norm");
    for shape in [&[3, 4, 5, 6][..], &[7, 4]] {
        let (weight, bias, mean) = (random(&[4], &mut rng), random(&[4], &mut rng), random(&[4], &mut rng));
        let variance = (random(&[4], &mut rng).abs().unwrap() + 0.5).unwrap();
        let grad = random(shape, &mut rng);
        for offset in [0.0, 100.0] {
            let x = (random(shape, &mut rng) + offset).unwrap();
            for relu in [false, true] {
                compare(&format!("batch norm {shape:?} {offset} {relu}"), || {
                    let out = ops::batch_norm_training(&x, &weight, &bias, 1e-5, relu)?;
                    let statistics = (&out.mean, &out.biased);
                    let shift = relu.then_some(&bias);
                    let back =
                        ops::batch_norm_training_backward(&grad, &x, &weight, shift, statistics, 1e-5)?;
                    let results = vec![out.mean, out.variance, out.biased];
                    // Near the edge of the ReLU rounding decides: only away from it all agrees.
                    let exact = if relu || offset > 0.0 {
                        vec![]
                    } else {
                        vec![out.output, back.input, back.weight, back.bias]
                    };
                    Ok([results, exact].concat())
                });
            }
        }
        let x = random(shape, &mut rng);
        compare("batch norm, evaluation", || {
            let out = ops::batch_norm_evaluation(&x, &weight, &bias, &mean, &variance, 1e-5)?;
            let back = ops::batch_norm_evaluation_backward(&grad, &x, &weight, &mean, &variance, 1e-5)?;
            Ok(vec![out, back.input, back.weight, back.bias])
        });
    }
}

/// Linear layers, activations, sums, shortcut and loss; at exactly zero the gradient of ReLU is zero.
#[test]
fn other_operations() {
    let mut rng = Rng::stream(2, "composed others");
    let (x, y) = (random(&[3, 4, 5, 6], &mut rng), random(&[3, 4, 5, 6], &mut rng));
    let (rows, weight, bias) = (random(&[7, 4], &mut rng), random(&[5, 4], &mut rng), random(&[5], &mut rng));
    let (of_rows, zeros) = (random(&[7, 5], &mut rng), x.relu().unwrap());
    let targets = [0, 1, 2, 3, 0, 1, 2];
    compare("linear, activations and loss", || {
        let short = ops::shortcut(&x, 2, 9)?;
        let loss = ops::training_loss(&rows, &targets)?;
        Ok(vec![
            ops::linear(&rows, &weight, Some(&bias))?,
            ops::linear_relu(&rows, &weight, Some(&bias))?,
            ops::linear_backward_input(&of_rows, &weight)?,
            ops::linear_backward_weight(&of_rows, &rows)?,
            ops::relu(&x)?,
            ops::relu_backward(&y, &zeros)?,
            ops::relu_backward_sum(&x, &y, &zeros)?,
            ops::add(&x, &y)?,
            ops::add_relu(&x, &y)?,
            ops::add_channel_bias(&x, &bias.narrow(0, 0, 4)?)?,
            ops::shortcut_backward(&short, x.dims(), 2)?,
            short,
            ops::shortcut(&x, 1, 4)?,
            ops::global_avg_pool(&x)?,
            ops::global_avg_pool_backward(&ops::global_avg_pool(&x)?, x.dims())?,
            ops::softmax(&rows)?,
            // Of one sign: a sum that cancels has no exact digits to compare.
            ops::channel_sum(&zeros)?,
            ops::softmax_cross_entropy(&(&rows * 1e4)?, &targets)?,
            ops::softmax_cross_entropy_backward(&rows, &targets, 0.5)?,
            loss.measured.to_dtype(candle_core::DType::F32)?,
            loss.gradient,
        ])
    });
}

/// NaN stays NaN: a ReLU, a maximum or a sum that hides it would hide a diverged run.
#[test]
fn nan_stays_visible() {
    let x = Tensor::new(
        &[f32::NAN, -1.0, 2.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1.0, f32::NAN],
        &Device::Cpu,
    );
    let x = x.unwrap().reshape((1, 2, 2, 2)).unwrap();
    let weight = Tensor::ones((3, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    compare("NaN", || {
        let rows = x.reshape((2, 4))?;
        Ok(vec![
            ops::relu(&x)?,
            ops::negative_part(&x)?,
            ops::add_relu(&x, &x)?,
            ops::linear_relu(&rows, &weight, None)?,
            ops::relu_backward(&x.ones_like()?, &x)?,
            ops::max_pool2d(&x, &Pool2dGeometry { kernel: [2; 2], stride: [2; 2], padding: [0; 2] })?,
        ])
    });
}

/// Transposed tensors are taken by every operation, as the native ones take them.
#[test]
fn strided_tensors() {
    let mut rng = Rng::stream(3, "composed strided");
    let x = random(&[2, 3, 6, 8], &mut rng).transpose(2, 3).unwrap();
    let weight = random(&[3, 4, 3, 3], &mut rng).transpose(0, 1).unwrap();
    let grad = random(&[2, 3, 3, 4], &mut rng).transpose(2, 3).unwrap();
    let (rows, columns) = (random(&[4, 7], &mut rng).t().unwrap(), random(&[4, 3], &mut rng).t().unwrap());
    compare("strided", || {
        let plain = Pool2dGeometry { kernel: [2; 2], stride: [2; 2], padding: [0; 2] };
        let padded = Pool2dGeometry { kernel: [3; 2], stride: [2; 2], padding: [1; 2] };
        let geometry = Conv2dGeometry { padding: [1; 2], ..Conv2dGeometry::default() };
        let out = ops::conv2d(&x, &weight, None, &geometry)?;
        let of_out = out.transpose(2, 3)?.contiguous()?.transpose(2, 3)?;
        Ok(vec![
            ops::max_pool2d(&x, &plain)?,
            ops::max_pool2d(&x, &padded)?,
            ops::avg_pool2d(&x, &padded)?,
            ops::max_pool2d_backward(&grad, &x, &plain)?,
            ops::avg_pool2d_backward(&grad, x.dims(), &plain)?,
            ops::shortcut(&x, 2, 6)?,
            ops::shortcut_backward(&grad, &[2, 3, 8, 6], 2)?,
            ops::relu(&x)?,
            ops::global_avg_pool(&x)?,
            ops::channel_sum(&x)?,
            ops::conv2d_backward_input(&of_out, &weight, x.dims(), &geometry)?,
            ops::conv2d_backward_weight(&of_out, &x, weight.dims(), &geometry)?,
            out,
            ops::linear(&rows, &columns, None)?,
            ops::linear_backward_input(&ops::linear(&rows, &columns, None)?, &columns)?,
        ])
    });
}

/// Values that are overwritten are not read back, those that are consumed not sent.
#[test]
fn host_work_moves_what_it_must() {
    let x = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
    Backend::Composed.run(|| {
        let overwritten = transfer::count(|| ops::overwrite_values(&x, |values| values.fill(3.0)).unwrap()).1;
        assert_eq!((overwritten.reads, overwritten.writes), (0, 1));
        let consumed = transfer::count(|| ops::consume_values(&x, |values| values[0]).unwrap());
        assert_eq!((consumed.0, consumed.1.reads, consumed.1.writes), (3.0, 1, 0));
        let changed = transfer::count(|| ops::with_values(&x, |values| values[1] = 4.0).unwrap()).1;
        assert_eq!((changed.reads, changed.writes), (1, 1));
    });
    assert_eq!(floats(&x), [3.0, 4.0]);
}
