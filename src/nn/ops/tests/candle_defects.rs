//! What candle 0.11.1 gets wrong, and ours must not. One test per defect.

use super::{assert_close, floats, random};
use crate::model;
use crate::nn::init::initialise;
use crate::nn::ops::{self, Conv2dGeometry, Pool2dGeometry};
use crate::rng::Rng;
use crate::train::TrainingSpec;
use crate::train::optimizer::Optimizer;
use candle_core::{Device, Tensor, Var};

fn variable(values: &[f32], shape: &[usize]) -> Var {
    Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn gradient_of_sum(x: &Var, y: &Tensor) -> Vec<f32> {
    floats(y.sum_all().unwrap().backward().unwrap().get(x).unwrap())
}

fn pool(kernel: usize, stride: usize) -> Pool2dGeometry {
    Pool2dGeometry { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 2] }
}

/// candle: 0.25 at the maximum instead of 1.
#[test]
fn max_pool_gradient_is_one_at_the_maximum() {
    let x = variable(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]);
    let y = ops::max_pool2d(&x, &pool(2, 2)).unwrap();
    assert_eq!(gradient_of_sum(&x, &y), [0.0, 0.0, 0.0, 1.0]);
}

/// candle: misplaced gradients when the size is odd.
#[test]
fn max_pool_gradient_on_odd_sizes() {
    let mut values = [0.0; 25];
    (values[6], values[8], values[16], values[18]) = (1.0, 2.0, 3.0, 4.0);
    let x = variable(&values, &[1, 1, 5, 5]);
    let y = ops::max_pool2d(&x, &pool(2, 2)).unwrap();
    let mut expected = [0.0; 25];
    for index in [6, 8, 16, 18] {
        expected[index] = 1.0;
    }
    assert_eq!(gradient_of_sum(&x, &y), expected);
}

/// candle: no gradient when window and stride differ.
#[test]
fn overlapping_max_pool_has_a_gradient() {
    let x = variable(&[0.0, 1.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 2.0], &[1, 1, 3, 3]);
    let y = ops::max_pool2d(&x, &pool(2, 1)).unwrap();
    assert_eq!(gradient_of_sum(&x, &y), [0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
}

/// candle: the gradient spills over when the size is odd.
#[test]
fn average_pool_gradient_on_odd_sizes() {
    let x = variable(&[1.0; 9], &[1, 1, 3, 3]);
    let y = ops::avg_pool2d(&x, &pool(2, 2)).unwrap();
    assert_eq!(gradient_of_sum(&x, &y), [0.25, 0.25, 0.0, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0]);
}

/// candle: the gradient of a 49 × 10 image under a 3 × 3 kernel with stride 2 and padding 1 fails.
#[test]
fn convolution_gradient_of_mfcc_sizes() {
    let mut rng = Rng::stream(5, "49 × 10");
    let x = Var::from_tensor(&random(&[2, 1, 49, 10], &mut rng)).unwrap();
    let weight = Var::from_tensor(&random(&[4, 1, 3, 3], &mut rng)).unwrap();
    let geometry = Conv2dGeometry { stride: [2; 2], padding: [1; 2], ..Conv2dGeometry::default() };
    let y = ops::conv2d(&x, &weight, None, &geometry).unwrap();
    assert_eq!(y.dims(), [2, 4, 25, 5]);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    // Every output sums the taps inside the image: each weight's gradient is a sum of the inputs under it.
    let inputs = floats(&x);
    let mut expected = vec![0.0f64; 9];
    for (index, value) in inputs.iter().enumerate() {
        let (row, column) = (index / 10 % 49, index % 10);
        for ky in 0..3 {
            for kx in 0..3 {
                let (y, x) = (row + 1, column + 1);
                let hits = |at: usize, tap: usize, outputs: usize| {
                    at >= tap && (at - tap).is_multiple_of(2) && (at - tap) / 2 < outputs
                };
                if hits(y, ky, 25) && hits(x, kx, 5) {
                    expected[ky * 3 + kx] += f64::from(*value);
                }
            }
        }
    }
    let expected: Vec<f64> = (0..4).flat_map(|_| expected.clone()).collect();
    assert_close(gradients.get(&weight).unwrap(), &expected, 1e-5, "weight gradient");
    assert_eq!(gradients.get(&x).unwrap().dims(), x.dims());
}

/// candle: the gradient passes where the input is exactly zero; PyTorch's (and ours) does not.
#[test]
fn relu_gradient_at_zero() {
    let x = variable(&[-1.0, 0.0, 2.0], &[3]);
    assert_eq!(gradient_of_sum(&x, &ops::relu(&x).unwrap()), [0.0, 0.0, 1.0]);
}

/// candle: its random numbers cannot be seeded on the processor; dropout draws from ours.
#[test]
fn dropout_repeats_with_its_seed() {
    let x = Tensor::ones(1000, candle_core::DType::F32, &Device::Cpu).unwrap();
    let draw = |seed| floats(&ops::dropout(&x, 0.3, &mut Rng::stream(seed, "dropout")).unwrap());
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let kept = draw(1).iter().filter(|&&v| v != 0.0).count();
    assert!((650..750).contains(&kept), "{kept} of 1000 kept at rate 0.3");
}

/// candle: the gradient of nearest-neighbour upsampling keeps one of the copies' gradients instead of their sum.
#[test]
fn upsampling_gradient_sums_over_the_copies() {
    let x = variable(&[1.0, 2.0], &[1, 1, 1, 2]);
    let y = ops::upsample_nearest2d(&x, 2).unwrap();
    assert_eq!(floats(&y), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    let weights =
        Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], (1, 1, 2, 4), &Device::Cpu);
    assert_eq!(gradient_of_sum(&x, &(y * weights.unwrap()).unwrap()), [14.0, 22.0]);
}

/// candle: its map of variables iterates in random order; ours in that of the layers, every time.
#[test]
fn parameters_keep_the_order_of_the_layers() {
    let network = model::build("resnet20", &[3, 8, 8], 10, &model::Options::new()).unwrap();
    let expected: Vec<String> = network.parameter_shapes().into_iter().map(|p| p.name).collect();
    for _ in 0..2 {
        let parameters = initialise(&network, &Device::Cpu, 1).unwrap();
        assert_eq!(parameters.iter().map(|(name, _)| name).collect::<Vec<_>>(), expected);
    }
}

/// candle: the moments of its AdamW are private, so that a checkpoint loses them; ours continues as if never stopped.
#[test]
fn adam_continues_from_its_saved_state() {
    let step = |optimizer: &mut Optimizer, weights: &mut [f32], gradient: f32| {
        optimizer.begin_step();
        optimizer.update_values("w", weights, &[gradient, -2.0 * gradient], 0.1).unwrap();
    };
    let mut optimizer = Optimizer::new(&TrainingSpec::default());
    let mut weights = [1.0, -1.0];
    step(&mut optimizer, &mut weights, 3.0);
    let (steps, slots) = optimizer.state().unwrap();
    let mut other = Optimizer::new(&TrainingSpec::default());
    other.restore(steps, slots.clone());
    let mut continued = weights;
    step(&mut optimizer, &mut weights, -0.5);
    step(&mut other, &mut continued, -0.5);
    assert_eq!(weights, continued);
    let mut fresh = Optimizer::new(&TrainingSpec::default());
    let mut restarted = [0.9, -0.9];
    step(&mut fresh, &mut restarted, -0.5);
    assert_ne!(weights, restarted, "without its memory the step would be another");
}
