//! Optimizers with a state that can be saved: candle's own Adam keeps it private.

use super::settings::{OptimizerKind, TrainingSpec};
use crate::nn::backend::is_native;
use crate::nn::kernels::elementwise::{AdamCoefficients, SgdCoefficients, adam_step, sgd_step};
use crate::nn::ops::update::{AdamUpdate, SgdUpdate, adam_tensors, sgd_tensors};
use crate::nn::transfer;
use crate::{Error, Result};
use candle_core::Tensor;
use indexmap::IndexMap;

/// Per-parameter memory: Adam's two moments, or the velocity (and nothing) of momentum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    /// First moment or velocity.
    pub first: Vec<f32>,
    /// Second moment; empty for SGD.
    pub second: Vec<f32>,
}

/// Where a parameter's memory is.
#[derive(Clone, Debug)]
enum Memory {
    Host(Slot),
    /// First moment or velocity, and second moment.
    Device(Tensor, Option<Tensor>),
}

/// An optimizer over named parameters. One call of [`begin_step`](Self::begin_step), then one update per parameter.
#[derive(Clone, Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    momentum: f32,
    nesterov: bool,
    steps: u64,
    slots: IndexMap<String, Memory>,
}

impl Optimizer {
    /// A fresh optimizer of the recipe's kind.
    pub fn new(spec: &TrainingSpec) -> Self {
        Self {
            kind: spec.optimizer,
            momentum: spec.momentum as f32,
            nesterov: spec.nesterov,
            steps: 0,
            slots: IndexMap::new(),
        }
    }

    /// Steps done and per-parameter memory, for checkpoints.
    ///
    /// # Errors
    /// [`Error::Tensor`] when a device fails.
    pub fn state(&self) -> Result<(u64, IndexMap<String, Slot>)> {
        let host = |memory: &Memory| -> Result<Slot> {
            Ok(match memory {
                Memory::Host(slot) => slot.clone(),
                Memory::Device(first, second) => {
                    let second = second.as_ref().map(transfer::values).transpose()?;
                    Slot { first: transfer::values(first)?, second: second.unwrap_or_default() }
                }
            })
        };
        let slots = self.slots.iter().map(|(name, memory)| Ok((name.clone(), host(memory)?)));
        Ok((self.steps, slots.collect::<Result<_>>()?))
    }

    /// Continues from a saved state.
    pub fn restore(&mut self, steps: u64, slots: IndexMap<String, Slot>) {
        self.steps = steps;
        self.slots = slots.into_iter().map(|(name, slot)| (name, Memory::Host(slot))).collect();
    }

    /// Counts a step; call once before the updates of a batch.
    pub fn begin_step(&mut self) {
        self.steps += 1;
    }

    fn slot(&mut self, name: &str, count: usize) -> Result<&mut Slot> {
        let second = if self.kind == OptimizerKind::Sgd { 0 } else { count };
        let memory = self
            .slots
            .entry(name.to_string())
            .or_insert_with(|| Memory::Host(Slot { first: vec![0.0; count], second: vec![0.0; second] }));
        match memory {
            Memory::Host(slot) if slot.first.len() == count && slot.second.len() == second => Ok(slot),
            Memory::Host(_) => {
                Err(Error::Internal(format!("optimizer: the memory of {name} has another size")))
            }
            Memory::Device(..) => {
                Err(Error::Internal(format!("optimizer: the memory of {name} is on a device")))
            }
        }
    }

    /// The new weights of a parameter on a device; its memory stays there.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a gradient of another shape.
    pub fn update_tensor(
        &mut self,
        name: &str,
        weights: &Tensor,
        gradient: &Tensor,
        rate: f64,
        decay: f64,
    ) -> Result<Tensor> {
        let (weights, gradient) = (weights.detach(), gradient.detach());
        let is_sgd = self.kind == OptimizerKind::Sgd;
        let send = |values: Vec<f32>| match values.is_empty() {
            true => weights.zeros_like(),
            false => transfer::tensor(values, weights.shape(), weights.device()),
        };
        let (first, second) = match self.slots.get(name).cloned() {
            Some(Memory::Device(first, second)) => (first, second),
            Some(Memory::Host(slot)) => {
                (send(slot.first)?, (!is_sgd).then(|| send(slot.second)).transpose()?)
            }
            None => (weights.zeros_like()?, (!is_sgd).then(|| weights.zeros_like()).transpose()?),
        };
        let (weights, memory) = match second {
            Some(second) => {
                let (weights, first, second) =
                    adam_tensors(&weights, &first, &second, &gradient, self.adam(rate, decay))?;
                (weights, Memory::Device(first, Some(second)))
            }
            None => {
                let (weights, velocity) = sgd_tensors(&weights, &first, &gradient, self.sgd(rate, decay))?;
                (weights, Memory::Device(velocity, None))
            }
        };
        self.slots.insert(name.to_owned(), memory);
        Ok(weights)
    }

