//! Relevance of weights: what the ECQx quantizer weighs its zeros by. One file per measure and one line in [`MEASURES`].

mod gradient;
mod magnitude;

use crate::error::closest;
use crate::nn::{Network, Parameters};
use crate::quant::quantizer::Relevances;
use crate::{Error, Result};
use candle_core::Tensor;

/// Something that says how much each weight matters for a batch.
pub trait RelevanceMeasure: Send {
    /// Signed relevance of every parameter with role `Weight`, summed over the batch. `inputs` is (batch, …),
    /// `targets` the true classes; the network runs in evaluation mode.
    fn relevance(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Relevances>;
}

/// A measure of the registry.
pub struct Measure {
    /// Name in YAML.
    pub name: &'static str,
    /// One line for listings.
    pub about: &'static str,
    build: fn() -> Box<dyn RelevanceMeasure>,
}

/// All measures.
pub const MEASURES: &[Measure] = &[
    Measure { name: "taylor", about: "weight × gradient of the loss", build: || Box::new(gradient::Taylor) },
    Measure {
        name: "fisher",
        about: "squared gradient of the batch's mean loss",
        build: || Box::new(gradient::Fisher),
    },
    Measure { name: "magnitude", about: "|weight|", build: || Box::new(magnitude::Magnitude) },
];

/// Finds a measure.
///
/// # Errors
/// [`Error::Input`] for an unknown one.
pub fn measure(spec: Option<&serde_json::Value>) -> Result<&'static Measure> {
    let known = || MEASURES.iter().map(|measure| measure.name);
    let Some(name) = spec.and_then(serde_json::Value::as_str) else {
        return Err(Error::input_hint(
            "this method needs 'relevance: NAME'; layer-wise relevance propagation is not implemented yet",
            format!("there are {}", known().collect::<Vec<_>>().join(", ")),
        ));
    };
    MEASURES.iter().find(|measure| measure.name == name).ok_or_else(|| Error::Input {
        message: format!("no relevance measure is called '{name}'"),
        hint: Some(match closest(name, known()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
        }),
    })
}

/// Builds the measure that an experiment's `relevance:` entry names.
///
/// # Errors
/// As [`measure`].
pub fn build(spec: Option<&serde_json::Value>) -> Result<Box<dyn RelevanceMeasure>> {
    measure(spec).map(|measure| (measure.build)())
}
