//! Activations, norms of rows, adaptive pooling, products, concatenation and depthwise convolution: gradients against
//! finite differences, kernels against what candle's operations give.

use super::gradients::check;
use super::{assert_close, floats, random};
use crate::nn::ops::{self, Activation, Conv2dGeometry, Deviation, RowNorm};
use crate::nn::ops::{adaptive_pool, pointwise, row_norm, targets};
use crate::rng::Rng;
use candle_core::{Tensor, Var};

fn activations() -> [Activation; 8] {
    use Activation::{Gelu, HardSwish, LeakyRelu, Relu6, Sigmoid, Silu, Softmax, Tanh};
    [Relu6, LeakyRelu { slope: 0.2 }, Silu, HardSwish, Gelu, Sigmoid, Tanh, Softmax]
}

/// The gradients that training uses are those of the function that inference computes. Inputs are spread such that every
/// piece of a function is met.
#[test]
fn activations_have_their_gradients() {
    for activation in activations() {
        // Around places that lie between the edges at −3, 0, 3 and 6.
        check(activation.name(), &[&[3, 5, 2, 2]], |t| {
            let places = Tensor::new(&[-4.5f32, -1.5, 1.5, 4.5, 7.5], t[0].device())?;
            ops::activate(&(&t[0] * 0.1)?.broadcast_add(&places.reshape((1, 5, 1, 1))?)?, activation)
        });
        if matches!(activation, Activation::Relu6 | Activation::LeakyRelu { .. } | Activation::HardSwish) {
            continue;
        }
        check(activation.name(), &[&[3, 5, 2, 2]], |t| ops::activate(&(&t[0] * 1.7)?, activation));
    }
}

/// As above, for the layers with several inputs or axes.
#[test]
fn layers_have_their_gradients() {
    for (norm, shape, scales) in [
        (RowNorm::Groups(2), &[3, 6, 2, 3][..], &[6][..]),
        (RowNorm::Groups(1), &[4, 6], &[6]),
        (RowNorm::Last(&[6]), &[4, 6], &[6]),
        (RowNorm::Last(&[3, 4]), &[2, 2, 3, 4], &[3, 4]),
    ] {
        check(&format!("{norm:?}"), &[shape, scales, scales], |t| {
            ops::row_norm(&t[0], &t[1], &t[2], norm, 1e-2)
        });
    }
    for output in [[2, 3], [1, 1], [5, 4], [7, 9]] {
        check("adaptive pooling", &[&[2, 2, 5, 4]], |t| ops::adaptive_avg_pool2d(&t[0], output));
    }
    for gate in [&[2, 3, 4, 5][..], &[2, 3, 1, 1], &[2, 3]] {
        check("product", &[&[2, 3, 4, 5], gate], |t| ops::multiply(&t[0], &t[1]));
    }
    check("concatenation", &[&[2, 3, 2], &[2, 1, 2], &[2, 2, 2]], |t| ops::concat(&[&t[0], &t[1], &t[2]]));
    for (stride, padding, dilation) in [([1, 1], [1, 1], [1, 1]), ([2, 1], [2, 0], [1, 2])] {
        let geometry = Conv2dGeometry { stride, padding, dilation, groups: 4, ..Conv2dGeometry::default() };
        check("depthwise", &[&[2, 4, 6, 7], &[4, 1, 3, 2], &[4]], |t| {
            ops::conv2d(&t[0], &t[1], Some(&t[2]), &geometry)
        });
    }
}

