//! CIFAR in both of its versions, and what is wrong with people's copies.

use super::*;
use crate::data::pickle::tests::python2_batch;
use crate::data::{Split, open};

/// Pixels of image `index` of batch `batch`.
fn pixels(batch: usize, index: usize) -> Vec<u8> {
    (0..PIXELS).map(|at| (at * 7 + index * 31 + batch * 13) as u8).collect()
}

/// Labels of image `index`: the fine one is the last.
fn labels(format: &Format, index: usize) -> Vec<u8> {
    format.labels.iter().map(|(_, classes)| (index % classes) as u8).collect()
}

fn binary(format: &Format, batch: usize, count: usize) -> Vec<u8> {
    (0..count).flat_map(|index| [labels(format, index), pixels(batch, index)].concat()).collect()
}

fn pickled(format: &Format, batch: usize, count: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..count).flat_map(|index| pixels(batch, index)).collect();
    let of_key: Vec<Vec<u8>> = (0..format.labels.len())
        .map(|key| (0..count).map(|index| labels(format, index)[key]).collect())
        .collect();
    let keyed: Vec<(&str, &[u8])> =
        format.labels.iter().map(|(key, _)| *key).zip(of_key.iter().map(Vec::as_slice)).collect();
    python2_batch(count, &data, &keyed)
}

/// Writes one version with `count` images in every file; the folder it is in.
fn write(data_dir: &Path, format: &Format, version: &Version, count: usize) -> PathBuf {
    let folder = data_dir.join(version.folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (batch, file) in version.files().enumerate() {
        let bytes =
            if version.is_pickled { pickled(format, batch, count) } else { binary(format, batch, count) };
        std::fs::write(folder.join(file), bytes).unwrap();
    }
    folder
}

fn spec(name: &str) -> DatasetSpec {
    DatasetSpec { validation: Some(2.0), ..DatasetSpec::named(name) }
}

fn failure(spec: &DatasetSpec, folder: &Path) -> String {
    let error = open(spec, folder).map(|_| ()).unwrap_err();
    assert!(error.is_user_error(), "{error}");
    format!("{error}; {}", error.hint().unwrap_or_default())
}

/// The Python version is the same data set as the binary one, digest and samples: results of one serve the other.
#[test]
fn both_versions_are_one_data_set() {
    for (name, format) in [("cifar10", &FORMAT10), ("cifar100", &FORMAT100)] {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(first.path(), format, &format.binary, 6);
        write(second.path(), format, &format.python, 6);
        let sets = [first.path(), second.path()].map(|folder| open(&spec(name), folder).unwrap());
        assert_eq!(sets[0].digest(), sets[1].digest());
        let samples = sets.each_ref().map(|set| {
            let (mut inputs, mut targets) = (vec![0.0; 2 * PIXELS], vec![0; 2]);
            set.fill(Split::Validation, &[0, 1], None, &mut inputs, &mut targets).unwrap();
            (inputs, targets)
        });
        assert!(samples[0] == samples[1], "{name}");
        assert_eq!(sets[0].len(Split::Train), 6 * format.binary.train.len() - 2);
    }
}

/// The binary version is read where both are there.
#[test]
fn the_binary_version_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &FORMAT10, &FORMAT10.binary, 4);
    write(folder.path(), &FORMAT10, &FORMAT10.python, 6);
    assert_eq!(open(&spec("cifar10"), folder.path()).unwrap().len(Split::Test), 4);
}

/// CIFAR-100 has fine labels by default and coarse ones on request, with their names; the two are different data.
#[test]
fn coarse_and_fine_labels() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &FORMAT100, &FORMAT100.binary, 101);
    let names = (0..20).map(|class| format!("group {class}\r\n")).collect::<String>();
    std::fs::write(files.join("coarse_label_names.txt"), names).unwrap();
    let fine = open(&spec("cifar100"), folder.path()).unwrap();
    let asked = DatasetSpec { labels: Some(Labels::Fine), ..spec("cifar100") };
    assert_eq!(open(&asked, folder.path()).unwrap().digest(), fine.digest());
    let coarse = DatasetSpec { labels: Some(Labels::Coarse), ..spec("cifar100") };
    let coarse = open(&coarse, folder.path()).unwrap();
    assert_eq!((fine.classes().len(), coarse.classes().len()), (100, 20));
    assert_eq!(coarse.classes()[3], "group 3");
    assert_ne!(fine.digest(), coarse.digest());
    let target = |set: &dyn Dataset| {
        let (mut inputs, mut targets) = (vec![0.0; PIXELS], vec![0]);
        set.fill(Split::Test, &[45], None, &mut inputs, &mut targets).unwrap();
        targets[0]
    };
    assert_eq!((target(fine.as_ref()), target(coarse.as_ref())), (45, 5));
    let wrong = DatasetSpec { labels: Some(Labels::Coarse), ..spec("cifar10") };
    assert!(failure(&wrong, folder.path()).contains("no setting"));
    assert!(serde_json::from_str::<DatasetSpec>(r#"{"name": "cifar100", "labels": "rough"}"#).is_err());
}

/// A small set gets a validation part that fits, and says so; a number that doesn't fit is refused with one that does.
#[test]
fn small_sets_have_a_validation_part_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &FORMAT10, &FORMAT10.binary, 4);
    let set = open(&DatasetSpec::named("cifar10"), folder.path()).unwrap();
    assert_eq!([set.len(Split::Train), set.len(Split::Validation)], [10, 10]);
    assert!(set.notes().iter().any(|note| note.contains("validation: 10 of 20")), "{:?}", set.notes());
    let large = DatasetSpec { validation: Some(20.0), ..DatasetSpec::named("cifar10") };
    assert!(failure(&large, folder.path()).contains("a number from 0 to 19"));
    let none = DatasetSpec { validation: Some(0.0), ..DatasetSpec::named("cifar10") };
    assert_eq!(open(&none, folder.path()).unwrap().len(Split::Validation), 0);
}

