//! The options of `ecqx explain` that decide how relevance is propagated.

use crate::io::yaml::{self, Expecting};
use crate::nn::ops::ConvAlgorithm;
use crate::quant::Profile;
use crate::relevance::lrp::{self, Canonizer, Functional, Residual, Settings, Start};
use crate::{Error, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde_json::{Map as Object, Value};
use std::path::Path;

/// Names of values with what they mean.
type Choices = [(&'static str, &'static str)];

const CANONIZERS: [(&str, &str); 3] = [
    ("resnet", "Batch norms become scale · x + shift, and sums of residual blocks are layers"),
    ("vgg", "Batch norms only"),
    ("none", "Nothing is rewritten"),
];
const RESIDUALS: [(&str, &str); 2] = [
    ("split", "By their share in the sum: relevance is conserved"),
    ("duplicate", "Each gets all of it (the reference, where no canonizer knows the block)"),
];
const FUNCTIONALS: [(&str, &str); 2] = [
    ("ruled", "They have the composite's rules, as layers"),
    ("gradient", "Relevance follows their gradient (the reference on the CIFAR ResNet's block)"),
];
const STARTS: [(&str, &str); 3] = [
    ("logit", "At the true class's logit"),
    ("probability", "At its softmax probability"),
    ("ones", "At 1 (0 where the logit is 0)"),
];
const ALGORITHMS: [(&str, &str); 2] = [
    (
        "auto",
        "May use the Winograd algorithm, faster: errors are about 1e-6 of the largest values within two rows and columns",
    ),
    ("direct", "Every value is a sum of its own products alone"),
];

/// Parses one of `choices` as the library's own formats do, which know nothing of command lines.
fn choice<T>(choices: &'static Choices) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let values = choices.iter().map(|(name, about)| PossibleValue::new(*name).help(*about));
    PossibleValuesParser::new(values).try_map(|name| serde_json::from_value::<T>(Value::String(name)))
}

/// How relevance is propagated.
#[derive(Debug, clap::Args)]
pub(super) struct RuleArgs {
    /// Composite of rules: a name, or a YAML file with rules by kind and name of layer
    #[arg(long, default_value = lrp::composite::DEFAULT)]
    composite: String,
    /// What is rewritten before relevance is propagated
    #[arg(long, value_parser = choice::<Canonizer>(&CANONIZERS), default_value = "resnet")]
    canonizer: Canonizer,
    /// How sums share relevance [default: split; under the reference's profile what the reference does]
    #[arg(long, value_parser = choice::<Residual>(&RESIDUALS))]
    residual: Option<Residual>,
    /// Activations and pooling: their rule or their gradient [default: ruled]
    #[arg(long, value_parser = choice::<Functional>(&FUNCTIONALS))]
    functional: Option<Functional>,
    /// Where relevance starts
    #[arg(long, value_parser = choice::<Start>(&STARTS), default_value = "logit")]
    start: Start,
    /// Rule for the relevance of weights
    #[arg(long, default_value = "epsilon")]
    weight_rule: String,
    /// ε of the denominators
    #[arg(long, default_value_t = 1e-6)]
    epsilon: f32,
    /// Lowest input, for the rule zbox [default: of the samples]
    #[arg(long, requires = "high", allow_negative_numbers = true)]
    low: Option<f32>,
    /// Highest input, for the rule zbox
    #[arg(long, requires = "low", allow_negative_numbers = true)]
    high: Option<f32>,
    /// Convolution algorithms
    #[arg(long, value_parser = choice::<ConvAlgorithm>(&ALGORITHMS), default_value = "direct", alias = "accuracy")]
    algorithm: ConvAlgorithm,
    /// Whose defaults: default (ours) or reference
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

/// What a composite's file is, for messages.
const COMPOSITE: Expecting =
    Expecting { what: "the composite", reference: "docs/relevance.md describes composites" };

impl RuleArgs {
    /// The settings that they stand for.
    ///
    /// # Errors
    /// [`Error::Input`] for values that cannot be, and those of reading a composite's file.
    pub(super) fn settings(&self) -> Result<Settings> {
        let mut object = Object::new();
        let composite = match Path::new(&self.composite).extension().and_then(|e| e.to_str()) {
            Some("yaml" | "yml") => {
                let path = Path::new(&self.composite);
                yaml::parse::<Value>(&crate::io::read_text(path)?, path, COMPOSITE)?
            }
            _ => self.composite.clone().into(),
        };
        object.insert("composite".into(), composite);
        object.insert("weight_rule".into(), self.weight_rule.clone().into());
        for (key, value) in [("low", self.low), ("high", self.high)] {
            if let Some(value) = value {
                object.insert(key.into(), value.into());
            }
        }
        if let Some(profile) = &self.profile {
            object.insert("profile".into(), profile.clone().into());
        }
        let settings = Settings::parse(&Value::Object(object), Profile::Default)?;
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(Error::input(format!("--epsilon must be positive, found {}", self.epsilon)));
        }
        Ok(Settings {
            canonizer: self.canonizer,
            residual: self.residual,
            functional: self.functional,
            start: self.start,
            epsilon: self.epsilon,
            algorithm: self.algorithm,
            ..settings
        })
    }
}
