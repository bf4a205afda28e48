//! A method's entry in the registry: what others need to know of it without knowing the method.

use super::allocation::BUDGET_OPTIONS;
use super::quantizer::Quantizer;
use super::scope::{Bits, COMMON, Scope, resolve_common};
use crate::error::suggestion;
use crate::registry::{Kind, Named, Parameter, differences, resolve};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Preset for the parameters that are not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Ours (`docs/methods.md` says why).
    #[default]
    Default,
    /// The reference implementation's.
    Reference,
}

/// The parameter by which a method offers both presets. It is resolved away: what it stands for is written out.
pub const PROFILE: Parameter = Parameter::word(
    "profile",
    "preset for the parameters that are not given",
    &["default", "reference"],
    "default",
);

/// The part that a method plays in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The paper's method: what reports compare the others with.
    Proposed,
    /// The paper's method without the part that is new.
    Ablation,
    /// Any other.
    Rival,
}

/// What a method is built from: which tensors, how many bits, and the values of its parameters.
pub struct Setup {
    /// The method's name, for messages.
    pub method: &'static str,
    /// Which tensors are quantized, and with how many bits.
    pub scope: Scope,
    /// The method's own parameters, all written out but those without a default.
    pub parameters: Map<String, Value>,
}

impl Setup {
    /// The method's own parameters as its settings.
    ///
    /// # Errors
    /// [`Error::Input`] naming method and parameter.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Value::Object(self.parameters.clone())).map_err(|error| Error::Input {
            hint: suggestion(&error.to_string(), &[]),
            message: format!("method {}: {error}", self.method),
        })
    }
}

/// A method of the registry.
///
/// ```
/// let methods = ecqx::quant::builtin();
/// let ecq = methods.find("ecq")?;
/// // What is left out is written out: these two are the same setting.
/// let short = serde_json::json!({});
/// let long = serde_json::json!({"lambda": 0.05, "pmf": "exact"});
/// let resolve = |given: &serde_json::Value| ecq.resolve(given.as_object().unwrap());
/// assert_eq!(resolve(&short)?, resolve(&long)?);
/// # Ok::<(), ecqx::Error>(())
/// ```
pub struct Method {
    /// Name in YAML and on the command line.
    pub name: &'static str,
    /// Name in tables and figures, such as `ECQx`.
    pub display: &'static str,
    /// One line for listings.
    pub about: &'static str,
    /// Bit widths.
    pub bits: Bits,
    /// Whether it needs the relevance of weights: `relevance:` is allowed then and `assign` gets it.
    pub needs_relevance: bool,
    /// Whether it looks at inputs of layers: `calibration_samples` is part of a run then, and its seed says which.
    pub needs_calibration: bool,
    /// Its parameters besides the common ones.
    pub parameters: &'static [Parameter],
    /// The parameter that trades accuracy for size.
    pub strength: Option<&'static str>,
    /// Its part in a comparison.
    pub role: Role,
    /// Raised whenever the method computes something else from the same settings: part of every run's id.
    pub revision: u32,
    /// Builds the quantizer.
    pub build: fn(Setup) -> Result<Box<dyn Quantizer>>,
}

impl Named for Method {
    fn name(&self) -> &str {
        self.name
    }
}

impl Method {
    /// Checks a bit width against the method's range.
    ///
    /// # Errors
    /// [`Error::Input`] for one that is missing, not taken or out of range.
    pub fn check_bits(&self, bits: Option<u32>) -> Result<()> {
        self.bits.check(self.name, bits)
    }

