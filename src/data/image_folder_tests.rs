//! Class folders of small pictures: order of classes, splits, digests, budget, damage.

use super::*;
use crate::data::open;
use image::{ImageFormat, Rgb};
use serde_json::{Value, json};
use std::fs;
use std::io::Cursor;

/// A picture of one colour with a darker left half.
fn picture(colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(40, 30, |x, _| Rgb(colour.map(|c| if x < 20 { c / 2 } else { c })));
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// `count` pictures per class in each of `splits`; class c is of brightness 80·(c + 1).
fn write(root: &Path, splits: &[&str], classes: &[&str], count: usize) {
    for split in splits {
        for (class, name) in classes.iter().enumerate() {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let colour = [80 * (class as u8 + 1), 10 * number as u8, 0];
                fs::write(folder.join(format!("{number}.JPEG")), picture(colour, ImageFormat::Jpeg)).unwrap();
            }
        }
    }
}

fn spec(more: Value) -> DatasetSpec {
    let mut spec = json!({"name": "imagefolder", "image_size": 16, "normalization": "none"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn opened(data: &Path, more: Value) -> Arc<dyn Dataset> {
    open(&spec(more), data).unwrap()
}

fn filled(set: &dyn Dataset, split: Split, indices: &[usize], seed: Option<u64>) -> (Vec<f32>, Vec<u32>) {
    let (mut inputs, mut targets) = (vec![0.0; indices.len() * 3 * 256], vec![0; indices.len()]);
    let mut rng = seed.map(|seed| Rng::stream(seed, "test"));
    set.fill(split, indices, rng.as_mut(), &mut inputs, &mut targets).unwrap();
    (inputs, targets)
}

const CLASSES: [&str; 3] = ["Zebra", "ant", "n01440764"];

/// Classes are in torchvision's order (by code points: capitals first), files of any kind by their content, hidden ones not at
/// all; `val` is the test split and a part of each class is held out.
#[test]
fn classes_and_splits() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("imagefolder");
    write(&root, &["train", "val"], &["ant", "n01440764", "Zebra"], 10);
    // One of ImageNet's pictures is a PNG under the name of a JPEG.
    fs::write(root.join("val/ant/0.JPEG"), picture([1, 2, 3], ImageFormat::Png)).unwrap();
    fs::create_dir_all(root.join("train/.ipynb_checkpoints")).unwrap();
    fs::write(root.join("train/ant/._0.JPEG"), "x").unwrap();
    fs::write(root.join("train/ant/notes.txt"), "x").unwrap();
    let set = opened(folder.path(), json!({}));
    assert_eq!(set.classes(), CLASSES);
    let lengths =
        |set: &dyn Dataset| [Split::Train, Split::Validation, Split::Test].map(|split| set.len(split));
    assert_eq!(lengths(set.as_ref()), [27, 3, 30]);
    assert!(set.notes()[0].ends_with("left out: 1"), "{:?}", set.notes());
    assert_eq!(filled(set.as_ref(), Split::Validation, &[0, 1, 2], None).1, [0, 1, 2]);
    let (inputs, targets) = filled(set.as_ref(), Split::Test, &[1, 10, 29], None);
    assert_eq!(targets, [0, 1, 2]);
    // "Zebra" was written last: brightness 240, and 120 on the left.
    assert!((inputs[15] - 240.0 / 255.0).abs() < 0.02 && (inputs[0] - 120.0 / 255.0).abs() < 0.02);
    assert_eq!(inputs[768 + 15], 1.0 / 255.0);
    assert_eq!(lengths(opened(folder.path(), json!({"validation": 0})).as_ref()), [30, 0, 30]);
    write(&root, &["test"], &["ant", "n01440764"], 2);
    assert_eq!(lengths(opened(folder.path(), json!({})).as_ref()), [30, 30, 4]);
}

/// The digest is of contents, classes and settings: another place, another time of change and a budget change nothing; a
/// picture or a setting does. What was read once is not read again.
#[test]
fn digests() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&one.path().join("imagefolder"), &["train", "val"], &CLASSES, 3);
    write(&other.path().join("deep/er"), &["train", "val"], &CLASSES, 3);
    let digest = |folder: &Path, more: Value| opened(folder, more).digest().to_owned();
    let first = digest(one.path(), json!({}));
    assert_eq!(first, digest(one.path(), json!({"memory_mb": 0})));
    assert_eq!(first, digest(other.path(), json!({"folder": "deep/er"})));
    assert_ne!(first, digest(one.path(), json!({"image_size": 17})));
    assert_ne!(first, digest(one.path(), json!({"resize": 20})));
    assert_ne!(first, digest(one.path(), json!({"augmentation": "none"})));
    assert!(one.path().join(".ecqx/imagefolder.index").is_file());
    let changed = one.path().join("imagefolder/val/ant/1.JPEG");
    let before = fs::metadata(&changed).unwrap().modified().unwrap();
    fs::write(&changed, picture([9, 9, 9], ImageFormat::Jpeg)).unwrap();
    let file = fs::File::options().write(true).open(&changed).unwrap();
    file.set_modified(before + std::time::Duration::from_secs(5)).unwrap();
    assert_ne!(first, digest(one.path(), json!({})));
    // A damaged index is as good as none.
    fs::write(one.path().join(".ecqx/imagefolder.index"), "nonsense\n\u{1}").unwrap();
    assert_ne!(first, digest(one.path(), json!({})));
}

