//! OPTQ (GPTQ, Frantar et al. 2023): post-training quantization layer by layer, with every rounding error spread over the
//! weights that are still free.

use super::columns::{self, BLOCK, DAMPING, ORDER, RATE_SCALE};
use super::granularity::GRANULARITY;
use super::layerwise::{INPUTS, STEP};
use super::method::{Method, Role};
use super::scope::Bits;
use crate::registry::Parameter;
use serde::Deserialize;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "optq",
    display: "OPTQ",
    about: "layer by layer on calibration inputs: a weight's rounding error is spread over those still free (GPTQ)",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: true,
    parameters: &[
        Parameter::number("rate", "strength of a rate term in rounding; 0 for none", (0.0, 100.0), 0.0),
        DAMPING,
        BLOCK,
        ORDER,
        INPUTS,
        STEP,
        RATE_SCALE,
        GRANULARITY,
    ],
    strength: Some("rate"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let Own { rate } = setup.settings()?;
        columns::boxed(setup, rate, false)
    },
};

#[derive(Deserialize)]
struct Own {
    rate: f64,
}
