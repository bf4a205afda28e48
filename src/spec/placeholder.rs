//! Placeholders in the path of a run's checkpoint.

use crate::registry::shown;
use crate::{Error, Result};
use serde_json::Value;

/// The path with `{bits}`, `{seed}` and every key of `options` replaced by their values.
///
/// # Errors
/// [`Error::Input`] naming a placeholder without a value, and what there is.
pub(super) fn fill(pattern: &str, bits: Option<u32>, seed: u64, options: Option<&Value>) -> Result<String> {
    let value = |key: &str| match key {
        "bits" => bits.map(|bits| bits.to_string()),
        "seed" => Some(seed.to_string()),
        key => options?.get(key).map(shown),
    };
    let (mut path, mut rest) = (String::new(), pattern);
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').ok_or_else(|| {
            Error::input_hint(
                format!("weights: '{pattern}' has a '{{' without '}}'"),
                "such as runs/w{bits}_s{seed}.pt",
            )
        })?;
        let value = value(key).ok_or_else(|| {
            let hint = match key {
                "bits" => "give 'bits: [2, 4]' in this entry".into(),
                key => format!("placeholders are {{bits}}, {{seed}} and the keys of 'options': give 'options: {{{key}: …}}'"),
            };
            Error::input_hint(format!("weights: nothing says what '{{{key}}}' stands for"), hint)
        })?;
        path += before;
        path += &value;
        rest = after;
    }
    Ok(path + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Values as people write them; what has none is named.
    #[test]
    fn placeholders() {
        let options = json!({"alpha": 0.5, "run": "a"});
        let fill = |pattern: &str, bits| fill(pattern, bits, 7, Some(&options));
        assert_eq!(fill("{run}/w{bits}_s{seed}_{alpha}.pt", Some(4)).unwrap(), "a/w4_s7_0.5.pt");
        assert_eq!(fill("plain.pt", None).unwrap(), "plain.pt");
        assert!(fill("w{bits}.pt", None).unwrap_err().hint().unwrap().contains("bits: [2, 4]"));
        assert!(fill("{beta}.pt", None).unwrap_err().to_string().contains("'{beta}'"));
        assert!(fill("{run.pt", None).unwrap_err().to_string().contains("without '}'"));
    }
}
