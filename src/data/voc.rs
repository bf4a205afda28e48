//! Pascal VOC 2012 in the official layout (`VOCdevkit/VOC2012/{ImageSets/Main,Annotations,JPEGImages}`) as a
//! classification task: one class per image, that of its largest object, or all classes that it has objects of
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

/// Pascal VOC 2012: 11,540 annotated images, 20 classes.
pub(super) static VOC2012: Family = Family {
    name: "voc2012",
    summary: "Pascal VOC 2012: photographs in 20 classes, each by its largest object or by all",
    source: "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it in the \
             data folder, so that it holds VOCdevkit/VOC2012/",
    folder: FOLDER,
    settings: &[
        "validation",
        "image_size",
        "task",
        "normalization",
        "augmentation.flip",
        "augmentation.crop_padding",
    ],
    generated: false,
    present: |data_dir| list_path(&data_dir.join(FOLDER), "train").is_file(),
    open,
};

const FOLDER: &str = "VOCdevkit/VOC2012";
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

fn open(spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
    let folder = data_dir.join(FOLDER);
    let size = spec.image_size.unwrap_or(IMAGE_SIZE);
    let task = spec.task.unwrap_or_default();
    let mut digest = Digest::new(&spec.name);
    let train = read_list(&folder, "train", &mut digest)?;
    let val = read_list(&folder, "val", &mut digest)?;
    // The official test images have no public annotations: then `val` is what results are reported on.
    let test = match list_path(&folder, "test").is_file() {
        true => Some(read_list(&folder, "test", &mut digest)?)
            .filter(|names| names.iter().any(|name| annotation_path(&folder, name).is_file())),
        false => None,
    };
    let lists =
        [("train", train.as_slice()), ("val", val.as_slice()), ("test", test.as_deref().unwrap_or_default())];
    check_disjoint(&folder, &lists)?;
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
            names.par_iter().map(|name| Sample::read(&folder, name, size, task)).collect::<Result<_>>()?;
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
        augmentation: ImageAugmentation { flip: true, crop_padding: (size / 14).min(64) },
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
mod tests {
    use super::*;
    use crate::data::jpeg::tests::jpeg;
    use crate::data::{Split, open};

    fn annotation(class: &str) -> String {
        format!(
            "<annotation><object><name>{class}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>\
             </bndbox></object></annotation>"
        )
    }

    /// Lists of the given lengths; image i is of class i and of grey value 10·i.
    fn write(folder: &Path, lists: &[(&str, std::ops::Range<usize>)]) {
        let folder = folder.join(FOLDER);
        for sub in ["ImageSets/Main", "Annotations", "JPEGImages"] {
            std::fs::create_dir_all(folder.join(sub)).unwrap();
        }
        for (list, range) in lists {
            let text: String = range.clone().map(|i| format!("2007_{i:06}\r\n")).collect();
            std::fs::write(list_path(&folder, list), text).unwrap();
            for i in range.clone() {
                let name = format!("2007_{i:06}");
                std::fs::write(annotation_path(&folder, &name), annotation(CLASSES[i % 20])).unwrap();
                let picture = jpeg(40, 30, [(10 * i) as u8; 3]);
                std::fs::write(folder.join("JPEGImages").join(format!("{name}.jpg")), picture).unwrap();
            }
        }
    }

    fn spec() -> DatasetSpec {
        let mut spec = DatasetSpec::named("voc2012");
        spec.image_size = Some(16);
        spec.normalization = Some(crate::data::Normalization::Preset("none".into()));
        spec
    }

    fn lengths(set: &dyn Dataset) -> [usize; 3] {
        [Split::Train, Split::Validation, Split::Test].map(|split| set.len(split))
    }

    /// With an annotated test list the three lists are the splits; pixels and classes are those of the files.
    #[test]
    fn three_lists_are_the_splits() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("train", 0..6), ("val", 6..9), ("test", 9..13)]);
        let set = open(&spec(), folder.path()).unwrap();
        assert_eq!(lengths(set.as_ref()), [6, 3, 4]);
        assert_eq!((set.classes().len(), set.input_shape()), (20, &[3usize, 16, 16][..]));
        let (mut inputs, mut targets) = (vec![0.0; 3 * 16 * 16], vec![0]);
        set.fill(Split::Test, &[2], None, &mut inputs, &mut targets).unwrap();
        assert_eq!(targets, [11]);
        // Two grey values of tolerance: JPEG is lossy.
        assert!(inputs.iter().all(|v| (v - 110.0 / 255.0).abs() < 2.5 / 255.0), "{:?}", &inputs[..4]);
        let mut other = spec();
        other.validation = Some(2.0);
        let error = open(&other, folder.path()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("val.txt"), "{error}");
    }

    /// As a task of several labels every image has a label for each class, also in a part of the set; the digest and the
    /// name in tables tell it from the other task, and the default said aloud is the default.
    #[test]
    fn several_labels_per_image() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("train", 0..6), ("val", 6..9), ("test", 9..13)]);
        let parse = |task: &str| -> DatasetSpec {
            let json = serde_json::json!({
                "name": "voc2012", "task": task, "image_size": 16, "samples": {"test": 2},
            });
            serde_json::from_value(json).unwrap()
        };
        let set = open(&parse("multi_label"), folder.path()).unwrap();
        assert_eq!(
            (set.task(), set.targets_per_sample(), lengths(set.as_ref())),
            (Task::MultiLabel, 20, [6, 3, 2])
        );
        let (mut inputs, mut targets) = (vec![0.0; 2 * 3 * 16 * 16], vec![9; 40]);
        set.fill(Split::Test, &[0, 1], None, &mut inputs, &mut targets).unwrap();
        let mut expected = vec![0; 40];
        (expected[9], expected[20 + 11]) = (1, 1);
        assert_eq!(targets, expected);
        assert!(set.fill(Split::Test, &[0, 1], None, &mut inputs, &mut [0; 2]).is_err());
        let single = open(&parse("largest_object"), folder.path()).unwrap();
        assert_ne!(set.digest(), single.digest());
        assert_eq!(parse("multi_label").title(), "voc2012 (multi-label)");
        assert_eq!(parse("largest_object").task, None);
    }

    /// In the official layout, without annotations for the test list, val.txt is the test part and every tenth training
    /// image is held out.
    #[test]
    fn official_layout_reports_on_val() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("train", 0..20), ("val", 20..25)]);
        let set = open(&spec(), folder.path()).unwrap();
        assert_eq!(lengths(set.as_ref()), [18, 2, 5]);
        let list = list_path(&folder.path().join(FOLDER), "test");
        std::fs::write(list, "2012_000001\n").unwrap();
        assert_eq!(lengths(open(&spec(), folder.path()).unwrap().as_ref()), [18, 2, 5]);
        let (kept, held) = hold_out((0..7).map(|i| i.to_string()).collect(), 3);
        assert_eq!((kept.len(), held.len()), (4, 3));
    }

    /// Damage is named with its file.
    #[test]
    fn damage_is_located() {
        let folder = tempfile::tempdir().unwrap();
        let damage = |file: &str, content: &[u8], expected: &str| {
            write(folder.path(), &[("train", 0..10), ("val", 10..12)]);
            std::fs::write(folder.path().join(FOLDER).join(file), content).unwrap();
            let error = open(&spec(), folder.path()).map(|_| ()).unwrap_err();
            let name = file.rsplit('/').next().unwrap();
            assert!(error.is_user_error() && error.to_string().contains(name), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        };
        damage("ImageSets/Main/train.txt", b"", "empty");
        damage("ImageSets/Main/train.txt", b"2007_000001\n../../etc/passwd 1\n", "byte 12");
        damage("ImageSets/Main/val.txt", &[0xff, 0xfe], "UTF-8");
        damage("Annotations/2007_000003.xml", annotation("unicorn").as_bytes(), "unicorn");
        damage("JPEGImages/2007_000004.jpg", b"GIF89a", "2007_000004.jpg");
        damage("JPEGImages/2007_000004.jpg", &jpeg(20, 20, [0; 3])[..200], "truncated");
        damage("ImageSets/Main/val.txt", b"2007_000010\n2007_000010\n", "also on line 1");
        damage("ImageSets/Main/val.txt", b"2007_000011\n2007_000003\n", "'2007_000003' is also in train.txt");
        std::fs::remove_file(folder.path().join(FOLDER).join("JPEGImages/2007_000005.jpg")).unwrap();
    }

    /// A list with a byte-order mark, the names' extensions or labels, and photographs with other extensions are the same
    /// data set.
    #[test]
    fn lists_and_extensions_in_any_dress() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("train", 0..10), ("val", 10..12)]);
        let root = folder.path().join(FOLDER);
        let inputs = |set: &dyn Dataset| {
            let (mut inputs, mut targets) = (vec![0.0; 3 * 16 * 16 * 2], vec![0; 2]);
            set.fill(Split::Test, &[0, 1], None, &mut inputs, &mut targets).unwrap();
            (inputs, targets)
        };
        let expected = inputs(open(&spec(), folder.path()).unwrap().as_ref());
        for list in [
            "\u{feff}2007_000010\n2007_000011\n",
            "2007_000010.jpg\r\n2007_000011.JPG\r\n",
            "\n2007_000010  1\n2007_000011 -1\n\n",
            "./2007_000010\n.\\2007_000011",
        ] {
            std::fs::write(list_path(&root, "val"), list).unwrap();
            assert!(inputs(open(&spec(), folder.path()).unwrap().as_ref()) == expected, "{list:?}");
        }
        let images = root.join("JPEGImages");
        std::fs::rename(images.join("2007_000010.jpg"), images.join("2007_000010.JPG")).unwrap();
        std::fs::rename(images.join("2007_000011.jpg"), images.join("2007_000011.jpeg")).unwrap();
        assert!(inputs(open(&spec(), folder.path()).unwrap().as_ref()) == expected);
    }

    /// Very flat and very small photographs become inputs of the right size.
    #[test]
    fn any_shape_is_framed() {
        for (width, height) in [(1, 1), (300, 1), (16_384, 1), (2, 500), (16, 16), (19, 18)] {
            let image = RgbImage::from_pixel(width, height, image::Rgb([1, 2, 3]));
            let planes = frame(&image, 16);
            assert_eq!(planes.len(), 3 * 16 * 16);
            assert_eq!([planes[0], planes[256], planes[512]], [1, 2, 3]);
        }
    }
}
