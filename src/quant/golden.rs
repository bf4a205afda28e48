//! Golden vectors computed with the reference implementation (`tests/golden/quant`, numbers only).

use super::codebook::Codebook;
use super::distribution::{PmfKind, distribution, histogram};
use super::entropy::{EntropyTerm, LambdaMax, costs, decay};
use super::options::SteScale;
use super::relevance_search::{Band, search};
use serde_json::Value;
use std::io::Read;

fn load(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quant").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> f32 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        value => value.as_f64().unwrap() as f32,
    }
}

fn floats(tensor: &Value) -> Vec<f32> {
    tensor["data"].as_array().unwrap().iter().map(number).collect()
}

/// Codebooks and steps: relative 1e-6, because NumPy computes the percentile in f32 or f64 by version.
#[test]
fn codebooks() {
    let golden = load("centroids.json.gz");
    for (key, case) in golden["cases"].as_object().unwrap() {
        let (tensor, bits) = key.split_once('|').unwrap();
        // `|nouint` cases force a signed grid on weights without negative values, which nothing here does.
        let Ok(bits) = bits.parse() else { continue };
        let codebook = Codebook::from_weights(&floats(&golden["tensors"][tensor]), bits).unwrap();
        let (found, expected) = (codebook.values(), floats(&case["centroids"]));
        assert_eq!(found.len(), expected.len(), "{key}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs() + 1e-9, "{key}: {found} {expected}");
        }
    }
}

/// The reference's distribution, to 1e-6 (f32 sums).
#[test]
fn distributions() {
    for case in load("pmf.json.gz")["cases"].as_array().unwrap() {
        let count = case["num_centroids"].as_u64().unwrap() as usize;
        let zero = case["zero_idx"].as_u64().unwrap() as usize;
        let positions: Vec<u8> = floats(&case["assignment"]).iter().map(|&v| v as u8).collect();
        let counts = histogram(&positions, count);
        let found = match case["biased"].as_bool().unwrap() {
            true => distribution(&counts, zero, PmfKind::Reference),
            false => counts.iter().map(|&n| n as f32 / positions.len() as f32).collect(),
        };
        for (found, expected) in found.iter().zip(floats(&case["pmf"])) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

/// Assignments: exact without relevance; with it at most 0.1 % of the weights may differ (f32 powers), and the search
/// visits the same sparsities. Degenerate cases (λ_max not finite) differ on purpose: there the reference sends every
/// weight to the lowest level, ours takes the nearest levels and says so.
#[test]
fn assignments() {
    let golden = load("entropy_assign.json.gz");
    let (mut checked, mut degenerate) = (0, 0);
    for case in golden["cases"].as_array().unwrap() {
        let name = case["tensor"].as_str().unwrap();
        let weights = floats(&golden["tensors"][name]);
        let codebook = Codebook::from_weights(&weights, case["bitwidth"].as_u64().unwrap() as u32).unwrap();
        let lambda = case["Lambda"].as_f64().unwrap();
        let term = EntropyTerm { lambda, pmf: PmfKind::Reference, lambda_max: LambdaMax::Reference };
        let scale = decay(weights.len(), case["largest_layer_size"].as_u64().unwrap_or(1) as usize);
        let plain = costs(&weights, &codebook, &term, scale);
        let with_relevance = case["relevance"].as_bool().unwrap_or(false);
        let expected: Vec<u8> =
            case["assignment"].as_str().unwrap().chars().map(|c| c.to_digit(36).unwrap() as u8).collect();
        let infinite = |key: &str| case.get(key).is_some_and(Value::is_string);
        if infinite("lambda_n_max") || infinite("lambda_p_max") {
            assert!(plain.warning.is_some() || lambda == 0.0, "{case}");
            degenerate += 1;
            continue;
        }
        let label =
            format!("{name} {} bits Λ {lambda} p {} relevance {with_relevance}", case["bitwidth"], case["p"]);
        let (found, allowed) = if with_relevance && lambda > 0.0 {
            let relevance = floats(&golden["raw_relevances"][name]);
            let p = case["p"].as_f64().unwrap_or(0.1);
            let found = search(&weights, codebook.zero(), &plain, &relevance, p, Band::Below);
            let trace: &[Value] = case["trace"].as_array().map_or(&[], Vec::as_slice);
            assert_eq!(found.trace.len(), trace.len(), "{label}: passes");
            for (pass, expected) in found.trace.iter().zip(trace) {
                assert!(
                    (pass.sparsity - expected[2].as_f64().unwrap()).abs() <= 1e-3,
                    "{label}: {pass:?} {expected}"
                );
            }
            (found.positions, weights.len() / 1000)
        } else {
            (plain.boundaries.assign(&weights), 0)
        };
        let different = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(different <= allowed, "{label}: {different} of {} weights differ", weights.len());
        checked += 1;
    }
    assert_eq!((checked, degenerate), (254, 96));
}

/// The signed gradient scaling of the reference.
#[test]
fn gradient_scaling() {
    for case in load("get_grads.json.gz")["cases"].as_array().unwrap() {
        let quantized = floats(&case["quantized"]);
        let mut distinct = quantized.clone();
        distinct.sort_by(f32::total_cmp);
        distinct.dedup();
        // Above 256 distinct values the reference takes the layer for unquantized and passes gradients through.
        let scale = if distinct.len() > 256 { SteScale::None } else { SteScale::CentroidSigned };
        let pairs = floats(&case["quant_grad"]).into_iter().zip(&quantized).zip(floats(&case["fp_grad"]));
        for ((gradient, &level), expected) in pairs {
            assert!((scale.apply(gradient, level) - expected).abs() <= 1e-6 * expected.abs());
        }
    }
}
