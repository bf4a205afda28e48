//! CERWU (Conzelmann & Bamler 2025, arXiv 2505.18758): OPTQ's objective plus the rate under an entropy model. The rate's
//! quadratic part is minimised exactly, together with the error; what is left of it decides the rounding.

use super::columns::{self, BLOCK, DAMPING, ORDER, RATE_SCALE};
use super::granularity::GRANULARITY;
use super::layerwise::{INPUTS, STEP};
use super::method::{Method, Role};
use super::scope::Bits;
use crate::registry::Parameter;
use serde::Deserialize;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "cerwu",
    display: "CERWU",
    about: "rate-constrained post-training quantization: OPTQ's error plus λ times the estimated bits",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: true,
    parameters: &[
        Parameter::number("lambda", "strength of the rate term", (0.0, 100.0), 0.05),
        DAMPING,
        BLOCK,
        ORDER,
        INPUTS,
        STEP,
        RATE_SCALE,
        GRANULARITY,
    ],
    strength: Some("lambda"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let Own { lambda } = setup.settings()?;
        columns::boxed(setup, lambda, true)
    },
};

#[derive(Deserialize)]
struct Own {
    lambda: f64,
}
