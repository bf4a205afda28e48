//! The families of data sets by name: add one with its file and its line in [`builtin`].

use super::subset::Subset;
use super::{Dataset, DatasetSpec};
use crate::registry::{Catalogue, Named};
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

impl Named for Family {
    fn name(&self) -> &str {
        self.name
    }
}

/// Families by name.
pub type Families = Catalogue<Family>;

/// The built-in families.
pub fn builtin() -> Families {
    let families: [&'static Family; 10] = [
        &super::embedded_audio::EMBEDDED_AUDIO,
        &super::embedded_images::EMBEDDED_IMAGES,
        &super::cifar::CIFAR10,
        &super::cifar::CIFAR100,
        &super::idx::MNIST,
        &super::idx::FASHION_MNIST,
        &super::image_folder::IMAGE_FOLDER,
        &super::speech_commands::SPEECH_COMMANDS,
        &super::voc::VOC2007,
        &super::voc::VOC2012,
    ];
    Catalogue::new("data set", "ecqx ls datasets", &families)
}

impl Family {
    /// Opens the data set that `spec` describes.
    ///
    /// # Errors
    /// [`Error::Input`] for settings that do not fit or a folder that is missing, with where to get the data; those of
    /// reading.
    pub fn dataset(&self, spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
        spec.check(self)?;
        // A folder of the user's is looked for where it is said to be.
        if spec.folder.is_none() && !(self.present)(data_dir) {
            return Err(missing(self, data_dir));
        }
        let dataset = (self.open)(spec, data_dir)?;
        match spec.samples {
            Some(samples) if !self.generated => Ok(Arc::new(Subset::new(dataset, samples))),
            _ => Ok(dataset),
        }
    }
}

/// Opens a data set of a built-in family.
///
/// # Errors
/// [`Error::Input`] for an unknown name; those of [`Family::dataset`].
pub fn open(spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
    builtin().find(&spec.name)?.dataset(spec, data_dir)
}

fn missing(family: &Family, data_dir: &Path) -> Error {
    #[cfg(feature = "fetch")]
    let can_fetch = super::fetch::Table::builtin().is_ok_and(|table| table.find(family.name).is_ok());
    #[cfg(not(feature = "fetch"))]
    let can_fetch = false;
    let fetch = if can_fetch { format!("run 'ecqx data fetch {}', or ", family.name) } else { String::new() };
    Error::input_hint(
        format!("data set {}: not found in {}", family.name, data_dir.join(family.folder).display()),
        format!("{fetch}{}; say where with --data-dir DIR or ECQX_DATA=DIR", family.source),
    )
}