/// Batches that are missing, doubled, of other sizes or of other kinds are named.
#[test]
fn damaged_copies_are_named() {
    let damage = |change: &dyn Fn(&Path), version: &Version, expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), &FORMAT10, version, 4);
        change(&files);
        let message = failure(&spec("cifar10"), folder.path());
        assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    };
    let binary = &FORMAT10.binary;
    damage(
        &|f| std::fs::remove_file(f.join("data_batch_3.bin")).unwrap(),
        binary,
        &["lacks data_batch_3.bin", "cifar-10-binary.tar.gz"],
    );
    damage(
        &|f| assert!(std::fs::copy(f.join("data_batch_1.bin"), f.join("data_batch_4.bin")).is_ok()),
        binary,
        &["data_batch_4.bin: the same content", "data_batch_1.bin"],
    );
    damage(
        &|f| assert!(std::fs::copy(f.join("data_batch_1.bin"), f.join("test_batch.bin")).is_ok()),
        binary,
        &["test_batch.bin: the same content"],
    );
    damage(
        &|f| std::fs::write(f.join("test_batch.bin"), b"").unwrap(),
        binary,
        &["test_batch.bin: byte 0", "empty"],
    );
    damage(
        &|f| {
            std::fs::write(f.join("test_batch.bin"), &super::tests::binary(&FORMAT10, 9, 4)[..7_000]).unwrap()
        },
        binary,
        &["byte 6146", "truncated"],
    );
    damage(
        &|f| std::fs::write(f.join("data_batch_2.bin"), pickled(&FORMAT10, 9, 4)).unwrap(),
        binary,
        &["data_batch_2.bin", "Python pickle"],
    );
    damage(
        &|f| std::fs::write(f.join("data_batch_2.bin"), super::tests::binary(&FORMAT100, 9, 4)).unwrap(),
        binary,
        &["data_batch_2.bin"],
    );
    damage(&|f| std::fs::write(f.join("data_batch_2.bin"), b"<html>404</html>").unwrap(), binary, &["HTML"]);
    damage(
        &|f| std::fs::write(f.join("data_batch_2.bin"), [10; PIXELS + 1]).unwrap(),
        binary,
        &["label 10 of record 0"],
    );
    let python = &FORMAT10.python;
    damage(
        &|f| std::fs::write(f.join("data_batch_2"), pickled(&FORMAT100, 9, 4)).unwrap(),
        python,
        &["data_batch_2", "no numbers under 'labels'"],
    );
    damage(
        &|f| std::fs::write(f.join("data_batch_2"), &pickled(&FORMAT10, 9, 4)[..9_000]).unwrap(),
        python,
        &["data_batch_2", "truncated"],
    );
    damage(
        &|f| std::fs::write(f.join("data_batch_2"), super::tests::binary(&FORMAT10, 9, 4)).unwrap(),
        python,
        &["no pickle of Python"],
    );
    damage(
        &|f| {
            std::fs::write(f.join("test_batch"), python2_batch(2, &[0; 2 * PIXELS], &[("labels", &[1, 10])]))
                .unwrap()
        },
        python,
        &["'labels' 10 of image 1"],
    );
    damage(
        &|f| {
            std::fs::write(f.join("test_batch"), python2_batch(2, &[0; 2 * PIXELS], &[("labels", &[1])]))
                .unwrap()
        },
        python,
        &["1 labels for 2 images"],
    );
    damage(
        &|f| {
            std::fs::write(f.join("test_batch"), python2_batch(2, &[0; 20], &[("labels", &[1, 1])])).unwrap()
        },
        python,
        &["3072 columns"],
    );
}

/// A training file of another size is read and noted.
#[test]
fn sizes_that_differ_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &FORMAT10, &FORMAT10.binary, 4);
    std::fs::write(files.join("data_batch_5.bin"), binary(&FORMAT10, 9, 3)).unwrap();
    let notes = open(&spec("cifar10"), folder.path()).unwrap().notes();
    assert!(notes.iter().any(|note| note.contains("data_batch_5.bin 3")), "{notes:?}");
}

/// Without any file the error says which archive to get.
#[test]
fn nothing_there_names_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    assert!(failure(&spec("cifar10"), folder.path()).contains("cifar-10-binary.tar.gz"));
}
