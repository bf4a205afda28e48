//! Every operation with its backward functions.

use super::{Check, Given, Values, compare, values_of};
use crate::Result;
use crate::nn::ops::{self, Conv2dGeometry, Pool2dGeometry};
use candle_core::{Device, Tensor};

/// Relative to the size of the result: sums in another order.
const TOLERANCE: f64 = 1e-5;

type Work = fn(&Given<'_>) -> Result<Values>;

pub fn checks(device: &Device, seen: &mut dyn FnMut(Check)) {
    let square = |stride, padding, dilation, groups| Conv2dGeometry {
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [dilation; 2],
        groups,
        ..Conv2dGeometry::default()
    };
    let uneven =
        |stride, padding, dilation| Conv2dGeometry { stride, padding, dilation, ..Conv2dGeometry::default() };
    for (name, x, weight, geometry) in [
        ("3x3", [4, 16, 32, 32], [32, 16, 3, 3], square(1, 1, 1, 1)),
        ("3x3, 512 channels", [2, 512, 4, 4], [64, 512, 3, 3], square(1, 1, 1, 1)),
        ("3x3, stride 2", [4, 16, 32, 32], [32, 16, 3, 3], square(2, 1, 1, 1)),
        ("1x1, stride 2", [4, 16, 32, 32], [32, 16, 1, 1], square(2, 0, 1, 1)),
        ("7x7, stride 2", [2, 3, 40, 40], [16, 3, 7, 7], square(2, 3, 1, 1)),
        ("3x3, dilation 2", [2, 3, 15, 15], [4, 3, 3, 3], square(1, 2, 2, 1)),
        ("2 groups", [2, 4, 12, 12], [6, 2, 3, 3], square(1, 1, 1, 2)),
        ("depthwise, stride 2", [2, 8, 12, 12], [8, 1, 3, 3], square(2, 1, 1, 8)),
        ("49x10, stride 2", [2, 1, 49, 10], [4, 1, 3, 3], square(2, 1, 1, 1)),
        ("stride 2x1", [1, 2, 12, 11], [3, 2, 3, 3], uneven([2, 1], [1; 2], [1; 2])),
        ("padding 1x0", [1, 2, 12, 11], [3, 2, 3, 3], uneven([1; 2], [1, 0], [1; 2])),
        ("dilation 2x1", [1, 2, 12, 11], [3, 2, 3, 2], uneven([1; 2], [0; 2], [2, 1])),
    ] {
        let work = |given: &Given<'_>| convolution(given, &x, &weight, &geometry);
        seen(compare("operation", format!("conv2d {name}"), TOLERANCE, device, work));
    }
    for (name, kernel, stride, padding) in [
        ("2/2", [2; 2], [2; 2], [0; 2]),
        ("3/2, padding 1", [3; 2], [2; 2], [1; 2]),
        ("2x3/1x2", [2, 3], [1, 2], [0, 1]),
    ] {
        let geometry = Pool2dGeometry { kernel, stride, padding };
        let work = |given: &Given<'_>| pooling(given, &geometry);
        seen(compare("operation", format!("pooling {name}"), TOLERANCE, device, work));
    }
    let others: [(&str, Work); 6] = [
        ("batch norm, training", batch_norm),
        ("batch norm, evaluation", batch_norm_evaluation),
        ("linear", linear),
        ("activations and sums", activations),
        ("shortcut", shortcut),
        ("cross entropy", loss),
    ];
    for (name, work) in others {
        seen(compare("operation", name, TOLERANCE, device, work));
    }
    seen(compare("operation", "NaN and infinities", TOLERANCE, device, undefined));
}

fn convolution(
    given: &Given<'_>,
    x: &[usize],
    weight: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Values> {
    let (x, weight) = (given.normal("x", x)?, given.normal("weight", weight)?);
    let bias = given.normal("bias", &weight.dims()[..1])?;
    let out = ops::conv2d(&x, &weight, Some(&bias), geometry)?;
    let grad = given.normal("gradient", out.dims())?;
    values_of(vec![
        ("output", out),
        ("gradient of the input", ops::conv2d_backward_input(&grad, &weight, x.dims(), geometry)?),
        ("gradient of the weight", ops::conv2d_backward_weight(&grad, &x, weight.dims(), geometry)?),
        ("gradient of the bias", ops::channel_sum(&grad)?),
        ("inference", ops::conv2d_finished(&x, &weight, Some(&bias), Some(&bias), false, geometry)?),
    ])
}

/// Values on a grid, so that maxima tie; what is rounded is not moved by a unit in the last place.
fn ties(given: &Given<'_>, shape: &[usize]) -> Result<Tensor> {
    Ok(given.normal("x", shape)?.affine(2.0, 0.0)?.round()?)
}

fn pooling(given: &Given<'_>, geometry: &Pool2dGeometry) -> Result<Values> {
    let x = ties(given, &[2, 3, 9, 8])?;
    let largest = ops::max_pool2d(&x, geometry)?;
    let grad = given.normal("gradient", largest.dims())?;
    let whole = ops::global_avg_pool(&x)?;
    values_of(vec![
        ("maximum", largest),
        ("maximum's gradient", ops::max_pool2d_backward(&grad, &x, geometry)?),
        ("mean", ops::avg_pool2d(&x, geometry)?),
        ("mean's gradient", ops::avg_pool2d_backward(&grad, x.dims(), geometry)?),
        ("global mean's gradient", ops::global_avg_pool_backward(&whole, x.dims())?),
        ("global mean", whole),
    ])
}

fn batch_norm(given: &Given<'_>) -> Result<Values> {
    let x = (given.normal("x", &[4, 6, 7, 5])? + 3.0)?;
    let (weight, bias) = (given.normal("weight", &[6])?, given.normal("bias", &[6])?);
    let grad = given.normal("gradient", x.dims())?;
    let out = ops::batch_norm_training(&x, &weight, &bias, 1e-5, false)?;
    let statistics = (&out.mean, &out.biased);
    let back = ops::batch_norm_training_backward(&grad, &x, &weight, None, statistics, 1e-5)?;
    values_of(vec![
        ("output", out.output),
        ("mean", out.mean),
        ("variance", out.variance),
        ("gradient of the input", back.input),
        ("gradient of the weight", back.weight),
        ("gradient of the bias", back.bias),
    ])
}

fn batch_norm_evaluation(given: &Given<'_>) -> Result<Values> {
    let x = given.normal("x", &[4, 6, 7, 5])?;
    let (weight, bias, mean) =
        (given.normal("weight", &[6])?, given.normal("bias", &[6])?, given.normal("mean", &[6])?);
    let variance = (given.normal("variance", &[6])?.abs()? + 0.5)?;
    let grad = given.normal("gradient", x.dims())?;
    let out = ops::batch_norm_evaluation(&x, &weight, &bias, &mean, &variance, 1e-5)?;
    let back = ops::batch_norm_evaluation_backward(&grad, &x, &weight, &mean, &variance, 1e-5)?;
    values_of(vec![
        ("output", out),
        ("gradient of the input", back.input),
        ("gradient of the weight", back.weight),
        ("gradient of the bias", back.bias),
    ])
}

fn linear(given: &Given<'_>) -> Result<Values> {
    let (x, weight, bias) =
        (given.normal("x", &[9, 70])?, given.normal("weight", &[33, 70])?, given.normal("bias", &[33])?);
    let grad = given.normal("gradient", &[9, 33])?;
    values_of(vec![
        ("output", ops::linear(&x, &weight, Some(&bias))?),
        ("gradient of the input", ops::linear_backward_input(&grad, &weight)?),
        ("gradient of the weight", ops::linear_backward_weight(&grad, &x)?),
    ])
}

fn activations(given: &Given<'_>) -> Result<Values> {
    let (x, y) = (ties(given, &[3, 4, 5, 6])?, given.normal("y", &[3, 4, 5, 6])?);
    let out = ops::relu(&x)?;
    values_of(vec![
        ("gradient of ReLU", ops::relu_backward(&y, &out)?),
        ("gradient of a sum's ReLU", ops::relu_backward_sum(&x, &y, &out)?),
        ("ReLU", out),
        ("sum", ops::add(&x, &y)?),
        ("sum's ReLU", ops::add_relu(&x, &y)?),
        ("bias per channel", ops::add_channel_bias(&x, &given.normal("bias", &[4])?)?),
    ])
}

fn shortcut(given: &Given<'_>) -> Result<Values> {
    let x = given.normal("x", &[2, 3, 7, 6])?;
    let out = ops::shortcut(&x, 2, 8)?;
    let back = ops::shortcut_backward(&out, x.dims(), 2)?;
    values_of(vec![("output", out), ("gradient", back)])
}

fn loss(given: &Given<'_>) -> Result<Values> {
    let logits = given.normal("logits", &[8, 10])?;
    let targets: Vec<u32> = (0..8).collect();
    let loss = ops::training_loss(&logits, &targets)?;
    values_of(vec![
        ("loss and correct answers", loss.measured.to_dtype(candle_core::DType::F32)?),
        ("gradient", loss.gradient),
        ("softmax", ops::softmax(&logits)?),
    ])
}

/// What is not finite stays where it is.
fn undefined(given: &Given<'_>) -> Result<Values> {
    let values = vec![f32::NAN, -1.0, 2.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1.0, f32::NAN];
    let x = given.tensor(values, &[1, 2, 2, 2])?;
    let geometry = Pool2dGeometry { kernel: [2; 2], stride: [2; 2], padding: [0; 2] };
    values_of(vec![
        ("ReLU", ops::relu(&x)?),
        ("negative part", ops::negative_part(&x)?),
        ("sum's ReLU", ops::add_relu(&x, &x)?),
        ("maximum", ops::max_pool2d(&x, &geometry)?),
    ])
}
