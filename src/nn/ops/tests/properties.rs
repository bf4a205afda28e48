//! Random shapes against naive f64 loops: 1e-5 relative to the largest value.

use super::naive::{Sizes, convolution_terms, windows};
use super::{assert_close, floats, random};
use crate::nn::backend::{self, Backend};
use crate::nn::ops::{
    self, Conv2dGeometry, ConvAlgorithm, Pool2dGeometry, conv2d, conv2d_backward_input,
    conv2d_backward_weight,
};
use crate::rng::Rng;
use candle_core::{Tensor, Var};
use proptest::prelude::*;

const TOLERANCE: f64 = 1e-5;

fn doubles(tensor: &Tensor) -> Vec<f64> {
    floats(tensor).into_iter().map(f64::from).collect()
}

/// Forward and both gradients of one convolution against the definition.
fn check_convolution(sizes: &Sizes, geometry: &Conv2dGeometry, seed: u64) {
    let mut rng = Rng::stream(seed, "convolution");
    let (x, weight) = (random(&sizes.x, &mut rng), random(&sizes.weight, &mut rng));
    let out_shape = convolution_terms(sizes, geometry, |_, _, _| {});
    let gradient = random(&out_shape, &mut rng);
    let (xs, ws, gs) = (doubles(&x), doubles(&weight), doubles(&gradient));
    let mut out = vec![0.0; out_shape.iter().product()];
    let (mut of_x, mut of_weight) = (vec![0.0; xs.len()], vec![0.0; ws.len()]);
    convolution_terms(sizes, geometry, |x, w, o| {
        out[o] += xs[x] * ws[w];
        of_x[x] += gs[o] * ws[w];
        of_weight[w] += gs[o] * xs[x];
    });
    for (backend, algorithm) in [
        (Backend::Native, ConvAlgorithm::Auto),
        (Backend::Native, ConvAlgorithm::Direct),
        (Backend::Composed, ConvAlgorithm::Auto),
    ] {
        let geometry = &Conv2dGeometry { algorithm, ..*geometry };
        let actual = backend.run(|| conv2d(&x, &weight, None, geometry)).unwrap();
        assert_eq!(actual.dims(), out_shape);
        assert_close(&actual, &out, TOLERANCE, "output");
        let actual = backend.run(|| conv2d_backward_input(&gradient, &weight, &sizes.x, geometry)).unwrap();
        assert_close(&actual, &of_x, TOLERANCE, "input gradient");
        let actual = backend.run(|| conv2d_backward_weight(&gradient, &x, &sizes.weight, geometry)).unwrap();
        assert_close(&actual, &of_weight, TOLERANCE, "weight gradient");
    }
}

/// Factors in bf16 move forward and gradients by at most 2 % of the largest value, and do move them where both channel
/// counts are multiples of 32: a factor is off by at most 2⁻⁸, and transformed values are sums of up to four.
fn check_rounded(sizes: &Sizes, geometry: &Conv2dGeometry, seed: u64) {
    let mut rng = Rng::stream(seed, "rounded");
    let (x, weight) = (random(&sizes.x, &mut rng), random(&sizes.weight, &mut rng));
    let gradient = random(&convolution_terms(sizes, geometry, |_, _, _| {}), &mut rng);
    let run = |algorithm| {
        let geometry = &Conv2dGeometry { algorithm, ..*geometry };
        Backend::Native.run(|| {
            [
                conv2d(&x, &weight, None, geometry).unwrap(),
                conv2d_backward_input(&gradient, &weight, &sizes.x, geometry).unwrap(),
                conv2d_backward_weight(&gradient, &x, &sizes.weight, geometry).unwrap(),
            ]
        })
    };
    let rounds = sizes.weight[..2].iter().all(|channels| channels % 32 == 0);
    for (rounded, exact) in run(ConvAlgorithm::Rounded).iter().zip(run(ConvAlgorithm::Auto)) {
        assert_close(rounded, &doubles(&exact), 0.02, "rounded");
        assert_eq!(floats(rounded) != floats(&exact), rounds);
    }
}

