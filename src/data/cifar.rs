//! CIFAR-10 and CIFAR-100 in the publisher's binary form: per record the label byte(s), then 3 × 32 × 32 pixel bytes.

use super::images::{ImageAugmentation, ImageParts, ImageSet, Records};
use super::{Dataset, DatasetSpec, Digest, Family, Normalization, read_file};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

const PIXELS: usize = 3 * 32 * 32;
/// Records held out at the end of the training files: the split this project reports on.
const VALIDATION: f64 = 5000.0;
const SETTINGS: &[&str] = &["validation", "normalization", "augmentation.flip", "augmentation.crop_padding"];

/// Mean and standard deviation of the CIFAR-10 training pixels per channel.
pub(super) const CIFAR10_MEAN_STD: (&[f32], &[f32]) = (&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]);
const CIFAR100_MEAN_STD: (&[f32], &[f32]) = (&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]);

/// CIFAR-10: 50,000 + 10,000 images, 10 classes.
pub(super) static CIFAR10: Family = Family {
    name: "cifar10",
    summary: "CIFAR-10: 60,000 colour images of 32×32 pixels in 10 classes",
    source: "get the binary version from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in the data \
             folder, so that it holds cifar-10-batches-bin/",
    folder: FORMAT10.folder,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| FORMAT10.present(data_dir),
    open: |spec, data_dir| FORMAT10.open(spec, data_dir),
};

/// CIFAR-100: the same pictures' format, 100 fine classes.
pub(super) static CIFAR100: Family = Family {
    name: "cifar100",
    summary: "CIFAR-100: 60,000 colour images of 32×32 pixels in 100 classes",
    source: "get the binary version from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in the data \
             folder, so that it holds cifar-100-binary/",
    folder: FORMAT100.folder,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| FORMAT100.present(data_dir),
    open: |spec, data_dir| FORMAT100.open(spec, data_dir),
};

/// What differs between the two.
struct Format {
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    names: &'static str,
    classes: usize,
    /// Label bytes per record; the last one is the class.
    label_bytes: usize,
    /// Normalization where the spec names none.
    normalization: &'static str,
    mean_std: (&'static [f32], &'static [f32]),
}

static FORMAT10: Format = Format {
    folder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    names: "batches.meta.txt",
    classes: 10,
    label_bytes: 1,
    // What the published checkpoints of CIFAR-10 expect, the pretrained ResNet-20 among them.
    normalization: "imagenet",
    mean_std: CIFAR10_MEAN_STD,
};

static FORMAT100: Format = Format {
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: "test.bin",
    names: "fine_label_names.txt",
    classes: 100,
    label_bytes: 2,
    normalization: "dataset",
    mean_std: CIFAR100_MEAN_STD,
};

impl Format {
    /// One existing batch is enough to call the set present: a missing one is then reported by name.
    fn present(&self, data_dir: &Path) -> bool {
        let folder = data_dir.join(self.folder);
        self.train.iter().chain([&self.test]).any(|file| folder.join(file).is_file())
    }

    fn open(&self, spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
        let folder = data_dir.join(self.folder);
        let mut digest = Digest::new(&spec.name);
        let mut read = |file: &str, records: &mut Records| {
            let path = folder.join(file);
            let bytes = read_file(&path)?;
            digest.part(file, &bytes);
            self.parse(&path, &bytes, records)
        };
        let mut train = Records::default();
        for file in self.train {
            read(file, &mut train)?;
        }
        let mut test = Records::default();
        read(self.test, &mut test)?;
        let count = train.labels.len();
        let validation = train.split_off(count - spec.validation_count(count, VALIDATION)?, PIXELS);
        let mut spec = spec.clone();
        spec.normalization.get_or_insert_with(|| Normalization::Preset(self.normalization.into()));
        let parts = ImageParts {
            classes: self.class_names(&folder),
            shape: [3, 32, 32],
            train,
            validation,
            test,
            mean_std: self.mean_std,
            augmentation: ImageAugmentation { flip: true, crop_padding: 4 },
        };
        Ok(Arc::new(ImageSet::new(&spec, parts, digest)?))
    }

    /// Appends the records of one file. Any whole number of records is taken: the official files hold 10,000.
    fn parse(&self, path: &Path, bytes: &[u8], records: &mut Records) -> Result<()> {
        let size = self.label_bytes + PIXELS;
        let chunks = bytes.chunks_exact(size);
        if bytes.is_empty() || !chunks.remainder().is_empty() {
            let whole = bytes.len() / size;
            return Err(Error::format(
                path,
                (whole * size) as u64,
                format!(
                    "{whole} records of {size} bytes and {} bytes more: the file is truncated or of another kind",
                    bytes.len() % size
                ),
            ));
        }
        for (index, record) in chunks.enumerate() {
            let at = self.label_bytes - 1;
            let label = record[at];
            if usize::from(label) >= self.classes {
                return Err(Error::format(
                    path,
                    (index * size + at) as u64,
                    format!("label {label} of record {index} is not below {}", self.classes),
                ));
            }
            records.labels.push(label);
            records.pixels.extend_from_slice(&record[self.label_bytes..]);
        }
        Ok(())
    }

    /// Names from the publisher's list; numbers where the list is missing, since no value depends on it.
    fn class_names(&self, folder: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(self.names)).unwrap_or_default();
        let names: Vec<String> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
        if names.len() == self.classes { names } else { (0..self.classes).map(|c| c.to_string()).collect() }
    }
}
