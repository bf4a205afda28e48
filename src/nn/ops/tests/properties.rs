//! Random shapes against naive f64 loops: 1e-5 relative to the largest value.

use super::naive::{Sizes, convolution_terms, windows};
use super::{assert_close, floats, random};
use crate::nn::ops::{
    self, Conv2dGeometry, Pool2dGeometry, conv2d, conv2d_backward_input, conv2d_backward_weight,
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
    let actual = conv2d(&x, &weight, None, geometry).unwrap();
    assert_eq!(actual.dims(), out_shape);
    assert_close(&actual, &out, TOLERANCE, "output");
    let actual = conv2d_backward_input(&gradient, &weight, &sizes.x, geometry).unwrap();
    assert_close(&actual, &of_x, TOLERANCE, "input gradient");
    let actual = conv2d_backward_weight(&gradient, &x, &sizes.weight, geometry).unwrap();
    assert_close(&actual, &of_weight, TOLERANCE, "weight gradient");
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
        };
        prop_assume!(geometry.output_size([height, width], kernel.into()).is_some());
        let sizes = Sizes {
            x: [batch, ins * groups, height, width],
            weight: [outs * groups, ins, kernel.0, kernel.1],
        };
        check_convolution(&sizes, &geometry, seed);
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
        assert_close(&ops::max_pool2d(&x, &geometry).unwrap(), &largest, TOLERANCE, "maximum");
        assert_close(&ops::avg_pool2d(&x, &geometry).unwrap(), &mean, TOLERANCE, "average");
        let actual = ops::max_pool2d_backward(&gradient, &x, &geometry).unwrap();
        assert_close(&actual, &of_largest, TOLERANCE, "maximum's gradient");
        let actual = ops::avg_pool2d_backward(&gradient, &shape, &geometry).unwrap();
        assert_close(&actual, &of_mean, TOLERANCE, "average's gradient");
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
        for channel in 0..channels {
            let members: Vec<usize> = (0..xs.len()).filter(|i| i / area % channels == channel).collect();
            let mean = members.iter().map(|&i| xs[i]).sum::<f64>() / count;
            let variance = members.iter().map(|&i| (xs[i] - mean).powi(2)).sum::<f64>() / count;
            let deviation = (variance + 1e-5).sqrt();
            let normal = |i: usize| (xs[i] - mean) / deviation;
            let sum = members.iter().map(|&i| gs[i]).sum::<f64>();
            let product = members.iter().map(|&i| gs[i] * normal(i)).sum::<f64>();
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
        let actual = ops::batch_norm_training(&variables[0], &variables[1], &variables[2], 1e-5).unwrap();
        // A few values per channel can lie so close together that f32 rounding of the input dominates.
        prop_assume!(variances.iter().all(|&v| v > 0.05));
        assert_close(&actual.output, &out, TOLERANCE, "output");
        assert_close(&actual.mean, &means, TOLERANCE, "mean");
        assert_close(&actual.variance, &variances, TOLERANCE, "variance");
        let gradients = (actual.output * &gradient).unwrap().sum_all().unwrap().backward().unwrap();
        let close = |index: usize, expected: &[f64], what| {
            assert_close(gradients.get(&variables[index]).unwrap(), expected, 3.0 * TOLERANCE, what);
        };
        close(0, &of_x, "input gradient");
        close(1, &of_scale, "scale gradient");
        close(2, &of_shift, "shift gradient");
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
        assert_close(&ops::linear(&x, &weight, Some(&bias)).unwrap(), &out, TOLERANCE, "output");
        let actual = ops::linear_backward_input(&gradient, &weight).unwrap();
        assert_close(&actual, &of_x, TOLERANCE, "input gradient");
        let actual = ops::linear_backward_weight(&gradient, &x).unwrap();
        assert_close(&actual, &of_weight, TOLERANCE, "weight gradient");
    }
}
