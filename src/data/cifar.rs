//! CIFAR-10 and CIFAR-100 in the publisher's binary form (per record the label byte(s), then 3 × 32 × 32 pixel bytes) or in
//! its Python form, which is brought into the binary one first: the same pictures are the same data set.

use super::images::{ImageAugmentation, ImageParts, ImageSet, Records};
use super::pickle::Pickle;
use super::{Dataset, DatasetSpec, Digest, Family, Normalization, read_file, signature};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PIXELS: usize = 3 * 32 * 32;
/// Records held out at the end of the training files: the split this project reports on.
const VALIDATION: f64 = 5000.0;
const SETTINGS: &[&str] =
    &["validation", "normalization", "augmentation.flip", "augmentation.crop_padding", "augmentation.cutout"];
const SETTINGS100: &[&str] = &[
    "labels",
    "validation",
    "normalization",
    "augmentation.flip",
    "augmentation.crop_padding",
    "augmentation.cutout",
];

/// Mean and standard deviation of the CIFAR-10 training pixels per channel.
pub(super) const CIFAR10_MEAN_STD: (&[f32], &[f32]) = (&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]);
const CIFAR100_MEAN_STD: (&[f32], &[f32]) = (&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]);

/// Which labels of CIFAR-100 are the classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// A hundred classes.
    #[default]
    Fine,
    /// Twenty superclasses.
    Coarse,
}

/// CIFAR-10: 50,000 + 10,000 images, 10 classes.
pub(super) static CIFAR10: Family = Family {
    name: "cifar10",
    summary: "CIFAR-10: 60,000 colour images of 32×32 pixels in 10 classes",
    source: "get the binary version (cifar-10-binary.tar.gz) or the Python version from \
             https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in the data folder, so that it holds \
             cifar-10-batches-bin/ or cifar-10-batches-py/",
    folder: FORMAT10.binary.folder,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| FORMAT10.found(data_dir).is_some(),
    open: |spec, data_dir| FORMAT10.open(spec, data_dir),
};

/// CIFAR-100: the same pictures' format, 100 fine or 20 coarse classes.
pub(super) static CIFAR100: Family = Family {
    name: "cifar100",
    summary: "CIFAR-100: 60,000 colour images of 32×32 pixels in 100 classes",
    source: "get the binary version (cifar-100-binary.tar.gz) or the Python version from \
             https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in the data folder, so that it holds \
             cifar-100-binary/ or cifar-100-python/",
    folder: FORMAT100.binary.folder,
    settings: SETTINGS100,
    generated: false,
    present: |data_dir| FORMAT100.found(data_dir).is_some(),
    open: |spec, data_dir| FORMAT100.open(spec, data_dir),
};

/// Where one version of a set lies.
struct Version {
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Files and (in the Python version) keys of the class names, fine and coarse.
    names: [(&'static str, &'static str); 2],
    is_pickled: bool,
}

impl Version {
    fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }
}

/// What differs between the two sets.
struct Format {
    binary: Version,
    python: Version,
    /// Keys of the label bytes of a record, each with the number of its classes.
    labels: &'static [(&'static str, usize)],
    /// Normalization where the spec names none.
    normalization: &'static str,
    mean_std: (&'static [f32], &'static [f32]),
}

static FORMAT10: Format = Format {
    binary: Version {
        folder: "cifar-10-batches-bin",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        names: [("batches.meta.txt", ""); 2],
        is_pickled: false,
    },
    python: Version {
        folder: "cifar-10-batches-py",
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: "test_batch",
        names: [("batches.meta", "label_names"); 2],
        is_pickled: true,
    },
    labels: &[("labels", 10)],
    // What the published checkpoints of CIFAR-10 expect, the pretrained ResNet-20 among them.
    normalization: "imagenet",
    mean_std: CIFAR10_MEAN_STD,
};

static FORMAT100: Format = Format {
    binary: Version {
        folder: "cifar-100-binary",
        train: &["train.bin"],
        test: "test.bin",
        names: [("fine_label_names.txt", ""), ("coarse_label_names.txt", "")],
        is_pickled: false,
    },
    python: Version {
        folder: "cifar-100-python",
        train: &["train"],
        test: "test",
        names: [("meta", "fine_label_names"), ("meta", "coarse_label_names")],
        is_pickled: true,
    },
    labels: &[("coarse_labels", 20), ("fine_labels", 100)],
    normalization: "dataset",
    mean_std: CIFAR100_MEAN_STD,
};

