//! The rules: how a layer hands the relevance of its output to its input, as sums over modified copies of the layer.
//! How the copies are computed is in `affine.rs`, who gets which rule in [`super::composite`].

use super::elementwise::{dominant, ratio};
use crate::nn::ops;
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::{Map, Value};

/// A rule of layer-wise relevance propagation (Montavon et al. 2019, "Layer-Wise Relevance Propagation: An Overview";
/// the paper's section 4.2). `x` is the layer's input, `z` its output, p⁺ = max(p, 0), p⁻ = min(p, 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `x ⊙ Wᵀ(R / stab(z))`: the share of each input in the output.
    Epsilon,
    /// Epsilon with `W + γ W⁺`.
    Gamma(f32),
    /// Positive contributions only: `x⁺W⁺` and `x⁻W⁻`.
    ZPlus,
    /// α times the positive minus β times the negative contributions, α − β = 1.
    AlphaBeta {
        /// Factor of positive contributions.
        alpha: f32,
        /// Factor of negative contributions.
        beta: f32,
    },
    /// Every input of a window gets the same.
    Flat,
    /// Shares by `W²`.
    WSquare,
    /// For bounded inputs: `xW − low·W⁺ − high·W⁻`.
    ZBox,
    /// Epsilon for layers without parameters: shares by the input.
    Norm,
    /// Relevance unchanged.
    Pass,
    /// No rule: relevance follows the gradient.
    Gradient,
    /// Positive and negative contributions, the larger side strengthened by 1 + γ.
    GammaAdapt(f32),
    /// As `GammaAdapt`, with `x⁺` alone.
    GammaBnConv(f32),
}

/// What is done to an input or a parameter before a copy of the layer is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Modifier {
    /// p.
    Identity,
    /// max(p, 0).
    Positive,
    /// min(p, 0).
    Negative,
    /// 1.
    One,
    /// p².
    Square,
    /// p + γ max(p, 0).
    Strengthen(f32),
    /// The lowest value an input can take.
    Low,
    /// The highest value an input can take.
    High,
}

impl Modifier {
    /// The modified tensor; `bounds` are the lowest and the highest input.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes or devices that do not fit.
    pub fn apply(self, values: &Tensor, bounds: (f32, f32)) -> Result<Tensor> {
        Ok(match self {
            Self::Identity => values.clone(),
            Self::Positive => ops::relu(values)?,
            Self::Negative => ops::negative_part(values)?,
            Self::One => values.ones_like()?,
            Self::Square => values.sqr()?,
            Self::Strengthen(gamma) => (values + (ops::relu(values)? * f64::from(gamma))?)?,
            Self::Low => (values.ones_like()? * f64::from(bounds.0))?,
            Self::High => (values.ones_like()? * f64::from(bounds.1))?,
        })
    }

    /// What an input modifier makes of the number one: the factor of the bias in a copy of the layer. The box terms keep
    /// theirs, so that the bias cancels.
    pub fn bias_factor(self) -> f64 {
        if self == Self::Negative { 0.0 } else { 1.0 }
    }
}

/// One modified copy of a layer: `z_k = f(input(x); parameter(W))`, and its factor in the sum over copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term {
    pub input: Modifier,
    pub parameter: Modifier,
    pub factor: f32,
}

impl Rule {
    /// The copies this rule needs. Those that vanish for an input that is nowhere negative are left out where
    /// `non_negative`: after a ReLU half of the work disappears.
    pub(super) fn terms(self, non_negative: bool) -> Vec<Term> {
        use Modifier::{High, Identity, Low, Negative, One, Positive, Square, Strengthen};
        let term = |input, parameter, factor| Term { input, parameter, factor };
        let mut terms = match self {
            Self::Epsilon => vec![term(Identity, Identity, 1.0)],
            Self::Gamma(gamma) => vec![term(Identity, Strengthen(gamma), 1.0)],
            Self::ZPlus => vec![term(Positive, Positive, 1.0), term(Negative, Negative, 1.0)],
            Self::AlphaBeta { alpha, beta } => vec![
                term(Positive, Positive, alpha),
                term(Negative, Negative, alpha),
                term(Positive, Negative, -beta),
                term(Negative, Positive, -beta),
            ],
            Self::GammaAdapt(_) => vec![
                term(Positive, Positive, 1.0),
                term(Negative, Negative, 1.0),
                term(Positive, Negative, 1.0),
                term(Negative, Positive, 1.0),
            ],
            Self::GammaBnConv(_) => vec![term(Positive, Positive, 1.0), term(Positive, Negative, 1.0)],
            Self::Flat => vec![term(One, One, 1.0)],
            Self::WSquare => vec![term(One, Square, 1.0)],
            Self::ZBox => {
                vec![term(Identity, Identity, 1.0), term(Low, Positive, -1.0), term(High, Negative, -1.0)]
            }
            Self::Norm | Self::Pass | Self::Gradient => Vec::new(),
        };
        if non_negative {
            terms.retain(|term| term.input != Negative);
            for term in terms.iter_mut().filter(|term| term.input == Positive) {
                term.input = Identity;
            }
        }
        terms
    }

