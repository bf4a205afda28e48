//! Speed of the codec on one thread beside memcpy and zstd -3 of the same tensor, in weights per second; four bytes of
//! a 32-bit weight each. `cargo bench --bench codec`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecqx::codec::{Element, ElementData, EncodeOptions, decode, encode};
use ecqx::rng::Rng;
use std::hint::black_box;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WEIGHTS: usize = 1 << 20;

/// 4-bit levels of a Laplace-like distribution with a share of zeros.
fn levels(zeros: f64) -> Vec<i32> {
    let mut rng = Rng::stream(1, "levels");
    let level = |rng: &mut Rng| {
        if f64::from(rng.uniform()) < zeros {
            return 0;
        }
        let magnitude = 1 + (-f64::from(1.0 - rng.uniform()).ln() * 1.5) as i32;
        let magnitude = magnitude.min(7);
        if rng.uniform() < 0.5 { -magnitude } else { magnitude }
    };
    (0..WEIGHTS).map(|_| level(&mut rng)).collect()
}

fn codec(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    for percent in [90, 50, 10] {
        let values = levels(f64::from(percent) / 100.0);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let element =
            Element { name: "w".into(), shape: vec![1024, 1024], data: ElementData::Integers(values) };
        let elements = [element];
        let options = EncodeOptions::default();
        let stream = encode(&elements, &options).expect("valid integers");
        let mut group = criterion.benchmark_group(format!("codec {percent} % zeros"));
        group.sample_size(10).throughput(Throughput::Elements(WEIGHTS as u64));
        group.bench_function("memcpy", |b| b.iter(|| black_box(&bytes).clone()));
        group.bench_function("zstd -3 encode", |b| {
            b.iter(|| zstd::bulk::compress(black_box(&bytes), 3).expect("memory"))
        });
        let zipped = zstd::bulk::compress(&bytes, 3).expect("memory");
        group.bench_function("zstd -3 decode", |b| {
            b.iter(|| zstd::bulk::decompress(black_box(&zipped), bytes.len()).expect("memory"))
        });
        group.bench_function("decode", |b| {
            b.iter(|| pool.install(|| decode(black_box(&stream)).expect("our own stream")))
        });
        group.bench_function("encode", |b| {
            b.iter(|| pool.install(|| encode(black_box(&elements), &options).expect("valid integers")))
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
