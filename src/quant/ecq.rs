//! ECQ: uniform codebook, entropy-constrained assignment (spec ECQ). Also the core that ECQx builds on.

use super::codebook::Codebook;
use super::distribution::PmfKind;
use super::entropy::{EntropyCosts, EntropyTerm, LambdaMax, costs, decay};
use super::options::{Profile, Scope, SteScale, settings};
use super::quantizer::{Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::registry::{Method, Parameter};
use crate::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Parameters of ECQ; ECQx has them too.
pub(super) const LAMBDA: Parameter = Parameter {
    name: "lambda",
    about: "strength Λ of the entropy term; default 0.05",
    range: Some((0.0, 10.0)),
};
pub(super) const PROFILE: Parameter = Parameter {
    name: "profile",
    about: "whose choices stand for the rest: default or reference",
    range: None,
};
pub(super) const PMF: Parameter = Parameter {
    name: "pmf",
    about: "how the level distribution is floored: exact (default) or reference",
    range: None,
};
pub(super) const LAMBDA_MAX: Parameter =
    Parameter { name: "lambda_max", about: "how Λ is scaled: reference (default) or thesis", range: None };
pub(super) const STE_SCALE: Parameter = Parameter {
    name: "ste_scale",
    about: "gradient scaling: none, centroid_abs (default) or centroid_signed",
    range: None,
};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ecq",
    about: "entropy-constrained quantization on a uniform codebook",
    bits: Some((2, 8)),
    bits_optional: false,
    needs_relevance: false,
    parameters: &[LAMBDA, PROFILE, PMF, LAMBDA_MAX, STE_SCALE],
    build: |method, scope, parameters| Ok(Box::new(Ecq(Core::new(method, scope, parameters)?))),
};

#[derive(Deserialize)]
struct Settings {
    #[serde(default = "default_lambda")]
    lambda: f64,
    #[serde(default)]
    profile: Profile,
    pmf: Option<PmfKind>,
    lambda_max: Option<LambdaMax>,
    ste_scale: Option<SteScale>,
}

fn default_lambda() -> f64 {
    0.05
}

/// What ECQ and ECQx share: codebooks, the entropy term, gradient scaling, warnings.
pub(super) struct Core {
    scope: Scope,
    term: EntropyTerm,
    ste_scale: SteScale,
    /// One per tensor; `None` where no grid could be laid and everything is zero.
    pub codebooks: Vec<Option<Codebook>>,
    warnings: Vec<String>,
}

/// The part of [`Core`] that a resumed run needs.
#[derive(Serialize, Deserialize)]
pub(super) struct CoreState {
    codebooks: Vec<Option<Codebook>>,
}

impl Core {
    pub fn new(method: &'static Method, scope: Scope, parameters: &Map<String, Value>) -> Result<Self> {
        let settings: Settings = settings(method, parameters)?;
        let reference = settings.profile == Profile::Reference;
        let choose = |ours, theirs| if reference { theirs } else { ours };
        Ok(Self {
            scope,
            term: EntropyTerm {
                lambda: settings.lambda,
                pmf: settings.pmf.unwrap_or(if reference { PmfKind::Reference } else { PmfKind::Exact }),
                lambda_max: settings.lambda_max.unwrap_or(LambdaMax::Reference),
            },
            ste_scale: settings.ste_scale.unwrap_or(choose(SteScale::CentroidAbs, SteScale::CentroidSigned)),
            codebooks: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Lays the codebooks, which stay fixed.
    pub fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.codebooks.clear();
        for tensor in weights {
            let codebook = Codebook::from_weights(tensor.values, self.scope.required_bits(tensor.name)?);
            if codebook.is_none() {
                self.warn(tensor.name, "no finite weight differs from zero: the layer is all zeros");
            }
            self.codebooks.push(codebook);
        }
        Ok(())
    }

    /// Notes a peculiarity of a layer once.
    pub fn warn(&mut self, name: &str, what: &str) {
        let warning = format!("{name}: {what}");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Assigns all tensors at once: `assign` gives the positions of tensor `index` from its costs without relevance, and
    /// a warning. Tensors without a codebook become zeros.
    pub fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        assign: impl Fn(usize, &Codebook, &EntropyCosts) -> (Vec<u8>, Option<&'static str>) + Sync,
    ) -> Vec<QuantizedTensor> {
        let largest = weights.iter().map(|tensor| tensor.values.len()).max().unwrap_or(0);
        let of_tensor = |(index, tensor): (usize, &WeightTensor<'_>)| {
            let codebook = self.codebooks.get(index).and_then(Option::as_ref)?;
            let costs = costs(tensor.values, codebook, &self.term, decay(tensor.values.len(), largest));
            let (positions, warning) = assign(index, codebook, &costs);
            let content = Content::Levels { positions, codebook: codebook.clone() };
            Some((content, [costs.warning, warning]))
        };
        let found: Vec<_> = weights.par_iter().enumerate().map(of_tensor).collect();
        let mut tensors = Vec::with_capacity(weights.len());
        for (tensor, found) in weights.iter().zip(found) {
            let (content, warnings) =
                found.unwrap_or_else(|| (Content::zeros(tensor.values.len()), [None; 2]));
            warnings.into_iter().flatten().for_each(|warning| self.warn(tensor.name, warning));
            tensors.push(QuantizedTensor { name: tensor.name.into(), shape: tensor.shape.to_vec(), content });
        }
        tensors
    }

    /// Scales the gradient by the level in use (spec, training loop, step 2).
    pub fn backward(&self, quantized: &QuantizedTensor, gradient: &mut [f32]) {
        if let (Content::Levels { positions, codebook }, false) =
            (&quantized.content, self.ste_scale == SteScale::None)
        {
            codebook.scale_gradient(positions, gradient, self.ste_scale);
        }
    }

    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    pub fn state(&self) -> CoreState {
        CoreState { codebooks: self.codebooks.clone() }
    }

    pub fn restore(&mut self, state: CoreState) {
        self.codebooks = state.codebooks;
    }
}

struct Ecq(Core);

impl Ecq {
    fn assign_all(&mut self, weights: &[WeightTensor<'_>]) -> Vec<QuantizedTensor> {
        self.0.assign(weights, |index, _, costs| (costs.boundaries.assign(weights[index].values), None))
    }
}

impl Quantizer for Ecq {
    fn method(&self) -> &'static str {
        METHOD.name
    }

    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<Vec<QuantizedTensor>> {
        self.0.initialize(weights)?;
        Ok(self.assign_all(weights))
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        _: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        Ok(self.assign_all(weights))
    }

    fn backward(
        &mut self,
        _: usize,
        _: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        self.0.backward(quantized, gradient);
        Ok(())
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.0.take_warnings()
    }

    fn state(&self) -> Result<Value> {
        super::options::to_state(&self.0.state())
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.0.restore(super::options::from_state(state)?);
        Ok(())
    }
}
