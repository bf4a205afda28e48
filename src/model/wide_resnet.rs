//! Wide ResNets for 32×32 images (Zagoruyko & Komodakis 2016), WRN-depth-width: batch norm and ReLU before each
//! convolution; parameter names `conv1`, `block1.layer.0.conv1`, `block1.layer.0.convShortcut`, …, `bn1`, `fc`.

use super::Options;
use crate::nn::{Layer, Network, Operation, layer::INPUT};
use crate::{Error, Result};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Convolutions and the classifier: 6 n + 4.
    depth: usize,
    /// Channels over those of a ResNet: 16, 32, 64.
    width: usize,
    /// Dropout rate between the convolutions of a block.
    dropout: f64,
}

/// Options: `depth` (default 28), `width` (10), `dropout` (0).
///
/// # Errors
/// [`Error::Input`] for an option or an input shape that does not fit.
pub fn build(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let Settings { depth, width, dropout } = super::options("wide-resnet", options)?;
    let channels = super::image_channels("wide-resnet", input_shape)?;
    if depth < 10 || depth % 6 != 4 {
        return Err(Error::input_hint(
            format!("model wide-resnet: depth must be 4 more than a multiple of 6, found {depth}"),
            "for example 16, 22, 28 or 40",
        ));
    }
    let mut layers = vec![Layer::new("conv1", Operation::conv(channels, 16, 3, 1, 1), INPUT)];
    let (mut last, mut from) = ("conv1".to_owned(), 16);
    for (stage, base) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..(depth - 4) / 6 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let prefix = format!("block{}.layer.{block}", stage + 1);
            last = append(&mut layers, &prefix, &last, [from, base * width], stride, dropout);
            from = base * width;
        }
    }
    layers.push(Layer::new("bn1", Operation::batch_norm(from), last));
    layers.push(Layer::new("relu", Operation::Relu, "bn1"));
    super::classify(&mut layers, "relu", "fc", from, classes);
    Network::new(&format!("wide-resnet-{depth}-{width}"), input_shape, layers)
}

/// Appends a block and returns the name of its output. Where the number of channels changes, the shortcut is a 1×1
/// convolution that reads the activations, as the first convolution does.
fn append(
    layers: &mut Vec<Layer>,
    prefix: &str,
    input: &str,
    [from, to]: [usize; 2],
    stride: usize,
    dropout: f64,
) -> String {
    let name = |suffix: &str| format!("{prefix}.{suffix}");
    layers.push(Layer::new(name("bn1"), Operation::batch_norm(from), input));
    layers.push(Layer::new(name("relu1"), Operation::Relu, name("bn1")));
    layers.push(Layer::new(name("conv1"), Operation::conv(from, to, 3, stride, 1), name("relu1")));
    layers.push(Layer::new(name("bn2"), Operation::batch_norm(to), name("conv1")));
    layers.push(Layer::new(name("relu2"), Operation::Relu, name("bn2")));
    let mut last = name("relu2");
    if dropout > 0.0 {
        layers.push(Layer::new(name("dropout"), Operation::Dropout { rate: dropout }, last));
        last = name("dropout");
    }
    layers.push(Layer::new(name("conv2"), Operation::conv(to, to, 3, 1, 1), last));
    let mut identity = input.to_owned();
    if from != to || stride != 1 {
        let shortcut = Operation::conv(from, to, 1, stride, 0);
        layers.push(Layer::new(name("convShortcut"), shortcut, name("relu1")));
        identity = name("convShortcut");
    }
    layers.push(Layer {
        name: name("add"),
        operation: Operation::Add,
        inputs: vec![identity, name("conv2")],
    });
    name("add")
}
