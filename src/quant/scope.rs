//! Which tensors a method quantizes, and with how many bits: the options that all methods share.

use super::allocation::{BUDGET_OPTIONS, Budget};
use crate::registry;
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
use serde_json::{Map, Value};

/// Name patterns that stay in full precision when an experiment names none, as in the reference.
pub const DEFAULT_EXCLUDED: [&str; 2] = ["*aux_classifier*", "*downsample*"];
/// Options that every method takes besides its own. Those of a budget are left out where there is none.
pub const COMMON: [&str; 6] =
    ["exclude", "exclude_ends", "layer_bits", BUDGET_OPTIONS[0], BUDGET_OPTIONS[1], BUDGET_OPTIONS[2]];

/// Bit widths of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// It has none.
    None,
    /// It needs one in this range.
    Required(u32, u32),
    /// It takes one in this range and works without.
    Optional(u32, u32),
}

impl Bits {
    /// The smallest and the largest; `None` for methods without.
    pub fn range(self) -> Option<(u32, u32)> {
        match self {
            Self::None => None,
            Self::Required(low, high) | Self::Optional(low, high) => Some((low, high)),
        }
    }

    /// Whether the method works without one.
    pub fn is_optional(self) -> bool {
        !matches!(self, Self::Required(..))
    }

    /// Checks a bit width.
    ///
    /// # Errors
    /// [`Error::Input`] for one that is missing, not taken or out of range; `method` is the method's name.
    pub fn check(self, method: &str, bits: Option<u32>) -> Result<()> {
        match (self.range(), bits) {
            (None, Some(bits)) => {
                Err(Error::input(format!("method {method} takes no bit width, found {bits}")))
            }
            (Some((low, high)), Some(bits)) if !(low..=high).contains(&bits) => {
                Err(Error::input(format!("method {method}: bits must be from {low} to {high}, found {bits}")))
            }
            (Some((low, high)), None) if !self.is_optional() => {
                Err(Error::input(format!("method {method} needs a bit width from {low} to {high}")))
            }
            _ => Ok(()),
        }
    }
}

/// Which tensors are quantized, and with how many bits.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    excluded: Vec<GlobMatcher>,
    exclude_ends: bool,
    bits: Option<u32>,
    overrides: Vec<(GlobMatcher, u32)>,
}

/// The common options of `all` written out, in one form: `exclude` (a sorted list of name patterns), `exclude_ends`
/// (whether the first and the last layer stay in full precision), `layer_bits` (a list of pairs of pattern and bits, of
/// which the last match counts) and, where there is one, the budget that decides the bits instead.
///
/// # Errors
/// [`Error::Input`] for an invalid pattern or bits out of range.
pub(super) fn resolve_common(
    method: &str,
    range: Bits,
    all: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    let given = |key: &str| all.get(key);
    let wrong = |key: &str, what: &str, found: &Value| {
        Error::input(format!("method {method}: {key} must be {what}, found {}", registry::found(found)))
    };
    let mut excluded: Vec<String> = match given("exclude") {
        None => DEFAULT_EXCLUDED.map(str::to_owned).into(),
        Some(value) => words(value).ok_or_else(|| wrong("exclude", "a list of name patterns", value))?,
    };
    excluded.sort();
    excluded.dedup();
    for text in &excluded {
        pattern(method, text)?;
    }
    let ends = match given("exclude_ends") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| wrong("exclude_ends", "true or false", value))?,
    };
    let mut overrides = Vec::new();
    if let Some(value) = given("layer_bits") {
        let wrong = || wrong("layer_bits", "a mapping from name pattern to bits", value);
        for (text, value) in pairs(value).ok_or_else(wrong)? {
            let bits = value.as_u64().and_then(|bits| u32::try_from(bits).ok()).ok_or_else(wrong)?;
            range.check(method, Some(bits))?;
            pattern(method, &text)?;
            overrides.push(Value::from(vec![Value::from(text), bits.into()]));
        }
    }
    let mut resolved = Map::from_iter([
        ("exclude".to_owned(), Value::from(excluded)),
        ("exclude_ends".to_owned(), Value::from(ends)),
        ("layer_bits".to_owned(), Value::from(overrides)),
    ]);
    let budget = Budget::write_out(&format!("method {method}"), all)?;
    if !budget.is_empty() && range == Bits::None {
        return Err(Error::input(format!(
            "method {method} takes no bit width: a budget has nothing to allocate"
        )));
    }
    resolved.extend(budget);
    Ok(resolved)
}

fn words(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The entries of a mapping, or of a list of pairs, in order.
fn pairs(value: &Value) -> Option<Vec<(String, Value)>> {
    match value {
        Value::Object(map) => Some(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        Value::Array(items) => {
            let pair = |item: &Value| match item.as_array()?.as_slice() {
                [key, value] => Some((key.as_str()?.to_owned(), value.clone())),
                _ => None,
            };
            items.iter().map(pair).collect()
        }
        _ => None,
    }
}

fn pattern(method: &str, text: &str) -> Result<GlobMatcher> {
    Glob::new(text)
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Error::input(format!("method {method}: invalid pattern '{text}': {}", error.kind())))
}

impl Scope {
    /// Reads the common options of a method's resolved parameters.
    ///
    /// # Errors
    /// As [`resolve_common`], for parameters that were not resolved.
    pub(super) fn new(method: &str, bits: Option<u32>, resolved: &Map<String, Value>) -> Result<Self> {
        let common = resolve_common(method, Bits::Optional(1, 32), resolved)?;
        let list = |key: &str| common.get(key).and_then(Value::as_array).into_iter().flatten();
        let excluded = list("exclude").filter_map(Value::as_str).map(|text| pattern(method, text));
        let overrides = list("layer_bits")
            .filter_map(|pair| Some((pair.get(0)?.as_str()?, u32::try_from(pair.get(1)?.as_u64()?).ok()?)));
        Ok(Self {
            excluded: excluded.collect::<Result<_>>()?,
            exclude_ends: common.get("exclude_ends").and_then(Value::as_bool).unwrap_or(false),
            bits,
            overrides: overrides
                .map(|(text, bits)| Ok((pattern(method, text)?, bits)))
                .collect::<Result<_>>()?,
        })
    }

    /// What to warn of: patterns of the user's that fit none of the weights.
    pub fn warnings<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names: Vec<&str> = names.collect();
        let is_own = |pattern: &&GlobMatcher| !DEFAULT_EXCLUDED.contains(&pattern.glob().glob());
        let excluded = self.excluded.iter().filter(is_own).map(|pattern| ("exclude", pattern));
        let overrides = self.overrides.iter().map(|(pattern, _)| ("layer_bits", pattern));
        excluded
            .chain(overrides)
            .filter(|(_, pattern)| !names.iter().any(|name| pattern.is_match(name)))
            .map(|(key, pattern)| format!("{key}: no weight matches '{}'", pattern.glob()))
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
    ///
    /// # Errors
    /// [`Error::Input`] when there is none.
    pub fn required_bits(&self, name: &str) -> Result<u32> {
        self.bits(name).ok_or_else(|| Error::input(format!("no bit width is given for {name}")))
    }
}
