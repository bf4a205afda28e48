//! Data sets: one file per family, splits, batches, augmentation, MFCC.
//!
//! Every family reads its publisher's files (or generates its samples) into memory and gives batches through
//! [`Dataset`]. Not here: the order of samples and the use of splits, which are the training loop's.
//!
//! ```
//! use ecqx::data::{DatasetSpec, Samples, Split, open};
//! let samples = Samples { train: Some(20), validation: Some(10), test: Some(10) };
//! let spec = DatasetSpec { samples: Some(samples), ..DatasetSpec::named("embedded-images") };
//! let images = open(&spec, std::path::Path::new("data"))?; // generated: no files needed
//! assert_eq!((images.input_shape(), images.len(Split::Train)), (&[3, 32, 32][..], 20));
//! # Ok::<(), ecqx::Error>(())
//! ```

use crate::rng::Rng;
use crate::{Error, Result};
use std::path::Path;

mod audio;
mod augmentation;
mod cifar;
mod digest;
mod embedded_audio;
mod embedded_images;
#[cfg(feature = "fetch")]
pub mod fetch;
mod folder_index;
mod idx;
mod image_folder;
mod images;
mod jpeg;
mod listing;
mod mfcc;
mod normalization;
mod photo;
mod pickle;
mod pickle_machine;
mod pickle_value;
mod placed_images;
mod placement;
#[doc(hidden)]
pub mod readers;
mod registry;
mod signature;
mod sound;
mod spec;
mod speech_commands;
mod speech_split;
mod speech_words;
mod subset;
mod synthesis;
mod task;
mod voc;
mod voc_annotation;
mod wav;

pub use augmentation::{Augmentation, AugmentationSettings};
pub use cifar::Labels;
use digest::Digest;
pub use mfcc::MfccSettings;
pub use normalization::Normalization;
pub use placed_images::PlacedImages;
pub use registry::{Families, Family, builtin, open};
pub use sound::AudioSettings;
pub use spec::{DatasetSpec, Samples};
pub use task::Task;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What models learn from.
    Train,
    /// Held-out part of the training data: the only split that may select anything.
    Validation,
    /// What results are reported on.
    Test,
}

/// A data set in memory (or memory-mapped): inputs as f32 after normalisation, one class or several labels per sample.
pub trait Dataset: Send + Sync {
    /// Name in the registry.
    fn name(&self) -> &str;
    /// Class names in label order.
    fn classes(&self) -> &[String];
    /// What a sample's targets are.
    fn task(&self) -> Task {
        Task::default()
    }
    /// How many targets a sample has: one class, or a label for each class.
    fn targets_per_sample(&self) -> usize {
        match self.task() {
            Task::SingleLabel => 1,
            Task::MultiLabel => self.classes().len(),
        }
    }
    /// Shape of one input without the batch axis, such as `[3, 32, 32]` or `[1, 49, 10]`.
    fn input_shape(&self) -> &[usize];
    /// Number of samples in a split.
    fn len(&self, split: Split) -> usize;
    /// Whether a split has no samples.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }
    /// Content digest (hex) of everything that decides the values this set gives: files, settings, generator version.
    fn digest(&self) -> &str;
    /// What to warn of, such as files that were skipped or converted; a run's record has it among its warnings.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// Writes the inputs of samples `indices` of `split` one after the other into `inputs` and their targets into
    /// `targets`: the class of each, or for each its labels ([`ops::Targets`](crate::nn::ops::Targets)). With `augment`, applies the set's configured training augmentation, drawing from the generator.
    fn fill(
        &self,
        split: Split,
        indices: &[usize],
        augment: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> Result<()>;
    /// The same samples, as bytes of which a device makes the inputs that [`fill`](Self::fill) writes; draws what it draws
    /// and writes the same targets. `None`, with nothing drawn or written, for sets that have no such bytes.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    fn placed(
        &self,
        _split: Split,
        _indices: &[usize],
        _augment: Option<&mut Rng>,
        _targets: &mut [u32],
    ) -> Result<Option<PlacedImages>> {
        Ok(None)
    }
}

/// A whole file; the error names it.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io(path))
}

/// Checks that there is something to learn and to measure, and notes classes that training never sees. The labels are those
/// of training, validation and test.
///
/// # Errors
/// [`Error::Input`] for a single class, and for no training or test samples.
fn check_classes<L: Copy + Into<u32>>(
    name: &str,
    classes: &[String],
    labels: &[impl AsRef<[L]>; 3],
    notes: &mut Vec<String>,
) -> Result<()> {
    if let [only] = classes {
        return Err(Error::input_hint(
            format!("data set {name}: '{only}' is its only class"),
            "give it two classes or more: with one, every answer is right",
        ));
    }
    let [train, validation, test] = labels.each_ref().map(AsRef::as_ref);
    for (split, labels) in [("training", train), ("test", test)] {
        if labels.is_empty() {
            return Err(Error::input_hint(
                format!("data set {name}: the {split} split has no samples"),
                "check that its files or lists are complete",
            ));
        }
    }
    let mut seen = vec![false; classes.len()];
    for &label in train {
        let label: u32 = label.into();
        if let Some(seen) = seen.get_mut(label as usize) {
            *seen = true;
        }
    }
    let asked: Vec<usize> = (validation.iter().chain(test)).map(|&label| label.into() as usize).collect();
    let unseen: Vec<&str> = (classes.iter().enumerate())
        .filter(|(label, _)| !seen[*label] && asked.contains(label))
        .map(|(_, class)| class.as_str())
        .collect();
    if !unseen.is_empty() {
        notes.push(format!(
            "classes without training samples that validation or test has: {}",
            unseen.join(", ")
        ));
    }
    if seen.iter().filter(|seen| **seen).count() == 1 {
        notes.push("all training samples are of one class".to_owned());
    }
    Ok(())
}

/// Checks the arguments of [`Dataset::fill`].
fn check_request(
    dataset: &dyn Dataset,
    split: Split,
    indices: &[usize],
    inputs: &[f32],
    targets: &[u32],
) -> Result<()> {
    let size: usize = dataset.input_shape().iter().product();
    if inputs.len() != indices.len() * size {
        let (samples, values) = (indices.len(), inputs.len());
        return Err(Error::Internal(format!(
            "{samples} samples of {size} values asked for into {values} values"
        )));
    }
    check_samples(dataset, split, indices, targets)
}

/// Checks that a split has these samples and that `targets` has room for theirs.
fn check_samples(dataset: &dyn Dataset, split: Split, indices: &[usize], targets: &[u32]) -> Result<()> {
    if targets.len() != indices.len() * dataset.targets_per_sample() {
        let (samples, targets) = (indices.len(), targets.len());
        return Err(Error::Internal(format!("{samples} samples asked for into {targets} targets")));
    }
    match indices.iter().find(|index| **index >= dataset.len(split)) {
        Some(index) => {
            Err(Error::Internal(format!("sample {index} of {} in {split:?} asked for", dataset.len(split))))
        }
        None => Ok(()),
    }
}
