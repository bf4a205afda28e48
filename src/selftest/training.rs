//! Short trainings: a few steps of every model with the methods that stay on the device.

use super::networks::{models, network, parameters};
use super::{Check, Extent, FLOORS, noise};
use crate::nn::{Backend, Network};
use crate::train::Observer;
use crate::{Error, Result};
use candle_core::Device;
use std::sync::Mutex;

/// Losses may differ by this share whatever the floor: a handful of flipped levels.
const LOSS: f64 = 1e-3;
/// Levels that may differ whatever the floor.
const LEVELS: f64 = 2e-3;

/// Weights from which on a model is large.
const LARGE: usize = 1_000_000;

/// What a training gave.
struct Trained {
    losses: Vec<f64>,
    values: Vec<Vec<f32>>,
}

/// Notes the loss of every step.
struct Losses(Mutex<Vec<f64>>);

impl Observer for Losses {
    fn step(&self, _: usize, _: usize, _: usize, _: usize, loss: f64) {
        if let Ok(mut losses) = self.0.lock() {
            losses.push(loss);
        }
    }
}

pub fn checks(device: &Device, extent: &Extent, seen: &mut dyn FnMut(Check)) {
    for (name, shape, options) in models() {
        for method in ["ecqx", "ecq", "lsq", "ec2t"] {
            let check = |error, allowed, passed, note| Check {
                group: "training",
                name: format!("{name}, {method}"),
                error,
                allowed,
                passed,
                note,
            };
            let compared = network(name, &shape, &options).and_then(|network| {
                let shapes = network.parameter_shapes();
                let weights: usize = shapes.iter().map(|p| p.shape.iter().product::<usize>()).sum();
                let steps = if weights > LARGE { extent.steps_of_large } else { extent.steps };
                compared(&network, method, device, &Extent { steps, ..*extent })
            });
            seen(match compared {
                Ok((error, allowed, levels, note)) => check(error, allowed, error <= allowed && levels, note),
                Err(error) => check(f64::INFINITY, 0.0, false, error.to_string()),
            });
        }
    }
}

/// Largest relative distance of losses, and share of weights that differ.
fn apart(a: &Trained, b: &Trained) -> (f64, f64) {
    let losses = a.losses.iter().zip(&b.losses).map(|(a, b)| (a - b).abs() / b.abs().max(1e-9));
    let pairs = a.values.iter().flatten().zip(b.values.iter().flatten());
    let differ = |(a, b): &(&f32, &f32)| (*a - *b).abs() > 1e-3 * b.abs().max(1e-6);
    let (mut count, mut differing) = (0usize, 0usize);
    for pair in pairs {
        count += 1;
        differing += usize::from(differ(&pair));
    }
    let same_length = a.losses.len() == b.losses.len();
    let worst = losses.fold(if same_length { 0.0 } else { f64::INFINITY }, f64::max);
    (worst, differing as f64 / count.max(1) as f64)
}

fn compared(
    network: &Network,
    method: &str,
    device: &Device,
    extent: &Extent,
) -> Result<(f64, f64, bool, String)> {
    let cpu = Device::Cpu;
    let native = |disturbed| Backend::Native.run(|| train(network, method, &cpu, extent, disturbed));
    let (expected, other) = (native(false)?, native(true)?);
    let found = Backend::Composed.run(|| train(network, method, device, extent, false))?;
    if expected.losses.len() != extent.steps {
        return Err(Error::Internal("a training without losses".into()));
    }
    let ((error, levels), (floor, of_floor)) = (apart(&found, &expected), apart(&other, &expected));
    let allowed = LOSS.max(FLOORS * floor);
    let level_limit = LEVELS.max(FLOORS * of_floor);
    let note = format!("{:.3} % of levels differ, noise {:.3} %", 100.0 * levels, 100.0 * of_floor);
    Ok((error, allowed, levels <= level_limit, note))
}

fn train(
    network: &Network,
    method: &str,
    device: &Device,
    extent: &Extent,
    disturbed: bool,
) -> Result<Trained> {
    let parameters = parameters(network, device, disturbed)?;
    let losses = Losses(Mutex::default());
    let tensors = noise::train(network, &parameters, Some(method), [extent.steps, extent.batch], &losses)?;
    let values = tensors.iter().map(|tensor| tensor.content.values()).collect();
    let losses = losses.0.into_inner().map_err(|_| Error::Internal("a step panicked".into()))?;
    Ok(Trained { losses, values })
}
