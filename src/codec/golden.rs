//! Streams written by the reference codec (`ECQX_SHARED/golden/nnc`): decoded exactly, and encoded to the same bytes.

use super::{Element, ElementData, EncodeOptions, decode, encode};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    match std::env::var_os("ECQX_SHARED") {
        Some(shared) => Path::new(&shared).join("golden/nnc"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nnc"),
    }
}

fn index() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap()
}

fn read(name: &str) -> Option<Vec<u8>> {
    std::fs::read(folder().join(name)).ok()
}

fn shape(value: &serde_json::Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect()
}

fn integers(bytes: &[u8], kind: &str) -> Vec<i32> {
    match kind {
        "i1" => bytes.iter().map(|&b| i32::from(b as i8)).collect(),
        _ => bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect(),
    }
}

fn element(name: &str, shape: Vec<usize>, data: ElementData) -> Element {
    Element { name: name.into(), shape, data }
}

/// Every golden stream that is at hand: exact integers and float bits out, the same bytes back in.
#[test]
fn streams_agree_with_the_reference_codec() {
    let index = index();
    let mut checked = 0;
    let exact = EncodeOptions { dependent_quantization: false, ..EncodeOptions::default() };
    let mut both_ways = |elements: Vec<Element>, stream: &[u8], options: &EncodeOptions, name: &str| {
        assert!(encode(&elements, options).unwrap() == stream, "{name}: other bytes");
        checked += 1;
        decode(stream).unwrap()
    };
    for entry in index["int"].as_array().unwrap() {
        let Some(name) = entry["name"].as_str() else { continue };
        let (Some(input), Some(stream)) = (read(&format!("{name}.in.bin")), read(&format!("{name}.nnc")))
        else {
            continue;
        };
        let values = integers(&input, entry["in_dtype"].as_str().unwrap());
        let elements = vec![element("w", shape(&entry["shape"]), ElementData::Integers(values))];
        assert_eq!(both_ways(elements.clone(), &stream, &exact, name), elements, "{name}");
        // The payload alone, without a choice of starting sets.
        if let Some(payload) = read(&format!("{name}.cabac0")) {
            let plain = EncodeOptions { parameter_optimization: false, ..exact };
            let stream = encode(&elements, &plain).unwrap();
            assert!(stream.ends_with(&payload), "{name}: another payload");
            assert_eq!(decode(&stream).unwrap(), elements, "{name}");
        }
    }
    for entry in index["multi"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let Some(stream) = read(&format!("{name}.nnc")) else { continue };
        let tensors = entry["tensors"].as_object().unwrap().iter();
        let elements: Vec<_> = tensors
            .map(|(key, dims)| {
                let data = integers(&read(&format!("{name}.{key}.bin")).unwrap(), "i1");
                element(key, shape(dims), ElementData::Integers(data))
            })
            .collect();
        assert_eq!(both_ways(elements.clone(), &stream, &exact, name), elements, "{name}");
    }
    for entry in index["float"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let Some(stream) = read(&format!("{name}.nnc")) else { continue };
        let inputs = entry["inputs"].as_str().unwrap();
        let floats = |file: String| -> Vec<f32> {
            let bytes = read(&file).unwrap();
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let tensors: Vec<_> = entry["tensors"].as_object().unwrap().iter().collect();
        let elements = tensors.iter().map(|(key, info)| {
            element(key, shape(&info["shape"]), ElementData::Floats(floats(format!("{inputs}.{key}.in.f32"))))
        });
        let options = EncodeOptions {
            qp: entry["qp"].as_i64().unwrap() as i32,
            nonweight_qp: entry["nonweight_qp"].as_i64().unwrap() as i32,
            dependent_quantization: entry["use_dq"].as_bool().unwrap(),
            ..EncodeOptions::default()
        };
        let decoded = both_ways(elements.collect(), &stream, &options, name);
        for ((key, _), found) in tensors.iter().zip(&decoded) {
            let ElementData::Floats(found) = &found.data else { panic!("{name} {key}: not floats") };
            let expected = floats(format!("{name}.{key}.rec.f32"));
            assert!(
                found.iter().map(|v| v.to_bits()).eq(expected.iter().map(|v| v.to_bits())),
                "{name} {key}"
            );
        }
    }
    assert!(checked >= 8, "only {checked} golden streams are at hand");
}

fn some_stream() -> Vec<u8> {
    let values: Vec<i32> = (0..600).map(|i: i32| (i * i * 7 % 23 - 11) * i32::from(i % 3 == 0)).collect();
    let floats: Vec<f32> = (0..40).map(|i| (i as f32 * 0.37).sin()).collect();
    let elements = [
        element("conv.weight", vec![6, 100], ElementData::Integers(values)),
        element("conv.bias", vec![40], ElementData::Floats(floats)),
    ];
    encode(&elements, &EncodeOptions::default()).unwrap()
}

/// A stream cut anywhere inside is an error, unless the cut lies exactly between two tensors.
#[test]
fn truncations_are_errors() {
    let stream = some_stream();
    let whole = decode(&stream).unwrap().len();
    for cut in 0..stream.len() {
        match decode(&stream[..cut]) {
            Err(error) => assert!(error.offset <= cut, "{error}"),
            Ok(elements) => assert!(elements.len() < whole, "cut at {cut}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// No damage makes the decoder panic, hang or take memory that the stream could not hold.
    #[test]
    fn damage_never_panics(flips in prop::collection::vec((0usize..100_000, 1u8..=255), 1..8), cut in 0usize..100_000) {
        let mut stream = some_stream();
        for (at, bits) in flips {
            let at = at % stream.len();
            stream[at] ^= bits;
        }
        let keep = if cut % 2 == 0 { stream.len() } else { cut % stream.len() };
        let _ = decode(&stream[..keep]);
        let _ = super::model_file::read(&stream[..keep]);
    }

    /// Any integers survive a round trip, the extremes included.
    #[test]
    fn integers_round_trip(values in prop::collection::vec(
        prop_oneof![4 => -3i32..=3, 1 => any::<i32>().prop_map(|v| v.max(-i32::MAX))], 0..400)
    ) {
        let elements = vec![element("w", vec![values.len()], ElementData::Integers(values))];
        let stream = encode(&elements, &EncodeOptions::default()).unwrap();
        prop_assert_eq!(decode(&stream).unwrap(), elements);
    }

    /// Decoded floats lie within one step of the input (dependent quantization doubles the step it chooses from).
    #[test]
    fn floats_come_close(values in prop::collection::vec(-4.0f32..4.0, 1..200), dependent: bool) {
        let options = EncodeOptions { dependent_quantization: dependent, ..EncodeOptions::default() };
        let elements = vec![element("b", vec![values.len()], ElementData::Floats(values.clone()))];
        let decoded = decode(&encode(&elements, &options).unwrap()).unwrap();
        let ElementData::Floats(found) = &decoded[0].data else { panic!("not floats") };
        let step = crate::quant::scalar::step_size(-75, 2);
        for (found, expected) in found.iter().zip(&values) {
            prop_assert!((found - expected).abs() <= 2.0 * step, "{} {}", found, expected);
        }
    }
}
