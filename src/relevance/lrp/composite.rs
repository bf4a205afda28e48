//! Composites: which layer gets which rule. A composite is added with one line in [`COMPOSITES`], or written in YAML.

use super::rule::Rule;
use crate::error::did_you_mean_or_all;
use crate::nn::{Network, Operation};
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Rules by kind of layer.
#[derive(Clone, Debug)]
pub struct Composite {
    /// Convolutions.
    pub conv: Rule,
    /// Batch, group and layer norms.
    pub batch_norm: Rule,
    /// Linear layers.
    pub linear: Rule,
    /// Activations.
    pub activation: Rule,
    /// The first convolution or linear layer, where it differs from its kind.
    pub first: Option<First>,
    /// Layers whose name matches, before all other rules; the first match counts.
    pub names: Vec<(GlobMatcher, Rule)>,
}

/// The rule of the first layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct First {
    /// The rule.
    pub rule: Rule,
    /// Only the first convolution, never a linear layer.
    pub conv_only: bool,
}

/// Whether activations and average pooling, which the CIFAR ResNet block writes as functions, have rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Functional {
    /// They have the composite's rules, as layers.
    Ruled,
    /// Relevance follows their gradient (the reference on that block).
    Gradient,
}

/// A named composite.
pub struct NamedComposite {
    /// Name in YAML and on the command line.
    pub name: &'static str,
    conv: Rule,
    batch_norm: Rule,
    linear: Rule,
    activation: Rule,
    first: Option<First>,
}

const fn named(
    name: &'static str,
    conv: Rule,
    batch_norm: Rule,
    linear: Rule,
    first: Option<First>,
) -> NamedComposite {
    NamedComposite { name, conv, batch_norm, linear, activation: Rule::Pass, first }
}

const FLAT: Option<First> = Some(First { rule: Rule::Flat, conv_only: false });
const BOX: Option<First> = Some(First { rule: Rule::ZBox, conv_only: true });
const ALPHA2_BETA1: Rule = Rule::AlphaBeta { alpha: 2.0, beta: 1.0 };

/// The composite used where none is named: the paper's.
pub const DEFAULT: &str = "epsilon_plus_flat_bn_pass";

/// All named composites. The rules of the paper's composite (section 4.2: ε for linear layers, α = 1, β = 0 for
/// convolutions, batch norm passed) and its relatives.
pub const COMPOSITES: &[NamedComposite] = &{
    use Rule::{Epsilon, Gamma, GammaAdapt, GammaBnConv, Gradient, Pass, ZPlus};
    [
        named("epsilon_flat", Epsilon, Epsilon, Epsilon, FLAT),
        named("epsilon_flat_bn", GammaBnConv(0.05), GammaAdapt(0.1), Epsilon, FLAT),
        named("epsilon_gamma_flat", Gamma(0.1), Gradient, Epsilon, FLAT),
        named("epsilon_gamma_flat_bn", GammaAdapt(0.25), GammaAdapt(0.25), Epsilon, FLAT),
        named("epsilon_gamma_flat_bn_pass", GammaAdapt(0.25), Pass, Epsilon, FLAT),
        named("epsilon_gamma_box", Gamma(0.25), Gradient, Epsilon, BOX),
        named("epsilon_plus", ZPlus, ZPlus, Epsilon, None),
        named("epsilon_alpha2_beta1", ALPHA2_BETA1, ALPHA2_BETA1, Epsilon, None),
        named("epsilon_plus_flat", ZPlus, ZPlus, Epsilon, FLAT),
        named(DEFAULT, ZPlus, Pass, Epsilon, FLAT),
        named("alpha2_beta1_flat", ALPHA2_BETA1, ALPHA2_BETA1, Epsilon, FLAT),
        named("alpha2_beta1_flat_bn_pass", ALPHA2_BETA1, Pass, Epsilon, FLAT),
        NamedComposite {
            name: "excitation_backprop",
            conv: ZPlus,
            batch_norm: Gradient,
            linear: ZPlus,
            activation: Gradient,
            first: None,
        },
    ]
};

