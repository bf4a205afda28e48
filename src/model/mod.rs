//! Architectures (one file each), the registry, models described in YAML, checkpoints.
//!
//! A new architecture is one file with a `build` function and one line in [`MODELS`].

pub mod checkpoint;
mod cnn_small;
mod mlp_gsc;
mod resnet18;
mod resnet_cifar;
mod vgg16;
pub mod yaml;

use crate::error::did_you_mean;
use crate::nn::Network;
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
    /// Builds the network for inputs of a shape (without batch axis) and a number of classes.
    pub build: fn(&[usize], usize, &Options) -> Result<Network>,
}

/// All architectures.
pub const MODELS: &[Model] = &[
    Model {
        name: "mlp-gsc",
        about: "multilayer perceptron 512-512-256-256-128-128 for Speech Commands; options batch_norm, dropout",
        build: mlp_gsc::build,
    },
    Model {
        name: "resnet20",
        about: "ResNet-20 for 32×32 images, parameter-free shortcuts",
        build: resnet_cifar::build,
    },
    Model {
        name: "vgg16",
        about: "VGG-16 with batch norm for 32×32 images, classifier 512-512",
        build: vgg16::build,
    },
    Model {
        name: "resnet18",
        about: "ResNet-18 with torchvision's names; option small_input for 32×32 images",
        build: resnet18::build,
    },
    Model {
        name: "cnn-small",
        about: "four 3×3 convolutions with batch norm, 61 thousand weights; trains in seconds",
        build: cnn_small::build,
    },
];

/// Finds an architecture.
///
/// # Errors
/// [`Error::Input`] with a suggestion for an unknown name.
pub fn model(name: &str) -> Result<&'static Model> {
    MODELS.iter().find(|model| model.name == name).ok_or_else(|| Error::Input {
        message: format!("no model is called '{name}'"),
        hint: did_you_mean(name, MODELS.iter().map(|model| model.name)).or_else(|| {
            Some("`ecqx ls models` lists them; a YAML file describes a model of your own".into())
        }),
    })
}

/// Builds the architecture called `name`.
///
/// # Errors
/// [`Error::Input`] for an unknown name or option, or an input shape that does not fit.
pub fn build(name: &str, input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    (model(name)?.build)(input_shape, classes, options)
}

/// Reads a model's options into its settings.
fn options<T: DeserializeOwned>(name: &str, options: &Options) -> Result<T> {
    crate::io::yaml::from_value(&serde_json::Value::Object(options.clone()), &format!("model {name}"))
}

/// Checks name and options before any data is at hand.
///
/// # Errors
/// As [`build`], for what no data set could mend.
pub fn check_options(name: &str, options: &Options) -> Result<()> {
    let model = model(name)?;
    // Images or a matrix of coefficients: whatever a model is for, it takes one of them.
    let [images, audio] = [&[3, 32, 32][..], &[1, 49, 10]].map(|shape| (model.build)(shape, 10, options));
    images.or(audio).map(|_| ())
}

fn no_options(name: &str, options: &Options) -> Result<()> {
    match options.keys().next() {
        None => Ok(()),
        Some(key) => Err(Error::input(format!("model {name} has no option '{key}' (it has none)"))),
    }
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
    }

    /// A misspelt model or option is the user's mistake, and the message says what was meant.
    #[test]
    fn unknown_names_are_explained() {
        let error = build("resnet2", &[3, 32, 32], 10, &Options::new()).unwrap_err();
        assert!(error.is_users());
        assert!(error.hint().unwrap().contains("resnet20"), "{error:?}");
        let options = serde_json::from_str(r#"{"dropuot": 0.1}"#).unwrap();
        let error = build("mlp-gsc", &[1, 49, 10], 10, &options).unwrap_err();
        assert!(
            error.to_string().contains("dropuot") && error.hint().unwrap().contains("'dropout'"),
            "{error:?}"
        );
        assert!(check_options("mlp-gsc", &options).is_err());
        for model in MODELS {
            check_options(model.name, &Options::new()).unwrap();
        }
    }
}