    fn adam(&self, learning_rate: f64, weight_decay: f64) -> AdamCoefficients {
        let steps = self.steps.max(1) as i32;
        let decoupled = self.kind == OptimizerKind::AdamW;
        AdamCoefficients {
            weight_decay: if decoupled { 0.0 } else { weight_decay as f32 },
            shrink: if decoupled { (1.0 - learning_rate * weight_decay) as f32 } else { 1.0 },
            ..AdamCoefficients::of_step(learning_rate, steps)
        }
    }

    fn sgd(&self, learning_rate: f64, weight_decay: f64) -> SgdCoefficients {
        SgdCoefficients {
            learning_rate: learning_rate as f32,
            momentum: self.momentum,
            weight_decay: weight_decay as f32,
            nesterov: self.nesterov,
        }
    }

    /// Updates a variable in place.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a gradient of another shape.
    pub fn update(
        &mut self,
        name: &str,
        weights: &Tensor,
        gradient: &Tensor,
        rate: f64,
        decay: f64,
    ) -> Result<()> {
        if !is_native(weights) {
            let updated = self.update_tensor(name, weights, gradient, rate, decay)?;
            return Ok(weights.slice_set(&updated.contiguous()?, 0, 0)?);
        }
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => {
                let coefficients = self.adam(rate, decay);
                let slot = self.slot(name, weights.elem_count())?;
                AdamUpdate::new(&mut slot.first, &mut slot.second, coefficients).apply(weights, gradient)?;
            }
            OptimizerKind::Sgd => {
                let coefficients = self.sgd(rate, decay);
                let slot = self.slot(name, weights.elem_count())?;
                SgdUpdate::new(&mut slot.first, coefficients).apply(weights, gradient)?;
            }
        }
        Ok(())
    }

    /// Updates plain values in place: the latent weights behind quantized ones.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a gradient of another shape.
    pub fn update_values(
        &mut self,
        name: &str,
        weights: &mut [f32],
        gradient: &[f32],
        rate: f64,
    ) -> Result<()> {
        if gradient.len() != weights.len() {
            return Err(Error::Internal(format!("optimizer: the gradient of {name} has another size")));
        }
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => {
                let coefficients = self.adam(rate, 0.0);
                let slot = self.slot(name, weights.len())?;
                adam_step(weights, &mut slot.first, &mut slot.second, gradient, coefficients);
            }
            OptimizerKind::Sgd => {
                let coefficients = self.sgd(rate, 0.0);
                let slot = self.slot(name, weights.len())?;
                sgd_step(weights, &mut slot.first, gradient, coefficients);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first Adam step moves every weight by the learning rate against the gradient's sign, whatever its size;
    /// plain SGD moves by rate × gradient. (Both follow from the formulas with zero memory.)
    #[test]
    fn first_steps() {
        let mut adam = Optimizer::new(&TrainingSpec::default());
        adam.begin_step();
        let mut weights = [1.0, 1.0];
        adam.update_values("w", &mut weights, &[3.0, -0.01], 0.1).unwrap();
        assert!((weights[0] - 0.9).abs() < 1e-5 && (weights[1] - 1.1).abs() < 1e-5, "{weights:?}");
        let mut sgd =
            Optimizer::new(&TrainingSpec { optimizer: OptimizerKind::Sgd, ..TrainingSpec::default() });
        sgd.begin_step();
        let mut weights = [1.0];
        sgd.update_values("w", &mut weights, &[2.0], 0.1).unwrap();
        sgd.update_values("w", &mut weights, &[0.0], 0.1).unwrap();
        assert!((weights[0] - (1.0 - 0.2 - 0.18)).abs() < 1e-6, "momentum keeps moving: {weights:?}");
    }

    /// Decoupled decay shrinks a weight by rate × decay and leaves Adam's step alone; an L2 term goes through Adam,
    /// whose first step has the same size whatever the gradient, so that there it changes nothing.
    #[test]
    fn decoupled_and_l2_decay() {
        let step = |kind| {
            let mut optimizer = Optimizer::new(&TrainingSpec { optimizer: kind, ..TrainingSpec::default() });
            optimizer.begin_step();
            let weights = Tensor::new(&[2f32, -2.0], &candle_core::Device::Cpu).unwrap();
            let gradient = Tensor::new(&[1f32, -1.0], &candle_core::Device::Cpu).unwrap();
            optimizer.update("w", &weights, &gradient, 0.1, 0.5).unwrap();
            weights.to_vec1::<f32>().unwrap()
        };
        for (kind, expected) in [(OptimizerKind::Adam, 2.0 - 0.1), (OptimizerKind::AdamW, 2.0 * 0.95 - 0.1)] {
            let found = step(kind);
            assert!((found[0] - expected).abs() < 1e-5 && found[0] == -found[1], "{kind:?}: {found:?}");
        }
    }
}