/// What runs on devices without our kernels is the same function with the same gradient.
#[test]
fn composed_operations_agree_with_the_kernels() {
    let mut rng = Rng::stream(8, "composed");
    let x = Var::from_tensor(&(random(&[3, 4, 5, 6], &mut rng) * 3.0).unwrap()).unwrap();
    let agree = |name: &str, kernel: &dyn Fn(&Tensor) -> Tensor, composed: &dyn Fn(&Tensor) -> Tensor| {
        let doubles = |t: &Tensor| floats(t).into_iter().map(f64::from).collect::<Vec<_>>();
        let (ours, theirs) = (kernel(&x), composed(&x));
        assert_close(&ours, &doubles(&theirs), 1e-5, name);
        let direction = random(ours.dims(), &mut Rng::stream(9, name));
        let gradient = |out: &Tensor| {
            let sum = (out * &direction).unwrap().sum_all().unwrap();
            sum.backward().unwrap().get(&x).unwrap().clone()
        };
        assert_close(&gradient(&ours), &doubles(&gradient(&theirs)), 1e-5, name);
    };
    for activation in activations() {
        agree(activation.name(), &|x| ops::activate(x, activation).unwrap(), &|x| {
            pointwise::composed(x, activation).unwrap()
        });
    }
    for output in [[2, 3], [5, 6], [7, 8]] {
        agree("adaptive pooling", &|x| ops::adaptive_avg_pool2d(x, output).unwrap(), &|x| {
            adaptive_pool::composed(x, output).unwrap()
        });
    }
    let ones = Tensor::ones(4, candle_core::DType::F32, x.device()).unwrap();
    let zeros = ones.zeros_like().unwrap();
    agree("group norm", &|x| ops::row_norm(x, &ones, &zeros, RowNorm::Groups(2), 1e-3).unwrap(), &|x| {
        row_norm::composed(x, 60, 1e-3).unwrap()
    });
    let grad = random(&[3, 4, 5, 6], &mut rng);
    for deviation in [Deviation::Varies, Deviation::Constant] {
        let ours = ops::row_norm_pullback(&grad, &x, &ones, RowNorm::Groups(2), 1e-3, deviation).unwrap();
        let theirs = row_norm::composed_backward(&grad, &x, 60, 1e-3, deviation).unwrap();
        let theirs: Vec<f64> = floats(&theirs).into_iter().map(f64::from).collect();
        assert_close(&ours.input, &theirs, 1e-5, "its gradient");
    }
}

/// Binary cross entropy has its gradient, the walk's copy of it too; ignored labels have none and count for nothing.
#[test]
fn binary_cross_entropy() {
    let labels = [0, 1, 2, 1, 0, 2, 1, 1];
    check("binary cross entropy", &[&[2, 4]], |t| ops::binary_cross_entropy(&t[0], &labels));
    let logits = Var::from_tensor(&random(&[2, 4], &mut Rng::stream(5, "logits"))).unwrap();
    let loss = ops::loss(&logits, &labels).unwrap();
    let automatic: Vec<f64> =
        floats(loss.backward().unwrap().get(&logits).unwrap()).into_iter().map(f64::from).collect();
    assert_close(&ops::loss_backward(&logits, &labels).unwrap(), &automatic, 1e-6, "gradient");
    assert!(automatic[2] == 0.0 && automatic[5] == 0.0);
    let values = floats(&logits);
    let terms = values.iter().zip(labels).filter(|(_, label)| *label != 2).map(|(&x, label)| {
        let p = 1.0 / (1.0 + (-f64::from(x)).exp());
        -(if label == 1 { p } else { 1.0 - p }).ln()
    });
    let expected = terms.sum::<f64>() / 6.0;
    assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-6);
    let present =
        Tensor::from_vec(vec![0f32, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0], (2, 4), logits.device()).unwrap();
    let composed = floats(&targets::composed(&logits, &present).unwrap());
    for (at, value) in composed.iter().enumerate() {
        let expected = targets::term(values[at], floats(&present)[at] == 1.0);
        assert!((f64::from(*value) - expected).abs() < 1e-6);
    }
    // Logits at both ends of f32 have a finite loss; targets of no kind are refused.
    let far = Tensor::new(&[[3e38f32, -3e38]], logits.device()).unwrap();
    assert!(floats(&ops::loss(&far, &[1, 1]).unwrap())[0].is_finite());
    for wrong in [&[0u32, 3][..], &[2], &[0, 1, 1]] {
        assert!(ops::loss(&far, wrong).is_err(), "{wrong:?}");
    }
}

/// NaN stays visible through every activation, so that a diverged training is noticed.
#[test]
fn nan_stays_visible() {
    let x = Tensor::new(&[[f32::NAN, 1.0]], &candle_core::Device::Cpu).unwrap();
    for activation in activations() {
        assert!(floats(&ops::activate(&x, activation).unwrap())[0].is_nan(), "{}", activation.name());
    }
}
