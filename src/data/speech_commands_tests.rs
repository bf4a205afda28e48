//! Speech Commands as it lies on people's disks: lists in any dress, hidden files, missing parts.

use super::*;
use crate::data::open;
use crate::data::wav::tests::wav;
use std::fs;

/// Three words with eight clips each, two of every word on the lists, and a background recording.
fn write(data_dir: &Path) -> PathBuf {
    let root = data_dir.join(FOLDER);
    for (at, word) in ["yes", "no", "cat"].into_iter().enumerate() {
        fs::create_dir_all(root.join(word)).unwrap();
        for index in 0..8usize {
            let samples: Vec<i16> =
                (0..2_000).map(|n| ((n * (at + 3) * (index + 5)) % 4_001) as i16 - 2_000).collect();
            fs::write(root.join(word).join(format!("{index:08x}_nohash_0.wav")), wav(1, 16_000, &samples))
                .unwrap();
        }
    }
    fs::create_dir_all(root.join(NOISE)).unwrap();
    let noise: Vec<i16> = (0..20_000).map(|n| ((n * 7_919) % 2_003) as i16 - 1_000).collect();
    fs::write(root.join(NOISE).join("pink.wav"), wav(1, 16_000, &noise)).unwrap();
    for (list, index) in [("validation_list.txt", 0), ("testing_list.txt", 1)] {
        let text: String =
            ["yes", "no", "cat"].map(|word| format!("{word}/{index:08x}_nohash_0.wav\n")).concat();
        fs::write(root.join(list), text).unwrap();
    }
    root
}

fn spec() -> DatasetSpec {
    DatasetSpec {
        unknown_share: Some(0.5),
        silence_share: Some(0.5),
        ..DatasetSpec::named("speech-commands")
    }
}

fn lengths(set: &dyn Dataset) -> [usize; 3] {
    [Split::Train, Split::Validation, Split::Test].map(|split| set.len(split))
}

/// Writes the set, lets `change` at its folder and opens it.
fn changed(change: impl Fn(&Path)) -> Result<Arc<dyn Dataset>> {
    let folder = tempfile::tempdir().unwrap();
    change(&write(folder.path()));
    open(&spec(), folder.path())
}

fn failure(change: impl Fn(&Path)) -> String {
    let error = changed(change).map(|_| ()).unwrap_err();
    assert!(error.is_user_error(), "{error}");
    format!("{error}; {}", error.hint().unwrap_or_default())
}

/// Rewrites both lists.
fn rewrite(root: &Path, change: impl Fn(&str) -> String) {
    for list in ["validation_list.txt", "testing_list.txt"] {
        let text = fs::read_to_string(root.join(list)).unwrap();
        fs::write(root.join(list), change(&text)).unwrap();
    }
}

