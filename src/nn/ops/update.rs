//! Optimizer updates in place on a variable's storage: no copy of the weights, one pass over memory on the CPU.

use super::values;
use crate::nn::kernels::elementwise::{AdamCoefficients, SgdCoefficients, adam_step, sgd_step};
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use std::sync::Mutex;

/// Moments of one parameter and the coefficients of this step; apply with [`AdamUpdate::apply`].
pub struct AdamUpdate<'a> {
    moments: Mutex<(&'a mut [f32], &'a mut [f32])>,
    coefficients: AdamCoefficients,
}

impl<'a> AdamUpdate<'a> {
    /// A step on a parameter whose moments are `first` and `second`, one value per weight.
    pub fn new(first: &'a mut [f32], second: &'a mut [f32], coefficients: AdamCoefficients) -> Self {
        Self { moments: Mutex::new((first, second)), coefficients }
    }

    /// Updates `weights` in place from `gradient`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
    pub fn apply(self, weights: &Tensor, gradient: &Tensor) -> Result<()> {
        in_place(weights, gradient, &self)
    }
}

/// Velocity of one parameter and the coefficients of this step; apply with [`SgdUpdate::apply`].
pub struct SgdUpdate<'a> {
    velocity: Mutex<&'a mut [f32]>,
    coefficients: SgdCoefficients,
}

impl<'a> SgdUpdate<'a> {
    /// A step on a parameter whose velocity is `velocity`, one value per weight.
    pub fn new(velocity: &'a mut [f32], coefficients: SgdCoefficients) -> Self {
        Self { velocity: Mutex::new(velocity), coefficients }
    }

    /// Updates `weights` in place from `gradient`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
    pub fn apply(self, weights: &Tensor, gradient: &Tensor) -> Result<()> {
        in_place(weights, gradient, &self)
    }
}

/// A step on plain slices.
trait Step {
    fn step(&self, weights: &mut [f32], gradient: &[f32]) -> Result<()>;
}

impl Step for AdamUpdate<'_> {
    fn step(&self, weights: &mut [f32], gradient: &[f32]) -> Result<()> {
        let mut moments =
            self.moments.lock().map_err(|_| candle_core::Error::Msg("a step panicked".into()))?;
        let (first, second) = &mut *moments;
        if [gradient.len(), first.len(), second.len()].iter().any(|&len| len != weights.len()) {
            bail!("Adam: moments and gradient do not fit {} weights", weights.len());
        }
        adam_step(weights, first, second, gradient, self.coefficients);
        Ok(())
    }
}

impl Step for SgdUpdate<'_> {
    fn step(&self, weights: &mut [f32], gradient: &[f32]) -> Result<()> {
        let mut velocity =
            self.velocity.lock().map_err(|_| candle_core::Error::Msg("a step panicked".into()))?;
        if [gradient.len(), velocity.len()].iter().any(|&len| len != weights.len()) {
            bail!("SGD: velocity and gradient do not fit {} weights", weights.len());
        }
        sgd_step(weights, &mut velocity, gradient, self.coefficients);
        Ok(())
    }
}

struct Apply<'a, S>(&'a S);

impl<S: Step> InplaceOp2 for Apply<'_, S> {
    fn name(&self) -> &'static str {
        "optimizer_step"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, wl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let Some((start, end)) = wl.contiguous_offsets() else {
            bail!("an optimizer was given a strided weight")
        };
        let CpuStorage::F32(weights) = w else { bail!("an optimizer was given a weight that is not f32") };
        self.0.step(&mut weights[start..end], values(g, gl)?)
    }
}

fn in_place<S: Step>(weights: &Tensor, gradient: &Tensor, step: &S) -> Result<()> {
    let gradient = gradient.detach().contiguous()?;
    if weights.device().is_cpu() {
        return weights.inplace_op2(&gradient, &Apply(step));
    }
    // On a GPU the optimizer's state lives on the host: correct, and rarely the bottleneck for the sizes here.
    let mut values = weights.flatten_all()?.to_vec1::<f32>()?;
    step.step(&mut values, &gradient.flatten_all()?.to_vec1::<f32>()?)?;
    let updated = Tensor::from_vec(values, weights.shape(), weights.device())?;
    weights.slice_set(&updated, 0, 0)
}