impl Composite {
    /// The composite called `name`.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown one.
    pub fn named(name: &str) -> Result<Self> {
        let known = || COMPOSITES.iter().map(|composite| composite.name);
        let found =
            COMPOSITES.iter().find(|composite| composite.name == name).ok_or_else(|| Error::Input {
                message: format!("no composite is called '{name}'"),
                hint: Some(did_you_mean_or_all(name, known(), "there are")),
            })?;
        let &NamedComposite { conv, batch_norm, linear, activation, first, .. } = found;
        Ok(Self { conv, batch_norm, linear, activation, first, names: Vec::new() })
    }

    /// Reads a composite from YAML: a name, or a map with any of `base` (a name; default [`DEFAULT`]), `conv`,
    /// `batch_norm`, `linear`, `activation`, `first` (a rule, or `none`) and `names` (a map from name pattern to rule).
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub fn parse(value: &Value) -> Result<Self> {
        let map = match value {
            Value::String(name) => return Self::named(name),
            Value::Object(map) => map,
            _ => return Err(Error::input(format!("composite {value}: expected a name or a map of rules"))),
        };
        let base = map.get("base").map_or(Some(DEFAULT), Value::as_str);
        let base = base.ok_or_else(|| Error::input("composite: 'base' must be the name of a composite"))?;
        let mut composite = Self::named(base)?;
        for (key, value) in map.iter().filter(|(key, _)| *key != "base") {
            match key.as_str() {
                "conv" => composite.conv = Rule::parse(value)?,
                "batch_norm" => composite.batch_norm = Rule::parse(value)?,
                "linear" => composite.linear = Rule::parse(value)?,
                "activation" => composite.activation = Rule::parse(value)?,
                "first" if value == "none" => composite.first = None,
                "first" => {
                    let rule = Rule::parse(value)?;
                    composite.first = Some(First { rule, conv_only: rule == Rule::ZBox });
                }
                "names" => composite.names = names(value)?,
                _ => {
                    let known = ["base", "conv", "batch_norm", "linear", "activation", "first", "names"];
                    return Err(Error::Input {
                        message: format!("composite: there is no key '{key}'"),
                        hint: Some(did_you_mean_or_all(key, known, "there are")),
                    });
                }
            }
        }
        Ok(composite)
    }

    /// The rule of every layer of `network`.
    pub(super) fn rules(&self, network: &Network, functional: Functional) -> Vec<Rule> {
        let is_conv = |operation: &Operation| matches!(operation, Operation::Conv2d { .. });
        let is_linear = |operation: &Operation| matches!(operation, Operation::Linear { .. });
        let first = self.first.and_then(|first| {
            let candidate =
                |operation: &Operation| is_conv(operation) || (is_linear(operation) && !first.conv_only);
            network.layers().iter().position(|layer| candidate(&layer.operation)).map(|at| (at, first.rule))
        });
        let ruled = functional == Functional::Ruled;
        let by_layer = network.layers().iter().enumerate().map(|(index, layer)| {
            if let Some((_, rule)) = self.names.iter().find(|(pattern, _)| pattern.is_match(&layer.name)) {
                return *rule;
            }
            if let Some((_, rule)) = first.filter(|(at, _)| *at == index) {
                return rule;
            }
            match layer.operation {
                Operation::Conv2d { .. } => self.conv,
                Operation::Linear { .. } => self.linear,
                Operation::BatchNorm { .. } | Operation::GroupNorm { .. } | Operation::LayerNorm { .. } => {
                    self.batch_norm
                }
                Operation::Relu | Operation::Activation(_) if ruled => self.activation,
                Operation::AvgPool2d { .. }
                | Operation::GlobalAvgPool
                | Operation::AdaptiveAvgPool2d { .. }
                    if ruled =>
                {
                    Rule::Norm
                }
                Operation::Shortcut { .. } => Rule::Norm,
                Operation::Add | Operation::Multiply | Operation::Concat => Rule::Norm,
                _ => Rule::Gradient,
            }
        });
        by_layer.collect()
    }
}

fn names(value: &Value) -> Result<Vec<(GlobMatcher, Rule)>> {
    let empty = Map::new();
    let map = value.as_object().unwrap_or(&empty);
    if map.is_empty() {
        return Err(Error::input("composite: 'names' must map patterns of layer names to rules"));
    }
    map.iter()
        .map(|(pattern, rule)| {
            let glob = Glob::new(pattern).map_err(|error| {
                Error::input(format!("composite: invalid pattern '{pattern}': {}", error.kind()))
            })?;
            Ok((glob.compile_matcher(), Rule::parse(rule)?))
        })
        .collect()
}
