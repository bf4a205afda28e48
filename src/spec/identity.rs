//! Ids: hashes of what decides a result, whatever the order and spelling in which it was written.

use crate::record::SCHEMA;
use serde_json::Value;

/// JSON with sorted keys and no spaces: equal for equal content.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let inner: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// 32 hex digits over the given parts.
pub(super) fn identity(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("ecqx run");
    hasher.update(&SCHEMA.to_le_bytes());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}
