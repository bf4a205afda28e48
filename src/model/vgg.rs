//! VGG-16 with batch norm (configuration D of Simonyan & Zisserman 2015) with torchvision's parameter names `features.N`,
//! `classifier.N`: as torchvision has it for ImageNet, and with a small classifier for 32×32 images.

use super::Options;
use crate::Result;
use crate::nn::{Layer, Network, Operation, layer::INPUT};
use serde::Deserialize;

/// Output channels; 0 stands for a 2×2 max pooling (configuration D of Simonyan & Zisserman 2015).
const PLAN: [usize; 18] = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0];

/// For 32×32 images: classifier 512–512–classes. No options.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn vgg16(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    let mut builder = Builder::features("vgg16", input_shape)?;
    let positions = input_shape[1] / 32 * (input_shape[2] / 32);
    builder.push("flatten0", Operation::Flatten);
    builder.classifier([512 * positions, 512, 512, classes], 0.5);
    Network::new("vgg16", input_shape, builder.layers)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Dropout rate in the classifier.
    dropout: f64,
}

/// torchvision's `vgg16_bn`: average pooling to 7×7, classifier 4096–4096–classes. Option `dropout` (default 0.5).
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn vgg16_bn(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let Settings { dropout } = super::options("vgg16_bn", options)?;
    let mut builder = Builder::features("vgg16_bn", input_shape)?;
    builder.push("avgpool", Operation::AdaptiveAvgPool2d { output: [7, 7] });
    builder.push("flatten", Operation::Flatten);
    builder.classifier([512 * 7 * 7, 4096, 4096, classes], dropout);
    Network::new("vgg16_bn", input_shape, builder.layers)
}

struct Builder {
    layers: Vec<Layer>,
}

impl Builder {
    fn push(&mut self, name: &str, operation: Operation) {
        let input = self.layers.last().map_or(INPUT.to_string(), |layer| layer.name.clone());
        self.layers.push(Layer::new(name, operation, input));
    }

    /// The convolutions with their batch norms, ReLUs and poolings.
    fn features(model: &str, input_shape: &[usize]) -> Result<Self> {
        let mut channels = super::image_channels(model, input_shape)?;
        let mut builder = Self { layers: Vec::new() };
        let mut index = 0;
        let mut push = |operation| {
            builder.push(&format!("features.{index}"), operation);
            index += 1;
        };
        for width in PLAN {
            if width == 0 {
                push(Operation::MaxPool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0] });
                continue;
            }
            push(Operation::Conv2d {
                in_channels: channels,
                out_channels: width,
                kernel: [3, 3],
                stride: [1, 1],
                padding: [1, 1],
                dilation: [1, 1],
                groups: 1,
                bias: true,
            });
            push(Operation::batch_norm(width));
            push(Operation::Relu);
            channels = width;
        }
        Ok(builder)
    }

    /// Three linear layers between these sizes, ReLU and dropout between them.
    fn classifier(&mut self, sizes: [usize; 4], dropout: f64) {
        for (layer, pair) in sizes.windows(2).enumerate() {
            let name = |part: usize| format!("classifier.{}", 3 * layer + part);
            self.push(&name(0), Operation::Linear { inputs: pair[0], outputs: pair[1], bias: true });
            if layer < 2 {
                self.push(&name(1), Operation::Relu);
                self.push(&name(2), Operation::Dropout { rate: dropout });
            }
        }
    }
}
