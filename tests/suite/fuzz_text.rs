//! Texts and tables that people hand in, mutated: experiments, models, numbers that are expected or published, records and
//! their digests, plans, tables of `report --raw`. Whatever the bytes: no panic, no hang, no text without end.
//!
//! `cargo test` does a fixed number of mutations of each. A long run, in a shell that bounds memory:
//! `ulimit -v 8000000; ECQX_FUZZ_SECONDS=600 cargo test --release --test suite -- --ignored long_fuzz --nocapture`

use ecqx::model;
use ecqx::plan::Plan;
use ecqx::report::expected::Expected;
use ecqx::report::{archive, published};
use ecqx::spec::{Experiment, grid};
use ecqx::store::Store;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

const EXPERIMENT: &str = "name: x\ndescription: &d a text\ndataset: {name: embedded-audio, samples: {train: 64}}\n\
    model: {name: mlp-gsc, dropout: 0.1}\nbaseline: {train: {epochs: 1, schedule: cosine}}\nseeds: {count: 2}\nbits: [2, 4]\n\
    calibration_samples: 256\nfigures: [effect_of_p]\nquantizers:\n  \
    - &e {method: ecqx, lambda: [0.1, 0.2], relevance: {lrp: {composite: {conv: zplus}}}}\n  \
    - {method: uniform, exclude: ['*fc*'], layer_bits: {'*1*': 8}, seeds: [1, 2]}\n  - {<<: *e, lambda: 1e-3}\n  \
    - method: ecq\n    lambda: .05\n    training: {epochs: 2, learning_rate: 1e-3}\n    bits: 4\n";
const MODEL: &str = "name: m\ninput_shape: [3, 8, 8]\nlayers:\n  \
    - {name: c, kind: conv2d, in_channels: 3, out_channels: 4, kernel: [3, 3], padding: 1, groups: 1, bias: false}\n  \
    - {name: b, kind: batch_norm, features: 4, epsilon: 1e-5}\n  - {name: s, kind: add, inputs: [b, c]}\n  \
    - {name: p, kind: max_pool2d, kernel: 2, stride: 2}\n  - {name: d, kind: dropout, rate: 0.1}\n  \
    - {name: f, kind: flatten}\n  - {name: l, kind: linear, inputs: 64, outputs: 10}\n";
const EXPECTED: &str = "experiment: x.yaml\nsource: me\nreason: none\ntolerances: {top1_percent: 2%, file_bytes: 10}\n\
    numbers:\n  - {label: ecq 4 bit, column: top1_percent, value: 80.5}\n  \
    - {label: ecq, seed: 1, column: file_bytes, value: 1000, tolerance: 5%}\n";
const PUBLISHED: &str = "citation: A, B 2020\nurl: https://example.org\nsetting: other\nclaims: [a, b]\nresults:\n  \
    - {dataset: cifar10, model: resnet20, method: ecq, label: x, bits: 4, top1_percent: 90.1, drop_points: 0.5}\n";
const RECORD: &str = r#"{"schema": 2, "id": "0123456789abcdef0123456789abcdef", "experiment": "x", "dataset": "d",
 "model": "m", "method": "ecq", "label": "l", "bits": 4, "lambda": 0.1, "p": null, "seed": 1, "spec": {"seed": 1, "a": [1]},
 "status": "done", "error": null, "warnings": ["w"], "selection": "s", "baseline": {"top1": 90.0, "top5": null, "loss": 0.1,
 "n": 10}, "test": {"top1": 89.5, "top5": null, "loss": 0.2, "n": 10}, "validation": null, "sparsity": 0.5, "entropy": 1.5, "layers": [{"name": "c", "shape": [1, 2],
 "weights": 2, "zeros": 1, "levels_in_use": 2, "entropy": 1.0, "step": 0.1, "bytes": 3}], "sizes": {"file": 9, "full_precision": 90,
 "entropy_bound": 3.5, "bits_times_parameters": 5.0, "csr": null, "zstd": 8, "xz": null}, "epochs": [],
 "seconds": 1.0, "peak_memory": null, "provenance": {"git_revision": null, "version": "0", "rustc": "1", "features": [],
 "cpu": "c", "device": "cpu", "threads": 1, "host": "h", "dataset_digest": "d", "baseline_digest": "b", "command": [],
 "started": "2020-01-01T00:00:00Z"}}"#;
