//! The methods by name. A new method is one file with its [`Method`] and one line in [`METHODS`].

use super::options::Scope;
use super::quantizer::Quantizer;
use crate::error::did_you_mean;
use crate::{Error, Result};
use serde_json::{Map, Value};

/// A parameter of a method, for validation, listings and documentation.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Name in YAML.
    pub name: &'static str,
    /// What it means, its default included.
    pub about: &'static str,
    /// Smallest and largest number, for numeric parameters.
    pub range: Option<(f64, f64)>,
}

/// Builds a quantizer for a scope of tensors from a method's own parameters.
pub type Build = fn(&'static Method, Scope, &Map<String, Value>) -> Result<Box<dyn Quantizer>>;

/// A method of the registry.
pub struct Method {
    /// Name in YAML and on the command line.
    pub name: &'static str,
    /// One line for listings.
    pub about: &'static str,
    /// Smallest and largest bit width; `None` for methods without one.
    pub bits: Option<(u32, u32)>,
    /// Whether the method works without a bit width although it takes one.
    pub bits_optional: bool,
    /// Whether it needs the relevance of weights.
    pub needs_relevance: bool,
    /// Its parameters besides the common ones.
    pub parameters: &'static [Parameter],
    /// Builds the quantizer from the scope and the method's own parameters.
    pub build: Build,
}

/// All methods.
pub static METHODS: &[&Method] = &[
    &super::ecqx::METHOD,
    &super::ecq::METHOD,
    &super::ec2t::METHOD,
    &super::uniform::METHOD,
    &super::lsq::METHOD,
    &super::ternary::METHOD,
    &super::magnitude::METHOD,
    &super::kmeans::METHOD,
];

impl Method {
    /// Checks a bit width against the method's range.
    pub fn check_bits(&self, bits: Option<u32>) -> Result<()> {
        match (self.bits, bits) {
            (None, None) => Ok(()),
            (None, Some(bits)) => {
                Err(Error::input(format!("method {} takes no bit width, found {bits}", self.name)))
            }
            (Some(_), None) if self.bits_optional => Ok(()),
            (Some((low, high)), None) => {
                Err(Error::input(format!("method {} needs a bit width from {low} to {high}", self.name)))
            }
            (Some((low, high)), Some(bits)) if (low..=high).contains(&bits) => Ok(()),
            (Some((low, high)), Some(bits)) => Err(Error::input(format!(
                "method {}: bits must be from {low} to {high}, found {bits}",
                self.name
            ))),
        }
    }
}

/// Names of all methods.
pub fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.name)
}

/// Finds a method.
///
/// # Errors
/// [`Error::Input`] with a suggestion for an unknown name.
pub fn method(name: &str) -> Result<&'static Method> {
    METHODS.iter().copied().find(|method| method.name == name).ok_or_else(|| Error::Input {
        message: format!("no quantizer is called '{name}'"),
        hint: did_you_mean(name, METHODS.iter().map(|method| method.name))
            .or_else(|| Some("`ecqx ls quantizers` lists them".into())),
    })
}

/// Builds a quantizer and the scope of tensors it applies to.
///
/// # Errors
/// [`Error::Input`] for an unknown method or parameter, or a value out of range.
pub fn build(
    name: &str,
    bits: Option<u32>,
    parameters: &Map<String, Value>,
) -> Result<(Box<dyn Quantizer>, Scope)> {
    let method = method(name)?;
    method.check_bits(bits)?;
    let mut own = parameters.clone();
    let scope = Scope::take(method, bits, &mut own)?;
    let quantizer = (method.build)(method, scope.clone(), &own)?;
    Ok((quantizer, scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mistake in a method's entry is the user's, and the message names the method, the parameter and the way out.
    #[test]
    fn mistakes_are_explained() {
        let build = |name: &str, bits, json: &str| build(name, bits, &serde_json::from_str(json).unwrap());
        let message = |result: Result<(Box<dyn Quantizer>, Scope)>| {
            let error = result.err().expect("must be refused");
            assert!(error.is_users());
            format!("{error} {}", error.hint().unwrap_or_default())
        };
        assert!(message(build("eqc", Some(4), "{}")).contains("'ecq'"));
        assert!(message(build("ecq", Some(4), r#"{"lamda": 0.1}"#)).contains("'lambda'"));
        assert!(message(build("ecq", Some(4), r#"{"lambda": -1}"#)).contains("lambda must be from 0 to"));
        assert!(message(build("ecq", Some(9), "{}")).contains("bits must be from 2 to 8"));
        assert!(message(build("ecq", None, "{}")).contains("needs a bit width"));
        assert!(message(build("ecq", Some(4), r#"{"exclude": "conv1"}"#)).contains("exclude must be a list"));
    }
}
