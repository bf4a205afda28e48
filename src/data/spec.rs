//! What an experiment says about its data: the `dataset:` entry of a YAML file, and its checks that need no files.

use super::registry::Family;
use super::{Augmentation, Normalization, Task};
use crate::error::{number, out_of_range};
use crate::{Error, Result};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A data set and its settings. In YAML either a name alone (`dataset: cifar10`) or a mapping with at least `name`;
/// a setting left out takes the family's default, and one that the family doesn't have is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DatasetSpec {
    /// Name in the registry.
    pub name: String,
    /// Validation part: a number of training records (1 or more), or their share (below 1); 0 trains on everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Upper limits on the samples per split; for generated sets, how many to generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
    /// How pixel values become inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
    /// What happens to training samples: `none`, or settings over the family's defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// Side of the square input images, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Folder below the data folder, for sets of the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Length of the shorter side before the middle square is taken, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
    /// Memory for decoded pictures, MB; it changes no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<usize>,
    /// Words that are classes of their own; the others are the class `_unknown_`. `all` (or `[all]`): every word that is
    /// there, and by default neither `_unknown_` nor `_silence_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Vec<String>>,
    /// Clips of other words, as a share of the keyword clips; 0 leaves the class out of training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_share: Option<f64>,
    /// Clips without a word, as a share of the keyword clips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence_share: Option<f64>,
    /// How audio becomes a matrix of cepstral coefficients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfcc: Option<super::mfcc::MfccSettings>,
    /// What happens to recordings of another rate, channel count or sample type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<super::AudioSettings>,
    /// Which labels of CIFAR-100 are the classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<super::Labels>,
    /// What is asked of a model; nothing for the family's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Seed of a generated set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// The mapping form of [`DatasetSpec`]: the same fields, unknown ones denied.
#[derive(Deserialize)]
#[serde(remote = "DatasetSpec", deny_unknown_fields, rename = "DatasetSpec")]
struct Fields {
    name: String,
    #[serde(default)]
    validation: Option<f64>,
    #[serde(default)]
    samples: Option<Samples>,
    #[serde(default)]
    normalization: Option<Normalization>,
    #[serde(default)]
    augmentation: Option<Augmentation>,
    #[serde(default)]
    image_size: Option<usize>,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    resize: Option<usize>,
    #[serde(default)]
    memory_mb: Option<usize>,
    #[serde(default, deserialize_with = "keywords")]
    keywords: Option<Vec<String>>,
    #[serde(default)]
    unknown_share: Option<f64>,
    #[serde(default)]
    silence_share: Option<f64>,
    #[serde(default)]
    mfcc: Option<super::mfcc::MfccSettings>,
    #[serde(default)]
    audio: Option<super::AudioSettings>,
    #[serde(default)]
    labels: Option<super::Labels>,
    #[serde(default)]
    task: Option<Task>,
    #[serde(default)]
    seed: Option<u64>,
}

