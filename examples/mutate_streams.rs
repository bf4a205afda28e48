//! Mutates valid bitstreams and decodes them: no panic, no hang, no allocation above 64 MB plus what the header
//! announces. `cargo run --release --example mutate_streams -- [COUNT] [SEED]`

mod support;

use ecqx::codec::{self, Element, ElementData, EncodeOptions};
use ecqx::rng::Rng;
use std::path::Path;
use std::time::Instant;

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
    let (mut decoded, mut refused, mut costs) = (0u64, 0u64, support::Costs::default());
    let mut rng = Rng::stream(seed, "mutations");
    let start = Instant::now();
    for index in 0..count {
        let original = &corpus[rng.below(corpus.len())];
        let stream = mutate(&mut rng, original);
        let place = || format!("mutation {index} of seed {seed}, {stream:02x?},");
        let read = || (codec::decode(&stream), codec::model_file::read(&stream).is_ok());
        let ((result, _), used) = costs.watch(read, &place);
        let allowed = match &result {
            Ok(elements) => {
                decoded += 1;
                // Integers, floats, and a second copy for the model.
                ALLOWED + 16 * announced(elements)
            }
            Err(_) => {
                refused += 1;
                ALLOWED
            }
        };
        assert!(used <= allowed, "{} used {used} bytes", place());
        if (index + 1) % 1_000_000 == 0 {
            eprintln!("{} done, {:.0} s", index + 1, start.elapsed().as_secs_f64());
        }
    }
    println!(
        "{count} mutations of {} streams, seed {seed}: {decoded} decoded, {refused} refused, slowest {:?}, \
         largest allocation {:.1} MB, {:.0} s",
        corpus.len(),
        costs.slowest,
        costs.largest as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
}
