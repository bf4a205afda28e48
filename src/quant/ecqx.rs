//! ECQx: ECQ whose zero level is made dearer or cheaper by the relevance of each weight (paper, section 4).

use super::ecq::{Core, CoreState, LAMBDA, LAMBDA_MAX, PMF, PROFILE, STE_SCALE};
use super::options::{Profile, Scope, settings};
use super::quantizer::{QuantizedTensor, Quantizer, RelevanceOf, Relevances, StepInfo, WeightTensor};
use super::registry::{Method, Parameter};
use super::relevance_search::{Band, search};
use crate::nn::kernels::elementwise::update;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ecqx",
    about: "explainability-driven entropy-constrained quantization: ECQ with relevance-weighted zeros",
    bits: Some((2, 8)),
    bits_optional: false,
    needs_relevance: true,
    parameters: &[
        LAMBDA,
        Parameter {
            name: "p",
            about: "width of the sparsity band, 0–1; default 0.1",
            range: Some((0.0, 1.0)),
        },
        PROFILE,
        PMF,
        LAMBDA_MAX,
        STE_SCALE,
        Parameter { name: "band", about: "below (default): sparsity s−p…s; above: s…s+p", range: None },
        Parameter {
            name: "momentum",
            about: "share α of the previous relevance; default 0.1",
            range: Some((0.0, 0.999_999)),
        },
        Parameter {
            name: "keep_momentum",
            about: "carry relevance over epochs (default true; the reference restarts)",
            range: None,
        },
        Parameter {
            name: "relevance_of",
            about: "weights that are explained: quantized (default), background or stepped (the reference)",
            range: None,
        },
    ],
    build: |method, scope, parameters| Ok(Box::new(Ecqx::new(method, scope, parameters)?)),
};

#[derive(Deserialize)]
struct Settings {
    #[serde(default = "tenth")]
    p: f64,
    #[serde(default = "tenth")]
    momentum: f64,
    #[serde(default)]
    profile: Profile,
    band: Option<Band>,
    keep_momentum: Option<bool>,
    relevance_of: Option<RelevanceOf>,
}

fn tenth() -> f64 {
    0.1
}

struct Ecqx {
    core: Core,
    p: f64,
    band: Band,
    /// α of `R_t = (1 − α) R_batch + α R_{t−1}`.
    momentum: f32,
    keep_momentum: bool,
    relevance_of: RelevanceOf,
    /// Signed relevance so far, per tensor.
    relevance: Vec<Vec<f32>>,
    /// Epoch of the last assignment with relevance.
    epoch: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct State {
    core: CoreState,
    relevance: Vec<Vec<f32>>,
    epoch: Option<usize>,
}

impl Ecqx {
    fn new(method: &'static Method, scope: Scope, parameters: &Map<String, Value>) -> Result<Self> {
        let own: Settings = settings(method, parameters)?;
        let reference = own.profile == Profile::Reference;
        Ok(Self {
            core: Core::new(method, scope, parameters)?,
            p: own.p,
            band: own.band.unwrap_or(Band::Below),
            momentum: own.momentum as f32,
            keep_momentum: own.keep_momentum.unwrap_or(!reference),
            relevance_of: own.relevance_of.unwrap_or(match reference {
                true => RelevanceOf::Stepped,
                false => RelevanceOf::default(),
            }),
            relevance: Vec::new(),
            epoch: None,
        })
    }

    /// Blends the batch's relevance into the running one.
    fn blend(&mut self, weights: &[WeightTensor<'_>], batch: &Relevances, at: StepInfo) -> Result<()> {
        let restart = self.epoch.is_none() || (!self.keep_momentum && self.epoch != Some(at.epoch));
        self.epoch = Some(at.epoch);
        if restart {
            self.relevance.clear();
        }
        let new = |tensor: &WeightTensor<'_>| {
            let values = batch.get(tensor.name).filter(|values| values.len() == tensor.values.len());
            values.ok_or_else(|| {
                Error::input_hint(
                    format!("no relevance of {} values for {}", tensor.values.len(), tensor.name),
                    "a relevance file must come from the same model; `ecqx explain` writes one",
                )
            })
        };
        let new: Vec<&Vec<f32>> = weights.iter().map(new).collect::<Result<_>>()?;
        if self.relevance.is_empty() {
            self.relevance = new.into_iter().cloned().collect();
            return Ok(());
        }
        let momentum = self.momentum;
        self.relevance.par_iter_mut().zip(new).for_each(|(running, new)| {
            update(running, new, |running, new| (1.0 - momentum) * new + momentum * running);
        });
        Ok(())
    }
}

impl Quantizer for Ecqx {
    fn method(&self) -> &'static str {
        METHOD.name
    }

    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<Vec<QuantizedTensor>> {
        self.core.initialize(weights)?;
        self.assign(weights, None, StepInfo::POST_TRAINING)
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        relevance: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        if let Some(batch) = relevance {
            self.blend(weights, batch, at)?;
        }
        let (running, p, band) = (&self.relevance, self.p, self.band);
        Ok(self.core.assign(weights, |index, codebook, costs| {
            let values = weights[index].values;
            // Without an entropy term the nearest level stays, whatever the relevance (as in the reference).
            match relevance.and(running.get(index)).filter(|_| !costs.is_nearest()) {
                Some(running) => {
                    let found = search(values, codebook.zero(), costs, running, p, band);
                    (found.positions, found.warning)
                }
                None => (costs.boundaries.assign(values), None),
            }
        }))
    }

    fn wants_relevance(&self) -> bool {
        true
    }

    fn relevance_of(&self) -> RelevanceOf {
        self.relevance_of
    }

    fn backward(
        &mut self,
        _: usize,
        _: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        self.core.backward(quantized, gradient);
        Ok(())
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.core.take_warnings()
    }

    fn state(&self) -> Result<Value> {
        let (core, relevance, epoch) = (self.core.state(), self.relevance.clone(), self.epoch);
        super::options::to_state(&State { core, relevance, epoch })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = super::options::from_state(state)?;
        self.core.restore(state.core);
        self.relevance = state.relevance;
        self.epoch = state.epoch;
        Ok(())
    }
}
