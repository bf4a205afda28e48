//! Programs that answer at random: no panic, no hang, no process left; and the exchange's own cost.

use ecqx::quant::quantizer::{Quantizer, RunInfo, StepInfo, WeightTensor};
use ecqx::spec::Registry;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const CASES: u64 = 1000;
const THREADS: u64 = 4;

fn external(command: Value, timeout: f64) -> Box<dyn Quantizer> {
    let registry = Registry::builtin();
    let parameters = json!({"label": "peer", "command": command, "files": {}, "timeout_seconds": timeout});
    let method = registry.quantizers.find("external").unwrap();
    method.quantizer(Some(3), parameters.as_object().unwrap()).unwrap().0
}

fn script(name: &str) -> String {
    format!("{}/tests/external/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What a run tells of these tensors.
fn run_of(weights: &[WeightTensor<'_>]) -> RunInfo {
    let tensors = weights.iter().map(|tensor| (tensor.name.to_owned(), tensor.shape.to_vec())).collect();
    RunInfo { bits: Some(3), seed: 1, total_steps: 1, tensors, ..RunInfo::default() }
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// Some bytes of it are others, or its end is missing.
    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..1 + self.below(4) {
            if !bytes.is_empty() {
                let at = self.below(bytes.len());
                bytes[at] = self.below(256) as u8;
            }
        }
        let keep = self.below(bytes.len() + 1);
        if self.below(2) == 0 {
            bytes.truncate(keep);
        }
        bytes
    }
}

/// A safetensors file of these entries: name, element type, shape, bytes.
fn file(entries: &[(String, &str, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, kind, shape, bytes) in entries {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": kind, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string().into_bytes();
    [(header.len() as u64).to_le_bytes().to_vec(), header, data].concat()
}

/// An answer for one tensor, mostly a good one.
fn tensors(
    random: &mut Random,
    name: &str,
    shape: &[usize],
    into: &mut Vec<(String, &str, Vec<usize>, Vec<u8>)>,
) {
    let name = if random.below(20) == 0 { "other".to_owned() } else { name.to_owned() };
    let shape = if random.below(20) == 0 { vec![5, 1] } else { shape.to_vec() };
    let count: usize = shape.iter().product();
    let special =
        if random.below(15) == 0 { random.pick(&[f32::NAN, f32::INFINITY, 1e38, -0.0]) } else { 0.25 };
    let floats = |count: usize| (0..count).flat_map(|_| special.to_le_bytes()).collect::<Vec<u8>>();
    if random.below(3) == 0 {
        let kind = if random.below(10) == 0 { random.pick(&["I32", "U32"]) } else { "F32" };
        return into.push((name, kind, shape, floats(count)));
    }
    let span = random.pick(&[2, 2, 2, 8, 8, 100_000]);
    let levels = (0..count).flat_map(|_| (random.below(span) as i32 - 1).to_le_bytes()).collect();
    let kind = if random.below(10) == 0 { "F32" } else { "I32" };
    into.push((format!("{name}.levels"), kind, shape, levels));
    let count = random.below(4);
    match random.below(8) {
        0 => into.push((format!("{name}.codebook"), "F32", vec![count], floats(count))),
        1 => {}
        _ => into.push((format!("{name}.step"), "F32", vec![1], floats(1))),
    }
}

/// Random answers in the folder of a case. Whether its program may wait for more than it gets.
fn prepare(random: &mut Random, folder: &Path, weights: &[WeightTensor<'_>]) -> bool {
    let write = |name: &str, content: Vec<u8>| std::fs::write(folder.join(name), content).unwrap();
    let texts: [&[u8]; 8] = [
        b"\n",
        b"{\n",
        b"[]\n",
        b"{\"type\":\"error\"}\n",
        b"\xff\xfe\n",
        b"{\"type\":1}\n",
        b"null",
        b"{}{}\n",
    ];
    let good =
        b"{\"type\":\"hello\",\"protocol\":1,\"name\":\"peer\",\"version\":\"1\",\"wants\":[]}\n".to_vec();
    let greeting = random.below(12);
    match greeting {
        0 => write("hello", random.pick(&texts).to_vec()),
        1 => write("hello", random.damaged(good)),
        2 => {}
        _ => write("hello", good),
    }
    let mut entries = Vec::new();
    for tensor in weights {
        if random.below(25) != 0 {
            tensors(random, tensor.name, tensor.shape, &mut entries);
        }
    }
    entries.dedup_by(|a, b| a.0 == b.0);
    match random.below(8) {
        0 => {}
        1 => write("output", random.damaged(file(&entries))),
        _ => write("output", file(&entries)),
    }
    match random.below(12) {
        0 => write("answer", random.pick(&texts).to_vec()),
        1 => write("answer", random.damaged(b"{\"type\":\"done\"}\n".to_vec())),
        2 => {}
        3 if random.below(4) == 0 => write("answer", vec![b'x'; (1 << 20) + 10]),
        _ => write("answer", b"{\"type\":\"done\"}\n".to_vec()),
    }
    let stays = random.below(40) == 0;
    if stays {
        write("stays", Vec::new());
    }
    stays || greeting < 3
}

/// 1,000 random replies: each is a quantized network or an error, soon, and no process is left.
#[test]
fn random_answers_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let some = |seed: u64| -> usize {
        let mut random = Random(seed);
        let (a, b) = (vec![0.5; 12], vec![-0.5; 4]);
        let weights = [
            WeightTensor { name: "a.weight", shape: &[4, 3], values: &a },
            WeightTensor { name: "b.weight", shape: &[2, 2], values: &b },
        ];
        let mut good = 0;
        for case in 0..CASES / THREADS {
            let folder = root.join(format!("{seed}-{case}"));
            std::fs::create_dir(&folder).unwrap();
            let waits = prepare(&mut random, &folder, &weights);
            let start = Instant::now();
            let command = json!(["sh", script("peer.sh"), folder]);
            let mut peer = external(command, if waits { 0.3 } else { 60.0 });
            let quantized = peer
                .begin(&run_of(&weights))
                .and_then(|()| peer.initialize(&weights))
                .and_then(|()| peer.assign(&weights, None, StepInfo::POST_TRAINING));
            match quantized {
                Ok(found) => {
                    good += 1;
                    assert_eq!(found.len(), 2);
                    for (found, weight) in found.iter().zip(&weights) {
                        assert_eq!(
                            (found.name.as_str(), found.shape.as_slice()),
                            (weight.name, weight.shape)
                        );
                        assert!(found.content.values().iter().all(|value| value.is_finite()));
                    }
                }
                Err(error) => assert!(error.to_string().contains("peer: asked to "), "{error}"),
            }
            // One in some ends in a panic of ours.
            if case % 50 == 7 {
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _peer = peer;
                    std::panic::panic_any("on purpose");
                }));
                assert!(dropped.is_err());
            } else {
                drop(peer);
            }
            assert!(start.elapsed() < Duration::from_secs(70), "case {case} of {seed} hangs");
        }
        good
    };
    let good: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS).map(|seed| scope.spawn(move || some(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(good > 100, "only {good} answers were good: the rest of the path is not reached");
    #[cfg(target_os = "linux")]
    {
        let words = root.display().to_string();
        let lines = std::fs::read_dir("/proc").unwrap().flatten();
        let left = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let left = left.filter(|line| String::from_utf8_lossy(line).contains(&words)).count();
        assert_eq!(left, 0, "processes are left");
    }
}

/// What a step costs besides the method's own work: `cargo test --release --test suite -- --ignored --nocapture
/// exchange_costs` prints it (docs/performance.md). Ignored, since a busy machine decides.
#[test]
#[ignore = "a measurement"]
fn exchange_costs() {
    let shapes = [[512, 490], [512, 512], [256, 512], [256, 256], [128, 256], [128, 128], [12, 128]];
    let values: Vec<Vec<f32>> =
        shapes.iter().map(|shape| (0..shape[0] * shape[1]).map(|i| (i as f32).sin()).collect()).collect();
    let names: Vec<String> = (1..=shapes.len()).map(|i| format!("fc{i}.weight")).collect();
    let weights: Vec<WeightTensor<'_>> = names
        .iter()
        .zip(&shapes)
        .zip(&values)
        .map(|((name, shape), values)| WeightTensor { name, shape, values })
        .collect();
    let mut commands = vec![("sh and cp", json!(["sh", script("copy.sh")]))];
    if let Some(python) = super::python::python("numpy, safetensors") {
        let code = format!(
            "import sys; sys.path.insert(0, {:?}); import ecqx\nclass Same(ecqx.Quantizer):\n  def quantize(self, name, \
             weight, context): return weight\necqx.serve(Same())",
            super::python::package()
        );
        commands.push(("Python", json!([python, "-c", code])));
    }
    for (what, command) in commands {
        let mut peer = external(command, 60.0);
        peer.begin(&run_of(&weights)).unwrap();
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                let start = Instant::now();
                peer.assign(&weights, None, StepInfo::POST_TRAINING).unwrap();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{what}: {:.2} ms a step (median of 200; best {:.2})", times[100], times[0]);
    }
}
