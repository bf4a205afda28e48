//! A layer: a name, an operation and the names of its inputs. Nothing here computes.

use super::ops::{Activation, RowNorm};
use serde::{Deserialize, Serialize};

/// The name by which layers refer to the network's input.
pub const INPUT: &str = "input";

/// One node of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Unique name; parameters are called `{name}.weight`, `{name}.bias`, …, as in PyTorch.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// The layers (or [`INPUT`]) whose outputs it reads, in order.
    pub inputs: Vec<String>,
}

impl Layer {
    /// A layer with one input.
    pub fn new(name: impl Into<String>, operation: Operation, input: impl Into<String>) -> Self {
        Self { name: name.into(), operation, inputs: vec![input.into()] }
    }
}

/// What a layer computes. Images are (batch, channels, height, width); vectors are (batch, features).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// `x Wᵀ + b`; weight (outputs, inputs).
    Linear {
        /// Input features.
        inputs: usize,
        /// Output features.
        outputs: usize,
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Two-dimensional cross-correlation; weight (out, in / groups, kernel height, kernel width).
    Conv2d {
        /// Input channels.
        in_channels: usize,
        /// Output channels.
        out_channels: usize,
        /// Kernel height and width.
        kernel: [usize; 2],
        /// Stride, vertical and horizontal.
        #[serde(default = "ones")]
        stride: [usize; 2],
        /// Zero padding on each side, vertical and horizontal.
        #[serde(default)]
        padding: [usize; 2],
        /// Dilation, vertical and horizontal.
        #[serde(default = "ones")]
        dilation: [usize; 2],
        /// Groups of channels that do not mix.
        #[serde(default = "one")]
        groups: usize,
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Batch normalisation over all axes but the second, of images or vectors.
    BatchNorm {
        /// Channels or features.
        features: usize,
        /// Added to the variance.
        #[serde(default = "batch_norm_epsilon")]
        epsilon: f64,
        /// Share of the batch in the running statistics.
        #[serde(default = "batch_norm_momentum")]
        momentum: f64,
    },
    /// Normalisation of every sample's channels in groups of neighbours, with a scale and a shift per channel.
    GroupNorm {
        /// Groups; they divide the channels.
        groups: usize,
        /// Channels or features.
        features: usize,
        /// Added to the variance.
        #[serde(default = "batch_norm_epsilon")]
        epsilon: f64,
    },
    /// Normalisation of every sample's last axes, with a scale and a shift per value of them.
    LayerNorm {
        /// Lengths of the last axes.
        shape: Vec<usize>,
        /// Added to the variance.
        #[serde(default = "batch_norm_epsilon")]
        epsilon: f64,
    },
    /// max(x, 0).
    Relu,
    /// Another activation.
    Activation(Activation),
    /// Largest value in each window.
    MaxPool2d {
        /// Window height and width.
        kernel: [usize; 2],
        /// Stride, vertical and horizontal.
        stride: [usize; 2],
        /// Padding with −∞ on each side.
        #[serde(default)]
        padding: [usize; 2],
    },
    /// Mean of each window; padded zeros count.
    AvgPool2d {
        /// Window height and width.
        kernel: [usize; 2],
        /// Stride, vertical and horizontal.
        stride: [usize; 2],
        /// Zero padding on each side.
        #[serde(default)]
        padding: [usize; 2],
    },
    /// Mean over height and width; the result keeps both axes with length 1.
    GlobalAvgPool,
    /// Means over windows chosen such that the result has this height and width.
    AdaptiveAvgPool2d {
        /// Output height and width.
        output: [usize; 2],
    },
    /// All axes but the batch in one.
    Flatten,
    /// Sum of all inputs, which have one shape.
    Add,
    /// Product of a signal and a gate, which has the signal's shape or one value per channel: squeeze and excitation.
    Multiply,
    /// All inputs side by side along the channels or features.
    Concat,
    /// The parameter-free shortcut of a CIFAR ResNet: every `stride`-th row and column, channels padded with zeros on both sides.
    Shortcut {
        /// Step in rows and columns.
        stride: usize,
        /// Input channels.
        in_channels: usize,
        /// Output channels; the difference is split evenly before and after.
        out_channels: usize,
    },
    /// In training, zeroes a share of the values and scales the rest by 1 / (1 − rate).
    Dropout {
        /// The share that is zeroed, in [0, 1).
        rate: f64,
    },
}

fn yes() -> bool {
    true
}
fn one() -> usize {
    1
}
fn ones() -> [usize; 2] {
    [1, 1]
}
fn batch_norm_epsilon() -> f64 {
    1e-5
}
fn batch_norm_momentum() -> f64 {
    0.1
}

impl Operation {
    /// The kinds in YAML besides [`Activation::NAMES`].
    pub const KINDS: [&str; 16] = [
        "linear",
        "conv2d",
        "batch_norm",
        "group_norm",
        "layer_norm",
        "relu",
        "max_pool2d",
        "avg_pool2d",
        "global_avg_pool",
        "adaptive_avg_pool2d",
        "flatten",
        "add",
        "multiply",
        "concat",
        "shortcut",
        "dropout",
    ];

    /// A convolution with a square kernel and no dilation, groups or bias.
    pub fn conv(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        Self::Conv2d {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// A depthwise convolution: one square filter per channel, no dilation or bias.
    pub fn depthwise(channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self::Conv2d {
            in_channels: channels,
            out_channels: channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
            groups: channels,
            bias: false,
        }
    }

    /// Batch normalisation with PyTorch's defaults.
    pub fn batch_norm(features: usize) -> Self {
        Self::BatchNorm { features, epsilon: batch_norm_epsilon(), momentum: batch_norm_momentum() }
    }

    /// Which values a group or layer norm puts together, and its ε; `None` for all others.
    pub(crate) fn row_norm(&self) -> Option<(RowNorm<'_>, f64)> {
        match self {
            Self::GroupNorm { groups, epsilon, .. } => Some((RowNorm::Groups(*groups), *epsilon)),
            Self::LayerNorm { shape, epsilon } => Some((RowNorm::Last(shape), *epsilon)),
            _ => None,
        }
    }

    /// The word used for this kind in YAML and in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv2d { .. } => "conv2d",
            Self::BatchNorm { .. } => "batch_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::Relu => "relu",
            Self::Activation(activation) => activation.name(),
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::AdaptiveAvgPool2d { .. } => "adaptive_avg_pool2d",
            Self::Flatten => "flatten",
            Self::Add => "add",
            Self::Multiply => "multiply",
            Self::Concat => "concat",
            Self::Shortcut { .. } => "shortcut",
            Self::Dropout { .. } => "dropout",
        }
    }
}
