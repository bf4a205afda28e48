//! The built-in methods. A new one is its file and its line here.

use super::method::Method;
use super::quantizer::Quantizer;
use super::scope::Scope;
use crate::Result;
use crate::registry::Catalogue;
use serde_json::{Map, Value};

/// The built-in methods, the paper's first.
pub fn builtin() -> Catalogue<Method> {
    let methods: &[&'static Method] = &[
        &super::ecqx::METHOD,
        &super::ecq::METHOD,
        &super::ec2t::METHOD,
        &super::uniform::METHOD,
        &super::lsq::METHOD,
        &super::ternary::METHOD,
        &super::magnitude::METHOD,
        &super::kmeans::METHOD,
        &super::checkpoint::METHOD,
        &super::optq::METHOD,
        &super::adaround::METHOD,
        &super::cerwu::METHOD,
        &super::nnc::METHOD,
        &super::epr::METHOD,
    ];
    Catalogue::new("quantizer", "ecqx ls quantizers", methods)
}

/// Builds a built-in method's quantizer and the scope of tensors it applies to.
///
/// ```
/// use ecqx::quant::quantizer::{StepInfo, WeightTensor};
/// let values: Vec<f32> = (-50..50).map(|i| i as f32 / 100.0).collect();
/// let weights = [WeightTensor { name: "fc.weight", shape: &[10, 10], values: &values }];
/// let parameters = serde_json::json!({"lambda": 0.1});
/// let (mut ecq, _) = ecqx::quant::build("ecq", Some(3), parameters.as_object().unwrap())?;
/// ecq.initialize(&weights)?;
/// let quantized = ecq.assign(&weights, None, StepInfo::POST_TRAINING)?;
/// let (zeros, count) = quantized[0].content.zeros_and_count();
/// assert!(zeros > 10 && count == 100);
/// # Ok::<(), ecqx::Error>(())
/// ```
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an unknown method or parameter, or a value out of range.
pub fn build(
    name: &str,
    bits: Option<u32>,
    parameters: &Map<String, Value>,
) -> Result<(Box<dyn Quantizer>, Scope)> {
    builtin().find(name)?.quantizer(bits, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parameters(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    /// Every mistake in a method's entry is the user's, and the message names the method, the parameter and the way out.
    #[test]
    fn mistakes_are_explained() {
        let message = |name: &str, bits, json: &str| {
            let error = build(name, bits, &parameters(json)).err().expect("must be refused");
            assert!(matches!(error, crate::Error::Input { .. }));
            format!("{error} {}", error.hint().unwrap_or_default())
        };
        assert!(message("eqc", Some(4), "{}").contains("'ecq'"));
        assert!(message("ecq", Some(4), r#"{"lamda": 0.1}"#).contains("'lambda'"));
        assert!(
            message("ecq", Some(4), r#"{"lambda": -1}"#).contains("lambda must be from 0 to 10, found -1")
        );
        assert!(message("ecq", Some(9), "{}").contains("bits must be from 2 to 8"));
        assert!(message("ecq", None, "{}").contains("needs a bit width"));
        assert!(message("ecq", Some(4), r#"{"exclude": "conv1"}"#).contains("exclude must be a list"));
        assert!(message("ecq", Some(4), r#"{"exclude": ["["]}"#).contains("invalid pattern '['"));
        assert!(message("ecq", Some(4), r#"{"layer_bits": {"a": 9}}"#).contains("bits must be from 2 to 8"));
        assert!(message("ecq", Some(4), r#"{"profile": "referense"}"#).contains("'reference'"));
        assert!(
            message("uniform", Some(4), r#"{"profile": "reference"}"#).contains("no parameter 'profile'")
        );
    }

    /// Every method's defaults fit its own ranges, resolving twice changes nothing, and it can be built from them.
    #[test]
    fn defaults_resolve_in_every_method() {
        for method in builtin().iter() {
            let resolved = method.resolve(&Map::new()).unwrap();
            assert_eq!(method.resolve(&resolved).unwrap(), resolved, "{}", method.name);
            assert_eq!(method.distinguishing(&resolved), (super::super::Profile::Default, Vec::new()));
            method.quantizer(method.bits.range().map(|(low, _)| low), &resolved).unwrap();
            if let Some(strength) = method.strength {
                assert!(method.parameters.iter().any(|parameter| parameter.name == strength));
            }
            assert!(method.revision > 0);
        }
    }

    /// Order, spelling and presets of parameters do not matter; the order of `layer_bits` does, since the last match
    /// counts.
    #[test]
    fn equal_settings_resolve_alike() {
        let methods = builtin();
        let ecqx = methods.find("ecqx").unwrap();
        let resolve = |json: &str| ecqx.resolve(&parameters(json)).unwrap();
        assert_eq!(resolve("{}"), resolve(r#"{"momentum": 1e-1, "band": "below", "exclude_ends": false}"#));
        assert_eq!(
            resolve(r#"{"profile": "reference"}"#),
            resolve(
                r#"{"pmf": "reference", "ste_scale": "centroid_signed", "keep_momentum": false,
                    "relevance_of": "stepped"}"#
            )
        );
        assert_ne!(
            resolve(r#"{"layer_bits": {"a*": 2, "*": 3}}"#),
            resolve(r#"{"layer_bits": {"*": 3, "a*": 2}}"#)
        );
        let (profile, rest) = ecqx.distinguishing(&resolve(r#"{"profile": "reference", "p": 0.2}"#));
        assert_eq!((profile, rest), (super::super::Profile::Reference, vec![("p".into(), json!(0.2))]));
    }
}
