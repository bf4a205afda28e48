//! What an experiment or the command line says about relevance propagation, checked.

use super::composite::{Composite, DEFAULT, Functional};
use super::rule::Rule;
use crate::nn::{Network, Operation, ops::ConvAlgorithm};
use crate::quant::Profile;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which layers are rewritten before relevance is propagated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canonizer {
    /// A batch norm right behind a convolution or linear layer becomes `scale · x + shift`, and sums of residual blocks
    /// are layers.
    #[default]
    Resnet,
    /// Batch norms only.
    Vgg,
    /// Nothing is rewritten.
    None,
}

/// How a sum hands relevance to its summands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residual {
    /// By their share in the sum: relevance is conserved.
    Split,
    /// Each gets all of it (the reference, where no canonizer knows the block).
    Duplicate,
}

/// How a product of a signal and a gate hands relevance to its factors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// Half to each (Achtibat et al. 2024): weights behind the gate have relevance too.
    #[default]
    Uniform,
    /// All to the signal, the first input (Arras et al. 2017).
    Signal,
}

/// Where relevance starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the true class's logit, or those of all labels a sample has.
    #[default]
    Logit,
    /// At its probability: softmax, of labels sigmoid.
    Probability,
    /// At 1 (0 where the logit is 0).
    Ones,
}

/// Relevance propagation as configured; what is open is decided per network by `Settings::resolve`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rules by layer.
    pub composite: Composite,
    /// What is rewritten first.
    pub canonizer: Canonizer,
    /// Sums; open: `split`, under the reference's profile what the reference does on this network.
    pub residual: Option<Residual>,
    /// Activations and pooling; open: `ruled`, under the reference's profile what the reference does on this network.
    pub functional: Option<Functional>,
    /// Products; open: `uniform`.
    pub product: Option<Product>,
    /// Where relevance starts.
    pub start: Start,
    /// The rule for the relevance of weights.
    pub weight_rule: Rule,
    /// ε of the stabilised denominators.
    pub epsilon: f32,
    /// Bounds of the input for the rule `zbox`; open: smallest and largest value of the batch.
    pub bounds: Option<(f32, f32)>,
    /// Of convolutions: `auto` may use the Winograd algorithm, which is faster; by default `direct` under the reference's
    /// profile.
    pub algorithm: ConvAlgorithm,
    /// Ours or the reference's defaults.
    pub profile: Profile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    composite: Option<Value>,
    #[serde(default)]
    canonizer: Canonizer,
    residual: Option<Residual>,
    functional: Option<Functional>,
    product: Option<Product>,
    #[serde(default)]
    start: Start,
    weight_rule: Option<Value>,
    epsilon: Option<f32>,
    low: Option<f32>,
    high: Option<f32>,
    #[serde(alias = "accuracy")]
    algorithm: Option<ConvAlgorithm>,
    profile: Option<Profile>,
}

impl Settings {
    /// Reads `{composite: …, canonizer: …, residual: …, functional: …, product: …, start: …, weight_rule: …, epsilon: …, low: …,
    /// high: …, algorithm: …, profile: …}`, all optional; `profile` is used where the map names none.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub fn parse(value: &Value, profile: Profile) -> Result<Self> {
        let raw: Raw = crate::io::yaml::from_value(value, "relevance: lrp")?;
        let bounds = match (raw.low, raw.high) {
            (None, None) => None,
            (Some(low), Some(high)) if low < high => Some((low, high)),
            _ => return Err(Error::input("relevance: lrp: 'low' and 'high' go together, low below high")),
        };
        let epsilon = raw.epsilon.unwrap_or(1e-6);
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(Error::input(format!("relevance: lrp: epsilon must be positive, found {epsilon}")));
        }
        let weight_rule = raw.weight_rule.as_ref().map_or(Ok(Rule::Epsilon), Rule::parse)?;
        if matches!(weight_rule, Rule::Norm | Rule::Pass | Rule::Gradient | Rule::ZBox) {
            return Err(Error::input_hint(
                "relevance: lrp: this rule gives weights no relevance",
                "weight_rule: epsilon, gamma, zplus, alphabeta, flat, wsquare, gamma_adapt or gamma_bn_conv",
            ));
        }
        let profile = raw.profile.unwrap_or(profile);
        Ok(Self {
            composite: raw.composite.as_ref().map_or_else(|| Composite::named(DEFAULT), Composite::parse)?,
            canonizer: raw.canonizer,
            residual: raw.residual,
            functional: raw.functional,
            product: raw.product,
            start: raw.start,
            weight_rule,
            epsilon,
            bounds,
            algorithm: raw.algorithm.unwrap_or(match profile {
                Profile::Default => ConvAlgorithm::Auto,
                Profile::Reference => ConvAlgorithm::Direct,
            }),
            profile,
        })
    }

    /// The entry with every default written out, in one form: entries that mean the same come out equal. What a network
    /// decides (`residual`, `functional`) stays open.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn write_out(value: &Value, profile: Profile) -> Result<Value> {
        let settings = Self::parse(value, profile)?;
        let given = |key: &str| value.get(key).filter(|value| !value.is_null()).map(in_one_form);
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(key.into(), value);
            }
        };
        put("composite", given("composite").or_else(|| Some(DEFAULT.into())));
        put("canonizer", Some(word(settings.canonizer)));
        put("residual", settings.residual.map(word));
        put("functional", settings.functional.map(word));
        put("product", settings.product.map(word));
        put("start", Some(word(settings.start)));
        put("weight_rule", given("weight_rule").or_else(|| Some("epsilon".into())));
        put("epsilon", given("epsilon").or_else(|| Some(1e-6.into())));
        put("low", given("low"));
        put("high", given("high"));
        put("algorithm", Some(word(settings.algorithm)));
        // Without anything left for it to decide the preset means nothing.
        if settings.residual.is_none() || settings.functional.is_none() {
            put("profile", Some(word(settings.profile)));
        }
        Ok(Value::Object(map))
    }

    /// What sums and functional operations of `network` do.
    pub(super) fn resolve(&self, network: &Network) -> (Residual, Functional) {
        // The CIFAR ResNet is known by its parameter-free shortcuts: the reference has no sum layers there, and its
        // activations and pooling are functions.
        let cifar = network.layers().iter().any(|l| matches!(l.operation, Operation::Shortcut { .. }));
        let (residual, functional) = match self.profile {
            Profile::Reference if cifar => (Residual::Duplicate, Functional::Gradient),
            Profile::Reference if self.canonizer != Canonizer::Resnet => {
                (Residual::Duplicate, Functional::Ruled)
            }
            _ => (Residual::Split, Functional::Ruled),
        };
        (self.residual.unwrap_or(residual), self.functional.unwrap_or(functional))
    }
}

/// A choice as it stands in YAML.
fn word(choice: impl Serialize) -> Value {
    // Choices are plain words, which always serialise.
    serde_json::to_value(choice).unwrap_or_default()
}

/// A value whose numbers are all floats and whose keys are sorted.
fn in_one_form(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |number| (number + 0.0).into()),
        Value::Array(items) => items.iter().map(in_one_form).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> =
                map.iter().map(|(key, value)| (key.clone(), in_one_form(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect())
        }
        other => other.clone(),
    }
}