const ID: &str = "0123456789abcdef0123456789abcdef";
const PLAN: &str = r#"{"baselines": [{"id": "b", "experiment": "x", "label": "l", "state": "new", "spec": {"dataset":
 {"name": "embedded-audio"}, "model": {"name": "mlp-gsc"}, "baseline": {"train": {"recipe": {"epochs": 1}, "seed": 0}}}}],
 "runs": [{"id": "r", "baseline": "b", "experiment": "x", "label": "l", "seed": 1, "state": "new", "spec": {"dataset":
 {"name": "embedded-audio"}, "model": {"name": "mlp-gsc"}, "baseline": {"checkpoint": "c.pt"}, "quantizer": {"method": "ecq",
 "bits": 4, "parameters": {"lambda": 0.1}}, "seed": 1, "calibration_samples": 256}}]}"#;

/// Pieces that mean something to one of the formats.
const PIECES: [&str; 44] = [
    "&a ",
    "*a",
    "<<: *e",
    "[",
    "]",
    "{",
    "}",
    "- ",
    "? ",
    ": ",
    ", ",
    "'",
    "\"",
    "\t",
    "\n",
    "\r\n",
    "  ",
    "---\n",
    "...\n",
    "%YAML 9\n",
    "!!map ",
    "|\n",
    ">-\n",
    "#",
    "1e999",
    ".nan",
    "-.inf",
    "-1",
    "0x",
    "18446744073709551616",
    "null",
    "true",
    "~",
    "\u{feff}",
    "\u{0}",
    "\u{a0}",
    "“",
    "../../../dev/zero",
    "/dev/zero",
    "999999999",
    "name",
    "count",
    "method",
    "0.1",
];

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Changes bytes, moves pieces, puts in what means something, repeats.
fn mutate(valid: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..1 + random.below(5) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => {
                let piece = PIECES[random.below(PIECES.len())].repeat(1 << random.below(3));
                bytes.splice(at..end.min(at + random.below(4)), piece.into_bytes());
            }
            5 => bytes.truncate(at),
            // A tower, now and then.
            6 if random.below(20) == 0 => {
                let piece = PIECES[random.below(PIECES.len())].repeat(5000);
                bytes.splice(at..at, piece.into_bytes());
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

/// A reader, what it reads when nothing is wrong, and how it is called in a folder of its own.
struct Reader {
    name: &'static str,
    valid: Vec<u8>,
    read: fn(&[u8], &Path) -> bool,
}

fn at(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A store with one run whose digest fits.
fn store_with(folder: &Path, record: &[u8], digest: Option<&[u8]>) -> bool {
    let store = Store::open(&folder.join("store")).unwrap();
    let run = store.run_folder(ID);
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("record.json"), record).unwrap();
    let fitting = format!("{}  record.json\n", blake3::hash(record).to_hex());
    std::fs::write(run.join("digest"), digest.unwrap_or(fitting.as_bytes())).unwrap();
    let (records, messages) = store.verified_records().unwrap();
    assert!(records.len() + messages.len() <= 1);
    !records.is_empty()
}

fn readers() -> Vec<Reader> {
    let digest = format!("{}  record.json\n", blake3::hash(RECORD.as_bytes()).to_hex());
    let record: ecqx::record::RunRecord = serde_json::from_str(RECORD).unwrap();
    vec![
        Reader {
            name: "experiment",
            valid: EXPERIMENT.into(),
            read: |bytes, folder| match Experiment::load(
                &at(folder, "x.yaml", bytes),
                &ecqx::Registry::builtin(),
            ) {
                Ok(experiment) => grid::expand(&experiment, &ecqx::Registry::builtin()).is_ok(),
                Err(error) => {
                    told(&error, "x.yaml");
                    false
                }
            },
        },
        Reader {
            name: "model",
            valid: MODEL.into(),
            read: |bytes, folder| match model::yaml::load(&at(folder, "m.yaml", bytes)) {
                Ok(_) => true,
                Err(error) => {
                    told(&error, "m.yaml");
                    false
                }
            },
        },
        Reader {
            name: "expected numbers",
            valid: EXPECTED.into(),
            read: |bytes, folder| {
                at(folder, "x.yaml", EXPERIMENT.as_bytes());
                Expected::load(&at(folder, "e.yaml", bytes)).map_err(|error| told(&error, "e.yaml")).is_ok()
            },
        },
        Reader {
            name: "published numbers",
            valid: PUBLISHED.into(),
            read: |bytes, _| match std::str::from_utf8(bytes) {
                Ok(text) => published::Source::parse(
                    text,
                    Path::new("p.yaml"),
                    &ecqx::report::Methods::new(&ecqx::Registry::builtin()),
                )
                .map_err(|error| told(&error, "p.yaml"))
                .is_ok(),
                Err(_) => false,
            },
        },
        Reader {
            name: "record",
            valid: RECORD.into(),
            read: |bytes, folder| store_with(folder, bytes, None),
        },
        Reader {
            name: "digest",
            valid: digest.into_bytes(),
            read: |bytes, folder| store_with(folder, RECORD.as_bytes(), Some(bytes)),
        },
        Reader {
            name: "plan",
            valid: PLAN.into(),
            read: |bytes, folder| {
                Plan::load(&at(folder, "plan.json", bytes)).map_err(|error| told(&error, "plan.json")).is_ok()
            },
        },
        Reader {
            name: "records.parquet",
            valid: archive::write(&[record]).unwrap(),
            read: |bytes, folder| archive::read(&at(folder, "r.parquet", bytes)).is_ok(),
        },
    ]
}

/// A message is the user's, names the file, is of a length that people read, and in nobody else's words.
fn told(error: &ecqx::Error, file: &str) {
    let text = format!("{error} {}", error.hint().unwrap_or_default());
    assert!(error.is_user_error() && text.contains(file), "{text}");
    assert!(text.chars().count() < 1500, "{text}");
    for word in ["untagged", "variant", "struct ", "u32", "u64", "usize", "f64", "enum ", "Options", "policy"]
    {
        // The input's own words may be anything.
        let quoted: Vec<&str> = text.split('\'').step_by(2).collect();
        assert!(!quoted.iter().any(|part| part.contains(word)), "{word}: {text}");
    }
}

/// One mutation; tells whether it was still valid.
fn once(reader: &Reader, seed: u64, folder: &Path) -> bool {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    random.next();
    let bytes = mutate(&reader.valid, &mut random);
    let start = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| (reader.read)(&bytes, folder)));
    let slow = start.elapsed() > Duration::from_secs(20);
    if read.is_err() || slow {
        let path = std::env::temp_dir().join(format!("ecqx-fuzz-{}-{seed}", reader.name.replace(' ', "-")));
        std::fs::write(&path, &bytes).unwrap();
        panic!(
            "{}: mutation {seed} {}: {}",
            reader.name,
            if slow { "is slow" } else { "panics" },
            path.display()
        );
    }
    read.unwrap_or(false)
}

