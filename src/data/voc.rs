//! Pascal VOC in the official layout (`VOCdevkit/VOC2012/{ImageSets/Main,Annotations,JPEGImages}`) as a classification
//! task: one class per image, that of its largest object, or all classes that it has objects of
//! (`task: multi_label`). Reading an annotation is in [`super::voc_annotation`].

use super::images::{ImageAugmentation, ImageParts, ImageSet, Records};
use super::voc_annotation::{CLASSES, class_of_largest, labels};
use super::{Dataset, DatasetSpec, Digest, Family, Task, jpeg, listing, photo, read_file};
use crate::{Error, Result};
use image::RgbImage;
use image::imageops::{self, FilterType};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of both editions.
const SETTINGS: &[&str] = &[
    "validation",
    "image_size",
    "task",
    "normalization",
    "augmentation.flip",
    "augmentation.crop_padding",
    "augmentation.cutout",
];

/// Pascal VOC 2012: 11,540 annotated images, 20 classes; those of its test list have no public annotations.
pub(super) static VOC2012: Family = Family {
    name: "voc2012",
    summary: "Pascal VOC 2012: photographs in 20 classes, each by its largest object or by all",
    source: "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it in the \
             data folder, so that it holds VOCdevkit/VOC2012/",
    folder: FOLDER_2012,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| list_path(&data_dir.join(FOLDER_2012), "train").is_file(),
    open: |spec, data_dir| open(spec, &data_dir.join(FOLDER_2012)),
};

/// Pascal VOC 2007: 2,501 training, 2,510 validation and 4,952 test images, all annotated; 20 classes.
pub(super) static VOC2007: Family = Family {
    name: "voc2007",
    summary: "Pascal VOC 2007: photographs in 20 classes, each by its largest object or by all; an annotated test part",
    source: "get VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar from \
             http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ and unpack both in the data folder, so that it holds \
             VOCdevkit/VOC2007/",
    folder: FOLDER_2007,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| {
        let lists = ["train", "val", "test"].map(|list| list_path(&data_dir.join(FOLDER_2007), list));
        lists.iter().all(|path| path.is_file())
    },
    open: |spec, data_dir| open(spec, &data_dir.join(FOLDER_2007)),
};

const FOLDER_2007: &str = "VOCdevkit/VOC2007";
const FOLDER_2012: &str = "VOCdevkit/VOC2012";
/// Side of the inputs, pixels: torchvision's for ResNet-18.
const IMAGE_SIZE: usize = 224;
/// Share of the training list held out where the lists give no validation part.
const VALIDATION: f64 = 0.1;
/// What `normalization: dataset` means: ImageNet's values, which pretrained ResNet-18 weights expect.
const MEAN_STD: (&[f32], &[f32]) = (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]);

fn list_path(folder: &Path, list: &str) -> PathBuf {
    folder.join("ImageSets/Main").join(format!("{list}.txt"))
}

fn annotation_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("Annotations").join(format!("{name}.xml"))
}

/// Extensions of photographs; the publisher's is the first.
const EXTENSIONS: [&str; 4] = ["jpg", "JPG", "jpeg", "JPEG"];

/// The photograph called `name`; where there is none, the path that the publisher gives it.
fn photograph_path(folder: &Path, name: &str) -> PathBuf {
    let path = |extension: &str| folder.join("JPEGImages").join(format!("{name}.{extension}"));
    EXTENSIONS
        .iter()
        .map(|extension| path(extension))
        .find(|path| path.exists())
        .unwrap_or_else(|| path(EXTENSIONS[0]))
}

/// Image names of one list: the first word of each line.
fn read_list(folder: &Path, list: &str, digest: &mut Digest) -> Result<Vec<String>> {
    let path = list_path(folder, list);
    let bytes = read_file(&path)?;
    digest.part(list, &bytes);
    let names = parse_names(&path, &bytes)?;
    if names.is_empty() {
        return Err(Error::format(&path, 0, "the list is empty"));
    }
    Ok(names)
}

