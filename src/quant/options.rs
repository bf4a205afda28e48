//! Options shared by all methods, and how a method reads its own.

use super::registry::Method;
use crate::error::{did_you_mean_or_all, out_of_range};
use crate::nn::kernels::elementwise::vectorised;
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Name patterns that stay in full precision when an experiment names none, as in the reference.
pub const DEFAULT_EXCLUDED: [&str; 2] = ["*downsample*", "*aux_classifier*"];
/// Options that every method takes besides its own.
pub const COMMON: [&str; 3] = ["exclude", "exclude_ends", "layer_bits"];

/// How the gradient of quantized weights reaches their background copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SteScale {
    /// As it is (straight-through).
    None,
    /// Times the magnitude of the level in use; as it is on zero.
    CentroidAbs,
    /// Times the signed value of the level in use (the reference); as it is on zero.
    CentroidSigned,
}

impl SteScale {
    /// Scales one gradient by the value of its weight's level.
    #[inline]
    pub fn apply(self, gradient: f32, level: f32) -> f32 {
        let scaled = match self {
            Self::None => gradient,
            Self::CentroidAbs => gradient * level.abs(),
            Self::CentroidSigned => gradient * level,
        };
        if level == 0.0 { gradient } else { scaled }
    }

    /// [`apply`](Self::apply) for gradients and codebook positions of one length.
    pub fn apply_with(self, gradient: &mut [f32], positions: &[u8], level: impl Fn(u8) -> f32) {
        let pairs = gradient.iter_mut().zip(positions);
        // One loop for each choice, each without branches.
        match self {
            Self::None => {}
            Self::CentroidAbs => vectorised(|| {
                pairs.for_each(|(gradient, &at)| *gradient = Self::CentroidAbs.apply(*gradient, level(at)));
            }),
            Self::CentroidSigned => vectorised(|| {
                pairs
                    .for_each(|(gradient, &at)| *gradient = Self::CentroidSigned.apply(*gradient, level(at)));
            }),
        }
    }
}

/// Whose choices stand where an experiment makes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Ours (`docs/methods.md` says why).
    #[default]
    Default,
    /// The reference implementation's.
    Reference,
}

/// The profile that a method's parameters name; ours where they name none.
pub fn profile(parameters: &Map<String, Value>) -> Profile {
    parameters.get("profile").and_then(|value| Profile::deserialize(value).ok()).unwrap_or_default()
}

/// Which tensors are quantized, and with how many bits.
#[derive(Clone, Debug)]
pub struct Scope {
    excluded: Vec<GlobMatcher>,
    /// Whether the user named them.
    own_exclusions: bool,
    exclude_ends: bool,
    bits: Option<u32>,
    overrides: Vec<(GlobMatcher, u32)>,
}

