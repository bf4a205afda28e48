//! Batch normalisation (Ioffe & Szegedy 2015) over all axes but the second.

use super::{output, values};
use crate::nn::kernels::norm;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// The result of batch normalisation in training mode.
pub struct BatchNormOutput {
    /// Normalised, scaled and shifted values, shaped as the input.
    pub output: Tensor,
    /// Mean of the batch per channel.
    pub mean: Tensor,
    /// Unbiased variance of the batch per channel, as running statistics use it.
    pub variance: Tensor,
}

/// Training mode: normalises with the statistics of this batch. Differentiable in x, weight and bias.
///
/// # Errors
/// When the shapes do not fit or a channel has a single value.
pub fn batch_norm_training(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<BatchNormOutput> {
    let channels = weight.elem_count();
    if x.rank() < 2 || x.dim(1)? != channels {
        bail!("batch norm: weight {:?} does not fit input {:?}", weight.dims(), x.dims());
    }
    let count = x.elem_count() / channels.max(1);
    if count < 2 {
        bail!("batch norm: training needs more than one value per channel, found input {:?}", x.dims());
    }
    let unbiased = count as f64 / (count - 1) as f64;
    if x.device().is_cpu() {
        let x = x.contiguous()?;
        let inner = x.dims()[2..].iter().product();
        let (mean, variance) = {
            let (storage, layout) = x.storage_and_layout();
            match &*storage {
                candle_core::Storage::Cpu(storage) => {
                    norm::statistics(values(storage, layout)?, channels, inner)
                }
                _ => bail!("batch norm: the input moved to another device"),
            }
        };
        let running = variance.iter().map(|&v| (f64::from(v) * unbiased) as f32).collect();
        let op = Training { mean: mean.clone(), variance, epsilon: epsilon as f32 };
        return Ok(BatchNormOutput {
            output: x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?,
            mean: Tensor::from_vec(mean, channels, x.device())?,
            variance: Tensor::from_vec(running, channels, x.device())?,
        });
    }
    let shape = broadcast_shape(x, channels);
    let flat = x.transpose(0, 1)?.reshape((channels, ()))?;
    let mean = flat.mean(1)?;
    let centred = x.broadcast_sub(&mean.reshape(shape.as_slice())?)?;
    let variance = centred.sqr()?.transpose(0, 1)?.reshape((channels, ()))?.mean(1)?;
    let scale = (variance.clone() + epsilon)?.sqrt()?.recip()?.mul(weight)?;
    let output = centred
        .broadcast_mul(&scale.reshape(shape.as_slice())?)?
        .broadcast_add(&bias.reshape(shape.as_slice())?)?;
    Ok(BatchNormOutput { output, mean: mean.detach(), variance: (variance.detach() * unbiased)? })
}

/// Evaluation mode: normalises with running statistics. Differentiable in x, weight and bias.
pub fn batch_norm_evaluation(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let inverse = (running_variance + epsilon)?.sqrt()?.recip()?;
    let scale = weight.mul(&inverse)?;
    let shift = (bias - (running_mean * &scale)?)?;
    affine(x, &scale, &shift)
}

/// `x · scale + shift` per channel. Differentiable in all three.
pub fn affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let channels = scale.elem_count();
    if x.rank() < 2 || x.dim(1)? != channels {
        bail!("batch norm: weight {:?} does not fit input {:?}", scale.dims(), x.dims());
    }
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, Affine);
    }
    let shape = broadcast_shape(x, channels);
    x.broadcast_mul(&scale.reshape(shape.as_slice())?)?.broadcast_add(&shift.reshape(shape.as_slice())?)
}

fn broadcast_shape(x: &Tensor, channels: usize) -> Vec<usize> {
    let mut shape = vec![1; x.rank()];
    shape[1] = channels;
    shape
}

/// Runs `work` on the values of contiguous CPU tensors.
fn with_values<const N: usize, R>(tensors: [&Tensor; N], work: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            candle_core::Storage::Cpu(storage) => *slice = values(storage, layout)?,
            _ => bail!("a CPU kernel was given a tensor on another device"),
        }
    }
    Ok(work(slices))
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

struct Training {
    mean: Vec<f32>,
    /// Biased.
    variance: Vec<f32>,
    epsilon: f32,
}

impl Training {
    fn inverse(&self) -> Vec<f32> {
        self.variance.iter().map(|v| 1.0 / (v + self.epsilon).sqrt()).collect()
    }
}

impl CustomOp3 for Training {
    fn name(&self) -> &'static str {
        "batch_norm_training"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (values(x, xl)?, values(w, wl)?, values(b, bl)?);
        let scale: Vec<f32> = self.inverse().iter().zip(weight).map(|(i, w)| i * w).collect();
        let shift: Vec<f32> =
            bias.iter().zip(&self.mean).zip(&scale).map(|((b, mean), scale)| b - mean * scale).collect();
        let mut out = vec![0.0; x.len()];
        norm::affine(x, &scale, &shift, xl.dims()[2..].iter().product(), &mut out);
        output(out, xl.shape())
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Gradients> {
        let (channels, inner) = (self.mean.len(), x.dims()[2..].iter().product());
        let count = (x.elem_count() / channels) as f32;
        let grad = grad.contiguous()?;
        let inverse = self.inverse();
        let (out, grad_weight, grad_bias) = with_values([x, weight, &grad], |[x, weight, grad]| {
            let (sums, products) = norm::gradient_sums(grad, x, &self.mean, inner);
            let grad_weight: Vec<f32> = products.iter().zip(&inverse).map(|(p, i)| p * i).collect();
            // dx = w·i·(g − mean(g) − (x − mean)·i²·mean(g·(x − mean)))
            let a: Vec<f32> = weight.iter().zip(&inverse).map(|(w, i)| w * i).collect();
            let b: Vec<f32> =
                (0..channels).map(|c| -a[c] * inverse[c] * inverse[c] * products[c] / count).collect();
            let d: Vec<f32> = (0..channels).map(|c| -a[c] * sums[c] / count - b[c] * self.mean[c]).collect();
            let mut out = vec![0.0; x.len()];
            norm::combine(grad, x, &a, &b, &d, inner, &mut out);
            (out, grad_weight, sums)
        })?;
        let vector = |values| Tensor::from_vec(values, channels, x.device());
        Ok((
            Some(Tensor::from_vec(out, x.shape(), x.device())?),
            Some(vector(grad_weight)?),
            Some(vector(grad_bias)?),
        ))
    }
}

struct Affine;

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "channel_affine"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(x, xl)?;
        let mut out = vec![0.0; x.len()];
        norm::affine(x, values(w, wl)?, values(b, bl)?, xl.dims()[2..].iter().product(), &mut out);
        output(out, xl.shape())
    }

    fn bwd(&self, x: &Tensor, scale: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Gradients> {
        let (channels, inner) = (scale.elem_count(), x.dims()[2..].iter().product());
        let grad = grad.contiguous()?;
        let (out, grad_scale, grad_shift) = with_values([x, scale, &grad], |[x, scale, grad]| {
            let zeros = vec![0.0; channels];
            let (sums, products) = norm::gradient_sums(grad, x, &zeros, inner);
            let mut out = vec![0.0; x.len()];
            norm::affine(grad, scale, &zeros, inner, &mut out);
            (out, products, sums)
        })?;
        let vector = |values| Tensor::from_vec(values, channels, x.device());
        Ok((
            Some(Tensor::from_vec(out, x.shape(), x.device())?),
            Some(vector(grad_scale)?),
            Some(vector(grad_shift)?),
        ))
    }
}
