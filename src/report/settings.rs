//! What a run was about, as reports compare it: its specification with every default written out, and the hashes by which
//! runs of one setting find each other.

use super::methods::Methods;
use crate::record::RunRecord;
use crate::spec::RunSpec;
use crate::spec::canonical;
use serde_json::{Value, json};
use std::borrow::Cow;

/// What identifies a run's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Hash of everything but the seeds: equal for the runs of one working point.
    pub configuration: String,
    /// Hash of everything: equal for runs that computed the same, as those of an earlier schema may have under two ids.
    pub run: String,
}

/// The specification with every default written out. Records have had it so since schema 2; that of an earlier one is
/// resolved where the registry can, else it stays as it is.
pub fn resolved<'a>(record: &'a RunRecord, methods: &Methods) -> Cow<'a, Value> {
    if is_resolved(&record.spec) || record.spec.get("quantizer").is_none() {
        return Cow::Borrowed(&record.spec);
    }
    let spec = serde_json::from_value::<RunSpec>(record.spec.clone()).ok();
    let resolved = spec.and_then(|spec| spec.resolve_first(methods.registry()).ok()?.json().ok());
    resolved.map_or(Cow::Borrowed(&record.spec), Cow::Owned)
}

/// Specifications name the revisions of the program once they are resolved.
fn is_resolved(spec: &Value) -> bool {
    spec.get("revisions").is_some_and(|revisions| !revisions.is_null())
}

/// What identifies the setting of `record`. `spec` is what [`resolved`] gave. The data set's digest stands for its settings
/// where the record has it.
pub fn setting(record: &RunRecord, spec: &Value) -> Setting {
    if let Some(given) = spec.get("configuration").and_then(Value::as_str) {
        return Setting { configuration: given.into(), run: record.id.clone() };
    }
    let with_data = |mut spec: Value| {
        let digest = record.provenance.dataset_digest.as_str();
        if let (Value::Object(map), false) = (&mut spec, digest.is_empty()) {
            map.insert("dataset".into(), digest.into());
        }
        spec
    };
    // What was not resolved keeps its label apart, which says what was written.
    let written = (!is_resolved(spec)).then(|| json!([record.label, record.lambda(), record.p()]));
    let hash = |spec: Value, seed: Option<u64>| {
        let key = json!([record.dataset, record.model, record.method, record.bits, written, spec, seed]);
        blake3::hash(canonical(&key).as_bytes()).to_hex()[..12].to_string()
    };
    Setting {
        configuration: hash(without_seeds(with_data(spec.clone())), None),
        run: hash(with_data(spec.clone()), Some(record.seed)),
    }
}

/// A specification without its seeds, the parameters `swept` and, where `bits` is false, the bit width.
pub fn spec_without(spec: &Value, swept: &[&str], bits: bool) -> Value {
    let mut spec = without_seeds(spec.clone());
    if let Some(Value::Object(quantizer)) = spec.get_mut("quantizer") {
        if !bits {
            quantizer.shift_remove("bits");
        }
        if let Some(Value::Object(parameters)) = quantizer.get_mut("parameters") {
            parameters.retain(|name, _| !swept.contains(&name.as_str()));
        }
    }
    spec
}

/// Without what runs of one working point may differ in.
fn without_seeds(mut value: Value) -> Value {
    strip_seeds(&mut value);
    value
}

fn strip_seeds(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["seed", "seeds", "baseline_id", "id", "experiment", "description", "figures"] {
                map.shift_remove(key);
            }
            map.values_mut().for_each(strip_seeds);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_seeds),
        _ => {}
    }
}