/// Batches do not depend on the number of threads nor on what is in memory; augmentation depends on its seed, moves pictures and mirrors
/// them, and can be turned off.
#[test]
fn augmentation() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("imagefolder"), &["train", "val"], &CLASSES, 4);
    let indices: Vec<usize> = (0..9).collect();
    let in_pool = |threads: usize, more: Value, seed: Option<u64>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| filled(opened(folder.path(), more).as_ref(), Split::Train, &indices, seed))
    };
    let first = in_pool(1, json!({}), Some(1));
    assert_eq!(first, in_pool(3, json!({}), Some(1)));
    assert_eq!(first, in_pool(2, json!({"memory_mb": 0}), Some(1)));
    assert_ne!(first, in_pool(1, json!({}), Some(2)));
    let plain = in_pool(1, json!({}), None);
    assert_eq!(plain, in_pool(1, json!({"augmentation": "none"}), Some(1)));
    let flipped = in_pool(1, json!({"augmentation": {"smallest_area": 1}}), Some(1)).0;
    let mirrored = |at: usize| {
        let row = |values: &[f32]| values[at * 768..at * 768 + 16].to_vec();
        let (plain, mut other) = (row(&plain.0), row(&flipped));
        let same = plain == other;
        other.reverse();
        assert!(same || plain == other, "{at}");
        !same
    };
    let count = indices.iter().filter(|at| mirrored(**at)).count();
    assert!((1..9).contains(&count), "{count}");
}

/// No more is kept in memory than the budget allows, and what is kept is what was decoded.
#[test]
fn memory_stays_below_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("imagefolder");
    write(&root, &["train", "val"], &CLASSES, 4);
    let pixels = 40 * 30 * 3;
    let mut spec = spec(json!({"validation": 0}));
    spec.memory_mb = Some(1);
    let set = ImageFolder { budget: 5 * pixels, ..unwrapped(&spec, folder.path()) };
    let indices: Vec<usize> = (0..12).collect();
    let first = filled(&set, Split::Train, &indices, None);
    assert_eq!(set.in_use.load(Ordering::Relaxed), 5 * pixels);
    assert_eq!(set.kept[0].iter().filter(|place| place.get().is_some()).count(), 5);
    // Files that are gone show which pictures are still there.
    fs::remove_dir_all(&root).unwrap();
    let kept: Vec<usize> = (0..12).filter(|at| set.kept[0][*at].get().is_some()).collect();
    for at in kept {
        assert_eq!(filled(&set, Split::Train, &[at], None).0, first.0[at * 768..(at + 1) * 768]);
    }
}

/// The data set itself, for a look inside.
fn unwrapped(spec: &DatasetSpec, data_dir: &Path) -> ImageFolder {
    build(spec, data_dir).unwrap()
}

/// What is missing or damaged is named with its file.
#[test]
fn damage_is_located() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("imagefolder");
    let refused = |more: Value, expected: &str| {
        let error = open(&spec(more), folder.path()).map(|_| ()).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains(expected), "{expected}: {error}");
    };
    refused(json!({}), "not found in");
    fs::create_dir_all(root.join("train")).unwrap();
    refused(json!({}), "no folders of classes");
    write(&root, &["train"], &CLASSES, 3);
    refused(json!({}), "no folder");
    write(&root, &["val"], &CLASSES, 3);
    refused(json!({"folder": "elsewhere"}), "elsewhere/train");
    refused(json!({"folder": "../up"}), "not a folder below");
    refused(json!({"resize": 8}), "resize must be at least image_size");
    refused(
        json!({"crop_padding": 1}).as_object().map(|_| json!({"augmentation": {"crop_padding": 1}})).unwrap(),
        "no setting",
    );
    fs::create_dir_all(root.join("train/empty")).unwrap();
    refused(json!({}), "train/empty: no pictures");
    fs::remove_dir(root.join("train/empty")).unwrap();
    fs::create_dir_all(root.join("val/stranger")).unwrap();
    refused(json!({}), "'stranger' is no class");
    fs::remove_dir(root.join("val/stranger")).unwrap();
    fs::write(root.join("val/ant/0.JPEG"), "GIF89a").unwrap();
    refused(json!({}), "0.JPEG: byte 0: neither a JPEG nor a PNG file: it is a GIF");
    // Damage behind the first bytes shows when the picture is decoded.
    let whole = picture([1, 2, 3], ImageFormat::Jpeg);
    fs::write(root.join("val/ant/0.JPEG"), &whole[..whole.len() / 2]).unwrap();
    let set = opened(folder.path(), json!({}));
    let (mut inputs, mut targets) = (vec![0.0; 768], vec![0]);
    let ant = 3;
    let error = set.fill(Split::Test, &[ant], None, &mut inputs, &mut targets).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("ant/0.JPEG"), "{error}");
}
