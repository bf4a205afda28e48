//! Relevance of weights: what the ECQx quantizer weighs its zeros by. One file per measure and one line in [`MEASURES`].

mod gradient;
pub mod lrp;
mod magnitude;
mod random;

use crate::error::did_you_mean_or_all;
use crate::nn::{Network, Parameters};
use crate::quant::Profile;
use crate::quant::quantizer::Relevances;
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::{Map, Value};

/// Something that says how much each weight matters for a batch.
pub trait RelevanceMeasure: Send {
    /// Signed relevance of every parameter with role `Weight`, for the whole batch. `inputs` is (batch, …),
    /// `targets` the true classes; the network runs in evaluation mode.
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Relevances>;

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
    /// Whether it has settings, as in `{lrp: {composite: …}}`.
    pub has_settings: bool,
    build: fn(&Value, Context) -> Result<Box<dyn RelevanceMeasure>>,
}

const fn plain(
    name: &'static str,
    about: &'static str,
    build: fn(&Value, Context) -> Result<Box<dyn RelevanceMeasure>>,
) -> Measure {
    Measure { name, about, has_settings: false, build }
}

/// All measures; the first is the default.
pub const MEASURES: &[Measure] = &[
    Measure {
        name: "lrp",
        about: "layer-wise relevance propagation (the paper's); takes composite, canonizer, residual, start, …",
        has_settings: true,
        build: |settings, context| {
            Ok(Box::new(lrp::Propagation(lrp::Settings::parse(settings, context.profile)?)))
        },
    },
    plain("taylor", "weight × gradient of the loss", |_, _| Ok(Box::new(gradient::Taylor))),
    plain("fisher", "squared gradient of the batch's mean loss", |_, _| Ok(Box::new(gradient::Fisher))),
    plain("magnitude", "|weight|", |_, _| Ok(Box::new(magnitude::Magnitude))),
    plain("random", "uniform random numbers, as a control", |_, context| {
        Ok(Box::new(random::Random { seed: context.seed, batches: 0 }))
    }),
    plain("uniform", "1 for every weight, as a control", |_, _| Ok(Box::new(random::Uniform))),
];

/// Builds the measure that an experiment's `relevance:` entry names: a name, or `{name: settings}`; relevance
/// propagation where there is none.
///
/// # Errors
/// [`Error::Input`] for an unknown measure or setting.
pub fn build(spec: Option<&Value>, context: Context) -> Result<Box<dyn RelevanceMeasure>> {
    let none = Value::Object(Map::new());
    let (name, settings) = match spec {
        None => (MEASURES[0].name, &none),
        Some(Value::String(name)) => (name.as_str(), &none),
        Some(Value::Object(map)) if map.len() == 1 => {
            // The guard proves that there is one entry.
            map.iter().next().map_or(("", &none), |(name, settings)| (name.as_str(), settings))
        }
        Some(other) => {
            return Err(Error::input_hint(
                format!("relevance: expected a name or one name with its settings, found {other}"),
                "for example `relevance: lrp` or `relevance: {lrp: {composite: epsilon_plus}}`",
            ));
        }
    };
    let known = || MEASURES.iter().map(|measure| measure.name);
    let measure = MEASURES.iter().find(|measure| measure.name == name).ok_or_else(|| Error::Input {
        message: format!("no relevance measure is called '{name}'"),
        hint: Some(did_you_mean_or_all(name, known(), "there are")),
    })?;
    let is_empty = settings.is_null() || settings.as_object().is_some_and(Map::is_empty);
    if !measure.has_settings && !is_empty {
        return Err(Error::input(format!("relevance: {name} has no settings")));
    }
    (measure.build)(if settings.is_null() { &none } else { settings }, context)
}

/// A short name of a `relevance:` entry for tables: `lrp`, `lrp(epsilon_plus)`, `taylor`.
pub fn label(spec: Option<&Value>) -> String {
    let Some((name, settings)) = spec.and_then(Value::as_object).and_then(|map| map.iter().next()) else {
        return spec.and_then(Value::as_str).unwrap_or(MEASURES[0].name).to_owned();
    };
    let settings = settings.as_object().into_iter().flatten();
    let parts: Vec<String> = settings
        .map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("composite", Some(value)) => value.to_owned(),
            (_, Some(value)) => format!("{key}={value}"),
            _ => format!("{key}={value}"),
        })
        .collect();
    if parts.is_empty() { name.clone() } else { format!("{name}({})", parts.join(", ")) }
}
