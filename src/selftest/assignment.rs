//! Assignments of all methods that have steps on a device, and the codec's round trip of what was assigned there.

use super::Check;
use crate::codec::EncodeOptions;
use crate::codec::model_file::{self, Entry};
use crate::nn::Backend;
use crate::quant;
use crate::quant::device::{DeviceTensor, Readings};
use crate::quant::quantizer::{QuantizedTensor, StepInfo, WeightTensor};
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use serde_json::{Value, json};

/// Share of ECQx's levels that logarithms of another library may move over a limit.
const NEARLY: f64 = 1e-3;

pub fn checks(device: &Device, weights: usize, seen: &mut dyn FnMut(Check)) {
    let sizes = [1_728, weights / 10, weights];
    let values: Vec<Vec<f32>> = sizes
        .iter()
        .map(|&size| {
            let mut rng = Rng::stream(1, &format!("weights {size}"));
            (0..size.max(16)).map(|_| 0.05 * rng.normal()).collect()
        })
        .collect();
    let relevance: Vec<Vec<f32>> = values
        .iter()
        .map(|values| {
            let mut rng = Rng::stream(2, &format!("relevance {}", values.len()));
            values.iter().map(|w| w * rng.normal()).collect()
        })
        .collect();
    for (method, widths, parameters, allowed) in [
        ("ecq", Some(2..=8), json!({"lambda": 0.05}), 0.0),
        ("ecqx", Some(2..=8), json!({"lambda": 0.05, "p": 0.1}), NEARLY),
        ("uniform", Some(2..=8), json!({}), 0.0),
        ("lsq", Some(2..=8), json!({}), 0.0),
        ("ternary", None, json!({}), 0.0),
        ("ec2t", None, json!({"lambda": 0.05}), 0.0),
    ] {
        let widths: Vec<Option<u32>> = widths.map_or(vec![None], |widths| widths.map(Some).collect());
        for bits in widths {
            let name = bits.map_or(method.to_owned(), |bits| format!("{method}, {bits} bit"));
            let found = assigned(method, bits, &parameters, &values, &relevance, device);
            let (error, passed, note) = match found {
                Ok((differing, count, note)) => {
                    let share = differing as f64 / count.max(1) as f64;
                    (
                        share,
                        share <= allowed && note.is_empty(),
                        format!("{differing} of {count} levels{note}"),
                    )
                }
                Err(error) => (f64::INFINITY, false, error.to_string()),
            };
            seen(Check { group: "assignment", name, error, allowed, passed, note });
        }
    }
}

fn assigned(
    method: &str,
    bits: Option<u32>,
    parameters: &Value,
    values: &[Vec<f32>],
    relevance: &[Vec<f32>],
    device: &Device,
) -> Result<(usize, usize, String)> {
    const NAMES: [&str; 3] = ["small", "medium", "large"];
    let at = StepInfo { step: 1, total_steps: 10, epoch: 0, epochs: 1 };
    let shapes: Vec<[usize; 1]> = values.iter().map(|values| [values.len()]).collect();
    let tensors = NAMES.iter().zip(values).zip(&shapes);
    let tensors: Vec<WeightTensor<'_>> =
        tensors.map(|((name, values), shape)| WeightTensor { name, shape, values }).collect();
    let none = serde_json::Map::new();
    let (mut quantizer, _) = quant::build(method, bits, parameters.as_object().unwrap_or(&none))?;
    quantizer.initialize(&tensors)?;
    let named =
        || NAMES.iter().zip(relevance).map(|(name, values)| ((*name).to_owned(), values.clone())).collect();
    let of_host = quantizer.wants_relevance().then(named);
    let expected = Backend::Native.run(|| quantizer.assign(&tensors, of_host.as_ref(), at))?;
    // The same method anew: the host's assignment has left its relevance in the other.
    let (mut quantizer, _) = quant::build(method, bits, parameters.as_object().unwrap_or(&none))?;
    quantizer.initialize(&tensors)?;
    let wants = quantizer.wants_relevance();
    let found: Vec<QuantizedTensor> = Backend::Composed.run(|| {
        let send = |values: &Vec<f32>| Tensor::from_slice(values, values.len(), device);
        let latent: Vec<Tensor> = values.iter().map(send).collect::<candle_core::Result<_>>()?;
        let given: Vec<Tensor> = relevance.iter().map(send).collect::<candle_core::Result<_>>()?;
        let method = quantizer.on_device().ok_or_else(|| Error::Internal("no steps on a device".into()))?;
        method.begin(&tensors);
        let mut readings = Readings::new(Tensor::zeros(2, candle_core::DType::F32, device)?);
        let found = method.assign(&latent, wants.then_some(given.as_slice()), at, &mut readings)?;
        let host = |(tensor, name): (&DeviceTensor, &&str)| tensor.to_host(name);
        found.iter().zip(&NAMES).map(host).collect::<Result<_>>()
    })?;
    let (mut differing, mut count) = (0, 0);
    for (found, expected) in found.iter().zip(&expected) {
        let (found, expected) = (found.content.values(), expected.content.values());
        differing += found.iter().zip(&expected).filter(|(a, e)| a != e).count();
        count += found.len();
    }
    // The file of what the device assigned gives it back.
    let bytes = model_file::write(&found, &EncodeOptions::default())?.0;
    let back = model_file::read(&bytes)?;
    let same = |(back, found): (&Entry, &QuantizedTensor)| match back {
        Entry::Tensor(back) => back.name == found.name && back.content.values() == found.content.values(),
        Entry::Integers { .. } => false,
    };
    let is_same = back.len() == found.len() && back.iter().zip(&found).all(same);
    let note = if is_same { String::new() } else { "; the codec's round trip differs".into() };
    Ok((differing, count, note))
}
