//! ECQx: ECQ with the cost of the zero level scaled by the relevance of each weight (paper, section 4).

use super::device::{DeviceQuantizer, DeviceTensor, Readings, Weighting, flat};
use super::ecq::{Core, CoreState};
use super::entropy_settings::{LAMBDA, LAMBDA_MAX, PMF, STE_SCALE};
use super::granularity::GRANULARITY;
use super::method::{Method, PROFILE, Role, Setup};
use super::quantizer::{QuantizedTensor, Quantizer, RelevanceOf, Relevances, StepInfo, WeightTensor};
use super::relevance_schedule::{RELEVANCE_EVERY, RELEVANCE_SAMPLES, RelevanceSchedule};
use super::relevance_search::{Band, search};
use super::scope::Bits;
use super::state::{from_state, to_state};
use super::step_rule::STEP;
use crate::nn::kernels::elementwise::update;
use crate::nn::transfer;
use crate::registry::{Choice, Parameter};
use crate::{Error, Result};
use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "ecqx",
    display: "ECQx",
    about: "explainability-driven entropy-constrained quantization: ECQ with relevance-weighted zeros",
    bits: Bits::Required(2, 8),
    needs_relevance: true,
    needs_calibration: false,
    parameters: &[
        LAMBDA,
        Parameter::number("p", "width of the sparsity band", (0.0, 1.0), 0.1),
        PROFILE,
        PMF,
        LAMBDA_MAX,
        STE_SCALE,
        STEP,
        GRANULARITY,
        Parameter::word(
            "band",
            "below: sparsity s−p…s of ECQ's s; above: s…s+p",
            &["below", "above"],
            "below",
        ),
        Parameter::number("momentum", "share α of the previous relevance", (0.0, 0.999_999), 0.1),
        Parameter::switch("keep_momentum", "carry relevance over epochs", true)
            .reference(Choice::Switch(false)),
        Parameter::word(
            "relevance_of",
            "weights that are explained: quantized, the latent ones (background), or stepped: quantized weights after \
             one optimizer step",
            &["quantized", "background", "stepped"],
            "quantized",
        )
        .reference(Choice::Word("stepped")),
        RELEVANCE_EVERY,
        RELEVANCE_SAMPLES,
    ],
    strength: Some("lambda"),
    role: Role::Proposed,
    revision: 1,
    build: |setup| Ok(Box::new(Ecqx::new(&setup)?)),
};

#[derive(Deserialize)]
struct Settings {
    p: f64,
    momentum: f64,
    band: Band,
    keep_momentum: bool,
    relevance_of: RelevanceOf,
}

struct Ecqx {
    core: Core,
    p: f64,
    band: Band,
    /// α of `R_t = (1 − α) R_batch + α R_{t−1}`.
    momentum: f32,
    keep_momentum: bool,
    relevance_of: RelevanceOf,
    schedule: RelevanceSchedule,
    /// Signed relevance so far, per tensor.
    relevance: Vec<Vec<f32>>,
    /// The same on a device, flat; then the host has none.
    on_device: Vec<Tensor>,
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
    fn new(setup: &Setup) -> Result<Self> {
        let own: Settings = setup.settings()?;
        Ok(Self {
            core: Core::new(setup)?,
            p: own.p,
            band: own.band,
            momentum: own.momentum as f32,
            keep_momentum: own.keep_momentum,
            relevance_of: own.relevance_of,
            schedule: setup.settings()?,
            relevance: Vec::new(),
            on_device: Vec::new(),
            epoch: None,
        })
    }

    /// Forgets the running relevance where an epoch starts anew.
    fn enter(&mut self, at: StepInfo) {
        let restart = self.epoch.is_none() || (!self.keep_momentum && self.epoch != Some(at.epoch));
        self.epoch = Some(at.epoch);
        if restart {
            self.relevance.clear();
            self.on_device.clear();
        }
    }

    /// Sends the running relevance of a resumed run to the device: steps without a new one need it too.
    fn send(&mut self, weights: &[Tensor]) -> Result<()> {
        let relevance = std::mem::take(&mut self.relevance);
        for (values, weights) in relevance.into_iter().zip(weights) {
            let count = values.len();
            self.on_device.push(transfer::tensor(values, count, weights.device())?);
        }
        Ok(())
    }

    /// As [`blend`](Self::blend), on the device.
    fn blend_on_device(&mut self, batch: &[Tensor], at: StepInfo) -> Result<()> {
        self.enter(at);
        let new: Vec<Tensor> = batch.iter().map(flat).collect::<Result<_>>()?;
        if self.on_device.is_empty() {
            self.on_device = new;
            return Ok(());
        }
        let (own, before) = (f64::from(1.0 - self.momentum), f64::from(self.momentum));
        for (running, new) in self.on_device.iter_mut().zip(&new) {
            *running = (new.affine(own, 0.0)? + running.affine(before, 0.0)?)?;
        }
        Ok(())
    }

    /// Blends the batch's relevance into the running one.
    fn blend(&mut self, weights: &[WeightTensor<'_>], batch: &Relevances, at: StepInfo) -> Result<()> {
        self.enter(at);
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
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.relevance.clear();
        self.on_device.clear();
        self.epoch = None;
        self.core.initialize(weights)
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
        Ok(self.core.assign(weights, |index, values, codebook, costs| {
            // Between two relevance passes the running relevance stays. Without an entropy term the nearest level stays,
            // whatever the relevance (as in the reference).
            match running.get(index).filter(|_| !costs.is_nearest()) {
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

    fn wants_relevance_at(&self, at: StepInfo) -> bool {
        self.schedule.due(at)
    }

    fn relevance_samples(&self) -> Option<usize> {
        self.schedule.samples()
    }

    fn relevance_of(&self) -> RelevanceOf {
        self.relevance_of
    }

    fn backward(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        self.core.backward(index, &weights, quantized, gradient);
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        self.core.update(learning_rate);
        Ok(())
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceQuantizer> {
        Some(self)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.core.take_warnings()
    }

    fn state(&self) -> Result<Value> {
        let relevance = match self.on_device.is_empty() {
            true => self.relevance.clone(),
            false => self.on_device.iter().map(transfer::values).collect::<candle_core::Result<_>>()?,
        };
        let (core, epoch) = (self.core.state(), self.epoch);
        to_state(&State { core, relevance, epoch })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = from_state(state)?;
        self.core.restore(state.core);
        self.relevance = state.relevance;
        self.on_device.clear();
        self.epoch = state.epoch;
        Ok(())
    }
}

impl DeviceQuantizer for Ecqx {
    fn begin(&mut self, weights: &[WeightTensor<'_>]) {
        self.core.know(weights);
    }

    fn assign(
        &mut self,
        weights: &[Tensor],
        relevance: Option<&[Tensor]>,
        at: StepInfo,
        readings: &mut Readings,
    ) -> Result<Vec<DeviceTensor>> {
        self.send(weights)?;
        if let Some(batch) = relevance {
            self.blend_on_device(batch, at)?;
        }
        let weighting = Weighting { relevance: &self.on_device, p: self.p, band: self.band };
        let weighting = Some(&weighting).filter(|weighting| weighting.relevance.len() == weights.len());
        self.core.assign_on_device(weights, weighting, readings)
    }

    fn backward(
        &mut self,
        index: usize,
        weights: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        self.core.backward_on_device(index, weights, quantized, gradient)
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo, readings: &mut Readings) -> Result<()> {
        self.core.update_on_device(learning_rate, readings)
    }
}