/// Shapes that the models use, each of which takes its own path through the kernels: narrow and wide, strided,
/// pointwise, few pixels.
#[test]
fn convolutions_of_the_models() {
    let square = |batch, ins, outs, size, kernel, stride, padding| {
        let sizes = Sizes { x: [batch, ins, size, size], weight: [outs, ins, kernel, kernel] };
        let geometry =
            Conv2dGeometry { stride: [stride; 2], padding: [padding; 2], ..Conv2dGeometry::default() };
        check_convolution(&sizes, &geometry, 1);
    };
    square(3, 3, 16, 32, 3, 1, 1);
    square(2, 16, 16, 32, 3, 1, 1);
    square(2, 16, 32, 32, 3, 2, 1);
    square(3, 32, 32, 16, 3, 1, 1);
    square(3, 64, 64, 8, 3, 1, 1);
    square(5, 70, 40, 4, 3, 1, 1);
    square(5, 40, 70, 2, 3, 1, 1);
    square(2, 3, 20, 40, 7, 2, 3);
    square(3, 33, 18, 9, 1, 2, 0);
    square(3, 33, 18, 9, 1, 1, 0);
}

/// The sums over many channels stay within the tolerance although Winograd's transforms add roundings of their own.
#[test]
fn convolution_of_many_channels() {
    let sizes = Sizes { x: [3, 512, 4, 4], weight: [32, 512, 3, 3] };
    check_convolution(&sizes, &Conv2dGeometry { padding: [1; 2], ..Conv2dGeometry::default() }, 1);
    let sizes = Sizes { x: [70, 16, 2, 2], weight: [512, 16, 3, 3] };
    check_convolution(&sizes, &Conv2dGeometry { padding: [1; 2], ..Conv2dGeometry::default() }, 2);
}

/// What is computed in one pass is what its parts give one after the other, gradients included.
#[test]
fn fused_operations_agree_with_their_parts() {
    let mut rng = Rng::stream(4, "fused");
    let mut variable = |shape: &[usize]| Var::from_tensor(&random(shape, &mut rng)).unwrap();
    let (x, y) = (variable(&[5, 16, 7, 6]), variable(&[5, 16, 7, 6]));
    let (scale, shift) = (variable(&[16]), variable(&[16]));
    let (rows, weight, bias) = (variable(&[6, 33]), variable(&[20, 33]), variable(&[20]));
    let norm = |relu| Ok(ops::batch_norm_training(&x, &scale, &shift, 1e-5, relu)?.output);
    let compare = |fused: candle_core::Result<Tensor>, parts: candle_core::Result<Tensor>, of: &[&Var]| {
        let (fused, parts) = (fused.unwrap(), ops::relu(&parts.unwrap()).unwrap());
        assert_eq!(floats(&fused), floats(&parts));
        let direction = Tensor::arange(0f32, fused.elem_count() as f32, fused.device()).unwrap();
        let direction = direction.sin().unwrap().reshape(fused.shape()).unwrap();
        let gradients = |out: Tensor| (out * &direction).unwrap().sum_all().unwrap().backward().unwrap();
        let (fused, parts) = (gradients(fused), gradients(parts));
        for variable in of {
            let expected = doubles(parts.get(variable.as_tensor()).unwrap());
            assert_close(fused.get(variable.as_tensor()).unwrap(), &expected, 1e-6, "gradient");
        }
    };
    compare(norm(true), norm(false), &[&x, &scale, &shift]);
    compare(ops::add_relu(&x, &y), ops::add(&x, &y), &[&x, &y]);
    let linear = [ops::linear_relu, ops::linear].map(|run| run(&rows, &weight, Some(&bias)));
    let [fused, parts] = linear;
    compare(fused, parts, &[&rows, &weight, &bias]);
    // The same for gradients that arrive from two readers.
    let (out, first, second) = (ops::relu(&x).unwrap(), y.as_tensor(), (y.as_tensor() * 0.3).unwrap());
    let sum = ops::relu_backward(&ops::add(first, &second).unwrap(), &out).unwrap();
    assert_eq!(floats(&ops::relu_backward_sum(first, &second, &out).unwrap()), floats(&sum));
}