impl<'de> Deserialize<'de> for DatasetSpec {
    // A visitor instead of an untagged enum: errors keep their line and name the field.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = DatasetSpec;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("the name of a data set, or a mapping with 'name' and settings")
            }
            fn visit_str<E>(self, name: &str) -> Result<DatasetSpec, E> {
                Ok(DatasetSpec::named(name))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DatasetSpec, A::Error> {
                let mut spec = Fields::deserialize(MapAccessDeserializer::new(map))?;
                // The default said aloud is the same data set.
                spec.task = spec.task.and_then(Task::setting);
                Ok(spec)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Numbers of samples; a split left out keeps all it has (or the generated set's default).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Samples {
    /// Training samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Validation samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Test samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
}

impl DatasetSpec {
    /// The data set `name` with its default settings.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// What it is called in tables: its name, with the task where that is not one class per sample.
    pub fn title(&self) -> String {
        match self.task.unwrap_or_default() {
            Task::SingleLabel => self.name.clone(),
            Task::MultiLabel => format!("{} (multi-label)", self.name),
        }
    }

    /// Checks everything that needs no files: the name, ranges, and that the family has every setting given.
    ///
    /// # Errors
    /// [`Error::Input`] that names the setting and what it may be.
    pub fn check(&self, family: &Family) -> Result<()> {
        self.check_applicable(family)?;
        let place = |field: &str| format!("data set {}: {field}", self.name);
        if let Some(v) = self.validation {
            let count = v >= 1.0 && v.fract() == 0.0 && v < 1e12;
            if !(count || (0.0..1.0).contains(&v)) {
                return Err(Error::input_hint(
                    format!(
                        "{} must be a whole number of records or a share below 1, found {}",
                        place("validation"),
                        number(v)
                    ),
                    "for example 1000, or 0.1 for a tenth; 0 trains on everything",
                ));
            }
        }
        for (field, share) in [("unknown_share", self.unknown_share), ("silence_share", self.silence_share)] {
            in_range(&place(field), share, 0.0, 1.0)?;
        }
        if let Some(size) = self.image_size {
            in_range(&place("image_size"), Some(size as f64), 8.0, 1024.0)?;
        }
        in_range(&place("resize"), self.resize.map(|size| size as f64), 8.0, 2048.0)?;
        in_range(&place("memory_mb"), self.memory_mb.map(|size| size as f64), 0.0, 1e6)?;
        if let Some(folder) = &self.folder {
            super::image_folder::check_folder(folder).map_err(|error| error.at(place("folder")))?;
        }
        if let Some(Augmentation { settings, .. }) = &self.augmentation {
            in_range(&place("crop_padding"), settings.crop_padding.map(|p| p as f64), 0.0, 64.0)?;
            in_range(&place("cutout"), settings.cutout.map(|side| side as f64), 0.0, 1024.0)?;
            in_range(&place("smallest_area"), settings.smallest_area.map(f64::from), 0.01, 1.0)?;
            in_range(&place("time_shift_ms"), settings.time_shift_ms.map(f64::from), 0.0, 1000.0)?;
            in_range(&place("noise_probability"), settings.noise_probability.map(f64::from), 0.0, 1.0)?;
            in_range(&place("noise_volume"), settings.noise_volume.map(f64::from), 0.0, 10.0)?;
        }
        if let Some(samples) = self.samples {
            for (field, count) in
                [("train", samples.train), ("validation", samples.validation), ("test", samples.test)]
            {
                in_range(&place(&format!("samples.{field}")), count.map(|c| c as f64), 1.0, 1e7)?;
            }
        }
        if self.keywords.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::input(format!("{} is empty", place("keywords"))));
        }
        if let Some(mfcc) = &self.mfcc {
            mfcc.check(&place("mfcc"))?;
        }
        Ok(())
    }

    fn check_applicable(&self, family: &Family) -> Result<()> {
        let augmentation = self.augmentation.as_ref().map(|a| a.settings).unwrap_or_default();
        let given = [
            ("validation", self.validation.is_some()),
            ("normalization", self.normalization.is_some()),
            ("augmentation", self.augmentation.as_ref().is_some_and(|a| a.off)),
            ("augmentation.flip", augmentation.flip.is_some()),
            ("augmentation.crop_padding", augmentation.crop_padding.is_some()),
            ("augmentation.cutout", augmentation.cutout.is_some()),
            ("augmentation.time_shift_ms", augmentation.time_shift_ms.is_some()),
            ("augmentation.noise_probability", augmentation.noise_probability.is_some()),
            ("augmentation.noise_volume", augmentation.noise_volume.is_some()),
            ("augmentation.smallest_area", augmentation.smallest_area.is_some()),
            ("image_size", self.image_size.is_some()),
            ("folder", self.folder.is_some()),
            ("resize", self.resize.is_some()),
            ("memory_mb", self.memory_mb.is_some()),
            ("keywords", self.keywords.is_some()),
            ("unknown_share", self.unknown_share.is_some()),
            ("silence_share", self.silence_share.is_some()),
            ("mfcc", self.mfcc.is_some()),
            ("audio", self.audio.is_some()),
            ("labels", self.labels.is_some()),
            ("task", self.task.is_some()),
            ("seed", self.seed.is_some()),
        ];
        for (setting, is_given) in given {
            if is_given && setting != "augmentation" && !family.settings.contains(&setting) {
                return Err(Error::input_hint(
                    format!("data set {} has no setting '{setting}'", self.name),
                    format!("its settings: name, samples, augmentation, {}", family.settings.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// The family's default for [`validation_count`](Self::validation_count), or half of a set that is too small for it,
    /// which is noted.
    pub(super) fn default_validation(&self, total: usize, default: f64, notes: &mut Vec<String>) -> f64 {
        let half = (total as f64 / 2.0).floor();
        if self.validation.is_none() && default > half {
            notes.push(format!(
                "validation: {half} of {total} training records, since the default of {default} does not fit"
            ));
        }
        default.min(half)
    }

    /// How many of `total` training records are for validation, `default` where the spec doesn't say.
    pub(super) fn validation_count(&self, total: usize, default: f64) -> Result<usize> {
        let wanted = self.validation.unwrap_or(default);
        let count = if wanted < 1.0 { (wanted * total as f64).round() as usize } else { wanted as usize };
        if count >= total && total > 0 {
            return Err(Error::input_hint(
                format!(
                    "data set {}: {count} of {total} training records for validation leave none",
                    self.name
                ),
                format!("set 'validation' to a number from 0 to {}", total - 1),
            ));
        }
        Ok(count)
    }
}

/// A list of words, or `all`.
fn keywords<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Forms;
    impl<'de> Visitor<'de> for Forms {
        type Value = Option<Vec<String>>;
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a list of words, or all")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                super::speech_commands::ALL => Ok(Some(vec![text.to_owned()])),
                other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
            }
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = items.next_element()? {
                words.push(word);
            }
            Ok(Some(words))
        }
    }
    deserializer.deserialize_any(Forms)
}

fn in_range(place: &str, value: Option<f64>, low: f64, high: f64) -> Result<()> {
    match value.and_then(|value| out_of_range(value, low, high)) {
        Some(what) => Err(Error::input(format!("{place} {what}"))),
        None => Ok(()),
    }
}
