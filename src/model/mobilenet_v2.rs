//! MobileNetV2 (Sandler et al. 2018) with torchvision's parameter names (`features.0.0`, `features.2.conv.1.0`, …,
//! `classifier.1`).

use super::Options;
use crate::Result;
use crate::nn::ops::Activation;
use crate::nn::{Layer, Network, Operation, layer::INPUT};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Stride 1 instead of 2 in the first convolution and the second stage, for images of about 32×32.
    small_input: bool,
    /// Dropout rate before the classifier.
    dropout: f64,
}

/// Expansion, output channels, blocks and first stride of each stage (the paper's table 2).
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// Options: `small_input` (default false), `dropout` (0.2).
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn build(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let settings: Settings = super::options("mobilenet_v2", options)?;
    let channels = super::image_channels("mobilenet_v2", input_shape)?;
    let mut builder = Builder { layers: Vec::new(), last: INPUT.into() };
    let stride = if settings.small_input { 1 } else { 2 };
    builder.convolution("features.0", Operation::conv(channels, 32, 3, stride, 1));
    let (mut width, mut index) = (32, 1);
    for (stage, [expansion, planes, blocks, stride]) in STAGES.into_iter().enumerate() {
        let stride = if settings.small_input && stage == 1 { 1 } else { stride };
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            builder.block(&format!("features.{index}"), expansion, [width, planes], stride);
            (width, index) = (planes, index + 1);
        }
    }
    builder.convolution(&format!("features.{index}"), Operation::conv(width, 1280, 1, 1, 0));
    builder.push("avgpool", Operation::GlobalAvgPool);
    builder.push("flatten", Operation::Flatten);
    builder.push("classifier.0", Operation::Dropout { rate: settings.dropout });
    builder.push("classifier.1", Operation::Linear { inputs: 1280, outputs: classes, bias: true });
    Network::new("mobilenet_v2", input_shape, builder.layers)
}

struct Builder {
    layers: Vec<Layer>,
    /// What the next layer reads.
    last: String,
}

impl Builder {
    fn push(&mut self, name: &str, operation: Operation) {
        let input = std::mem::replace(&mut self.last, name.to_owned());
        self.layers.push(Layer::new(name, operation, input));
    }

    /// A convolution without bias, its batch norm and ReLU6.
    fn convolution(&mut self, prefix: &str, operation: Operation) {
        let Operation::Conv2d { out_channels, .. } = operation else { return };
        self.push(&format!("{prefix}.0"), operation);
        self.push(&format!("{prefix}.1"), Operation::batch_norm(out_channels));
        self.push(&format!("{prefix}.2"), Operation::Activation(Activation::Relu6));
    }

    /// An inverted residual: expansion by 1×1, depthwise 3×3, projection by 1×1 without an activation.
    fn block(&mut self, prefix: &str, expansion: usize, [from, to]: [usize; 2], stride: usize) {
        let (input, hidden) = (self.last.clone(), from * expansion);
        let mut index = 0;
        let mut next = || {
            index += 1;
            format!("{prefix}.conv.{}", index - 1)
        };
        if expansion != 1 {
            self.convolution(&next(), Operation::conv(from, hidden, 1, 1, 0));
        }
        self.convolution(&next(), Operation::depthwise(hidden, 3, stride, 1));
        self.push(&next(), Operation::conv(hidden, to, 1, 1, 0));
        self.push(&next(), Operation::batch_norm(to));
        if stride == 1 && from == to {
            let inputs = vec![input, self.last.clone()];
            self.last = format!("{prefix}.add");
            self.layers.push(Layer { name: self.last.clone(), operation: Operation::Add, inputs });
        }
    }
}