/// A convolution with scale, shift and ReLU behind it, by every way through the kernels.
#[test]
fn finished_convolutions() {
    for (ins, outs, kernel, stride, groups) in
        [(16, 32, 3, 1, 1), (3, 8, 3, 1, 1), (6, 9, 3, 2, 3), (8, 5, 1, 1, 1)]
    {
        let mut rng = Rng::stream(6, "finished");
        let (x, weight) =
            (random(&[3, ins, 11, 10], &mut rng), random(&[outs, ins / groups, kernel, kernel], &mut rng));
        let (scale, shift) = (random(&[outs], &mut rng), random(&[outs], &mut rng));
        let geometry = Conv2dGeometry {
            stride: [stride; 2],
            padding: [1; 2],
            dilation: [1; 2],
            groups,
            algorithm: ConvAlgorithm::Auto,
        };
        let parts = ops::affine(&conv2d(&x, &weight, None, &geometry).unwrap(), &scale, &shift).unwrap();
        let parts = ops::relu(&parts).unwrap();
        let fused = ops::conv2d_finished(&x, &weight, Some(&scale), Some(&shift), true, &geometry).unwrap();
        assert_close(&fused, &doubles(&parts), 1e-6, "scale, shift and ReLU");
        let biased = conv2d(&x, &weight, Some(&shift), &geometry).unwrap();
        let parts = ops::add_channel_bias(&conv2d(&x, &weight, None, &geometry).unwrap(), &shift).unwrap();
        assert_close(&biased, &doubles(&parts), 1e-6, "bias");
    }
}

