//! Models come back as they were written, and files that are none are refused.

use super::*;

/// A model comes back with the same levels and the same bits of step sizes and codebooks.
#[test]
fn round_trip() {
    let tensor = |name: &str, content| QuantizedTensor { name: name.into(), shape: vec![2, 2], content };
    let tensors = vec![
        tensor(
            "a.weight",
            Content::Levels {
                positions: vec![2, 0, 3, 2],
                codebook: Codebook::Uniform { step: 0.123_456_79, lowest: -2, highest: 1 },
            },
        ),
        tensor(
            "b.weight",
            Content::Levels {
                positions: vec![2, 1, 0, 1],
                codebook: Codebook::Explicit { values: vec![-0.3, 0.0, 0.7], zero: 1 },
            },
        ),
        tensor(
            "c.weight",
            Content::Levels {
                positions: vec![2, 0, 3, 2],
                codebook: Codebook::PerChannel {
                    steps: vec![0.123_456_79, 7e-12],
                    stride: 2,
                    lowest: -2,
                    highest: 1,
                },
            },
        ),
        tensor(
            "d.weight",
            Content::Levels {
                positions: vec![1, 0, 1, 1],
                codebook: Codebook::Explicit { values: vec![-0.3, 0.7], zero: 1 },
            },
        ),
    ];
    let (bytes, sizes) = write(&tensors, &EncodeOptions::default()).unwrap();
    let entries: Vec<Entry> = tensors.into_iter().map(Entry::Tensor).collect();
    assert_eq!(read(&bytes).unwrap(), entries);
    assert!(sizes["a.weight"] > 0);
}

/// Steps per channel that do not fit the tensor, or are none, are refused, and every step costs bytes.
#[test]
fn steps_per_channel() {
    let file = |count: usize, steps: Vec<f32>, stride| {
        let codebook = Codebook::PerChannel { steps, stride, lowest: -1, highest: 1 };
        let positions = (0..count).map(|i| (i * i % 3) as u8).collect();
        let content = Content::Levels { positions, codebook };
        let tensor = QuantizedTensor { name: "w".into(), shape: vec![count], content };
        write(&[tensor], &EncodeOptions::default()).unwrap().0
    };
    let steps = |count: usize| (1..=count).map(|i| (i as f32).sqrt() / 97.0).collect::<Vec<_>>();
    assert!(read(&file(600, steps(200), 3)).is_ok());
    assert!(file(600, steps(200), 3).len() > file(600, steps(2), 300).len() + 3 * 190);
    for damaged in [file(600, steps(7), 3), file(6, vec![0.0, 1.0], 3), file(6, vec![f32::NAN], 6)] {
        assert!(read(&damaged).unwrap_err().to_string().contains(CHANNELS));
    }
}

/// Integers that are no levels stand for themselves, with and without levels beside them, up to 32 bits with and
/// without a sign.
#[test]
fn plain_integers() {
    let integers = |name: &str, values: [i32; 2], unsigned| Entry::Integers {
        name: name.into(),
        shape: vec![2],
        values: values.into(),
        unsigned,
    };
    let counters = integers("batches", [7, i32::MIN], false);
    let addresses = integers("addresses", [-1, 5], true);
    let codebook = Codebook::Uniform { step: 0.5, lowest: -1, highest: 1 };
    let content = Content::Levels { positions: vec![2, 0], codebook };
    let weight = Entry::Tensor(QuantizedTensor { name: "w".into(), shape: vec![2], content });
    for entries in [vec![counters.clone(), addresses.clone()], vec![counters, weight, addresses]] {
        let (bytes, _) = write_entries(&entries, &EncodeOptions::default()).unwrap();
        assert_eq!(read(&bytes).unwrap(), entries);
    }
}

/// Levels without a step size are no model: the tensor is named.
#[test]
fn missing_steps_are_named() {
    let element = |name: &str, values: Vec<i32>| Element {
        name: name.into(),
        shape: vec![values.len()],
        data: ElementData::Integers(values),
    };
    let step = 0.5f32.to_bits() as i32;
    let elements = [element("v", vec![1]), element("w", vec![1, 2]), element(STEPS, vec![step])];
    let bytes = super::super::encode(&elements, &EncodeOptions::default()).unwrap();
    assert!(read(&bytes).unwrap_err().to_string().contains("tensor w"));
}
