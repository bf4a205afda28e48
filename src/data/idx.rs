//! The MNIST family: IDX files of 8-bit images and labels, plain or gzipped.
//!
//! IDX (the format's page at the MNIST site): two zero bytes, the element type (8: unsigned byte), the number of
//! dimensions, each dimension as 32 bits big-endian, then the values.

use super::images::{ImageAugmentation, ImageParts, ImageSet, Records};
use super::{Dataset, DatasetSpec, Digest, Family, read_file, signature};
use crate::{Error, Result};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records held out at the end of the training file.
const VALIDATION: f64 = 5000.0;
const SETTINGS: &[&str] =
    &["validation", "normalization", "augmentation.flip", "augmentation.crop_padding", "augmentation.cutout"];
/// The four files: training images and labels, test images and labels.
const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];
/// A gzipped file that unpacks to more than this is refused.
const LARGEST: u64 = 1 << 31;
const CLASSES: usize = 10;

/// One member of the family.
struct Member {
    folder: &'static str,
    /// Folder that torchvision makes below its root.
    torchvision: &'static str,
    classes: [&'static str; CLASSES],
    mean_std: (&'static [f32], &'static [f32]),
}

static DIGITS: Member = Member {
    folder: "mnist",
    torchvision: "MNIST",
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    mean_std: (&[0.1307], &[0.3081]),
};

static FASHION: Member = Member {
    folder: "fashion-mnist",
    torchvision: "FashionMNIST",
    classes: [
        "t-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ],
    mean_std: (&[0.2860], &[0.3530]),
};

/// MNIST: 60,000 + 10,000 handwritten digits.
pub(super) static MNIST: Family = Family {
    name: "mnist",
    summary: "MNIST: 70,000 grey images of handwritten digits, 28×28 pixels, as IDX files",
    source: "get the four IDX files (gzipped or not) of MNIST and put them in mnist/ in the data folder",
    folder: DIGITS.folder,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| DIGITS.found(data_dir).is_some(),
    open: |spec, data_dir| DIGITS.open(spec, data_dir),
};

/// Fashion-MNIST: the same files with pictures of clothes.
pub(super) static FASHION_MNIST: Family = Family {
    name: "fashion-mnist",
    summary: "Fashion-MNIST: 70,000 grey images of clothes, 28×28 pixels, as IDX files",
    source: "get the four IDX files (gzipped or not) from https://github.com/zalandoresearch/fashion-mnist and put \
             them in fashion-mnist/ in the data folder",
    folder: FASHION.folder,
    settings: SETTINGS,
    generated: false,
    present: |data_dir| FASHION.found(data_dir).is_some(),
    open: |spec, data_dir| FASHION.open(spec, data_dir),
};

/// The file as it is, or with `.gz`; some mirrors write `.idx` for `-idx`. `None` where there is none of them.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    let names = [name.to_owned(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")];
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// A file's content, unpacked where it is gzipped, whatever its name says.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    unpack(path, read_file(path)?)
}

/// [`unpacked`] of a file's bytes.
pub(super) fn unpack(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(LARGEST + 1).read_to_end(&mut out);
    match read {
        Ok(_) if out.len() as u64 <= LARGEST => Ok(out),
        Ok(_) => Err(Error::format(path, 0, "it unpacks to more than 2 GiB".to_string())),
        Err(error) => Err(Error::format(path, 0, format!("not a valid gzip file: {error}"))),
    }
}

/// Dimensions and values of an IDX file of bytes.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8], rank: usize) -> Result<(Vec<usize>, &'a [u8])> {
    let wrong = |offset: usize, what: String| Error::format(path, offset as u64, what);
    let header = 4 + 4 * rank;
    // Compared before lengths: a short file of another kind is not a truncated one.
    let expected = [0, 0, 8, rank as u8];
    if !bytes.starts_with(&expected[..bytes.len().min(4)]) || bytes.is_empty() {
        let kind = signature::describe(bytes);
        return Err(wrong(0, format!("not an IDX file of bytes with {rank} dimensions: {kind}")));
    }
    if bytes.len() < header {
        return Err(wrong(bytes.len(), format!("the header has {header} bytes: the file is truncated")));
    }
    // Chunks of four bytes by construction.
    let dimensions: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]) as usize)
        .collect();
    let values = &bytes[header..];
    match dimensions.iter().try_fold(1usize, |product, &d| product.checked_mul(d)) {
        Some(count) if count == values.len() => Ok((dimensions, values)),
        count => Err(wrong(
            bytes.len().min(count.map_or(usize::MAX, |count| count.saturating_add(header))),
            format!(
                "{dimensions:?} values are announced and {} are there: the file is truncated or has more",
                values.len()
            ),
        )),
    }
}

impl Member {
    /// The folder that holds files of the set: ours, or where torchvision leaves them.
    fn found(&self, data_dir: &Path) -> Option<PathBuf> {
        let folders = [
            self.folder.into(),
            format!("{}/raw", self.torchvision),
            format!("{0}/{1}/raw", self.folder, self.torchvision),
        ];
        let holds = |folder: &PathBuf| FILES.iter().any(|file| find(folder, file).is_some());
        folders.iter().map(|folder| data_dir.join(folder)).find(holds)
    }

