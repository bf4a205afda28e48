//! Damages valid files and feeds them to the readers of data sets: no panic, no hang, no allocation beyond a bound from the
//! file's size. `cargo run --release --example mutate_readers -- [READER|all] [COUNT|SECONDSs] [SEED]`

#[path = "../tests/damage/mod.rs"]
mod damage;
mod support;

use ecqx::data::readers;
use ecqx::rng::Rng;
use std::time::{Duration, Instant};

/// Bytes that a reader may allocate for a file of `length` bytes: what it needs for the densest valid file.
fn allowed(reader: &str, length: usize) -> usize {
    let (fixed, per_byte) = match reader {
        // A flat picture has thousands of pixels per byte; each is held as three bytes, several times.
        "jpeg" | "png" => (16 << 20, 60_000),
        // The best ratio of deflate, twice.
        "idx" => (1 << 20, 2 * 1032),
        // Values and nodes of a byte or two become structures.
        "pickle" | "cifar-pickle" | "xml" => (1 << 20, 256),
        _ => (1 << 20, 64),
    };
    fixed + per_byte * length
}

/// When to stop.
enum Until {
    Count(u64),
    Time(Duration),
}

/// Feeds one reader; a line about it.
fn run(reader: &str, until: &Until, seed: u64) -> String {
    let corpus = damage::corpus(reader);
    for valid in &corpus {
        // Some pickles of the corpus are valid, but no batches.
        let _ = readers::read(reader, valid);
    }
    let mut rng = Rng::stream(seed, reader);
    let (mut count, mut read, mut costs) = (0u64, 0u64, support::Costs::default());
    let start = Instant::now();
    while match until {
        Until::Count(most) => count < *most,
        Until::Time(most) => start.elapsed() < *most,
    } {
        let bytes = damage::mutate(&corpus, &mut rng);
        let place = || format!("{reader}: mutation {count} of seed {seed}, {bytes:02x?},");
        let (is_read, used) = costs.watch(|| readers::read(reader, &bytes).is_ok(), &place);
        assert!(used <= allowed(reader, bytes.len()), "{} used {used} bytes", place());
        read += u64::from(is_read);
        count += 1;
    }
    format!(
        "{reader}: {count} mutations of {} files, seed {seed}: {read} read, {} refused, slowest {:.1?}, largest \
         allocation {:.1} MB, {:.0} s",
        corpus.len(),
        count - read,
        costs.slowest,
        costs.largest as f64 / 1e6,
        start.elapsed().as_secs_f64()
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).map_or(default, String::as_str).to_owned();
    let (reader, until, seed) = (argument(0, "all"), argument(1, "100000"), argument(2, "1"));
    let until = match until.strip_suffix('s') {
        Some(seconds) => Until::Time(Duration::from_secs(seconds.parse().expect("a number of seconds"))),
        None => Until::Count(until.parse().expect("a number")),
    };
    let seed = seed.parse().expect("a number");
    for name in readers::names().filter(|name| reader == "all" || reader == *name) {
        println!("{}", run(name, &until, seed));
    }
}
