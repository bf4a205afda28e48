//! Architectures (one file each), the registry, models described in YAML, checkpoints.
//!
//! ```
//! let network = ecqx::model::build("resnet20", &[3, 32, 32], 10, &Default::default())?;
//! assert_eq!(network.classes, 10);
//! # Ok::<(), ecqx::Error>(())
//! ```
//!
//! A new architecture is one file with a `build` function and one entry in [`builtin`].

pub mod checkpoint;
mod cnn_small;
mod mlp_gsc;
mod mobilenet_v2;
mod resnet;
mod resnet_cifar;
#[cfg(test)]
mod torch_tests;
mod vgg;
mod wide_resnet;
pub mod yaml;

use crate::nn::{Layer, Network, Operation};
use crate::registry::{self, Catalogue, Named, Parameter};
use crate::{Error, Result};
use serde::de::DeserializeOwned;

/// Options of a model as they stand in YAML.
pub type Options = serde_json::Map<String, serde_json::Value>;

/// One architecture of the registry.
pub struct Model {
    /// Name in YAML and on the command line.
    pub name: &'static str,
    /// One line for listings.
    pub about: &'static str,
    /// Its options.
    pub parameters: &'static [Parameter],
    /// Builds the network for inputs of a shape (without batch axis) and a number of classes, from resolved options.
    pub build: fn(&[usize], usize, &Options) -> Result<Network>,
}

impl Named for Model {
    fn name(&self) -> &str {
        self.name
    }
}

impl Model {
    /// All options with their values, in one form: options that mean the same come out equal.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown option, with a suggestion, or a value that does not fit.
    pub fn resolve(&self, options: &Options) -> Result<Options> {
        registry::resolve(&format!("model {}", self.name), self.parameters, &[], options, false)
    }

    /// Builds the network for inputs of a shape (without batch axis) and a number of classes.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown option, or an input shape that does not fit.
    pub fn network(&self, input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
        (self.build)(input_shape, classes, &self.resolve(options)?)
    }
}

static MLP_GSC: Model = Model {
    name: "mlp-gsc",
    about: "MLP 512-512-256-256-128-128 for Speech Commands",
    parameters: &[
        Parameter::switch("batch_norm", "batch norm after every hidden layer", false),
        Parameter::number("dropout", "dropout rate after every hidden layer", (0.0, 0.999), 0.0),
    ],
    build: mlp_gsc::build,
};
static RESNET20: Model = Model {
    name: "resnet20",
    about: "ResNet-20 for 32×32 images, parameter-free shortcuts",
    parameters: &[],
    build: resnet_cifar::resnet20,
};
static VGG16: Model = Model {
    name: "vgg16",
    about: "VGG-16 with batch norm for 32×32 images, classifier 512-512",
    parameters: &[],
    build: vgg::vgg16,
};
static RESNET18: Model = Model {
    name: "resnet18",
    about: "ResNet-18 with torchvision's names",
    parameters: SMALL_INPUT,
    build: resnet::resnet18,
};
/// The option of ResNets for large images.
const SMALL_INPUT: &[Parameter] =
    &[Parameter::switch("small_input", "a 3×3 stem without pooling, for images of 32×32", false)];
static RESNET34: Model = Model {
    name: "resnet34",
    about: "ResNet-34 with torchvision's names",
    parameters: SMALL_INPUT,
    build: resnet::resnet34,
};
static RESNET50: Model = Model {
    name: "resnet50",
    about: "ResNet-50 with torchvision's names",
    parameters: SMALL_INPUT,
    build: resnet::resnet50,
};
static WIDE_RESNET50_2: Model = Model {
    name: "wide_resnet50_2",
    about: "Wide ResNet-50-2 with torchvision's names",
    parameters: SMALL_INPUT,
    build: resnet::wide_resnet50_2,
};
static VGG16_BN: Model = Model {
    name: "vgg16_bn",
    about: "VGG-16 with batch norm for ImageNet with torchvision's names, classifier 4096-4096",
    parameters: &[Parameter::number("dropout", "dropout rate in the classifier", (0.0, 0.999), 0.5)],
    build: vgg::vgg16_bn,
};
static MOBILENET_V2: Model = Model {
    name: "mobilenet_v2",
    about: "MobileNetV2 with torchvision's names",
    parameters: &[
        Parameter::switch("small_input", "two strides of 1 instead of 2, for images of 32×32", false),
        Parameter::number("dropout", "dropout rate before the classifier", (0.0, 0.999), 0.2),
    ],
    build: mobilenet_v2::build,
};
static RESNET32: Model = Model {
    name: "resnet32",
    about: "ResNet-32 for 32×32 images, parameter-free shortcuts",
    parameters: &[],
    build: resnet_cifar::resnet32,
};
static RESNET44: Model = Model {
    name: "resnet44",
    about: "ResNet-44 for 32×32 images, parameter-free shortcuts",
    parameters: &[],
    build: resnet_cifar::resnet44,
};
static RESNET56: Model = Model {
    name: "resnet56",
    about: "ResNet-56 for 32×32 images, parameter-free shortcuts",
    parameters: &[],
    build: resnet_cifar::resnet56,
};
static WIDE_RESNET: Model = Model {
    name: "wide-resnet",
    about: "Wide ResNet for 32×32 images: WRN-depth-width",
    parameters: &[
        Parameter::whole("depth", "layers with weights, 6 n + 4", (10, 1000), 28),
        Parameter::whole("width", "channels over those of a ResNet", (1, 100), 10),
        Parameter::number("dropout", "dropout rate inside the blocks", (0.0, 0.999), 0.0),
    ],
    build: wide_resnet::build,
};
static CNN_SMALL: Model = Model {
    name: "cnn-small",
    about: "four 3×3 convolutions with batch norm, 61 thousand weights; trains in seconds",
    parameters: &[],
    build: cnn_small::build,
};