    fn open(&self, spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
        let folder = self.found(data_dir).unwrap_or_else(|| data_dir.join(self.folder));
        let missing: Vec<&str> = FILES.into_iter().filter(|file| find(&folder, file).is_none()).collect();
        if !missing.is_empty() {
            return Err(Error::input_hint(
                format!("data set {}: {} lacks {}", spec.name, folder.display(), missing.join(", ")),
                "put all four IDX files there, gzipped or not",
            ));
        }
        // They are there, as was just checked.
        let find = |folder: &Path, file: &str| find(folder, file).unwrap_or_else(|| folder.join(file));
        let mut notes = Vec::new();
        let mut digest = Digest::new(&spec.name);
        let mut shape = None;
        let mut read = |images: &str, labels: &str| {
            let (image_path, label_path) = (find(&folder, images), find(&folder, labels));
            let (image_bytes, label_bytes) = (unpacked(&image_path)?, unpacked(&label_path)?);
            digest.part(images, &image_bytes).part(labels, &label_bytes);
            let (dimensions, pixels) = parse(&image_path, &image_bytes, 3)?;
            let (_, labels) = parse(&label_path, &label_bytes, 1)?;
            let size = [dimensions[1], dimensions[2]];
            if size.contains(&0) || size.iter().any(|side| *side > 4096) {
                return Err(Error::format(&image_path, 8, format!("images of {size:?} pixels")));
            }
            if *shape.get_or_insert(size) != size {
                return Err(Error::format(&image_path, 8, format!("images of {size:?}, the others differ")));
            }
            if labels.len() != dimensions[0] {
                let what = format!("{} labels for {} images", labels.len(), dimensions[0]);
                return Err(Error::format(&label_path, 4, what));
            }
            if let Some(at) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
                let what = format!("label {} of record {at} is not below {CLASSES}", labels[at]);
                return Err(Error::format(&label_path, (8 + at) as u64, what));
            }
            Ok(Records { pixels: pixels.to_vec(), labels: labels.to_vec() })
        };
        let mut train = read(FILES[0], FILES[1])?;
        let test = read(FILES[2], FILES[3])?;
        let [height, width] = shape.unwrap_or([28, 28]);
        let count = train.labels.len();
        let default = spec.default_validation(count, VALIDATION, &mut notes);
        let kept = count - spec.validation_count(count, default)?;
        let validation = train.split_off(kept, height * width);
        let parts = ImageParts {
            classes: self.classes.iter().map(|name| (*name).to_owned()).collect(),
            shape: [1, height, width],
            task: super::Task::SingleLabel,
            train,
            validation,
            test,
            mean_std: self.mean_std,
            // Digits and shoes are not symmetric.
            augmentation: ImageAugmentation { flip: false, crop_padding: 0, cutout: 0 },
            notes,
        };
        Ok(Arc::new(ImageSet::new(spec, parts, digest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Split, open};
    use proptest::prelude::*;
    use std::io::Write;

    /// An IDX file.
    fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|d| bytes.extend_from_slice(&d.to_be_bytes()));
        bytes.extend_from_slice(values);
        bytes
    }

    /// Twelve training and four test images of 3 × 2 pixels; image i is filled with i.
    fn write(folder: &Path, zipped: bool) {
        let folder = folder.join("mnist");
        std::fs::create_dir_all(&folder).unwrap();
        for (images, labels, count) in [(FILES[0], FILES[1], 12u32), (FILES[2], FILES[3], 4)] {
            let pixels: Vec<u8> = (0..count).flat_map(|i| [i as u8; 6]).collect();
            let classes: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
            for (name, bytes) in [(images, idx(&[count, 3, 2], &pixels)), (labels, idx(&[count], &classes))] {
                if zipped {
                    let file = std::fs::File::create(folder.join(format!("{name}.gz"))).unwrap();
                    let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                    out.write_all(&bytes).unwrap();
                    out.finish().unwrap();
                } else {
                    std::fs::write(folder.join(name), bytes).unwrap();
                }
            }
        }
    }

