//! What happens to training samples: the `augmentation:` setting of a data set.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Changes to training samples; a setting left out takes the family's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(into = "AugmentationForm")]
pub struct Augmentation {
    /// No augmentation at all (`augmentation: none`).
    pub off: bool,
    /// Settings that differ from the family's.
    pub settings: AugmentationSettings,
}

/// The mapping form of [`Augmentation`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationSettings {
    /// Mirror an image left to right with probability one half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<bool>,
    /// Zero pixels put around an image before a random crop of the original size; 0 turns cropping off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_padding: Option<usize>,
    /// Side in pixels of a black square whose middle lies anywhere in an image (DeVries & Taylor 2017, arXiv 1708.04552); 0
    /// draws none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutout: Option<usize>,
    /// Smallest area of a random crop, as a share of the image's; 1 takes the middle square.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest_area: Option<f32>,
    /// Largest shift of a clip in time, in milliseconds, to either side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_shift_ms: Option<f32>,
    /// Probability that background noise is mixed into a clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_probability: Option<f32>,
    /// Largest volume of that noise; 1 is the recording's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_volume: Option<f32>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AugmentationForm {
    Name(&'static str),
    Settings(AugmentationSettings),
}

impl From<Augmentation> for AugmentationForm {
    fn from(value: Augmentation) -> Self {
        if value.off { Self::Name("none") } else { Self::Settings(value.settings) }
    }
}

impl<'de> Deserialize<'de> for Augmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Augmentation;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("none, or a mapping of augmentation settings")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Augmentation, E> {
                if name != "none" {
                    return Err(E::invalid_value(serde::de::Unexpected::Str(name), &self));
                }
                Ok(Augmentation { off: true, settings: AugmentationSettings::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Augmentation, A::Error> {
                let settings = AugmentationSettings::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Augmentation { off: false, settings })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