    /// Whether the gradient is multiplied by the (modified) input or parameter.
    pub(super) fn multiplies(self) -> bool {
        !matches!(self, Self::Flat | Self::WSquare)
    }

    /// The coefficients `G_k` that are sent back through the copies, from the relevance of the output and the copies'
    /// outputs.
    pub(super) fn coefficients(
        self,
        relevance: &Tensor,
        terms: &[Term],
        outputs: &[Tensor],
        epsilon: f32,
    ) -> Result<Vec<Tensor>> {
        match self {
            Self::ZBox => {
                let mut sum = outputs[0].clone();
                for output in &outputs[1..] {
                    sum = (sum - output)?;
                }
                let shared = ratio(relevance, &sum, epsilon)?;
                Ok(vec![shared; outputs.len()])
            }
            Self::GammaAdapt(gamma) | Self::GammaBnConv(gamma) => {
                // The positive side is where input and parameter have one sign.
                let positive = |term: &Term| {
                    matches!(
                        (term.input, term.parameter),
                        (Modifier::Identity | Modifier::Positive, Modifier::Positive)
                            | (Modifier::Negative, Modifier::Negative)
                    )
                };
                let side = |wanted: bool| -> Result<Tensor> {
                    let mut of_side = terms.iter().zip(outputs).filter(|(term, _)| positive(term) == wanted);
                    let first = of_side.next().map(|(_, output)| output.clone());
                    let mut sum = first.map_or_else(|| relevance.zeros_like(), Ok)?;
                    for (_, output) in of_side {
                        sum = (sum + output)?;
                    }
                    Ok(sum)
                };
                let (strong, weak) = dominant(relevance, &side(true)?, &side(false)?, gamma, epsilon)?;
                Ok(terms
                    .iter()
                    .map(|term| if positive(term) { strong.clone() } else { weak.clone() })
                    .collect())
            }
            _ => outputs.iter().map(|output| ratio(relevance, output, epsilon)).collect(),
        }
    }

    /// Reads a rule from YAML: a name, or a name with its parameter (`{gamma: 0.1}`, `{alphabeta: [2, 1]}`).
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown name, a parameter that does not fit, or α − β ≠ 1.
    pub fn parse(value: &Value) -> Result<Self> {
        let wrong = |what: String| {
            Error::input_hint(
                format!("relevance rule {value}: {what}"),
                "epsilon, {gamma: 0.25}, zplus, {alphabeta: [2, 1]}, flat, wsquare, zbox, norm, pass, gradient, \
                 {gamma_adapt: 0.25}, {gamma_bn_conv: 0.05}",
            )
        };
        let named = |map: &Map<String, Value>| match map.iter().next() {
            Some((name, parameter)) if map.len() == 1 => Ok((name.clone(), Some(parameter.clone()))),
            _ => Err(wrong("expected one rule name with its parameter".into())),
        };
        let (name, parameter) = match value {
            Value::String(name) => (name.clone(), None),
            Value::Object(map) => named(map)?,
            _ => return Err(wrong("expected a name or a name with its parameter".into())),
        };
        let gamma = |default: f32| match &parameter {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(gamma) if (0.0..=1e6).contains(&gamma) => Ok(gamma as f32),
                _ => Err(wrong("γ must be a number that is not negative".into())),
            },
        };
        let rule = match name.as_str() {
            "gamma" => Self::Gamma(gamma(0.25)?),
            "gamma_adapt" => Self::GammaAdapt(gamma(0.25)?),
            "gamma_bn_conv" => Self::GammaBnConv(gamma(0.05)?),
            "alphabeta" => {
                let pair = match &parameter {
                    None => [2.0, 1.0],
                    Some(value) => serde_json::from_value::<[f32; 2]>(value.clone())
                        .map_err(|_| wrong("expected two numbers, α and β".into()))?,
                };
                let [alpha, beta] = pair;
                if beta < 0.0 || (alpha - beta - 1.0).abs() > 1e-6 {
                    return Err(wrong(format!(
                        "α − β must be 1 and β not negative, found {alpha} and {beta}"
                    )));
                }
                Self::AlphaBeta { alpha, beta }
            }
            _ if parameter.is_some() => {
                return Err(wrong("this rule takes no parameter, or is unknown".into()));
            }
            "epsilon" => Self::Epsilon,
            "zplus" => Self::ZPlus,
            "flat" => Self::Flat,
            "wsquare" => Self::WSquare,
            "zbox" => Self::ZBox,
            "norm" => Self::Norm,
            "pass" => Self::Pass,
            "gradient" => Self::Gradient,
            _ => return Err(wrong("there is no such rule".into())),
        };
        Ok(rule)
    }
}
