//! What runs are called in legends and progress lines.

use super::registry::Registry;
use crate::Result;
use crate::quant::{Method, Profile};
use crate::registry::{Kind, shown, symbol};
use crate::relevance;
use serde_json::{Map, Value};

/// Parameters that no result depends on: left out of ids and labels.
pub(super) const CHANGES_NOTHING: [&str; 1] = ["timeout_seconds"];

/// What a method is called in tables: a program or checkpoint of the user's by its own name.
pub fn name<'a>(method: &'a str, parameters: &'a Map<String, Value>) -> &'a str {
    parameters.get("label").and_then(Value::as_str).unwrap_or(method)
}

/// Method and bit width.
pub fn head(method: &str, bits: Option<u32>) -> String {
    match bits {
        Some(bits) => format!("{method} {bits} bit"),
        None => method.to_owned(),
    }
}

/// Method, bit width and what differs from the defaults, in the order of the method's parameters.
pub(super) fn label(
    method: &Method,
    bits: Option<u32>,
    parameters: &Map<String, Value>,
    relevance: Option<&Value>,
    registry: &Registry,
) -> Result<String> {
    let mut label = head(name(method.name, parameters), bits);
    let (profile, rest) = method.distinguishing(parameters);
    if profile == Profile::Reference {
        label += " profile=reference";
    }
    for (key, value) in rest {
        label += &match key.as_str() {
            key if CHANGES_NOTHING.contains(&key) => continue,
            key if matches!(method.kind(key), Some(Kind::Text | Kind::Command | Kind::Files)) => continue,
            key if method.kind(key) == Some(Kind::Options) => {
                let options = value.as_object().into_iter().flatten();
                options.map(|(key, value)| format!(" {key}={}", shown(value))).collect()
            }
            key => format!(" {}={}", symbol(key), shown(&value)),
        };
    }
    let named = method.named_measure(parameters).map(Value::from);
    if let Some(spec) = relevance
        && (method.runs_program()
            || *spec != relevance::resolve(&registry.measures, named.as_ref(), profile)?)
    {
        label += &format!(" relevance={}", relevance::label(Some(spec)));
    }
    Ok(label)
}
