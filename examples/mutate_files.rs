//! Mutates checkpoints of all kinds and reads them: no panic, no hang, no allocation above 128 MB plus 400 times the file's
//! size. `cargo run --release --example mutate_files -- [SECONDS] [SEED]`

mod support;

use ecqx::model::checkpoint::{self, ReadOptions};
use ecqx::rng::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ALLOWED: usize = 128 << 20;
const PER_BYTE: usize = 400;

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut paths: Vec<PathBuf> = ["cases/checkpoints", "cases/given", "golden/nnc"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(tests.join(folder)).expect("run it in the repository").flatten())
        .map(|entry| entry.path())
        .filter(|path| path.metadata().is_ok_and(|data| data.is_file() && (1..20_000).contains(&data.len())))
        // Beside the golden streams lie the values they decode to, which are no checkpoints.
        .filter(|path| {
            !path.parent().is_some_and(|folder| folder.ends_with("nnc"))
                || path.extension().is_some_and(|e| e == "nnc")
        })
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("readable"))).collect()
}

/// Flips bits, forges bytes and sizes, cuts, inserts, repeats, or takes a piece of another file, one to four times.
fn mutate(rng: &mut Rng, valid: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..1 + rng.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Headers and pickles come first, directories last.
        let at = match rng.below(3) {
            0 => rng.below(bytes.len().min(1000)),
            1 => bytes.len() - 1 - rng.below(bytes.len().min(1500)),
            _ => rng.below(bytes.len()),
        };
        match rng.below(8) {
            0 | 1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = rng.below(256) as u8,
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.below(256) as u8),
            5 => {
                let end = (at + 1 + rng.below(8)).min(bytes.len());
                bytes[at..end].fill([0xff, 0x7f, 0][rng.below(3)]);
            }
            6 => {
                let piece = bytes[at..(at + 64).min(bytes.len())].to_vec();
                let to = rng.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let from = rng.below(other.len());
                let piece = other[from..(from + 64).min(other.len())].to_vec();
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at..end, piece);
            }
        }
    }
    bytes
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (seconds, seed) = (number(60), number(1));
    let corpus = corpus();
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut costs, mut index) = (support::Costs::default(), 0u64);
    let mut rng = Rng::stream(seed, "mutations of files");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        let (path, valid) = &corpus[rng.below(corpus.len())];
        let other = &corpus[rng.below(corpus.len())].1;
        let bytes = mutate(&mut rng, valid, other);
        let read = || checkpoint::parse(&bytes, path, &ReadOptions::default()).is_ok();
        let place = || {
            let kept = std::env::temp_dir().join("mutate_files.bin");
            std::fs::write(&kept, &bytes).expect("writable");
            format!("mutation {index} of seed {seed}, of {}, kept as {}", path.display(), kept.display())
        };
        let (is_read, used) = costs.watch(read, &place);
        assert!(used <= ALLOWED + PER_BYTE * bytes.len(), "{} used {used} bytes", place());
        let kind = path.extension().map_or("none".into(), |e| e.to_string_lossy().to_ascii_lowercase());
        let count = counts.entry(kind).or_default();
        *(if is_read { &mut count.0 } else { &mut count.1 }) += 1;
        index += 1;
    }
    println!(
        "{index} mutations of {} files, seed {seed}: slowest {:?}, largest allocation {:.1} MB, {:.0} s",
        corpus.len(),
        costs.slowest,
        costs.largest as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    for (kind, (read, refused)) in counts {
        println!("  .{kind}: {read} read, {refused} refused");
    }
}
