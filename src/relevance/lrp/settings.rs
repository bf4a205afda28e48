//! What an experiment or the command line says about relevance propagation, checked.

use super::composite::{Composite, DEFAULT};
use super::rule::Rule;
use crate::nn::{Network, Operation, ops::Accuracy};
use crate::quant::Profile;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

/// Which layers are rewritten before relevance is propagated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Residual {
    /// By their share in the sum: relevance is conserved.
    Split,
    /// Each gets all of it (the reference, where no canonizer knows the block).
    Duplicate,
}

/// Where relevance starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the true class's logit.
    #[default]
    Logit,
    /// At its softmax probability.
    Probability,
    /// At 1 (0 where the logit is 0).
    Ones,
}

/// Whether activations and average pooling, which the CIFAR ResNet block writes as functions, have rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Functional {
    /// They have the composite's rules, as layers.
    Ruled,
    /// Relevance follows their gradient (the reference on that block).
    Gradient,
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
    /// Where relevance starts.
    pub start: Start,
    /// The rule for the relevance of weights.
    pub weight_rule: Rule,
    /// ε of the stabilised denominators.
    pub epsilon: f32,
    /// Bounds of the input for the rule `zbox`; open: smallest and largest value of the batch.
    pub bounds: Option<(f32, f32)>,
    /// Of convolutions: `near` may use Winograd's, which is faster; by default `local` under the reference's profile.
    pub accuracy: Accuracy,
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
    #[serde(default)]
    start: Start,
    weight_rule: Option<Value>,
    epsilon: Option<f32>,
    low: Option<f32>,
    high: Option<f32>,
    accuracy: Option<Accuracy>,
    profile: Option<Profile>,
}

impl Settings {
    /// Reads `{composite: …, canonizer: …, residual: …, functional: …, start: …, weight_rule: …, epsilon: …, low: …,
    /// high: …, accuracy: …, profile: …}`, all optional; `profile` is used where the map names none.
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
            start: raw.start,
            weight_rule,
            epsilon,
            bounds,
            accuracy: raw.accuracy.unwrap_or(match profile {
                Profile::Default => Accuracy::Near,
                Profile::Reference => Accuracy::Local,
            }),
            profile,
        })
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