impl Scope {
    /// Takes `exclude` (list of name patterns), `exclude_ends` (whether the first and the last layer stay in full
    /// precision) and `layer_bits` (pattern → bits) out of a method's parameters.
    ///
    /// # Errors
    /// [`Error::Input`] for a pattern that is none or bits out of range.
    pub fn take(method: &Method, bits: Option<u32>, parameters: &mut Map<String, Value>) -> Result<Self> {
        let pattern = |text: &str| {
            Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| {
                Error::input(format!("method {}: invalid pattern '{text}': {}", method.name, error.kind()))
            })
        };
        let wrong =
            |key: &str, what: &str| Error::input(format!("method {}: {key} must be {what}", method.name));
        let own_exclusions = parameters.contains_key("exclude");
        let excluded = match parameters.remove("exclude") {
            None => DEFAULT_EXCLUDED.iter().map(|text| pattern(text)).collect::<Result<_>>()?,
            Some(value) => {
                let list: Vec<String> =
                    serde_json::from_value(value).map_err(|_| wrong("exclude", "a list of name patterns"))?;
                list.iter().map(|text| pattern(text)).collect::<Result<_>>()?
            }
        };
        let exclude_ends = match parameters.remove("exclude_ends") {
            None => false,
            Some(value) => value.as_bool().ok_or_else(|| wrong("exclude_ends", "true or false"))?,
        };
        let mut overrides = Vec::new();
        if let Some(value) = parameters.remove("layer_bits") {
            let Value::Object(entries) = value else {
                return Err(wrong("layer_bits", "a mapping from name pattern to bits"));
            };
            for (text, value) in entries {
                let bits = value.as_u64().and_then(|bits| u32::try_from(bits).ok());
                let bits = bits.ok_or_else(|| wrong("layer_bits", "a mapping from name pattern to bits"))?;
                method.check_bits(Some(bits))?;
                overrides.push((pattern(&text)?, bits));
            }
        }
        Ok(Self { excluded, own_exclusions, exclude_ends, bits, overrides })
    }

    /// What to warn of: patterns of the user's that fit none of the weights.
    pub fn warnings<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names: Vec<&str> = names.collect();
        let excluded =
            self.excluded.iter().filter(|_| self.own_exclusions).map(|pattern| ("exclude", pattern));
        let overrides = self.overrides.iter().map(|(pattern, _)| ("layer_bits", pattern));
        excluded
            .chain(overrides)
            .filter(|(_, pattern)| !names.iter().any(|name| pattern.is_match(name)))
            .map(|(key, pattern)| format!("{key}: no weight is called '{}'", pattern.glob()))
            .collect()
    }

    /// Of all weights in layer order those that are quantized.
    pub fn select<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names: Vec<&str> = names.collect();
        let ends = [names.first().copied(), names.last().copied()];
        let kept = names.iter().filter(|name| {
            let at_end = self.exclude_ends && ends.contains(&Some(**name));
            !at_end && !self.excluded.iter().any(|pattern| pattern.is_match(name))
        });
        kept.map(|name| (*name).to_owned()).collect()
    }

    /// Bit width of a tensor: the last pattern that matches, else the method's.
    pub fn bits(&self, name: &str) -> Option<u32> {
        let special =
            self.overrides.iter().rev().find(|(pattern, _)| pattern.is_match(name)).map(|(_, bits)| *bits);
        special.or(self.bits)
    }

    /// As [`bits`](Self::bits), for methods that cannot do without.
    pub fn required_bits(&self, name: &str) -> Result<u32> {
        self.bits(name).ok_or_else(|| Error::input(format!("no bit width is given for {name}")))
    }
}

/// Reads a method's own parameters into its settings.
///
/// # Errors
/// [`Error::Input`] naming method and parameter, with a suggestion for a misspelt one.
pub fn settings<T: DeserializeOwned>(method: &Method, parameters: &Map<String, Value>) -> Result<T> {
    let known: Vec<&str> = method.parameters.iter().map(|parameter| parameter.name).chain(COMMON).collect();
    if let Some(key) = parameters.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::Input {
            message: format!("method {} has no parameter '{key}'", method.name),
            hint: Some(did_you_mean_or_all(key, known.iter().copied(), "it has")),
        });
    }
    for parameter in method.parameters {
        if let (Some((low, high)), Some(value)) =
            (parameter.range, parameters.get(parameter.name).and_then(Value::as_f64))
            && let Some(what) = out_of_range(value, low, high)
        {
            return Err(Error::input(format!("method {}: {} {what}", method.name, parameter.name)));
        }
    }
    crate::io::yaml::from_value(&Value::Object(parameters.clone()), &format!("method {}", method.name))
}

/// A quantizer's state as JSON.
pub(super) fn to_state<T: Serialize>(state: &T) -> Result<Value> {
    serde_json::to_value(state).map_err(|error| Error::Internal(format!("quantizer state: {error}")))
}

/// A quantizer's state from JSON.
///
/// # Errors
/// [`Error::Input`] when it is not this method's state.
pub(super) fn from_state<T: DeserializeOwned>(state: &Value) -> Result<T> {
    T::deserialize(state).map_err(|error| Error::input(format!("saved quantizer state: {error}")))
}
