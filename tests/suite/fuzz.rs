//! Parsers of user files never panic, whatever the bytes: mutations of valid files, and noise.

use candle_core::{Device, Tensor};
use ecqx::model::{self, checkpoint};
use proptest::prelude::*;
use std::path::Path;

const EXPERIMENT: &str = "name: x\ndataset: {name: embedded-audio, samples: {train: 64}}\nmodel: {name: mlp-gsc, dropout: 0.1}\n\
    baseline: {train: {epochs: 1, schedule: cosine}}\nseeds: [1, 2]\nbits: [2, 4]\nquantizers:\n  \
    - {method: ecqx, lambda: [0.1, 0.2], relevance: {lrp: {composite: {conv: zplus}}}}\n  - {method: uniform}\n";
const MODEL: &str = "input_shape: [3, 8, 8]\nlayers:\n  - {name: c, kind: conv2d, in_channels: 3, out_channels: 4, kernel: [3, 3]}\n  \
    - {name: r, kind: relu}\n  - {name: f, kind: flatten}\n  - {name: l, kind: linear, inputs: 144, outputs: 10}\n";

/// Replaces, removes and repeats pieces of a valid file.
fn mutate(valid: &[u8], changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for &(at, kind, value) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at % bytes.len();
        match kind % 4 {
            0 => bytes[at] = value,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, value),
            _ => {
                let end = (at + usize::from(value)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..6)
}

fn safetensors() -> Vec<u8> {
    let tensor = Tensor::from_vec(vec![1f32, 2.0, 3.0], 3, &Device::Cpu).unwrap();
    checkpoint::to_safetensors([("a", &tensor), ("b", &tensor)]).unwrap()
}

/// A state dict of one tensor in PyTorch's pre-1.6 format is valid up to its storages; that is where mutations matter.
fn legacy() -> Vec<u8> {
    let mut bytes = vec![0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    bytes.extend_from_slice(b"\x80\x02M\xe9\x03.\x80\x02}q\0(X\x01\0\0\0aK\x01u.\x80\x02}q\0X\x01\0\0\0wq\x01]q\x02(K\x01K\x02es.\x80\x02]q\0.");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn experiments(changes in changes()) {
        let registry = ecqx::Registry::builtin();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        std::fs::write(&path, mutate(EXPERIMENT.as_bytes(), &changes)).unwrap();
        if let Ok(experiment) = ecqx::spec::Experiment::load(&path, &registry) {
            let _ = ecqx::spec::grid::expand(&experiment, &registry);
        }
    }

    #[test]
    fn models(changes in changes()) {
        let text = String::from_utf8_lossy(&mutate(MODEL.as_bytes(), &changes)).into_owned();
        let _ = model::yaml::parse(&text, Path::new("model.yaml"));
    }

    #[test]
    fn checkpoints(changes in changes(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        for (name, valid) in [("x.safetensors", safetensors()), ("x.th", legacy())] {
            let path = folder.path().join(name);
            std::fs::write(&path, mutate(&valid, &changes)).unwrap();
            let _ = checkpoint::read(&path);
        }
        for name in ["n.safetensors", "n.pt", "n.nnc"] {
            let path = folder.path().join(name);
            std::fs::write(&path, &noise).unwrap();
            prop_assert!(checkpoint::read(&path).is_err());
        }
        // Noise behind the magic numbers reaches the parsers proper.
        for (name, magic) in [("m.pt", b"PK\x03\x04".to_vec()), ("m.th", legacy()[..15].to_vec())] {
            let path = folder.path().join(name);
            std::fs::write(&path, [magic, noise.clone()].concat()).unwrap();
            let _ = checkpoint::read(&path);
        }
    }
}

/// Damaged checkpoints of every kind are read or refused, never more: the same few thousand mutations each time. The long
/// version, which measures memory and time, is `examples/mutate_files.rs`.
#[test]
fn damaged_checkpoints() {
    let mut rng = ecqx::rng::Rng::stream(1, "damaged checkpoints");
    let options = checkpoint::ReadOptions::default();
    let (mut read, mut refused) = (0, 0);
    for folder in ["cases/checkpoints", "cases/given", "golden/nnc"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if !path.is_file() || path.metadata().unwrap().len() > 20_000 {
                continue;
            }
            let valid = std::fs::read(&path).unwrap();
            for _ in 0..40 {
                let count = 1 + rng.below(5);
                let change = |_| (rng.below(1 << 20), rng.below(256) as u8, rng.below(256) as u8);
                let bytes = mutate(&valid, &(0..count).map(change).collect::<Vec<_>>());
                match checkpoint::parse(&bytes, &path, &options) {
                    Ok(_) => read += 1,
                    Err(error) => {
                        assert!(error.is_user_error(), "{}: {error}", path.display());
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(read > 100 && refused > 500, "{read} read, {refused} refused");
}

/// Pickles that are towers, or copies of copies, are refused instead of exhausting the stack or memory.
#[test]
fn pickle_bombs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.th");
    let laughs: Vec<u8> = (0..60).flat_map(|_| *b"h\0h\0\x86q\0").collect();
    let towers = [
        [b"\x80\x02]".as_slice(), &vec![0x85; 2_000_000], b"."].concat(),
        [b"\x80\x02".as_slice(), &vec![b']'; 2_000_000], &vec![b'a'; 1_999_999], b"."].concat(),
        [b"\x80\x02]q\0".as_slice(), &laughs, b"."].concat(),
    ];
    for tower in towers {
        std::fs::write(&path, [&legacy()[..15], &tower].concat()).unwrap();
        let error = checkpoint::read(&path).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains("no checkpoint"), "{error}");
    }
}
