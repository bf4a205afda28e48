//! Stores in trouble: of another version, moved, with things in them that nobody wrote, unreadable in parts.

use super::*;
use crate::record::Provenance;
use std::fs;

const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "ffffffffffffffffffffffffffffffff";

fn record(id: &str) -> RunRecord {
    let json = serde_json::json!({
        "schema": SCHEMA, "id": id, "experiment": "x", "dataset": "d", "model": "m", "method": "ecq", "label": "l",
        "bits": 4, "lambda": null, "p": null, "seed": 1, "spec": {}, "status": "done", "error": null, "warnings": [],
        "selection": "post-training", "baseline": null, "validation": null, "sparsity": 0.5, "entropy": null,
        "test": {"top1": 90.0, "top5": null, "loss": 0.3, "n": 10}, "layers": [],
        "sizes": {"file": 3, "full_precision": 40, "entropy_bound": 1.0, "bits_times_parameters": 5.0},
        "epochs": [], "seconds": 1.0, "peak_memory": null,
        "provenance": serde_json::to_value(Provenance::default()).unwrap(),
    });
    serde_json::from_value(json).unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    store.save(&record(ID), &Files::from([("model.nnc".to_owned(), vec![1, 2, 3])])).unwrap();
    (folder, store)
}

/// Puts a record of another form at a run's place, with a digest that fits.
fn put(store: &Store, id: &str, json: &[u8]) {
    let files = Files::from([(RECORD.to_owned(), json.to_vec())]);
    sealed_folder::write(&store.root().join("partial"), &store.run_folder(id), &files).unwrap();
}

fn why(lookup: Lookup) -> String {
    match lookup {
        Lookup::Damaged(why) => format!("damaged: {why}"),
        Lookup::Foreign(why) => format!("foreign: {why}"),
        Lookup::Found(_) => "found".into(),
        Lookup::Missing => "missing".into(),
    }
}

/// Two versions of the program on one store: a newer record, which this one cannot parse, is reported, left out of reports,
/// never written over, not replaced by an import, and not swept up; nor is a newer checkpoint.
#[test]
fn newer_versions_are_left_alone() {
    let (_folder, store) = store();
    let newer = br#"{"schema": 4000000, "name": "of a form that does not exist yet"}"#;
    put(&store, OTHER, newer);
    assert!(why(store.find(OTHER)).starts_with("foreign: "), "{}", why(store.find(OTHER)));
    assert!(why(store.look(OTHER)).contains("a record of schema 4000000, this version of ecqx reads"));
    let (records, messages) = store.records().unwrap();
    assert_eq!((records.len(), messages.len()), (1, 1), "{messages:?}");
    let error = store.save(&record(OTHER), &Files::new()).unwrap_err();
    assert!(error.is_user_error() && error.hint().unwrap().contains("left alone"), "{error}");
    assert!(store.import(&[record(OTHER)]).is_err());
    let checkpoint = store.checkpoint_file(OTHER);
    let header = br#"{"__metadata__":{"ecqx_checkpoint":"4000000"}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    fs::write(&checkpoint, bytes).unwrap();
    assert_eq!(store.collect_garbage().unwrap(), Vec::<PathBuf>::new());
    assert!(checkpoint.is_file());
    assert_eq!(fs::read(store.run_folder(OTHER).join(RECORD)).unwrap(), newer);
}