    /// Whether it is a program of the user's that decides: what it uses and how it is called is the experiment's to say.
    pub fn runs_program(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.kind == Kind::Command)
    }

    /// Whether a run's weights come from a checkpoint that the experiment names, and are only recognised here.
    pub fn reads_checkpoint(&self) -> bool {
        self.kind("weights") == Some(Kind::Text)
    }

    /// The kind of one of its own parameters.
    pub fn kind(&self, parameter: &str) -> Option<Kind> {
        self.parameters.iter().find(|known| known.name == parameter).map(|known| known.kind)
    }

    fn has_profiles(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == PROFILE.name)
    }

    /// As [`check_bits`](Self::check_bits) with the method's parameters: a budget stands for the bit width.
    ///
    /// # Errors
    /// [`Error::Input`] also for a bit width beside a budget.
    pub fn check_bits_or_budget(&self, bits: Option<u32>, parameters: &Map<String, Value>) -> Result<()> {
        let has_budget = BUDGET_OPTIONS.iter().any(|key| parameters.contains_key(*key));
        match (has_budget, bits) {
            (false, bits) => self.check_bits(bits),
            (true, _) if self.runs_program() => Err(Error::input_hint(
                format!("method {}: a budget cannot try every bit width of a program", self.name),
                "give 'layer_bits'",
            )),
            (true, None) => Ok(()),
            (true, Some(_)) => Err(Error::input_hint(
                format!("method {}: a budget and a bit width exclude each other", self.name),
                "leave the budget out, or write 'bits: auto'",
            )),
        }
    }

    /// The preset that `given` names; ours where it names none or the method has only one.
    pub fn profile(&self, given: &Map<String, Value>) -> Profile {
        let named = given.get(PROFILE.name).filter(|_| self.has_profiles());
        named.and_then(|value| Profile::deserialize(value).ok()).unwrap_or_default()
    }

    /// All parameters with their values: what `given` says, else the default of its preset; numbers in one form. Settings
    /// that mean the same come out equal. Resolving twice changes nothing.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown parameter, with a suggestion, or a value that does not fit.
    pub fn resolve(&self, given: &Map<String, Value>) -> Result<Map<String, Value>> {
        let subject = format!("method {}", self.name);
        if let Some(value) = given.get(PROFILE.name).filter(|_| self.has_profiles()) {
            PROFILE.normalise(&subject, value)?;
        }
        let reference = self.profile(given) == Profile::Reference;
        let mut resolved = resolve(&subject, self.parameters, &COMMON, given, reference)?;
        resolved.shift_remove(PROFILE.name);
        resolved.extend(resolve_common(self.name, self.bits, given)?);
        Ok(resolved)
    }

    /// The relevance measure that resolved parameters name, such as the criterion of pruning; most methods name none.
    pub fn named_measure<'a>(&self, resolved: &'a Map<String, Value>) -> Option<&'a str> {
        let chosen = |parameter: &Parameter| {
            resolved.get(parameter.name)?.as_str().filter(|word| parameter.measures.contains(word))
        };
        self.parameters.iter().find_map(chosen)
    }

    /// Whether `relevance:` may be given: it needs relevance, or one of its parameters can ask for it.
    pub fn may_need_relevance(&self) -> bool {
        self.needs_relevance || self.parameters.iter().any(|parameter| !parameter.measures.is_empty())
    }

    /// The preset from which `resolved` differs least, and what differs from it, in the order of the parameters.
    pub fn distinguishing(&self, resolved: &Map<String, Value>) -> (Profile, Vec<(String, Value)>) {
        let from = |profile: Profile| -> Vec<(String, Value)> {
            let name = serde_json::to_value(profile).unwrap_or_default();
            let preset = match self.has_profiles() {
                true => Map::from_iter([(PROFILE.name.to_owned(), name)]),
                false => Map::new(),
            };
            // A preset's own values fit its parameters.
            let defaults = self.resolve(&preset).unwrap_or_default();
            differences(resolved, &defaults).map(|(name, value)| (name.to_owned(), value.clone())).collect()
        };
        let ours = from(Profile::Default);
        if self.has_profiles() && !ours.is_empty() {
            let theirs = from(Profile::Reference);
            if theirs.len() < ours.len() {
                return (Profile::Reference, theirs);
            }
        }
        (Profile::Default, ours)
    }

    /// Builds a quantizer and the scope of tensors it applies to.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown parameter or a value out of range.
    pub fn quantizer(
        &self,
        bits: Option<u32>,
        parameters: &Map<String, Value>,
    ) -> Result<(Box<dyn Quantizer>, Scope)> {
        self.check_bits_or_budget(bits, parameters)?;
        let mut parameters = self.resolve(parameters)?;
        let scope = Scope::new(self.name, bits, &parameters)?;
        parameters.retain(|name, _| !COMMON.contains(&name.as_str()));
        // What stands for the time before a parameter existed is left out of ids, not of settings.
        for parameter in self.parameters.iter().filter(|parameter| parameter.original.is_some()) {
            if let (Some(value), false) = (parameter.default.value(), parameters.contains_key(parameter.name))
            {
                parameters.insert(parameter.name.into(), value);
            }
        }
        let setup = Setup { method: self.name, scope: scope.clone(), parameters };
        Ok(((self.build)(setup)?, scope))
    }
}
