//! The families of data sets by name: add one with its file and its line in [`FAMILIES`].

use super::subset::Subset;
use super::{Dataset, DatasetSpec};
use crate::error::did_you_mean_or_all;
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// What the registry knows about a data set.
pub struct Family {
    /// Name in YAML and on the command line.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Where its files come from, and where under the data folder they belong; empty for generated sets.
    pub source: &'static str,
    /// Folder under the data folder that holds it; empty for generated sets.
    pub folder: &'static str,
    /// Settings of [`DatasetSpec`] it takes besides `name`, `samples` and `augmentation: none`.
    pub settings: &'static [&'static str],
    /// Whether `samples` is a number to generate rather than a limit on what the files hold.
    pub generated: bool,
    /// Whether the files it can't do without are under the data folder.
    pub present: fn(&Path) -> bool,
    /// Reads (or generates) it.
    pub open: fn(&DatasetSpec, &Path) -> Result<Arc<dyn Dataset>>,
}

/// Every known data set.
#[rustfmt::skip] // One line each.
static FAMILIES: &[&Family] = &[
    &super::embedded_audio::EMBEDDED_AUDIO,
    &super::embedded_images::EMBEDDED_IMAGES,
    &super::cifar::CIFAR10,
    &super::cifar::CIFAR100,
    &super::idx::MNIST,
    &super::idx::FASHION_MNIST,
    &super::speech_commands::SPEECH_COMMANDS,
    &super::voc::VOC2012,
];

/// Every family, in registry order.
pub fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().copied()
}

/// The family called `name`.
///
/// # Errors
/// [`Error::Input`] for an unknown name, with the closest known one.
pub fn family(name: &str) -> Result<&'static Family> {
    families().find(|family| family.name == name).ok_or_else(|| {
        let names: Vec<_> = families().map(|family| family.name).collect();
        let hint = did_you_mean_or_all(name, names.iter().copied(), "there are");
        Error::input_hint(format!("no data set is called '{name}'"), hint)
    })
}

/// Names and one-line descriptions, in registry order.
pub fn names() -> Vec<(&'static str, &'static str)> {
    families().map(|family| (family.name, family.summary)).collect()
}

/// Whether the data set `name` could be opened: its files are under `data_dir`, or it needs none.
pub fn available(name: &str, data_dir: &Path) -> bool {
    family(name).is_ok_and(|family| (family.present)(data_dir))
}

/// Checks the spec, then reads (or generates) the data set.
///
/// # Errors
/// [`Error::Input`] for a bad spec or missing files, with where to get them; [`Error::Format`] for files that are
/// not what they should be.
pub fn open(spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
    spec.check()?;
    let family = family(&spec.name)?;
    if !(family.present)(data_dir) {
        return Err(missing(family, data_dir));
    }
    let dataset = (family.open)(spec, data_dir)?;
    match spec.samples {
        Some(samples) if !family.generated => Ok(Arc::new(Subset::new(dataset, samples))),
        _ => Ok(dataset),
    }
}

fn missing(family: &Family, data_dir: &Path) -> Error {
    Error::input_hint(
        format!("data set {}: not found in {}", family.name, data_dir.join(family.folder).display()),
        format!("{}; say where with --data-dir DIR or ECQX_DATA=DIR", family.source),
    )
}
