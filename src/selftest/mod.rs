//! Does a device compute what the CPU's kernels compute? Every operation, gradient, relevance rule and assignment, the codec
//! and a short training of every model, against the native backend; then the times of training steps.
//!
//! Rounding differs between devices, and some results (relevance above all) amplify it. So what is allowed is measured:
//! the native backend runs again with its inputs changed by one unit in the last place, and how far its own results move
//! is the noise floor. On the CPU the composed operations are tested.

mod assignment;
mod networks;
mod noise;
mod operations;
mod timing;
mod training;

pub use timing::{Timing, step_times};

use crate::Result;
use crate::nn::{Backend, transfer};
use crate::rng::Rng;
use candle_core::{Device, Tensor};
use serde::Serialize;

/// How many times the noise floor a result may be away from the native one.
const FLOORS: f64 = 30.0;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Kind of what is compared.
    pub group: &'static str,
    /// What is compared.
    pub name: String,
    /// Distance from the native results, relative to their size; for levels the share that differs.
    pub error: f64,
    /// The largest distance that rounding explains.
    pub allowed: f64,
    /// Whether all is well.
    pub passed: bool,
    /// What was noticed, such as an error.
    pub note: String,
}

/// What a self-test covers.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Weights of the largest tensor that is assigned.
    pub weights: usize,
    /// Steps of every short training.
    pub steps: usize,
    /// The same for models of more than a million weights.
    pub steps_of_large: usize,
    /// Samples of a batch of the short trainings.
    pub batch: usize,
    /// Timed steps of every model; 0 for no benchmark.
    pub timed_steps: usize,
}

impl Default for Extent {
    fn default() -> Self {
        Self { weights: 200_000, steps: 3, steps_of_large: 3, batch: 4, timed_steps: 5 }
    }
}

/// Named results.
pub(crate) type Values = Vec<(String, Vec<f32>)>;

/// Where a comparison runs, and whether its inputs are moved by one unit in the last place.
struct Given<'a> {
    device: &'a Device,
    disturbed: bool,
}

impl Given<'_> {
    /// Standard normal values, the same for every backend.
    fn normal(&self, what: &str, shape: &[usize]) -> Result<Tensor> {
        let mut rng = Rng::stream(1, what);
        let values = (0..shape.iter().product()).map(|_| rng.normal()).collect();
        self.tensor(values, shape)
    }

    /// A tensor of these values, disturbed where that is asked for.
    fn tensor(&self, mut values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        if self.disturbed {
            disturb(&mut values);
        }
        Ok(transfer::tensor(values, shape, self.device)?)
    }
}

/// Moves values by one unit in the last place, up and down in turn.
pub(crate) fn disturb(values: &mut [f32]) {
    for (index, value) in values.iter_mut().enumerate() {
        *value = if index % 2 == 0 { value.next_up() } else { value.next_down() };
    }
}

/// The values of some tensors under names.
fn values_of(tensors: Vec<(&str, Tensor)>) -> Result<Values> {
    tensors.into_iter().map(|(name, tensor)| Ok((name.to_owned(), transfer::values(&tensor)?))).collect()
}

/// Largest distance of a result in the Euclidean norm, relative to the expected one, and which; what does not fit at all is
/// infinitely far.
pub(crate) fn distance(found: &Values, expected: &Values) -> (f64, String) {
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.filter(|v| v.is_finite()).map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    };
    let mut worst = (0.0, String::new());
    for (name, expected) in expected {
        let found = found.iter().find(|(other, _)| other == name).map(|(_, found)| found);
        let Some(found) = found.filter(|found| found.len() == expected.len()) else {
            return (f64::INFINITY, format!("{name} has another size"));
        };
        if found.iter().zip(expected).any(|(a, e)| a.is_finite() != e.is_finite() || a.is_nan() != e.is_nan())
        {
            return (f64::INFINITY, format!("{name}: NaN or infinity in other places"));
        }
        let size = norm(&mut expected.iter().copied()).max(1e-20);
        let error = norm(&mut found.iter().zip(expected).map(|(a, e)| a - e)) / size;
        if error > worst.0 {
            worst = (error, name.clone());
        }
    }
    worst
}

