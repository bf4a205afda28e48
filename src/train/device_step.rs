//! The quantization-aware step whose tensors stay on the device: latent weights, moments, relevance, positions and levels.
//! What the host reads of a step is the loss with what the method has to know, in one read; methods that look at the
//! assignment's result before they go on read more often (ECQx up to three times more, EC2T once).

use super::batches::Batch;
use super::device_state::DeviceState;
use super::loop_state::LoopState;
use super::pass::{Measured, forward_backward, trained};
use super::settings::TrainingSpec;
use crate::nn::{Network, Parameters, transfer};
use crate::quant::device::Readings;
use crate::quant::quantizer::{Quantizer, RelevanceOf, StepInfo};
use crate::relevance::RelevanceMeasure;
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;

/// What a step needs besides the state that it changes.
pub(super) struct Step<'a> {
    pub network: &'a Network,
    pub names: &'a [String],
    pub batch: &'a Batch,
    pub spec: &'a TrainingSpec,
    pub at: StepInfo,
    pub rate: f64,
    pub rest_decay: f64,
}

impl Step<'_> {
    /// One step; the loss and the number of correct answers are all that comes back.
    ///
    /// # Errors
    /// Those of the device, the method and the measure.
    pub fn run(
        &self,
        state: &mut LoopState,
        quantizer: &mut dyn Quantizer,
        relevance: Option<&mut (dyn RelevanceMeasure + '_)>,
        dropout: &mut Rng,
    ) -> Result<Measured> {
        let LoopState { parameters, device, optimizer, stepper, .. } = state;
        let Self { names, at, rate, .. } = *self;
        let trains_weights = quantizer.trains_weights(at);
        let wants_relevance = quantizer.wants_relevance();
        let is_due = wants_relevance && quantizer.wants_relevance_at(at);
        let (of, samples) = (quantizer.relevance_of(), quantizer.relevance_samples());
        let (Some(DeviceState { latent, tensors }), Some(method)) = (device, quantizer.on_device()) else {
            return Err(Error::Internal("a step on the device of a method that has none".into()));
        };
        let pass = forward_backward(self.network, parameters, self.batch, self.spec, dropout)?;
        optimizer.begin_step();
        stepper.begin_step();
        for (name, weights, gradient) in trained(parameters, &pass.gradients) {
            let Some(index) = names.iter().position(|quantized| quantized == name) else {
                if trains_weights {
                    optimizer.update(name, weights, gradient, rate, self.rest_decay)?;
                }
                continue;
            };
            if wants_relevance && of == RelevanceOf::Stepped {
                stepper.update(name, weights, gradient, rate, 0.0)?;
            }
            let gradient = method.backward(index, &latent[index], &tensors[index], gradient)?;
            if trains_weights {
                latent[index] = optimizer.update_tensor(name, &latent[index], &gradient, rate, 0.0)?;
            }
        }
        let mut readings = Readings::new(pass.measured.clone());
        drop(pass);
        method.update(rate, at, &mut readings)?;
        let found = match relevance.filter(|_| is_due) {
            Some(measure) => {
                if of == RelevanceOf::Background {
                    for (name, values) in names.iter().zip(latent.iter()) {
                        parameters.set_tensor(name, values)?;
                    }
                }
                let (inputs, targets) = self.batch.first(samples)?;
                Some(self.relevance(measure, parameters, &inputs, targets)?)
            }
            None => None,
        };
        *tensors = method.assign(latent, found.as_deref(), at, &mut readings)?;
        for (name, tensor) in names.iter().zip(tensors.iter()) {
            parameters.set_tensor(name, &tensor.values)?;
        }
        Ok(Measured::new(&readings.finish()?))
    }

    /// Relevance of the quantized tensors, in their order; that of a measure that computes on the host is sent.
    fn relevance(
        &self,
        measure: &mut dyn RelevanceMeasure,
        parameters: &Parameters,
        inputs: &Tensor,
        targets: &[u32],
    ) -> Result<Vec<Tensor>> {
        let missing = |name: &String| Error::Internal(format!("no relevance of {name}"));
        if let Some(mut found) = measure.relevance_tensors(self.network, parameters, inputs, targets)? {
            return self
                .names
                .iter()
                .map(|name| found.swap_remove(name).ok_or_else(|| missing(name)))
                .collect();
        }
        let mut found = measure.relevance(self.network, parameters, inputs, targets)?;
        let send = |name: &String| {
            let values = found.swap_remove(name).ok_or_else(|| missing(name))?;
            Ok(transfer::tensor(values, parameters.tensor(name)?.shape(), parameters.device())?)
        };
        self.names.iter().map(send).collect()
    }
}
