//! ResNet-20, 32, 44 and 56 for 32×32 images (He et al. 2015, section 4.2) with parameter-free shortcuts; parameter names `conv1`,
//! `layer1.0.conv1`, …, `linear`.

use super::Options;
use crate::Result;
use crate::nn::{Layer, Network, Operation, layer::INPUT};

/// No options.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn resnet20(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    build("resnet20", 3, input_shape, classes)
}

/// No options; errors as of [`resnet20`].
pub fn resnet32(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    build("resnet32", 5, input_shape, classes)
}

/// No options; errors as of [`resnet20`].
pub fn resnet44(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    build("resnet44", 7, input_shape, classes)
}

/// No options; errors as of [`resnet20`].
pub fn resnet56(input_shape: &[usize], classes: usize, _: &Options) -> Result<Network> {
    build("resnet56", 9, input_shape, classes)
}

/// 6 `blocks` + 2 layers.
fn build(name: &str, blocks: usize, input_shape: &[usize], classes: usize) -> Result<Network> {
    let channels = super::image_channels(name, input_shape)?;
    let mut layers = vec![
        Layer::new("conv1", Operation::conv(channels, 16, 3, 1, 1), INPUT),
        Layer::new("bn1", Operation::batch_norm(16), "conv1"),
        Layer::new("relu", Operation::Relu, "bn1"),
    ];
    let mut last = "relu".to_string();
    let mut width = 16;
    for (stage, planes) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
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
    super::classify(&mut layers, &last, "linear", 64, classes);
    Network::new(name, input_shape, layers)
}

/// Appends a basic block and returns the name of its output.
fn basic_block(
    layers: &mut Vec<Layer>,
    prefix: &str,
    input: &str,
    in_channels: usize,
    out_channels: usize,
    stride: usize,
) -> String {
    let name = |suffix: &str| format!("{prefix}.{suffix}");
    let conv1 = Operation::conv(in_channels, out_channels, 3, stride, 1);
    layers.push(Layer::new(name("conv1"), conv1, input));
    layers.push(Layer::new(name("bn1"), Operation::batch_norm(out_channels), name("conv1")));
    layers.push(Layer::new(name("relu1"), Operation::Relu, name("bn1")));
    let conv2 = Operation::conv(out_channels, out_channels, 3, 1, 1);
    layers.push(Layer::new(name("conv2"), conv2, name("relu1")));
    layers.push(Layer::new(name("bn2"), Operation::batch_norm(out_channels), name("conv2")));
    let identity = if stride != 1 || in_channels != out_channels {
        let shortcut = Operation::Shortcut { stride, in_channels, out_channels };
        layers.push(Layer::new(name("shortcut"), shortcut, input));
        name("shortcut")
    } else {
        input.to_string()
    };
    layers.push(Layer { name: name("add"), operation: Operation::Add, inputs: vec![identity, name("bn2")] });
    layers.push(Layer::new(name("relu2"), Operation::Relu, name("add")));
    name("relu2")
}
