//! A small convolutional network for 32×32 images that trains in seconds per epoch on two cores: four 3×3
//! convolutions with batch norm, global average pooling, one linear layer.

use super::Options;
use crate::Result;
use crate::nn::{Layer, Network, Operation, layer::INPUT};

/// Output channels and stride of each convolution.
const PLAN: [(usize, usize); 4] = [(16, 1), (32, 2), (64, 2), (64, 2)];

/// No options.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn build(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    let mut channels = super::image_channels("cnn-small", input_shape)?;
    let mut layers: Vec<Layer> = Vec::new();
    for (index, (width, stride)) in PLAN.into_iter().enumerate() {
        let input = layers.last().map_or(INPUT.to_string(), |layer| layer.name.clone());
        let name = |kind: &str| format!("{kind}{}", index + 1);
        layers.push(Layer::new(name("conv"), Operation::conv(channels, width, 3, stride, 1), input));
        layers.push(Layer::new(name("bn"), Operation::batch_norm(width), name("conv")));
        layers.push(Layer::new(name("relu"), Operation::Relu, name("bn")));
        channels = width;
    }
    super::classify(&mut layers, "relu4", "fc", channels, classes);
    Network::new("cnn-small", input_shape, layers)
}
