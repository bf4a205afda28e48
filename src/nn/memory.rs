//! How much memory of a GPU a network takes: estimates, since nothing tells before.

use super::{Network, Operation};

/// Tensors of a parameter's size that a quantized training keeps: weights, latent weights, gradient, two moments,
/// relevance, thresholds, positions, and as much again in passing.
const COPIES: u64 = 12;
/// What the values of one pass of an evaluation may take on a GPU, bytes. A fixed amount, so that results don't depend on what
/// else runs there.
const EVALUATION: u64 = 1 << 30;

/// Numbers of one sample: all layers' outputs with the input, the largest layer's inputs with its output, and the largest
/// unfolded convolution.
struct PerSample {
    all: u64,
    largest: u64,
    unfolded: u64,
}

impl PerSample {
    fn of(network: &Network) -> Self {
        let size = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        let layers = network.layers();
        let input = size(&network.input_shape);
        let outputs: Vec<u64> = (0..layers.len()).map(|index| size(network.output_shape(index))).collect();
        let unfolded = layers.iter().zip(&outputs).map(|(layer, output)| match layer.operation {
            Operation::Conv2d { in_channels, out_channels, kernel, groups, .. } => {
                let pixels = output / (out_channels as u64).max(1);
                pixels * (in_channels / groups.max(1) * kernel[0] * kernel[1]) as u64
            }
            _ => 0,
        });
        let unfolded = unfolded.max().unwrap_or(0);
        // A residual branch is kept beside the two.
        let largest = 3 * outputs.iter().copied().max().unwrap_or(0).max(input);
        Self { all: input + outputs.iter().sum::<u64>(), largest, unfolded }
    }
}

/// Bytes of one training of this network with batches of `batch` samples: what the backward pass needs, a gradient of
/// each value in passing, the largest unfolded convolution twice, and `COPIES` of the parameters.
pub fn of_training(network: &Network, batch: usize) -> u64 {
    let sample = PerSample::of(network);
    let parameters: u64 = network
        .parameter_shapes()
        .iter()
        .map(|parameter| parameter.shape.iter().product::<usize>() as u64)
        .sum();
    4 * (batch as u64 * 2 * (sample.all + sample.unfolded) + COPIES * parameters)
}

/// Samples per pass of an evaluation whose values fit into a gigabyte of a GPU: 16 to 2,048.
pub fn evaluation_batch(network: &Network) -> usize {
    let sample = PerSample::of(network);
    (EVALUATION / (4 * (sample.largest + 2 * sample.unfolded)).max(1)).clamp(16, 2048) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    /// The estimate is above what the backward pass needs at least (`make bench-reference` prints 350 MB for VGG-16 and 115
    /// for ResNet-20) and grows with the batch; an evaluation takes fewer samples of larger images at a time.
    #[test]
    fn estimates() {
        let build = |name: &str, side: usize| {
            model::build(name, &[3, side, side], 10, &model::Options::new()).unwrap()
        };
        let of = |name: &str, batch: usize| of_training(&build(name, 32), batch);
        let (vgg, resnet) = (of("vgg16", 64), of("resnet20", 64));
        assert!((400 << 20..4_u64 << 30).contains(&vgg), "{vgg}");
        assert!((120 << 20..2_u64 << 30).contains(&resnet), "{resnet}");
        assert!(of("vgg16", 128) > vgg);
        let (small, large) =
            (evaluation_batch(&build("resnet20", 32)), evaluation_batch(&build("resnet18", 224)));
        assert!((256..=2048).contains(&small) && (16..128).contains(&large), "{small} {large}");
    }
}
