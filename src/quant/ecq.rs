//! ECQ: uniform codebook, entropy-constrained assignment (spec ECQ). Also the core that ECQx builds on.

use super::codebook::Codebook;
use super::distribution::PmfKind;
use super::entropy::{EntropyAssignment, EntropyTerm, LambdaMax, assign, decay};
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

    /// The assignment without relevance of tensor `index`; `None` where there is no codebook.
    pub fn assign(
        &mut self,
        index: usize,
        tensor: &WeightTensor<'_>,
        largest: usize,
    ) -> Option<EntropyAssignment> {
        let codebook = self.codebooks.get(index)?.as_ref()?;
        let assignment = assign(tensor.values, codebook, &self.term, decay(tensor.values.len(), largest));
        if let Some(warning) = assignment.warning {
            self.warn(tensor.name, warning);
        }
        Some(assignment)
    }

    /// The quantized tensor from codebook positions; all zeros where there is no codebook.
    pub fn quantized(
        &self,
        index: usize,
        tensor: &WeightTensor<'_>,
        positions: Option<&[u8]>,
    ) -> QuantizedTensor {
        let codebook = self.codebooks.get(index).cloned().flatten();
        let content = match (codebook, positions) {
            (Some(codebook), Some(positions)) => {
                let lowest = codebook.range().0;
                let level = |&at: &u8| i32::from(at) + lowest;
                let levels = positions.par_iter().with_min_len(1 << 14).map(level).collect();
                Content::Levels { levels, codebook }
            }
            _ => Content::Levels {
                levels: vec![0; tensor.values.len()],
                codebook: Codebook::Uniform { step: 1.0, lowest: 0, highest: 0 },
            },
        };
        QuantizedTensor { name: tensor.name.into(), shape: tensor.shape.to_vec(), content }
    }

    /// Scales the gradient by the level in use (spec, training loop, step 2).
    pub fn backward(&self, quantized: &QuantizedTensor, gradient: &mut [f32]) {
        if let (Content::Levels { levels, codebook }, false) =
            (&quantized.content, self.ste_scale == SteScale::None)
        {
            let (lowest, values) = (codebook.range().0, codebook.values());
            let pieces = gradient.par_chunks_mut(1 << 14).zip(levels.par_chunks(1 << 14));
            pieces.for_each(|(gradient, levels)| {
                for (gradient, &level) in gradient.iter_mut().zip(levels) {
                    *gradient = self.ste_scale.apply(*gradient, values[(level - lowest) as usize]);
                }
            });
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

/// Weights of the largest tensor: the yardstick of the entropy term's decay.
pub(super) fn largest(weights: &[WeightTensor<'_>]) -> usize {
    weights.iter().map(|tensor| tensor.values.len()).max().unwrap_or(0)
}

struct Ecq(Core);

impl Ecq {
    fn assign_all(&mut self, weights: &[WeightTensor<'_>]) -> Vec<QuantizedTensor> {
        let largest = largest(weights);
        let mut tensors = Vec::with_capacity(weights.len());
        for (index, tensor) in weights.iter().enumerate() {
            let assignment = self.0.assign(index, tensor, largest);
            tensors.push(self.0.quantized(
                index,
                tensor,
                assignment.as_ref().map(|a| a.positions.as_slice()),
            ));
        }
        tensors
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
