//! How pixel values become inputs: the `normalization:` setting of a data set.

use super::DatasetSpec;
use crate::error::did_you_mean_or_all;
use crate::{Error, Result};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// How a pixel value v in 0..=1 becomes the input (v − mean) / std of its channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Normalization {
    /// A named pair of mean and standard deviation: `none`, `imagenet`, or `dataset` (the set's own).
    Preset(String),
    /// Explicit values, one per channel.
    Values {
        /// Mean per channel.
        mean: Vec<f32>,
        /// Standard deviation per channel, positive.
        std: Vec<f32>,
    },
}

impl<'de> Deserialize<'de> for Normalization {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Values {
            mean: Vec<f32>,
            std: Vec<f32>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Normalization;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("none, dataset, imagenet, cifar10, or a mapping with 'mean' and 'std'")
            }
            fn visit_str<E>(self, name: &str) -> Result<Normalization, E> {
                Ok(Normalization::Preset(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Normalization, A::Error> {
                let Values { mean, std } = Values::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Normalization::Values { mean, std })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl DatasetSpec {
    /// Mean and standard deviation per channel, `own` being the set's.
    pub(super) fn mean_std(&self, own: (&[f32], &[f32])) -> Result<(Vec<f32>, Vec<f32>)> {
        const IMAGENET: (&[f32], &[f32]) = (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]);
        let channels = own.0.len();
        let (mean, std) = match &self.normalization {
            None => own,
            Some(Normalization::Values { mean, std }) => (mean.as_slice(), std.as_slice()),
            Some(Normalization::Preset(name)) => match name.as_str() {
                "dataset" => own,
                "none" => (&[0.0, 0.0, 0.0][..channels.min(3)], &[1.0, 1.0, 1.0][..channels.min(3)]),
                "imagenet" => IMAGENET,
                "cifar10" => (super::cifar::CIFAR10_MEAN_STD.0, super::cifar::CIFAR10_MEAN_STD.1),
                other => {
                    let known = ["dataset", "none", "imagenet", "cifar10"];
                    return Err(Error::input_hint(
                        format!("data set {}: no normalization is called '{other}'", self.name),
                        did_you_mean_or_all(other, known, "give {mean: […], std: […]} or one of"),
                    ));
                }
            },
        };
        let usable = mean.len() == channels
            && std.len() == channels
            && mean.iter().all(|m| m.is_finite())
            && std.iter().all(|s| s.is_finite() && *s > 0.0);
        if !usable {
            return Err(Error::input(format!(
                "data set {}: normalization needs {channels} means and {channels} positive standard deviations",
                self.name
            )));
        }
        Ok((mean.to_vec(), std.to_vec()))
    }
}