/// A large gradient leaves the values beyond its own window alone, as relevance needs: the sums are not tiled.
#[test]
fn local_input_gradients_stay_local() {
    let mut rng = Rng::stream(8, "local");
    let weight = random(&[16, 16, 3, 3], &mut rng);
    let mut gradient = vec![0.0f32; 16 * 64];
    gradient[0] = 1e9;
    let gradient = Tensor::from_vec(gradient, (1, 16, 8, 8), &candle_core::Device::Cpu).unwrap();
    let geometry = Conv2dGeometry { padding: [1; 2], ..Conv2dGeometry::default() };
    let of_x = floats(&conv2d_backward_input(&gradient, &weight, &[1, 16, 8, 8], &geometry).unwrap());
    for (index, value) in of_x.into_iter().enumerate() {
        let inside = index / 8 % 8 < 2 && index % 8 < 2;
        assert_eq!(value != 0.0, inside, "value {index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any stride, padding, dilation, groups, kernel and image size.
    #[test]
    fn convolution(
        batch in 1usize..5,
        (groups, ins, outs) in (1usize..4, 1usize..6, 1usize..10),
        (height, width) in (1usize..14, 1usize..21),
        kernel in (1usize..4, 1usize..5),
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
        let sizes = Sizes {
            x: [batch, ins * groups, height, width],
            weight: [outs * groups, ins, kernel.0, kernel.1],
        };
        check_convolution(&sizes, &geometry, seed);
    }

    /// 3×3 with whole vectors of channels: tiles across any border, several samples or part of one to a block.
    #[test]
    fn winograd(
        batch in 1usize..9,
        (ins, outs) in (1usize..6, 1usize..6),
        (height, width) in (1usize..20, 1usize..36),
        padding in (0usize..3, 0usize..3),
        seed in any::<u64>(),
    ) {
        let geometry = Conv2dGeometry { padding: padding.into(), ..Conv2dGeometry::default() };
        prop_assume!(geometry.output_size([height, width], [3, 3]).is_some());
        prop_assume!(batch * ins * outs * height * width <= 2000);
        let sizes = Sizes { x: [batch, 16 * ins, height, width], weight: [16 * outs, 16 * ins, 3, 3] };
        check_convolution(&sizes, &geometry, seed);
        check_rounded(&sizes, &geometry, seed);
    }

    /// Any window, stride, padding and image size; average and maximum, forward and backward.
    #[test]
    fn pooling(
        shape in (1usize..4, 1usize..5, 1usize..12, 1usize..12),
        kernel in (1usize..5, 1usize..5),
        stride in (1usize..4, 1usize..4),
        padding in (0usize..3, 0usize..3),
        seed in any::<u64>(),
    ) {
        let geometry =
            Pool2dGeometry { kernel: kernel.into(), stride: stride.into(), padding: padding.into() };
        let shape: [usize; 4] = shape.into();
        prop_assume!(geometry.output_size([shape[2], shape[3]]).is_some());
        let mut rng = Rng::stream(seed, "pooling");
        let x = random(&shape, &mut rng);
        // Rounded values tie often, so that "the first maximum" is tested.
        let x = (x * 2.0).unwrap().round().unwrap();
        let (out_shape, windows) = windows(shape, &geometry);
        let gradient = random(&out_shape, &mut rng);
        let (xs, gs) = (doubles(&x), doubles(&gradient));
        let count = (geometry.kernel[0] * geometry.kernel[1]) as f64;
        let (mut largest, mut mean) = (Vec::new(), Vec::new());
        let (mut of_largest, mut of_mean) = (vec![0.0; xs.len()], vec![0.0; xs.len()]);
        for (window, g) in windows.iter().zip(gs) {
            let first = *window.iter().rev().max_by(|&&a, &&b| xs[a].partial_cmp(&xs[b]).unwrap()).unwrap();
            largest.push(xs[first]);
            of_largest[first] += g;
            mean.push(window.iter().map(|&i| xs[i]).sum::<f64>() / count);
            window.iter().for_each(|&i| of_mean[i] += g / count);
        }
        backend::each(|| {
            assert_close(&ops::max_pool2d(&x, &geometry).unwrap(), &largest, TOLERANCE, "maximum");
            assert_close(&ops::avg_pool2d(&x, &geometry).unwrap(), &mean, TOLERANCE, "average");
            let actual = ops::max_pool2d_backward(&gradient, &x, &geometry).unwrap();
            assert_close(&actual, &of_largest, TOLERANCE, "maximum's gradient");
            let actual = ops::avg_pool2d_backward(&gradient, &shape, &geometry).unwrap();
            assert_close(&actual, &of_mean, TOLERANCE, "average's gradient");
        });
    }

    /// Batch norm in training: output, statistics and all gradients, also far from zero.
    #[test]
    fn batch_norm_training(
        (batch, channels, height, width) in (3usize..6, 1usize..7, 2usize..12, 2usize..12),
        offset in -3.0f64..3.0,
        seed in any::<u64>(),
    ) {
        let mut rng = Rng::stream(seed, "batch norm");
        let shape = [batch, channels, height, width];
        let x = (random(&shape, &mut rng) + offset).unwrap();
        let scale = random(&[channels], &mut rng);
        let shift = random(&[channels], &mut rng);
        let gradient = random(&shape, &mut rng);
        let (xs, ss, bs, gs) = (doubles(&x), doubles(&scale), doubles(&shift), doubles(&gradient));
        let area = height * width;
        let count = (batch * area) as f64;
        let mut out = vec![0.0; xs.len()];
        let mut of_x = vec![0.0; xs.len()];
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        let (mut of_scale, mut of_shift) = (Vec::new(), Vec::new());
        // What is added up, without signs: rounding is relative to it, and a sum may come out near zero.
        let mut sizes = 0.0f64;
        for channel in 0..channels {
            let members: Vec<usize> = (0..xs.len()).filter(|i| i / area % channels == channel).collect();
            let mean = members.iter().map(|&i| xs[i]).sum::<f64>() / count;
            let variance = members.iter().map(|&i| (xs[i] - mean).powi(2)).sum::<f64>() / count;
            let deviation = (variance + 1e-5).sqrt();
            let normal = |i: usize| (xs[i] - mean) / deviation;
            let sum = members.iter().map(|&i| gs[i]).sum::<f64>();
            let product = members.iter().map(|&i| gs[i] * normal(i)).sum::<f64>();
            sizes = sizes.max(members.iter().map(|&i| gs[i].abs() * normal(i).abs().max(1.0)).sum());
            for &i in &members {
                out[i] = normal(i) * ss[channel] + bs[channel];
                of_x[i] = ss[channel] / deviation * (gs[i] - sum / count - normal(i) * product / count);
            }
            means.push(mean);
            variances.push(variance * count / (count - 1.0));
            of_scale.push(product);
            of_shift.push(sum);
        }
        let variables = [&x, &scale, &shift].map(|t| Var::from_tensor(t).unwrap());
        let actual = ops::batch_norm_training(&variables[0], &variables[1], &variables[2], 1e-5, false).unwrap();
        // A few values per channel can lie so close together that f32 rounding of the input dominates.
        prop_assume!(variances.iter().all(|&v| v > 0.05));
        assert_close(&actual.output, &out, TOLERANCE, "output");
        assert_close(&actual.mean, &means, TOLERANCE, "mean");
        assert_close(&actual.variance, &variances, TOLERANCE, "variance");
        let gradients = (actual.output * &gradient).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = |index: usize| gradients.get(&variables[index]).unwrap();
        assert_close(gradient(0), &of_x, 3.0 * TOLERANCE, "input gradient");
        for (index, expected) in [(1, &of_scale), (2, &of_shift)] {
            for (actual, expected) in doubles(gradient(index)).into_iter().zip(expected) {
                prop_assert!((actual - expected).abs() <= 0.3 * TOLERANCE * sizes, "{} {} {}", index, actual, expected);
            }
        }
    }

    /// Linear layers of any size.
    #[test]
    fn linear(batch in 1usize..9, inputs in 1usize..70, outputs in 1usize..40, seed in any::<u64>()) {
        let mut rng = Rng::stream(seed, "linear");
        let x = random(&[batch, inputs], &mut rng);
        let weight = random(&[outputs, inputs], &mut rng);
        let bias = random(&[outputs], &mut rng);
        let gradient = random(&[batch, outputs], &mut rng);
        let (xs, ws, bs, gs) = (doubles(&x), doubles(&weight), doubles(&bias), doubles(&gradient));
        let mut out: Vec<f64> = (0..batch).flat_map(|_| bs.clone()).collect();
        let (mut of_x, mut of_weight) = (vec![0.0; xs.len()], vec![0.0; ws.len()]);
        for n in 0..batch {
            for o in 0..outputs {
                for i in 0..inputs {
                    let (x, w, y) = (n * inputs + i, o * inputs + i, n * outputs + o);
                    out[y] += xs[x] * ws[w];
                    of_x[x] += gs[y] * ws[w];
                    of_weight[w] += gs[y] * xs[x];
                }
            }
        }
        backend::each(|| {
            assert_close(&ops::linear(&x, &weight, Some(&bias)).unwrap(), &out, TOLERANCE, "output");
            let actual = ops::linear_backward_input(&gradient, &weight).unwrap();
            assert_close(&actual, &of_x, TOLERANCE, "input gradient");
            let actual = ops::linear_backward_weight(&gradient, &x).unwrap();
            assert_close(&actual, &of_weight, TOLERANCE, "weight gradient");
        });
    }
}
