//! Damages valid files and feeds them to the readers of data sets: no panic, no hang, no allocation beyond a bound from the
//! file's size. `cargo run --release --example mutate_readers -- [READER|all] [COUNT|SECONDSs] [SEED]`

#[path = "../tests/damage/mod.rs"]
mod damage;

use ecqx::data::readers;
use ecqx::rng::Rng;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The system's allocator, counting.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Three times in a row longer than this is a hang: on a busy machine anything can wait for once.
const LONGEST: Duration = Duration::from_secs(10);

/// Bytes that a reader may allocate for a file of `length` bytes: what it needs for the densest valid file.
fn allowed(reader: &str, length: usize) -> usize {
    let (fixed, per_byte) = match reader {
        // A flat picture has thousands of pixels per byte; each is held as three bytes, several times.
        "jpeg" => (16 << 20, 60_000),
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
    let (mut count, mut read, mut slowest, mut largest) = (0u64, 0u64, Duration::ZERO, 0.0f64);
    let start = Instant::now();
    while match until {
        Until::Count(most) => count < *most,
        Until::Time(most) => start.elapsed() < *most,
    } {
        let bytes = damage::mutate(&corpus, &mut rng);
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let began = Instant::now();
        let result = std::panic::catch_unwind(|| readers::read(reader, &bytes).is_ok());
        let took = began.elapsed();
        let used = PEAK.load(Relaxed).saturating_sub(before);
        let place = || format!("{reader}: mutation {count} of seed {seed}");
        match result {
            Ok(is_read) => read += u64::from(is_read),
            Err(_) => panic!("{} panicked: {bytes:02x?}", place()),
        }
        let again = || {
            let began = Instant::now();
            let _ = readers::read(reader, &bytes);
            began.elapsed()
        };
        let hangs = took > LONGEST && (0..2).all(|_| again() > LONGEST);
        assert!(!hangs, "{} takes {took:?}: {bytes:02x?}", place());
        assert!(used <= allowed(reader, bytes.len()), "{} used {used} bytes: {bytes:02x?}", place());
        slowest = slowest.max(took);
        largest = largest.max(used as f64);
        count += 1;
    }
    format!(
        "{reader}: {count} mutations of {} files, seed {seed}: {read} read, {} refused, slowest {slowest:.1?}, largest \
         allocation {:.1} MB, {:.0} s",
        corpus.len(),
        count - read,
        largest / 1e6,
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