/// A thousand mutations of each text.
#[test]
fn mutated_texts() {
    for reader in readers() {
        let folder = tempfile::tempdir().unwrap();
        assert!((reader.read)(&reader.valid, folder.path()), "{}: what is valid is refused", reader.name);
        let valid = (0..1000).filter(|seed| once(&reader, *seed, folder.path())).count();
        // Neither does everything fail at the first byte nor nothing at all.
        assert!(valid < 1000, "{}: {valid}", reader.name);
    }
}

/// As long as `ECQX_FUZZ_SECONDS` says, in turn over all readers; prints counts.
#[test]
#[ignore = "runs as long as ECQX_FUZZ_SECONDS says (default 60)"]
fn long_fuzz() {
    let seconds = std::env::var("ECQX_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let until = Instant::now() + Duration::from_secs(seconds);
    let readers = readers();
    let folder = tempfile::tempdir().unwrap();
    let mut counts = vec![(0u64, 0u64); readers.len()];
    let mut seed = 1_000_000;
    while Instant::now() < until {
        for (reader, (tried, valid)) in readers.iter().zip(&mut counts) {
            for _ in 0..100 {
                seed += 1;
                *tried += 1;
                *valid += u64::from(once(reader, seed, folder.path()));
            }
        }
    }
    for (reader, (tried, valid)) in readers.iter().zip(counts) {
        println!("{:<20} {tried:>9} mutations, {valid:>8} still valid", reader.name);
    }
}