/// The names in a list's content, without the extension that some tools write.
///
/// # Errors
/// [`Error::Format`] for what is no name, and for a name that comes twice.
pub(super) fn parse_names(path: &Path, bytes: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut seen = HashMap::new();
    for line in listing::parse_list(path, bytes)? {
        let name = line.text.split_whitespace().next().unwrap_or_default();
        let name = match name.rsplit_once('.') {
            Some((stem, extension))
                if EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) =>
            {
                stem
            }
            _ => name,
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            let what = format!("line {}: '{name}' is not an image's name", line.number);
            return Err(Error::format(path, line.offset, what));
        }
        if let Some(first) = seen.insert(name.to_owned(), line.number) {
            let what = format!("line {}: '{name}' is also on line {first}", line.number);
            return Err(Error::format(path, line.offset, what));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Refuses an image that is in two lists: it would be trained on and measured.
fn check_disjoint(folder: &Path, lists: &[(&str, &[String])]) -> Result<()> {
    let mut seen = HashMap::new();
    for (list, names) in lists {
        for name in *names {
            if let Some(other) = seen.insert(name.as_str(), *list) {
                return Err(Error::input_hint(
                    format!("{}: '{name}' is also in {other}.txt", list_path(folder, list).display()),
                    "remove it from one of the two lists: an image belongs to one split",
                ));
            }
        }
    }
    Ok(())
}

/// Every so-many-th name goes to validation: the lists are sorted by year, so a tail would be of one year.
fn hold_out(names: Vec<String>, count: usize) -> (Vec<String>, Vec<String>) {
    let total = names.len().max(1);
    let (held, kept): (Vec<_>, Vec<_>) =
        names.into_iter().enumerate().partition(|(at, _)| (at + 1) * count / total > at * count / total);
    let names = |list: Vec<(usize, String)>| list.into_iter().map(|(_, name)| name).collect();
    (names(kept), names(held))
}

/// Reads the edition in `folder`.
fn open(spec: &DatasetSpec, folder: &Path) -> Result<Arc<dyn Dataset>> {
    let size = spec.image_size.unwrap_or(IMAGE_SIZE);
    let task = spec.task.unwrap_or_default();
    let mut digest = Digest::new(&spec.name);
    let train = read_list(folder, "train", &mut digest)?;
    let val = read_list(folder, "val", &mut digest)?;
    // The official test images have no public annotations: then `val` is what results are reported on.
    let test = match list_path(folder, "test").is_file() {
        true => Some(read_list(folder, "test", &mut digest)?)
            .filter(|names| names.iter().any(|name| annotation_path(folder, name).is_file())),
        false => None,
    };
    let lists =
        [("train", train.as_slice()), ("val", val.as_slice()), ("test", test.as_deref().unwrap_or_default())];
    check_disjoint(folder, &lists)?;
    let (train, validation, test) = match test {
        Some(_) if spec.validation.is_some() => {
            return Err(Error::input_hint(
                format!(
                    "data set {}: `validation` with an annotated test list: val.txt is the validation part",
                    spec.name
                ),
                "leave `validation` out",
            ));
        }
        Some(test) => (train, val, test),
        None => {
            let default = (VALIDATION * train.len() as f64).floor();
            let count = spec.validation_count(train.len(), default)?;
            let (train, validation) = hold_out(train, count);
            (train, validation, val)
        }
    };
    let mut read = |names: &[String]| -> Result<Records> {
        let samples: Vec<Sample> =
            names.par_iter().map(|name| Sample::read(folder, name, size, task)).collect::<Result<_>>()?;
        let mut records = Records::default();
        for (name, sample) in names.iter().zip(samples) {
            digest.part(name, sample.digest.as_bytes());
            records.labels.extend(sample.labels);
            records.pixels.extend(sample.planes);
        }
        Ok(records)
    };
    let (train, validation, test) = (read(&train)?, read(&validation)?, read(&test)?);
    digest.json("image_size", &size);
    if task != Task::default() {
        digest.json("task", &task);
    }
    let parts = ImageParts {
        classes: CLASSES.iter().map(|name| (*name).to_owned()).collect(),
        shape: [3, size, size],
        task,
        train,
        validation,
        test,
        mean_std: MEAN_STD,
        // Shifts of up to 16 pixels at 224: what the frame cuts away on each side.
        augmentation: ImageAugmentation { flip: true, crop_padding: (size / 14).min(64), cutout: 0 },
        notes: Vec::new(),
    };
    Ok(Arc::new(ImageSet::new(spec, parts, digest)?))
}

/// One photograph as an input.
struct Sample {
    planes: Vec<u8>,
    /// One class, or a label for each.
    labels: Vec<u8>,
    digest: blake3::Hash,
}

impl Sample {
    fn read(folder: &Path, name: &str, size: usize, task: Task) -> Result<Self> {
        let path = annotation_path(folder, name);
        let annotation = read_file(&path)?;
        let labels = match task {
            Task::SingleLabel => vec![class_of_largest(&path, &annotation)?],
            Task::MultiLabel => labels(&path, &annotation)?,
        };
        let path = photograph_path(folder, name);
        let photograph = read_file(&path)?;
        let planes = frame(&jpeg::decode(&path, &photograph)?, size);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(annotation.len() as u64).to_le_bytes()).update(&annotation).update(&photograph);
        Ok(Self { planes, labels, digest: hasher.finalize() })
    }
}

/// Channel planes of the middle `size` × `size` pixels after the shorter side became 8/7 of it (256 for 224), as in
/// torchvision's evaluation transform.
pub(super) fn frame(image: &RgbImage, size: usize) -> Vec<u8> {
    let image = &*photo::shortened(image);
    let (width, height) = image.dimensions();
    let shorter = (size * 8).div_ceil(7) as u32;
    let scale = f64::from(shorter) / f64::from(width.min(height));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(shorter);
    let resized = imageops::resize(image, side(width), side(height), FilterType::Triangle);
    let size = size as u32;
    let (left, top) = ((resized.width() - size) / 2, (resized.height() - size) / 2);
    photo::planes(&resized, left, top, size)
}

#[cfg(test)]
#[path = "voc_tests.rs"]
mod tests;
