//! The check of a state dict against a network.

use super::names::{self, is_batch_counter};
use super::{Metadata, SIDE_SUFFIXES, StateDict};
use crate::nn::{Network, ParameterShape, Parameters};
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::collections::HashMap;

/// Lines of a message about names that do not fit.
const SHOWN: usize = 10;

/// What is refused, and how much is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct FitOptions {
    /// Refuse tensors that the network has not, instead of noting them.
    pub strict: bool,
    /// List every name that does not fit.
    pub verbose: bool,
}

/// Parameters of a network, and what was said on the way.
#[derive(Debug)]
pub struct Fitted {
    /// The parameters.
    pub parameters: Parameters,
    /// What was converted or folded while reading.
    pub notes: Vec<String>,
    /// What may be a mistake: tensors that the network has not.
    pub warnings: Vec<String>,
    /// Facts from the header of a safetensors file.
    pub metadata: Metadata,
}

/// Arranges the tensors of a state dict as a network's parameters. Tensors that the network has not are left out.
///
/// # Errors
/// [`Error::Input`] listing tensors that are missing or of another shape.
pub fn fit(state: &StateDict, network: &Network, device: &Device) -> Result<Parameters> {
    Ok(fit_with(state, network, device, FitOptions::default())?.parameters)
}

/// As [`fit`], with what was left out.
///
/// # Errors
/// As [`fit`]; with `strict` also for tensors that the network has not.
pub fn fit_with(
    state: &StateDict,
    network: &Network,
    device: &Device,
    options: FitOptions,
) -> Result<Fitted> {
    let expected = network.parameter_shapes();
    let (assigned, extra) = assign(state, &expected)?;
    let mut parameters = Parameters::new(device.clone());
    let (mut wrong, mut missing, mut integers) = (Vec::new(), Vec::new(), Vec::new());
    for ParameterShape { name, shape, role } in &expected {
        let Some(tensor) = assigned.get(name.as_str()).map(|key| &state[*key]) else {
            missing.push((name, shape));
            continue;
        };
        if tensor.dims() != shape {
            wrong.push(format!("{name}: shape {:?}, expected {shape:?}", tensor.dims()));
            continue;
        }
        if tensor.dtype().is_int() {
            integers.push(name.as_str());
        }
        parameters.insert(name, &tensor.to_dtype(DType::F32)?, *role)?;
    }
    let mut near = Vec::new();
    for (name, shape) in &missing {
        let nearest = nearest(name, shape, &extra, state);
        near.extend(nearest.clone());
        let found = nearest.map_or(String::new(), |near| format!("; the file has '{near}'"));
        wrong.push(format!("{name}: missing, expected shape {shape:?}{found}"));
    }
    if !wrong.is_empty() {
        let others = extra.iter().filter(|name| !near.contains(*name));
        wrong.extend(others.map(|name| format!("{name}: the model has no such tensor")));
        return Err(mismatch(network, wrong, &missing, &extra, options));
    }
    let mut warnings = Vec::new();
    if !extra.is_empty() {
        let list = extra.join(", ");
        if options.strict {
            return Err(Error::input_hint(
                format!("model {} has no tensors called {list}", network.name),
                "without --strict they are left out",
            ));
        }
        warnings.push(format!("model {} has no such tensors, they are left out: {list}", network.name));
    }
    if !integers.is_empty() {
        warnings.push(format!("integers are taken as weights as they are: {}", super::few(&integers)));
    }
    Ok(Fitted { parameters, notes: Vec::new(), warnings, metadata: Metadata::new() })
}

/// Which tensor of the file each parameter gets, and the tensors that are left.
fn assign<'s>(
    state: &'s StateDict,
    expected: &[ParameterShape],
) -> Result<(HashMap<String, &'s str>, Vec<String>)> {
    let is_expected: std::collections::HashSet<&str> =
        expected.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut assigned: HashMap<String, &str> = HashMap::new();
    let mut extra = Vec::new();
    for key in state.keys() {
        let exact = is_expected.contains(key.as_str()).then(|| key.clone());
        let target = exact
            .or_else(|| names::variants(key).into_iter().find(|name| is_expected.contains(name.as_str())));
        let Some(target) = target else {
            extra.push(key);
            continue;
        };
        if let Some(other) = assigned.insert(target.clone(), key) {
            return Err(Error::input_hint(
                format!("'{other}' and '{key}' are both '{target}' without their prefixes"),
                names::collision_hint(key, &target),
            ));
        }
    }
    // Levels, steps and codebooks that `ecqx quantize` writes beside a weight.
    let beside = |name: &str| {
        let weight = SIDE_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        weight.is_some_and(|weight| assigned.values().any(|key| *key == weight))
    };
    let is_extra = |name: &&&String| !is_batch_counter(name) && !beside(name);
    let extra = extra.iter().filter(is_extra).map(|name| name.to_string()).collect();
    Ok((assigned, extra))
}

/// A tensor of the file that is likely meant: of the same shape, with a similar name or the same ending.
fn nearest(name: &str, shape: &[usize], extra: &[String], state: &StateDict) -> Option<String> {
    let same_shape = extra.iter().filter(|other| state[*other].dims() == shape).map(String::as_str);
    let same_shape: Vec<&str> = same_shape.collect();
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    crate::error::closest(name, same_shape.iter().copied())
        .or_else(|| {
            let mut same_end = same_shape.iter().filter(|other| last(other) == last(name));
            same_end.next().copied().filter(|_| same_end.next().is_none())
        })
        .map(str::to_owned)
}

fn mismatch(
    network: &Network,
    wrong: Vec<String>,
    missing: &[(&String, &Vec<usize>)],
    extra: &[String],
    options: FitOptions,
) -> Error {
    let shown = if options.verbose { wrong.len() } else { SHOWN.min(wrong.len()) };
    let mut message = format!(
        "the weights do not fit model {} ({} tensors differ):\n  {}",
        network.name,
        wrong.len(),
        wrong[..shown].join("\n  ")
    );
    if shown < wrong.len() {
        message.push_str(&format!("\n  … and {} more (all with --verbose)", wrong.len() - shown));
    }
    Error::input_hint(message, hint(missing, extra))
}

/// The way out: a pattern for `--rename` where one explains what is missing.
fn hint(missing: &[(&String, &Vec<usize>)], extra: &[String]) -> String {
    if let Some((old, new)) = renaming(missing, extra) {
        return format!("do the names differ? try --rename '{old}*={new}*'");
    }
    "is it a checkpoint of another model, or for another number of classes?".into()
}

/// Beginnings of names, such that replacing one by the other gives all that is missing.
fn renaming(missing: &[(&String, &Vec<usize>)], extra: &[String]) -> Option<(String, String)> {
    let first = missing.first()?.0;
    // Where a name may begin after a replaced part: the whole name, or after each dot.
    let starts = std::iter::once(0).chain(first.match_indices('.').map(|(at, _)| at + 1));
    for start in starts {
        let (new, rest) = first.split_at(start);
        for other in extra.iter().filter(|other| other.ends_with(rest)) {
            let old = &other[..other.len() - rest.len()];
            let explains = |name: &str| {
                let renamed = name.strip_prefix(new).map(|rest| format!("{old}{rest}"));
                renamed.is_some_and(|renamed| extra.contains(&renamed))
            };
            let is_part = old.is_empty() || old.ends_with('.');
            if is_part && old != new && missing.iter().all(|(name, _)| explains(name)) {
                return Some((old.to_owned(), new.to_owned()));
            }
        }
    }
    None
}
