//! ResNets for ImageNet (He et al. 2015) with torchvision's parameter names (`conv1`, `layer2.0.downsample.0`, …, `fc`).
//! As there, a bottleneck block strides in its 3×3 convolution.

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

/// What distinguishes the members of the family.
struct Member {
    name: &'static str,
    /// Blocks of each stage.
    blocks: [usize; 4],
    block: Block,
}

#[derive(Clone, Copy)]
enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1, the first two this many times as wide as in ResNet-50; the output is four times as wide as there.
    Bottleneck { widening: usize },
}

impl Block {
    /// Output channels of a block over the stage's base width.
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck { .. } => 4,
        }
    }
}

/// ResNet-18. Options: `small_input` (default false).
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn resnet18(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    build(&Member { name: "resnet18", blocks: [2; 4], block: Block::Basic }, input_shape, classes, options)
}

/// ResNet-34; options and errors as of [`resnet18`].
pub fn resnet34(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let member = Member { name: "resnet34", blocks: [3, 4, 6, 3], block: Block::Basic };
    build(&member, input_shape, classes, options)
}

/// ResNet-50; options and errors as of [`resnet18`].
pub fn resnet50(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let block = Block::Bottleneck { widening: 1 };
    build(&Member { name: "resnet50", blocks: [3, 4, 6, 3], block }, input_shape, classes, options)
}

/// Wide ResNet-50-2 (Zagoruyko & Komodakis 2016): ResNet-50 with 3×3 convolutions twice as wide; options and errors as
/// of [`resnet18`].
pub fn wide_resnet50_2(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let block = Block::Bottleneck { widening: 2 };
    build(&Member { name: "wide_resnet50_2", blocks: [3, 4, 6, 3], block }, input_shape, classes, options)
}

fn build(member: &Member, input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let settings: Settings = super::options(member.name, options)?;
    let channels = super::image_channels(member.name, input_shape)?;
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
        for block in 0..member.blocks[stage] {
            let place = Place {
                prefix: format!("layer{}.{block}", stage + 1),
                input: last,
                in_channels: width,
                planes,
                stride: if stage > 0 && block == 0 { 2 } else { 1 },
            };
            last = place.append(&mut layers, member.block);
            width = planes * member.block.expansion();
        }
    }
    super::classify(&mut layers, &last, "fc", width, classes);
    Network::new(member.name, input_shape, layers)
}

/// Where a block stands.
struct Place {
    prefix: String,
    input: String,
    in_channels: usize,
    /// The stage's base width.
    planes: usize,
    stride: usize,
}

impl Place {
    /// Appends a block, with a 1×1 convolution and batch norm in the shortcut where the shape changes; returns the name of
    /// its output.
    fn append(&self, layers: &mut Vec<Layer>, block: Block) -> String {
        let name = |suffix: &str| format!("{}.{suffix}", self.prefix);
        let (planes, out_channels) = (self.planes, self.planes * block.expansion());
        let mut identity = self.input.clone();
        if self.stride != 1 || self.in_channels != out_channels {
            let down = Operation::conv(self.in_channels, out_channels, 1, self.stride, 0);
            layers.push(Layer::new(name("downsample.0"), down, &*self.input));
            let norm = Operation::batch_norm(out_channels);
            layers.push(Layer::new(name("downsample.1"), norm, name("downsample.0")));
            identity = name("downsample.1");
        }
        // Channels before and after, kernel, stride.
        let convolutions = match block {
            Block::Basic => {
                vec![[self.in_channels, planes, 3, self.stride], [planes, planes, 3, 1]]
            }
            Block::Bottleneck { widening } => {
                let width = planes * widening;
                vec![
                    [self.in_channels, width, 1, 1],
                    [width, width, 3, self.stride],
                    [width, out_channels, 1, 1],
                ]
            }
        };
        let mut last = self.input.clone();
        for (index, [from, to, kernel, stride]) in convolutions.iter().copied().enumerate() {
            let part = |kind: &str| name(&format!("{kind}{}", index + 1));
            let conv = Operation::conv(from, to, kernel, stride, kernel / 2);
            layers.push(Layer::new(part("conv"), conv, last));
            layers.push(Layer::new(part("bn"), Operation::batch_norm(to), part("conv")));
            last = part("bn");
            if index + 1 < convolutions.len() {
                layers.push(Layer::new(part("relu"), Operation::Relu, last));
                last = part("relu");
            }
        }
        let sum = Layer { name: name("add"), operation: Operation::Add, inputs: vec![identity, last] };
        layers.push(sum);
        let relu = name(&format!("relu{}", convolutions.len()));
        layers.push(Layer::new(&*relu, Operation::Relu, name("add")));
        relu
    }
}
