//! ResNet-18 with torchvision's parameter names (`conv1`, `layer2.0.downsample.0`, …, `fc`).

use super::Options;
use crate::Result;
use crate::nn::{Layer, Network, Operation, layer::INPUT};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// A 3×3 stem without pooling, for images of about 32×32.
    small_input: bool,
}

/// Options: `small_input` (default false).
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn build(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let settings: Settings = super::options("resnet18", options)?;
    let channels = super::image_channels("resnet18", input_shape)?;
    let stem = if settings.small_input {
        Operation::conv(channels, 64, 3, 1, 1)
    } else {
        Operation::conv(channels, 64, 7, 2, 3)
    };
    let mut layers = vec![
        Layer::new("conv1", stem, INPUT),
        Layer::new("bn1", Operation::batch_norm(64), "conv1"),
        Layer::new("relu", Operation::Relu, "bn1"),
    ];
    let mut last = "relu".to_string();
    if !settings.small_input {
        let pool = Operation::MaxPool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
        layers.push(Layer::new("maxpool", pool, "relu"));
        last = "maxpool".into();
    }
    let mut width = 64;
    for (stage, planes) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            last = basic_block(
                &mut layers,
                &format!("layer{}.{block}", stage + 1),
                &last,
                width,
                planes,
                stride,
            );
            width = planes;
        }
    }
    layers.push(Layer::new("avgpool", Operation::GlobalAvgPool, last));
    layers.push(Layer::new("flatten", Operation::Flatten, "avgpool"));
    layers.push(Layer::new("fc", Operation::Linear { inputs: 512, outputs: classes, bias: true }, "flatten"));
    Network::new("resnet18", input_shape, layers)
}

/// Appends a basic block, with a 1×1 convolution and batch norm in the shortcut where the shape changes; returns the
/// name of its output.
fn basic_block(
    layers: &mut Vec<Layer>,
    prefix: &str,
    input: &str,
    in_channels: usize,
    out_channels: usize,
    stride: usize,
) -> String {
    let name = |suffix: &str| format!("{prefix}.{suffix}");
    let mut identity = input.to_string();
    if stride != 1 || in_channels != out_channels {
        let down = Operation::conv(in_channels, out_channels, 1, stride, 0);
        layers.push(Layer::new(name("downsample.0"), down, input));
        layers.push(Layer::new(
            name("downsample.1"),
            Operation::batch_norm(out_channels),
            name("downsample.0"),
        ));
        identity = name("downsample.1");
    }
    layers.push(Layer::new(name("conv1"), Operation::conv(in_channels, out_channels, 3, stride, 1), input));
    layers.push(Layer::new(name("bn1"), Operation::batch_norm(out_channels), name("conv1")));
    layers.push(Layer::new(name("relu1"), Operation::Relu, name("bn1")));
    layers.push(Layer::new(
        name("conv2"),
        Operation::conv(out_channels, out_channels, 3, 1, 1),
        name("relu1"),
    ));
    layers.push(Layer::new(name("bn2"), Operation::batch_norm(out_channels), name("conv2")));
    layers.push(Layer { name: name("add"), operation: Operation::Add, inputs: vec![identity, name("bn2")] });
    layers.push(Layer::new(name("relu2"), Operation::Relu, name("add")));
    name("relu2")
}
