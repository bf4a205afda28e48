//! VGG-16 with batch norm for 32×32 images: thirteen 3×3 convolutions, classifier 512–512–classes; torchvision's
//! parameter names `features.N`, `classifier.N`.

use super::Options;
use crate::Result;
use crate::nn::{Layer, Network, Operation, layer::INPUT};

/// Output channels; 0 stands for a 2×2 max pooling (configuration D of Simonyan & Zisserman 2015).
const PLAN: [usize; 18] = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0];

/// No options.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn build(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    let mut channels = super::image_channels("vgg16", input_shape)?;
    let mut layers: Vec<Layer> = Vec::new();
    let mut push = |prefix: &str, index: usize, operation| {
        let input = layers.last().map_or(INPUT.to_string(), |layer| layer.name.clone());
        layers.push(Layer::new(format!("{prefix}{index}"), operation, input));
    };
    let mut index = 0;
    for width in PLAN {
        if width == 0 {
            push(
                "features.",
                index,
                Operation::MaxPool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
            );
            index += 1;
            continue;
        }
        let conv = Operation::Conv2d {
            in_channels: channels,
            out_channels: width,
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1, 1],
            dilation: [1, 1],
            groups: 1,
            bias: true,
        };
        push("features.", index, conv);
        push("features.", index + 1, Operation::batch_norm(width));
        push("features.", index + 2, Operation::Relu);
        index += 3;
        channels = width;
    }
    push("flatten", 0, Operation::Flatten);
    let positions = input_shape[1] / 32 * (input_shape[2] / 32);
    for (at, inputs, outputs) in [(0, 512 * positions, 512), (3, 512, 512), (6, 512, classes)] {
        push("classifier.", at, Operation::Linear { inputs, outputs, bias: true });
        if at < 6 {
            push("classifier.", at + 1, Operation::Relu);
            push("classifier.", at + 2, Operation::Dropout { rate: 0.5 });
        }
    }
    Network::new("vgg16", input_shape, layers)
}