    /// Plain and gzipped files give the same set: shapes, splits in file order, normalised pixels, labels, digest.
    #[test]
    fn plain_and_gzipped_files_agree() {
        let (plain, zipped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(plain.path(), false);
        write(zipped.path(), true);
        let mut spec = DatasetSpec::named("mnist");
        spec.validation = Some(2.0);
        let sets = [&plain, &zipped].map(|folder| open(&spec, folder.path()).unwrap());
        assert_eq!(sets[0].digest(), sets[1].digest());
        assert_eq!(sets[0].input_shape(), [1, 3, 2]);
        assert_eq!(
            [Split::Train, Split::Validation, Split::Test].map(|split| sets[0].len(split)),
            [10, 2, 4]
        );
        let (mut inputs, mut targets) = (vec![0.0; 6], vec![0]);
        sets[1].fill(Split::Validation, &[1], None, &mut inputs, &mut targets).unwrap();
        assert_eq!(targets, [1]);
        assert!(inputs.iter().all(|v| (v - (11.0 / 255.0 - 0.1307) / 0.3081).abs() < 1e-6), "{inputs:?}");
    }

    /// Damage is named with file and place.
    #[test]
    fn damage_is_located() {
        let folder = tempfile::tempdir().unwrap();
        let damage = |file: &str, bytes: Vec<u8>, expected: &str| {
            write(folder.path(), false);
            std::fs::write(folder.path().join("mnist").join(file), bytes).unwrap();
            let mut spec = DatasetSpec::named("mnist");
            spec.validation = Some(2.0);
            let error = open(&spec, folder.path()).map(|_| ()).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(file), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        };
        damage(FILES[0], vec![0, 0, 8], "truncated");
        damage(FILES[0], idx(&[12, 3, 2], &[0; 71]), "truncated");
        damage(FILES[0], idx(&[12, 3, 2], &[0; 73]), "has more");
        damage(FILES[0], idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 8]), "announced");
        damage(FILES[1], idx(&[11], &[0; 11]), "11 labels for 12 images");
        damage(FILES[1], idx(&[12], &[10; 12]), "label 10 of record 0");
        damage(FILES[2], idx(&[4, 2, 3], &[0; 24]), "differ");
        damage(FILES[3], vec![1, 2, 3, 4, 5, 6, 7, 8, 9], "not an IDX file");
        damage(FILES[0], b"<html>403 Forbidden</html>".to_vec(), "HTML");
        damage(FILES[1], Vec::new(), "empty");
        damage(FILES[2], idx(&[4], &[0; 4]), "not an IDX file of bytes with 3 dimensions");
        // Little-endian, as some converters write it.
        damage(FILES[3], vec![1, 8, 0, 0, 4, 0, 0, 0, 0, 1, 2, 3], "not an IDX file");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&idx(&[12, 3, 2], &[7; 72])).unwrap();
        let packed = packed.finish().unwrap();
        damage(FILES[0], packed[..packed.len() - 9].to_vec(), "not a valid gzip file");
    }

    /// Gzip is known by content, not by name; a broken download beside a good file, other spellings of the names and
    /// torchvision's folders are read.
    #[test]
    fn files_in_any_dress_are_one_data_set() {
        let spec = DatasetSpec { validation: Some(2.0), ..DatasetSpec::named("mnist") };
        let plain = tempfile::tempdir().unwrap();
        write(plain.path(), false);
        let expected = open(&spec, plain.path()).unwrap().digest().to_owned();
        let rename = |folder: &Path, change: &dyn Fn(&str) -> String| {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = change(path.file_name().unwrap().to_str().unwrap());
                std::fs::rename(&path, folder.join(name)).unwrap();
            }
        };
        let check = |zipped: bool, change: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), zipped);
            change(folder.path());
            assert_eq!(open(&spec, folder.path()).unwrap().digest(), expected);
        };
        check(true, &|root| rename(&root.join("mnist"), &|name| name.replace(".gz", "")));
        check(false, &|root| rename(&root.join("mnist"), &|name| format!("{name}.gz")));
        check(false, &|root| rename(&root.join("mnist"), &|name| name.replace("-idx", ".idx")));
        check(false, &|root| {
            std::fs::write(root.join("mnist").join(format!("{}.gz", FILES[0])), b"broken").unwrap()
        });
        check(false, &|root| {
            std::fs::create_dir(root.join("MNIST")).unwrap();
            std::fs::rename(root.join("mnist"), root.join("MNIST/raw")).unwrap();
        });
        check(true, &|root| {
            std::fs::create_dir_all(root.join("outer/MNIST")).unwrap();
            std::fs::rename(root.join("mnist"), root.join("outer/MNIST/raw")).unwrap();
            std::fs::rename(root.join("outer"), root.join("mnist")).unwrap();
        });
    }

    /// A file that is missing is named; a small set gets a validation part that fits, and says so.
    #[test]
    fn missing_files_and_small_sets() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), false);
        let set = open(&DatasetSpec::named("mnist"), folder.path()).unwrap();
        assert_eq!([set.len(Split::Train), set.len(Split::Validation)], [6, 6]);
        assert!(set.notes()[0].contains("6 of 12"), "{:?}", set.notes());
        std::fs::remove_file(folder.path().join("mnist").join(FILES[1])).unwrap();
        let error = open(&DatasetSpec::named("mnist"), folder.path()).map(|_| ()).unwrap_err();
        assert!(
            error.is_user_error() && error.to_string().contains("lacks train-labels-idx1-ubyte"),
            "{error}"
        );
    }

    proptest! {
        /// No bytes make the parser panic.
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..64), valid in any::<bool>()) {
            if valid && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[0, 0, 8, 3]);
            }
            let _ = parse(Path::new("x"), &bytes, 3);
            let _ = parse(Path::new("x"), &bytes, 1);
        }
    }
}
