//! Parameters of the entropy term and of the gradient's scaling, which ECQ, ECQx and EC2T share.

use super::distribution::PmfKind;
use super::entropy::{EntropyTerm, LambdaMax};
use super::ste::SteScale;
use crate::registry::{Choice, Parameter};
use serde::Deserialize;

pub(super) const LAMBDA: Parameter =
    Parameter::number("lambda", "strength Λ of the entropy term", (0.0, 10.0), 0.05);
pub(super) const PMF: Parameter =
    Parameter::word("pmf", "how the level distribution is floored", &["exact", "reference"], "exact")
        .reference(Choice::Word("reference"));
pub(super) const LAMBDA_MAX: Parameter =
    Parameter::word("lambda_max", "how Λ is scaled", &["reference", "thesis", "grid"], "reference");
pub(super) const STE_SCALE: Parameter = Parameter::word(
    "ste_scale",
    "scaling of the gradient by the level in use",
    &["none", "centroid_abs", "centroid_signed"],
    "centroid_abs",
)
.reference(Choice::Word("centroid_signed"));

/// Their values.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct EntropySettings {
    lambda: f64,
    pmf: PmfKind,
    lambda_max: LambdaMax,
    pub ste_scale: SteScale,
}

impl EntropySettings {
    pub fn term(&self) -> EntropyTerm {
        EntropyTerm { lambda: self.lambda, pmf: self.pmf, lambda_max: self.lambda_max }
    }
}