/// A record that is a folder, a digest that is none, names that lead out of the store, pipes that would wait for ever: each
/// costs its own run, the others are read, and a new result takes the place.
#[test]
fn each_trouble_costs_one_run() {
    let (_folder, store) = store();
    let victim = store.run_folder(OTHER);
    let fresh = || {
        let _ = fs::remove_dir_all(&victim);
        store.save(&record(OTHER), &Files::from([("model.nnc".to_owned(), vec![1])])).unwrap();
    };
    let rewrite = |name: &'static str, content: Vec<u8>| {
        let path = victim.join(name);
        move || fs::write(&path, &content).unwrap()
    };
    let folder_instead = |name: &'static str| {
        let path = victim.join(name);
        move || {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }
    };
    let listed = |name: &str| format!("{}  {name}\n", blake3::hash(b"").to_hex()).into_bytes();
    type Trouble = (&'static str, Box<dyn Fn()>);
    let mut troubles: Vec<Trouble> = vec![
        ("record is a folder", Box::new(folder_instead(RECORD))),
        ("digest is a folder", Box::new(folder_instead("digest"))),
        ("model file is a folder", Box::new(folder_instead("model.nnc"))),
        ("no digest", Box::new(rewrite("digest", Vec::new()))),
        ("noise as digest", Box::new(rewrite("digest", vec![0xff, 0, 0xfe]))),
        ("other digest", Box::new(rewrite("digest", listed(RECORD)))),
        ("a path out", Box::new(rewrite("digest", listed("../../../../../../../dev/zero")))),
        ("a device", Box::new(rewrite("digest", listed("/dev/zero")))),
        ("another run's record", Box::new(rewrite("digest", listed("model.nnc")))),
        ("cut", Box::new(rewrite(RECORD, b"{\"schema\"".to_vec()))),
    ];
    #[cfg(unix)]
    troubles.push(("a pipe", {
        let path = victim.join(RECORD);
        Box::new(move || {
            fs::remove_file(&path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            // Without the program the record is missing, which is trouble too.
            drop(made);
        })
    }));
    for (name, make) in troubles {
        fresh();
        make();
        let found = why(store.find(OTHER));
        assert!(found.starts_with("damaged: ") && found.contains(OTHER), "{name}: {found}");
        let (records, messages) = store.records().unwrap();
        // What only a look at every file finds is no trouble for a list of records.
        assert!(records.iter().any(|record| record.id == ID), "{name}");
        assert!(records.len() + messages.len() == 2, "{name}: {messages:?}");
        assert_eq!(store.verified_records().unwrap().1.len(), 1, "{name}");
        store.save(&record(OTHER), &Files::from([("model.nnc".to_owned(), vec![1])])).unwrap();
        assert_eq!(why(store.find(OTHER)), "found", "{name}");
        make();
        assert!(store.is_damaged(OTHER), "{name}");
    }
    fresh();
    fs::write(victim.join(RECORD), "{}").unwrap();
    assert_eq!(store.collect_garbage().unwrap(), [victim]);
}

/// What people put into a store's folders is no run, and is not swept up.
#[test]
fn strange_files_stay() {
    let (_folder, store) = store();
    for name in ["runs/.DS_Store", "runs/notes.txt", "baselines/README", "checkpoints/notes.txt"] {
        fs::write(store.root().join(name), "x").unwrap();
    }
    let (records, messages) = store.records().unwrap();
    assert_eq!((records.len(), messages.len()), (1, 0), "{messages:?}");
    assert_eq!(store.collect_garbage().unwrap(), Vec::<PathBuf>::new());
}

/// A store that was moved away while in use is named as gone; nothing is made at its old place.
#[test]
fn a_store_that_moves_is_named() {
    let (folder, store) = store();
    fs::rename(store.root(), folder.path().join("elsewhere")).unwrap();
    for error in [
        store.save(&record(OTHER), &Files::new()).unwrap_err(),
        store.save_baseline(OTHER, &Files::new()).unwrap_err(),
        store.claim(OTHER).map(drop).unwrap_err(),
        store.save_checkpoint(OTHER, &serde_json::json!({}), &Snapshot::default()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::StoreGone(_)) && error.is_fatal(), "{error}");
        assert!(error.to_string().contains("store: the store is not there any more"), "{error}");
        assert!(error.hint().unwrap().contains("moved while in use"));
    }
    assert!(!store.root().exists());
    let moved = Store::existing(&folder.path().join("elsewhere")).unwrap();
    assert_eq!(why(moved.find(ID)), "found");
}

/// What cannot be read at present (here: what `/proc` refuses) may be whole, and is never swept up.
#[cfg(target_os = "linux")]
#[test]
fn unreadable_is_not_damaged() {
    let (_folder, store) = store();
    let path = store.run_folder(ID).join("model.nnc");
    fs::remove_file(&path).unwrap();
    // Reading it is an I/O error, for root too.
    std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
    assert!(why(store.find(ID)).starts_with("damaged: "), "{}", why(store.find(ID)));
    assert!(!store.is_damaged(ID));
    assert_eq!(store.collect_garbage().unwrap(), Vec::<PathBuf>::new());
    assert_eq!(store.records().unwrap().0.len(), 1, "its record is whole");
}
