//! Mutates valid bitstreams and decodes them: no panic, no hang, no allocation above 64 MB plus what the header
//! announces. `cargo run --release --example mutate_streams -- [COUNT] [SEED]`

use ecqx::codec::{self, Element, ElementData, EncodeOptions};
use ecqx::rng::Rng;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
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

/// A decode that takes longer than this, three times in a row, hangs: on a busy machine anything can wait for once.
const LONGEST: Duration = Duration::from_secs(10);
const ALLOWED: usize = 64 << 20;
/// Larger streams say nothing that smaller ones do not, only slower.
const LARGEST: u64 = 3000;

/// The golden streams of the repository and a model file like the harness writes them.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nnc");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("run it in the repository")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "nnc"))
        .filter(|path| path.metadata().is_ok_and(|metadata| metadata.len() <= LARGEST))
        .collect();
    paths.sort();
    let mut corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("readable")).collect();
    let levels = (0..96).map(|i| if i % 5 == 0 { i % 7 - 3 } else { 0 }).collect();
    let floats = (0..32).map(|i| (i as f32).sin()).collect();
    let elements = [
        Element { name: "fc.weight".into(), shape: vec![8, 12], data: ElementData::Integers(levels) },
        Element { name: "fc.bias".into(), shape: vec![32], data: ElementData::Floats(floats) },
        Element {
            name: ".ecqx.steps".into(),
            shape: vec![1],
            data: ElementData::Integers(vec![1_028_443_341]),
        },
    ];
    for dependent_quantization in [true, false] {
        let options = EncodeOptions { dependent_quantization, ..EncodeOptions::default() };
        corpus.push(codec::encode(&elements, &options).expect("valid"));
    }
    corpus
}

/// Flips bits, forges bytes and sizes, cuts, inserts or repeats, one to four times.
fn mutate(rng: &mut Rng, stream: &[u8]) -> Vec<u8> {
    let mut bytes = stream.to_vec();
    for _ in 0..1 + rng.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Headers are small: half of the changes go there.
        let reach = if rng.below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
        let at = rng.below(reach);
        match rng.below(7) {
            0 | 1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = rng.below(256) as u8,
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.below(256) as u8),
            5 => {
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill(if rng.below(2) == 0 { 0xff } else { 0x7f });
            }
            _ => {
                let piece = bytes[at..(at + 16).min(bytes.len())].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

/// Values that the units of a stream announce, as far as it can be read.
fn announced(elements: &[Element]) -> usize {
    elements.iter().map(|element| element.shape.iter().product::<usize>()).sum()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (count, seed) = (number(100_000), number(1));
    let corpus = corpus();
    let (mut decoded, mut refused, mut slowest, mut largest) = (0u64, 0u64, Duration::ZERO, 0usize);
    let mut rng = Rng::stream(seed, "mutations");
    let start = Instant::now();
    for index in 0..count {
        let original = &corpus[rng.below(corpus.len())];
        let stream = mutate(&mut rng, original);
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let began = Instant::now();
        // A panic ends the program with the number of the mutation above it.
        let result =
            std::panic::catch_unwind(|| (codec::decode(&stream), codec::model_file::read(&stream).is_ok()));
        let took = began.elapsed();
        let used = PEAK.load(Relaxed).saturating_sub(before);
        slowest = slowest.max(took);
        largest = largest.max(used);
        let allowed = match &result {
            Err(_) => panic!("mutation {index} of seed {seed} panicked: {stream:02x?}"),
            Ok((Ok(elements), _)) => {
                decoded += 1;
                // Integers, floats, and a second copy for the model.
                ALLOWED + 16 * announced(elements)
            }
            Ok((Err(_), _)) => {
                refused += 1;
                ALLOWED
            }
        };
        let again = || {
            let began = Instant::now();
            let _ = codec::decode(&stream);
            began.elapsed()
        };
        let hangs = took > LONGEST && (0..2).all(|_| again() > LONGEST);
        assert!(!hangs, "mutation {index} of seed {seed} takes {took:?}: {stream:02x?}");
        assert!(used <= allowed, "mutation {index} of seed {seed} used {used} bytes: {stream:02x?}");
        if (index + 1) % 1_000_000 == 0 {
            eprintln!("{} done, {:.0} s", index + 1, start.elapsed().as_secs_f64());
        }
    }
    println!(
        "{count} mutations of {} streams, seed {seed}: {decoded} decoded, {refused} refused, slowest {slowest:?}, \
         largest allocation {:.1} MB, {:.0} s",
        corpus.len(),
        largest as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
}