/// Compares what `work` gives on the device with the native results.
fn compare(
    group: &'static str,
    name: impl Into<String>,
    tolerance: f64,
    device: &Device,
    work: impl Fn(&Given<'_>) -> Result<Values>,
) -> Check {
    let native = |disturbed| Backend::Native.run(|| work(&Given { device: &Device::Cpu, disturbed }));
    let found = Backend::Composed.run(|| work(&Given { device, disturbed: false }));
    let check = |error: f64, allowed: f64, note: String| Check {
        group,
        name: name.into(),
        error,
        allowed,
        passed: error <= allowed,
        note,
    };
    match (native(false), native(true), found) {
        (Ok(expected), Ok(other), Ok(found)) => {
            let ((error, at), (floor, _)) = (distance(&found, &expected), distance(&other, &expected));
            let floor = if floor.is_finite() { floor } else { 0.0 };
            check(error, tolerance.max(FLOORS * floor), at)
        }
        (Err(error), ..) | (_, Err(error), _) => check(f64::INFINITY, 0.0, format!("native: {error}")),
        (.., Err(error)) => check(f64::INFINITY, 0.0, error.to_string()),
    }
}

/// Kinds of comparisons.
pub const GROUPS: [&str; 4] = ["operation", "network", "assignment", "training"];

/// Runs all comparisons on a device, or those of one of [`GROUPS`], one after the other; `seen` is told of each.
pub fn checks(device: &Device, extent: &Extent, only: Option<&str>, seen: &mut dyn FnMut(Check)) {
    let wanted = |group| only.is_none_or(|only| only == group);
    if wanted("operation") {
        operations::checks(device, seen);
    }
    if wanted("network") {
        networks::checks(device, seen);
    }
    if wanted("assignment") {
        assignment::checks(device, extent.weights, seen);
    }
    if wanted("training") {
        training::checks(device, extent, seen);
    }
}

/// Milliseconds of training steps of all models on a device.
///
/// # Errors
/// Those of the device.
pub fn timings(device: &Device, extent: &Extent, seen: &mut dyn FnMut(Timing)) -> Result<()> {
    timing::run(device, extent.timed_steps, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(work: impl FnOnce(&mut dyn FnMut(Check))) {
        let (mut failed, mut count) = (Vec::new(), 0);
        work(&mut |check: Check| {
            count += 1;
            if !check.passed {
                failed.push(format!("{check:?}"));
            }
        });
        assert!(failed.is_empty() && count > 3, "{count} checks\n{}", failed.join("\n"));
    }

    /// Operations with all their gradients, walks and relevance rules of the composed backend agree with the native one.
    #[test]
    fn composed_operations_and_networks_pass() {
        run(|seen| operations::checks(&Device::Cpu, seen));
        run(|seen| networks::checks(&Device::Cpu, seen));
    }

    /// Assignments of all bit widths agree, and the codec gives back what the device assigned.
    #[test]
    fn composed_assignments_pass() {
        run(|seen| assignment::checks(&Device::Cpu, 60_000, seen));
    }

    /// Short trainings of all models with ECQx, ECQ, LSQ and EC2T agree up to the noise floor.
    #[test]
    fn composed_trainings_pass() {
        // On the CPU a composed step of VGG-16 takes seconds.
        let extent = Extent { steps_of_large: 1, ..Extent::default() };
        run(|seen| training::checks(&Device::Cpu, &extent, seen));
    }

    /// A wrong result is noticed: the test can fail.
    #[test]
    fn differences_are_noticed() {
        let work = |given: &Given<'_>| {
            let x = given.normal("x", &[64])?;
            let off = if Backend::of(&x) == Backend::Composed { 1e-3 } else { 0.0 };
            values_of(vec![("x", (x + off)?)])
        };
        assert!(!compare("test", "off", 1e-5, &Device::Cpu, work).passed);
        let hidden = |given: &Given<'_>| {
            let x = given.normal("x", &[4])?;
            let nan = if Backend::of(&x) == Backend::Composed { 1.0 } else { f64::NAN };
            values_of(vec![("x", (x * nan)?)])
        };
        assert!(!compare("test", "NaN", 1e-5, &Device::Cpu, hidden).passed);
    }
}
