//! Relevance of weights: what the ECQx quantizer weighs its zeros by. One file per measure and one line in [`builtin`].

mod gradient;
pub mod lrp;
mod magnitude;
mod random;

use crate::nn::{Network, Parameters};
use crate::quant::Profile;
use crate::quant::quantizer::Relevances;
use crate::registry::{Catalogue, Named, shown};
use crate::{Error, Result};
use candle_core::Tensor;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

/// [`Relevances`] that stay on the device: signed relevance by parameter name, in the parameter's shape.
pub type RelevanceTensors = IndexMap<String, Tensor>;

/// Something that says how much each weight matters for a batch.
pub trait RelevanceMeasure: Send {
    /// Signed relevance of every parameter with role `Weight`, for the whole batch. `inputs` is (batch, …),
    /// `targets` the true classes or labels ([`ops::Targets`](crate::nn::ops::Targets)); the network runs in evaluation mode.
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Relevances>;

    /// As [`relevance`](Self::relevance) without leaving the device; `None` for a measure that computes on the host.
    fn relevance_tensors(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Option<RelevanceTensors>> {
        let _ = (network, parameters, inputs, targets);
        Ok(None)
    }

    /// What a measure remembers between batches, for checkpoints; most remember nothing.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Restores what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::Input`] when it is not this measure's state.
    fn restore(&mut self, state: &Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// What a measure may depend on besides its own settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// Profile of the method that uses the relevance.
    pub profile: Profile,
    /// Seed of the run.
    pub seed: u64,
}

/// A measure of the registry.
pub struct Measure {
    /// Name in YAML.
    pub name: &'static str,
    /// One line for listings.
    pub about: &'static str,
    /// Its settings with every default written out, in one form, from those of an experiment (an object, possibly empty):
    /// settings that mean the same come out equal. `None` for measures without settings.
    pub resolve: Option<fn(&Value, Profile) -> Result<Value>>,
    /// Builds it from resolved settings.
    pub build: fn(&Value, Context) -> Result<Box<dyn RelevanceMeasure>>,
}

impl Measure {
    fn resolved(&self, settings: &Value, profile: Profile) -> Result<Value> {
        match self.resolve {
            Some(resolve) => resolve(settings, profile),
            None if settings.as_object().is_some_and(Map::is_empty) => Ok(settings.clone()),
            None => Err(Error::input(format!("relevance: {} has no settings", self.name))),
        }
    }
}

impl Named for Measure {
    fn name(&self) -> &str {
        self.name
    }
}

const fn plain(
    name: &'static str,
    about: &'static str,
    build: fn(&Value, Context) -> Result<Box<dyn RelevanceMeasure>>,
) -> Measure {
    Measure { name, about, resolve: None, build }
}

static LRP: Measure = Measure {
    name: "lrp",
    about: "layer-wise relevance propagation (the paper's); takes composite, canonizer, residual, start, …",
    resolve: Some(lrp::Settings::write_out),
    build: |settings, context| {
        Ok(Box::new(lrp::Propagation(lrp::Settings::parse(settings, context.profile)?)))
    },
};
static TAYLOR: Measure =
    plain("taylor", "weight × gradient of the loss", |_, _| Ok(Box::new(gradient::Taylor)));
static FISHER: Measure =
    plain("fisher", "squared gradient of the batch's mean loss", |_, _| Ok(Box::new(gradient::Fisher)));
static MAGNITUDE: Measure = plain("magnitude", "|weight|", |_, _| Ok(Box::new(magnitude::Magnitude)));
static RANDOM: Measure = plain("random", "uniform random numbers, as a control", |_, context| {
    Ok(Box::new(random::Random { seed: context.seed, batches: 0 }))
});
static UNIFORM: Measure =
    plain("uniform", "1 for every weight, as a control", |_, _| Ok(Box::new(random::Uniform)));

/// Measures by name.
pub type Measures = Catalogue<Measure>;

/// The built-in measures; the first is the default.
pub fn builtin() -> Measures {
    Catalogue::new(
        "relevance measure",
        "ecqx ls measures",
        &[&LRP, &TAYLOR, &FISHER, &MAGNITUDE, &RANDOM, &UNIFORM],
    )
}

/// Name and settings of a `relevance:` entry: a name, or `{name: settings}`; relevance propagation where there is none.
fn entry(spec: Option<&Value>) -> Result<(&str, Value)> {
    let none = || Value::Object(Map::new());
    match spec {
        None | Some(Value::Null) => Ok((LRP.name, none())),
        Some(Value::String(name)) => Ok((name.as_str(), none())),
        Some(Value::Object(map)) if map.len() == 1 => {
            let (name, settings) =
                map.iter().next().map_or((LRP.name, &Value::Null), |(n, s)| (n.as_str(), s));
            Ok((name, if settings.is_null() { none() } else { settings.clone() }))
        }
        Some(other) => Err(Error::input_hint(
            format!("relevance: expected a name or one name with its settings, found {other}"),
            "for example `relevance: lrp` or `relevance: {lrp: {composite: epsilon_plus}}`",
        )),
    }
}

/// A `relevance:` entry with every default written out: `{name: settings}`.
///
/// # Errors
/// [`Error::Input`] for an unknown measure or setting.
pub fn resolve(measures: &Measures, spec: Option<&Value>, profile: Profile) -> Result<Value> {
    let (name, settings) = entry(spec)?;
    let measure = measures.find(name)?;
    let settings = measure.resolved(&settings, profile)?;
    Ok(Value::Object(Map::from_iter([(measure.name.to_owned(), settings)])))
}

/// Builds the measure that an experiment's `relevance:` entry names.
///
/// # Errors
/// [`Error::Input`] for an unknown measure or setting.
pub fn build(
    measures: &Measures,
    spec: Option<&Value>,
    context: Context,
) -> Result<Box<dyn RelevanceMeasure>> {
    let (name, settings) = entry(spec)?;
    let measure = measures.find(name)?;
    (measure.build)(&measure.resolved(&settings, context.profile)?, context)
}

/// A short name of a `relevance:` entry for tables: `lrp`, `lrp(epsilon_plus)`, `taylor`. Settings that are the default are
/// left out where the entry is resolved.
pub fn label(spec: Option<&Value>) -> String {
    let Ok((name, settings)) = entry(spec) else { return spec.map(Value::to_string).unwrap_or_default() };
    let profile = settings.get("profile").and_then(|value| Profile::deserialize(value).ok());
    let profile = profile.unwrap_or_default();
    let preset = lrp::Settings::write_out(&Value::Object(Map::new()), profile).unwrap_or_default();
    let is_preset = |key: &str, value: &Value| {
        name == LRP.name
            && (preset.get(key) == Some(value) && (key != "profile" || profile == Profile::Default))
    };
    let parts: Vec<String> = settings
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| !is_preset(key, value))
        .map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("composite", Some(value)) => value.to_owned(),
            _ => format!("{key}={}", shown(value)),
        })
        .collect();
    if parts.is_empty() { name.to_owned() } else { format!("{name}({})", parts.join(", ")) }
}