/// The built-in architectures.
pub fn builtin() -> Catalogue<Model> {
    Catalogue::new(
        "model",
        "ecqx ls models",
        &[
            &MLP_GSC,
            &RESNET20,
            &VGG16,
            &RESNET18,
            &CNN_SMALL,
            &RESNET32,
            &RESNET44,
            &RESNET56,
            &WIDE_RESNET,
            &RESNET34,
            &RESNET50,
            &WIDE_RESNET50_2,
            &VGG16_BN,
            &MOBILENET_V2,
        ],
    )
}

/// Builds the built-in architecture called `name`.
///
/// # Errors
/// [`Error::Input`] for an unknown name or option, or an input shape that does not fit.
pub fn build(name: &str, input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    builtin().find(name)?.network(input_shape, classes, options)
}

/// Reads a model's options into its settings.
fn options<T: DeserializeOwned>(name: &str, options: &Options) -> Result<T> {
    crate::io::yaml::from_value(&serde_json::Value::Object(options.clone()), &format!("model {name}"))
}

/// Channels of a (channels, height, width) input.
fn image_channels(name: &str, input_shape: &[usize]) -> Result<usize> {
    match *input_shape {
        [channels, _, _] => Ok(channels),
        _ => Err(Error::input(format!(
            "model {name} needs images, the data set gives inputs of shape {input_shape:?}"
        ))),
    }
}

/// Appends the end of a convolutional classifier: the mean over all positions and a linear layer called `name`.
fn classify(layers: &mut Vec<Layer>, last: &str, name: &str, channels: usize, classes: usize) {
    layers.push(Layer::new("avgpool", Operation::GlobalAvgPool, last));
    layers.push(Layer::new("flatten", Operation::Flatten, "avgpool"));
    let linear = Operation::Linear { inputs: channels, outputs: classes, bias: true };
    layers.push(Layer::new(name, linear, "flatten"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(name: &str, shape: &[usize], classes: usize) -> usize {
        let network = build(name, shape, classes, &Options::new()).unwrap();
        network
            .parameter_shapes()
            .iter()
            .filter(|p| !p.name.contains("running"))
            .map(|p| p.shape.iter().product::<usize>())
            .sum()
    }

    /// Parameter counts are those of the published architectures, so that checkpoints and sizes mean the same thing.
    #[test]
    fn parameter_counts() {
        assert_eq!(scalars("resnet20", &[3, 32, 32], 10), 269_722);
        assert_eq!(scalars("resnet18", &[3, 224, 224], 1000), 11_689_512);
        assert_eq!(scalars("vgg16", &[3, 32, 32], 10), 14_714_688 + 8_448 + 2 * (512 * 512 + 512) + 5_130);
        // torchvision's `num_params` of its ImageNet weights.
        for (name, count) in [
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("wide_resnet50_2", 68_883_240),
            ("vgg16_bn", 138_365_992),
            ("mobilenet_v2", 3_504_872),
        ] {
            assert_eq!(scalars(name, &[3, 224, 224], 1000), count, "{name}");
        }
        // He et al. 2015, table 6: 0.46, 0.66 and 0.85 million; Zagoruyko & Komodakis 2016, table 4: 36.5 million.
        for (name, count) in
            [("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018), ("wide-resnet", 36_479_194)]
        {
            assert_eq!(scalars(name, &[3, 32, 32], 10), count, "{name}");
        }
    }

    /// A misspelt model or option is the user's mistake, and the message says what was meant.
    #[test]
    fn unknown_names_are_explained() {
        let error = build("resnet2", &[3, 32, 32], 10, &Options::new()).unwrap_err();
        assert!(error.is_user_error());
        assert!(error.hint().unwrap().contains("resnet20"), "{error:?}");
        let options = serde_json::from_str(r#"{"dropuot": 0.1}"#).unwrap();
        let error = build("mlp-gsc", &[1, 49, 10], 10, &options).unwrap_err();
        assert!(
            error.to_string().contains("dropuot") && error.hint().unwrap().contains("'dropout'"),
            "{error:?}"
        );
    }
}