impl Format {
    /// The version that is there: one existing batch is enough, a missing one is then reported by name.
    fn found(&self, data_dir: &Path) -> Option<&Version> {
        let is_there = |version: &&Version| {
            let folder = data_dir.join(version.folder);
            version.files().any(|file| folder.join(file).is_file())
        };
        [&self.binary, &self.python].into_iter().find(is_there)
    }

    fn open(&self, spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
        let version = self.found(data_dir).unwrap_or(&self.binary);
        let folder = data_dir.join(version.folder);
        let coarse = spec.labels == Some(Labels::Coarse);
        // The last label of a record is the fine one, or the only one.
        let class = if coarse { 0 } else { self.labels.len() - 1 };
        check_batches(spec, version, &folder)?;
        let mut digest = Digest::new(&spec.name);
        let mut seen: Vec<(blake3::Hash, PathBuf)> = Vec::new();
        let mut sizes = Vec::new();
        // The digest is that of the binary version, whichever is there.
        let mut read = |file: &str, part: &str, records: &mut Records| -> Result<()> {
            let path = folder.join(file);
            let bytes = read_file(&path)?;
            let bytes = if version.is_pickled { self.unpickled(&path, &bytes)? } else { bytes };
            let hash = blake3::hash(&bytes);
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == hash) {
                return Err(Error::input_hint(
                    format!("{}: the same content as {}", path.display(), first.display()),
                    format!("unpack the archive again: {}", self.source()),
                ));
            }
            seen.push((hash, path.clone()));
            digest.part(part, &bytes);
            sizes.push((file.to_owned(), bytes.len() / self.record()));
            self.parse(&path, &bytes, class, records)
        };
        let (mut train, mut test) = (Records::default(), Records::default());
        for (file, part) in version.train.iter().zip(self.binary.train) {
            read(file, part, &mut train)?;
        }
        read(version.test, self.binary.test, &mut test)?;
        if coarse {
            digest.json("labels", &Labels::Coarse);
        }
        let mut notes = Vec::new();
        let of_training = &sizes[..version.train.len()];
        if of_training.iter().any(|(_, size)| *size != of_training[0].1) {
            let sizes: Vec<String> =
                of_training.iter().map(|(file, size)| format!("{file} {size}")).collect();
            notes.push(format!(
                "{}: training files of different sizes: {}",
                version.folder,
                sizes.join(", ")
            ));
        }
        let count = train.labels.len();
        let held = spec.validation_count(count, spec.default_validation(count, VALIDATION, &mut notes))?;
        let validation = train.split_off(count - held, PIXELS);
        let mut spec = spec.clone();
        spec.normalization.get_or_insert_with(|| Normalization::Preset(self.normalization.into()));
        let parts = ImageParts {
            classes: self.class_names(version, &folder, coarse, self.labels[class].1),
            shape: [3, 32, 32],
            task: super::Task::SingleLabel,
            train,
            validation,
            test,
            mean_std: self.mean_std,
            augmentation: ImageAugmentation { flip: true, crop_padding: 4, cutout: 0 },
            notes,
        };
        Ok(Arc::new(ImageSet::new(&spec, parts, digest)?))
    }

    fn source(&self) -> &'static str {
        if self.labels.len() == 1 { CIFAR10.source } else { CIFAR100.source }
    }

    /// Bytes of one record.
    fn record(&self) -> usize {
        self.labels.len() + PIXELS
    }

    /// Appends the records of one file, by their label byte `class`. Any whole number of records is taken: the official
    /// files hold 10,000.
    fn parse(&self, path: &Path, bytes: &[u8], class: usize, records: &mut Records) -> Result<()> {
        let size = self.record();
        let chunks = bytes.chunks_exact(size);
        if bytes.is_empty() || !chunks.remainder().is_empty() {
            let whole = bytes.len() / size;
            let kind =
                if bytes.get(1).is_some_and(|byte| *byte <= 5) && bytes[0] == 0x80 || bytes.len() < size {
                    signature::describe(bytes)
                } else {
                    "the file is truncated or of another kind".into()
                };
            return Err(Error::format(
                path,
                (whole * size) as u64,
                format!("{whole} records of {size} bytes and {} bytes more: {kind}", bytes.len() % size),
            ));
        }
        for (index, record) in chunks.enumerate() {
            for (at, (_, classes)) in self.labels.iter().enumerate() {
                if usize::from(record[at]) >= *classes {
                    return Err(Error::format(
                        path,
                        (index * size + at) as u64,
                        format!("label {} of record {index} is not below {classes}", record[at]),
                    ));
                }
            }
            records.labels.push(record[class]);
            records.pixels.extend_from_slice(&record[self.labels.len()..]);
        }
        Ok(())
    }

    /// A batch of the Python version in the binary form.
    fn unpickled(&self, path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
        let wrong = |what: String| Error::format(path, 0, what);
        if bytes.first() != Some(&0x80) {
            return Err(wrong(format!("no pickle of Python: {}", signature::describe(bytes))));
        }
        let pickle = Pickle::read(path, bytes)?;
        let data =
            pickle.byte_array("data").filter(|data| data.values.len() == data.rows.saturating_mul(PIXELS));
        let data = data
            .ok_or_else(|| wrong(format!("no array 'data' of bytes with {PIXELS} columns in the pickle")))?;
        let mut out = Vec::with_capacity(data.rows * self.record());
        let mut labels = Vec::new();
        for (key, classes) in self.labels {
            let of_key =
                pickle.labels(key).ok_or_else(|| wrong(format!("no numbers under '{key}' in the pickle")))?;
            if of_key.len() != data.rows {
                return Err(wrong(format!("{} {key} for {} images", of_key.len(), data.rows)));
            }
            if let Some(at) = of_key.iter().position(|label| !(0..*classes as i64).contains(label)) {
                return Err(wrong(format!("'{key}' {} of image {at} is not below {classes}", of_key[at])));
            }
            labels.push(of_key);
        }
        for (row, pixels) in data.values.chunks_exact(PIXELS).enumerate() {
            // Below the number of classes, as was checked.
            out.extend(labels.iter().map(|labels| labels[row] as u8));
            out.extend_from_slice(pixels);
        }
        Ok(out)
    }

    /// Names from the publisher's list; numbers where the list is missing, since no value depends on it.
    fn class_names(&self, version: &Version, folder: &Path, coarse: bool, classes: usize) -> Vec<String> {
        let (file, key) = version.names[usize::from(coarse)];
        let path = folder.join(file);
        let bytes = std::fs::read(&path).unwrap_or_default();
        let names = match version.is_pickled {
            true => {
                Pickle::read(&path, &bytes).ok().and_then(|pickle| pickle.strings(key)).unwrap_or_default()
            }
            false => super::listing::parse_list(&path, &bytes)
                .unwrap_or_default()
                .into_iter()
                .map(|line| line.text)
                .collect(),
        };
        if names.len() == classes { names } else { (0..classes).map(|c| c.to_string()).collect() }
    }
}

/// Checks that every batch is there.
fn check_batches(spec: &DatasetSpec, version: &Version, folder: &Path) -> Result<()> {
    let missing: Vec<&str> = version.files().filter(|file| !folder.join(file).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("data set {}: {} lacks {}", spec.name, folder.display(), missing.join(", "));
    let source = if spec.name == CIFAR10.name { CIFAR10.source } else { CIFAR100.source };
    Err(Error::input_hint(message, format!("unpack the archive again: {source}")))
}

/// Reads a batch of the binary version, for tests that feed damaged ones.
pub(super) fn read_binary(path: &Path, bytes: &[u8]) -> Result<usize> {
    let mut records = Records::default();
    FORMAT10.parse(path, bytes, 0, &mut records)?;
    Ok(records.labels.len())
}

/// Reads a batch of the Python version, for the same.
pub(super) fn read_pickled(path: &Path, bytes: &[u8]) -> Result<usize> {
    FORMAT10.unpickled(path, bytes).map(|records| records.len() / FORMAT10.record())
}

#[cfg(test)]
#[path = "cifar_tests.rs"]
mod tests;