/// Held-out clips stay held out however the lists are written: no way of writing them gives other data.
#[test]
fn lists_in_any_dress_hold_out_the_same_clips() {
    let plain = changed(|_| ()).unwrap();
    // Two keywords: twelve clips and six of other words, of which six are left, and six of silence; then two, one and one.
    assert_eq!(lengths(plain.as_ref()), [24, 4, 4]);
    assert_eq!(plain.notes(), Vec::<String>::new());
    type Dress<'a> = &'a dyn Fn(&str) -> String;
    let dresses: [(&str, Dress<'_>); 7] = [
        ("./", &|text| text.lines().map(|line| format!("./{line}\n")).collect()),
        ("byte-order mark", &|text| format!("\u{feff}{text}")),
        ("CRLF", &|text| text.replace('\n', "\r\n")),
        ("backslashes", &|text| text.replace('/', "\\")),
        ("blank lines", &|text| format!("\n\n{text}\n  \n")),
        ("no last line end", &|text| text.trim_end().to_owned()),
        ("everything", &|text| {
            format!("\u{feff}{}", text.lines().map(|line| format!(".\\{line} \r\n")).collect::<String>())
        }),
    ];
    for (name, dress) in dresses {
        let set = changed(|root| rewrite(root, dress)).unwrap();
        assert_eq!(set.digest(), plain.digest(), "{name}");
    }
    let upper = changed(|root| {
        for index in 0..8 {
            let path = |extension: &str| root.join("yes").join(format!("{index:08x}_nohash_0.{extension}"));
            fs::rename(path("wav"), path("WAV")).unwrap();
        }
    })
    .unwrap();
    assert_eq!(lengths(upper.as_ref()), lengths(plain.as_ref()));
}

/// `keywords: all` is the task of all words: each a class in alphabetical order, the lists alone as splits, and neither
/// unknown words nor silence; the separate test set, which is another task's, plays no part.
#[test]
fn all_words_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let separate = folder.path().join(TEST_FOLDER).join("yes");
    fs::create_dir_all(&separate).unwrap();
    fs::write(separate.join("a.wav"), wav(1, 16_000, &[1; 2_000])).unwrap();
    let read = |text: &str| open(&serde_json::from_str(text).unwrap(), folder.path());
    let set = read(r#"{"name": "speech-commands", "keywords": "all"}"#).unwrap();
    assert_eq!(
        (set.classes(), lengths(set.as_ref())),
        (&["cat", "no", "yes"].map(String::from)[..], [18, 3, 3])
    );
    assert_eq!(set.digest(), read(r#"{"name": "speech-commands", "keywords": ["all"]}"#).unwrap().digest());
    let with_silence =
        read(r#"{"name": "speech-commands", "keywords": "all", "silence_share": 0.1}"#).unwrap();
    assert_eq!(with_silence.classes().last().unwrap(), SILENCE);
    let refused = read(r#"{"name": "speech-commands", "keywords": "all", "unknown_share": 0.1}"#);
    assert!(refused.err().unwrap().to_string().contains("no other words"));
    assert!(
        serde_json::from_str::<DatasetSpec>(r#"{"name": "speech-commands", "keywords": "yes"}"#).is_err()
    );
}

/// A list that is not what is there is an error with list and line, never a clip less held out.
#[test]
fn lists_are_contracts() {
    let append = |list: &'static str, text: &'static str| {
        move |root: &Path| {
            let path = root.join(list);
            let old = fs::read_to_string(&path).unwrap();
            fs::write(path, format!("{old}{text}")).unwrap();
        }
    };
    let message = failure(append("testing_list.txt", "\nyes/0000000a_nohash_0.wav\n"));
    assert!(message.contains("testing_list.txt:5: 'yes/0000000a_nohash_0.wav' names no clip"), "{message}");
    assert!(message.contains("did you mean 'yes/"), "{message}");
    let message = failure(append("testing_list.txt", "speech_commands/yes/00000003_nohash_0.wav\n"));
    assert!(message.contains(":4:") && message.contains("WORD/FILE.wav"), "{message}");
    let message = failure(append("testing_list.txt", "yes/00000000_nohash_0.wav\n"));
    assert!(
        message.contains("testing_list.txt:4:") && message.contains("also in validation_list.txt (line 1)"),
        "{message}"
    );
    for list in ["validation_list.txt", "testing_list.txt"] {
        let message = failure(|root| fs::remove_file(root.join(list)).unwrap());
        assert!(message.contains(list) && message.contains("missing"), "{message}");
    }
    let message = failure(|root| fs::write(root.join("testing_list.txt"), "").unwrap());
    assert!(message.contains("the test split has no samples"), "{message}");
    let message = failure(|root| fs::write(root.join("testing_list.txt"), b"yes\xff").unwrap());
    assert!(message.contains("testing_list.txt: byte 3: not UTF-8"), "{message}");
    let twice = changed(append("testing_list.txt", "yes/00000001_nohash_0.wav\n")).unwrap();
    assert!(twice.notes()[0].contains("repeat another: 1"), "{:?}", twice.notes());
}

/// Without both lists the publisher's hash splits the clips, and that is said.
#[test]
fn without_lists_the_hash_is_said() {
    let result = changed(|root| {
        rewrite(root, str::to_owned);
        for index in 8..60 {
            let samples = vec![index; 2_000];
            fs::write(root.join("yes").join(format!("{index:08x}_nohash_0.wav")), wav(1, 16_000, &samples))
                .unwrap();
        }
        fs::remove_file(root.join("validation_list.txt")).unwrap();
        fs::remove_file(root.join("testing_list.txt")).unwrap();
    });
    let notes = result.unwrap().notes();
    assert!(notes.iter().any(|note| note.contains("hash of their speaker")), "{notes:?}");
}

/// What macOS, Jupyter, git and archives leave among the words is no data.
#[test]
fn hidden_things_are_no_data() {
    let plain = changed(|_| ()).unwrap();
    let set = changed(|root| {
        fs::write(root.join("yes/._00000001_nohash_0.wav"), b"\0\x05\x16\x07\0\x02\0\0Mac OS X").unwrap();
        fs::write(root.join("yes/.DS_Store"), b"\0\0\0\x01Bud1").unwrap();
        fs::write(root.join(".DS_Store"), b"\0\0\0\x01Bud1").unwrap();
        fs::write(root.join(NOISE).join("._pink.wav"), b"\0\x05\x16\x07").unwrap();
        for folder in [".ipynb_checkpoints", ".git", "__MACOSX"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::copy(root.join("yes/00000003_nohash_0.wav"), root.join(folder).join("0_nohash_0.wav"))
                .unwrap();
        }
        fs::create_dir_all(root.join("yes/.ipynb_checkpoints")).unwrap();
    })
    .unwrap();
    assert_eq!((set.digest(), set.notes()), (plain.digest(), Vec::new()));
}

/// What is missing or skipped is said.
#[test]
fn what_is_unusual_is_noted() {
    let note = |change: &dyn Fn(&Path), expected: &str| {
        let notes = changed(change).unwrap().notes();
        assert!(notes.len() == 1 && notes[0].contains(expected), "{notes:?}");
    };
    note(&|root| fs::remove_dir_all(root.join(NOISE)).unwrap(), "silence is digital zero");
    note(&|root| fs::create_dir(root.join("off")).unwrap(), "no clips in the folders of off");
    note(&|root| fs::write(root.join("yes/a.flac"), b"fLaC").unwrap(), "not WAV, skipped: 1");
    note(
        &|root| fs::write(root.join("yes/00000002_nohash_0.wav"), wav(1, 16_000, &[])).unwrap(),
        "without samples",
    );
    note(
        &|root| {
            let mut bytes = wav(1, 16_000, &[5; 100]);
            bytes[40..44].fill(0);
            bytes[4..8].fill(0);
            fs::write(root.join("yes/00000002_nohash_0.wav"), bytes).unwrap();
        },
        "without a length in the header",
    );
    let short =
        changed(|root| fs::write(root.join(NOISE).join("pink.wav"), wav(1, 16_000, &[1; 800])).unwrap());
    assert_eq!(short.unwrap().notes().len(), 2);
}

/// Recordings of another rate are refused with the setting that converts them; with it they are read, and that is said.
#[test]
fn other_rates_are_converted_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let root = write(folder.path());
    let expected = lengths(open(&spec(), folder.path()).unwrap().as_ref());
    let converting = DatasetSpec { audio: Some(crate::data::AudioSettings { convert: true }), ..spec() };
    let untouched = open(&converting, folder.path()).unwrap();
    assert_eq!(untouched.digest(), open(&spec(), folder.path()).unwrap().digest());
    fs::write(root.join("yes/00000004_nohash_0.wav"), wav(2, 44_100, &[9; 8_000])).unwrap();
    let error = open(&spec(), folder.path()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("00000004_nohash_0.wav: byte 22: 2 channels"), "{error}");
    assert!(error.hint().unwrap().contains("audio: {convert: true}"));
    let set = open(&converting, folder.path()).unwrap();
    assert_eq!(lengths(set.as_ref()), expected);
    assert!(set.notes()[0].contains("converted to 16 kHz, one channel, 16 bits: 1"), "{:?}", set.notes());
}

/// What can't be read to its end is refused instead of waited for, and links to nothing are named.
#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    let message = failure(|root| {
        std::os::unix::fs::symlink("/nonexistent", root.join("yes/zz_nohash_0.wav")).unwrap();
    });
    assert!(message.contains("zz_nohash_0.wav: a link to nothing"), "{message}");
    let message = failure(|root| fs::create_dir(root.join("yes/dir_nohash_0.wav")).unwrap());
    assert!(message.contains("not a regular file"), "{message}");
}

/// One class is nothing to tell apart.
#[test]
fn a_single_class_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let one = DatasetSpec {
        keywords: Some(vec!["yes".into()]),
        unknown_share: Some(0.0),
        silence_share: Some(0.0),
        ..DatasetSpec::named("speech-commands")
    };
    let error = open(&one, folder.path()).map(|_| ()).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("'yes' is its only class"), "{error}");
}
