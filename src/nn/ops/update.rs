//! Optimizer updates: in place on a variable's storage in the native backend, as new tensors on a device.

use super::values;
use crate::nn::backend::check_kernel;
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
        check_kernel("optimizer step")?;
        let CpuStorage::F32(weights) = w else { bail!("an optimizer was given a weight that is not f32") };
        self.0.step(&mut weights[start..end], values(g, gl)?)
    }
}

fn in_place<S: Step>(weights: &Tensor, gradient: &Tensor, step: &S) -> Result<()> {
    let gradient = gradient.detach().contiguous()?;
    weights.inplace_op2(&gradient, &Apply(step))
}

/// One Adam step on tensors of any device: new weights and moments. In the native step's order of operations, each
/// operation rounded by itself.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn adam_tensors(
    weights: &Tensor,
    first: &Tensor,
    second: &Tensor,
    gradient: &Tensor,
    c: AdamCoefficients,
) -> Result<(Tensor, Tensor, Tensor)> {
    let gradient = decayed(weights, gradient, c.weight_decay)?;
    let scaled = |x: &Tensor, factor: f32| x.affine(f64::from(factor), 0.0);
    let first = (scaled(first, c.beta1)? + scaled(&gradient, 1.0 - c.beta1)?)?;
    let second = (scaled(second, c.beta2)? + (scaled(&gradient, 1.0 - c.beta2)? * &gradient)?)?;
    let root = scaled(&second.sqrt()?, c.second_scale)?.affine(1.0, f64::from(c.epsilon))?;
    let step = (scaled(&first, c.step_size)? / root)?;
    let weights = if c.shrink == 1.0 { weights - step } else { scaled(weights, c.shrink)? - step };
    Ok((weights?, first, second))
}

/// One step of stochastic gradient descent on tensors of any device: new weights and velocity.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn sgd_tensors(
    weights: &Tensor,
    velocity: &Tensor,
    gradient: &Tensor,
    c: SgdCoefficients,
) -> Result<(Tensor, Tensor)> {
    let gradient = decayed(weights, gradient, c.weight_decay)?;
    let momentum = f64::from(c.momentum);
    let velocity = (velocity.affine(momentum, 0.0)? + &gradient)?;
    let direction = match c.nesterov {
        true => (gradient + velocity.affine(momentum, 0.0)?)?,
        false => velocity.clone(),
    };
    Ok(((weights - direction.affine(f64::from(c.learning_rate), 0.0)?)?, velocity))
}

/// The gradient with an L2 penalty on the weights.
fn decayed(weights: &Tensor, gradient: &Tensor, decay: f32) -> Result<Tensor> {
    if decay == 0.0 { Ok(gradient.clone()) } else { gradient + weights.affine(f64::from(decay), 0.0)? }
}
