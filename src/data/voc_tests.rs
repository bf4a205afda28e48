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
    write_edition(&folder.join(FOLDER_2012), lists);
}

fn write_edition(folder: &Path, lists: &[(&str, std::ops::Range<usize>)]) {
    for sub in ["ImageSets/Main", "Annotations", "JPEGImages"] {
        std::fs::create_dir_all(folder.join(sub)).unwrap();
    }
    for (list, range) in lists {
        let text: String = range.clone().map(|i| format!("2007_{i:06}\r\n")).collect();
        std::fs::write(list_path(folder, list), text).unwrap();
        for i in range.clone() {
            let name = format!("2007_{i:06}");
            std::fs::write(annotation_path(folder, &name), annotation(CLASSES[i % 20])).unwrap();
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
    let list = list_path(&folder.path().join(FOLDER_2012), "test");
    std::fs::write(list, "2012_000001\n").unwrap();
    assert_eq!(lengths(open(&spec(), folder.path()).unwrap().as_ref()), [18, 2, 5]);
    let (kept, held) = hold_out((0..7).map(|i| i.to_string()).collect(), 3);
    assert_eq!((kept.len(), held.len()), (4, 3));
}

/// The edition of 2007 has an annotated test part, which is a second archive: without it the set is not there.
#[test]
fn the_edition_of_2007_needs_its_test_part() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join(FOLDER_2007);
    let spec = DatasetSpec { name: "voc2007".into(), ..spec() };
    write_edition(&root, &[("train", 0..6), ("val", 6..9)]);
    let error = open(&spec, folder.path()).map(|_| ()).unwrap_err();
    assert!(error.hint().unwrap().contains("VOCtest_06-Nov-2007.tar"), "{error}");
    write_edition(&root, &[("test", 9..13)]);
    let set = open(&spec, folder.path()).unwrap();
    assert_eq!(lengths(set.as_ref()), [6, 3, 4]);
    write(folder.path(), &[("train", 0..6), ("val", 6..9), ("test", 9..13)]);
    let newer = open(&DatasetSpec { name: "voc2012".into(), ..spec }, folder.path()).unwrap();
    assert_ne!(set.digest(), newer.digest());
}

/// Damage is named with its file.
#[test]
fn damage_is_located() {
    let folder = tempfile::tempdir().unwrap();
    let damage = |file: &str, content: &[u8], expected: &str| {
        write(folder.path(), &[("train", 0..10), ("val", 10..12)]);
        std::fs::write(folder.path().join(FOLDER_2012).join(file), content).unwrap();
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
    std::fs::remove_file(folder.path().join(FOLDER_2012).join("JPEGImages/2007_000005.jpg")).unwrap();
}

/// A list with a byte-order mark, the names' extensions or labels, and photographs with other extensions are the same
/// data set.
#[test]
fn lists_and_extensions_in_any_dress() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("train", 0..10), ("val", 10..12)]);
    let root = folder.path().join(FOLDER_2012);
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
