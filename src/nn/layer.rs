//! A layer: a name, an operation and the names of its inputs. Nothing here computes.

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
    /// max(x, 0).
    Relu,
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
    /// All axes but the batch in one.
    Flatten,
    /// Sum of all inputs, which have one shape.
    Add,
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

    /// Batch normalisation with PyTorch's defaults.
    pub fn batch_norm(features: usize) -> Self {
        Self::BatchNorm { features, epsilon: batch_norm_epsilon(), momentum: batch_norm_momentum() }
    }

    /// The word used for this kind in YAML and in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv2d { .. } => "conv2d",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Relu => "relu",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Flatten => "flatten",
            Self::Add => "add",
            Self::Shortcut { .. } => "shortcut",
            Self::Dropout { .. } => "dropout",
        }
    }
}
