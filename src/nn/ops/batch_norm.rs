//! Batch normalisation (Ioffe & Szegedy 2015) over all axes but the second.

use super::{composed, is_native, output, read_values, values};
use crate::nn::kernels::batch_norm::{Norm, Planes, Statistics};
use crate::nn::kernels::norm;
use crate::nn::transfer;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// The result of batch normalisation in training mode.
pub struct BatchNormOutput {
    /// Normalised, scaled and shifted values, shaped as the input.
    pub output: Tensor,
    /// Mean of the batch per channel.
    pub mean: Tensor,
    /// Unbiased variance of the batch per channel, as running statistics use it.
    pub variance: Tensor,
    /// Variance with the number of values as divisor, as the normalisation itself uses it.
    pub biased: Tensor,
}

/// Training mode: normalises with the statistics of this batch, then max(·, 0) with `relu`. Differentiable in x, weight and bias.
///
/// # Errors
/// When the shapes do not fit or a channel has a single value.
pub fn batch_norm_training(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    relu: bool,
) -> Result<BatchNormOutput> {
    let channels = weight.elem_count();
    if x.rank() < 2 || x.dim(1)? != channels {
        bail!("batch norm: weight {:?} does not fit input {:?}", weight.dims(), x.dims());
    }
    let count = x.elem_count() / channels.max(1);
    if count < 2 {
        bail!(
            "batch norm: training needs more than one value per channel, found input {:?}; use batches of two or more samples",
            x.dims()
        );
    }
    let unbiased = count as f64 / (count - 1) as f64;
    if is_native(x) {
        // The forward pass leaves the statistics here, for the caller and for the gradient.
        let statistics = Arc::new(OnceLock::new());
        let op = Training { statistics: statistics.clone(), epsilon, relu };
        let output = x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?;
        let Some(Statistics { mean, variance }) = statistics.get().cloned() else {
            bail!("batch norm: the forward pass left no statistics")
        };
        let running = variance.iter().map(|&v| (f64::from(v) * unbiased) as f32).collect();
        return Ok(BatchNormOutput {
            output,
            mean: Tensor::from_vec(mean, channels, x.device())?,
            variance: Tensor::from_vec(running, channels, x.device())?,
            biased: Tensor::from_vec(variance, channels, x.device())?,
        });
    }
    composed::batch_norm::training(x, weight, bias, epsilon, relu, count)
}

/// Gradients of a batch normalisation.
pub struct BatchNormGradients {
    /// With respect to the input, in its shape.
    pub input: Tensor,
    /// With respect to the weight (scale), per channel.
    pub weight: Tensor,
    /// With respect to the bias (shift), per channel.
    pub bias: Tensor,
}

/// Gradients of [`batch_norm_training`] with the batch's mean and *biased* variance; they flow through both. With `relu`, the shift
/// (bias) of the normalisation behind which the gradient is masked.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn batch_norm_training_backward(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    relu: Option<&Tensor>,
    (mean, variance): (&Tensor, &Tensor),
    epsilon: f64,
) -> Result<BatchNormGradients> {
    if !is_native(grad) {
        return composed::batch_norm::gradients(grad, x, weight, relu, (mean, variance), epsilon, true);
    }
    let statistics = Statistics { mean: transfer::values(mean)?, variance: transfer::values(variance)? };
    gradients(grad, x, weight, relu, &statistics, epsilon, true)
}

/// Gradients of [`batch_norm_evaluation`], where the statistics are constants.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn batch_norm_evaluation_backward(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    epsilon: f64,
) -> Result<BatchNormGradients> {
    if !is_native(grad) {
        let statistics = (running_mean, running_variance);
        return composed::batch_norm::gradients(grad, x, weight, None, statistics, epsilon, false);
    }
    let statistics =
        Statistics { mean: transfer::values(running_mean)?, variance: transfer::values(running_variance)? };
    gradients(grad, x, weight, None, &statistics, epsilon, false)
}

fn gradients(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    relu: Option<&Tensor>,
    statistics: &Statistics,
    epsilon: f64,
    of_batch: bool,
) -> Result<BatchNormGradients> {
    let channels = statistics.mean.len();
    // Without a ReLU behind it the shift makes no difference.
    let shift = relu.unwrap_or(weight).contiguous()?;
    let sizes = [weight.elem_count(), shift.elem_count(), statistics.variance.len(), x.dim(1)?];
    if grad.dims() != x.dims() || sizes.iter().any(|&size| size != channels) || channels == 0 {
        bail!("batch norm: a gradient of shape {:?} does not fit the input {:?}", grad.dims(), x.dims());
    }
    let planes = Planes { channels, area: x.dims()[2..].iter().product() };
    let (x, grad, weight) = (x.contiguous()?, grad.contiguous()?, weight.contiguous()?);
    let gradients = read_values([&grad, &x, &weight, &shift], |[grad, x, scale, shift]| {
        let norm = Norm { planes, scale, shift, epsilon, relu: relu.is_some() };
        norm.backward(grad, x, statistics, of_batch)
    })?;
    Ok(BatchNormGradients {
        input: Tensor::from_vec(gradients.input, x.shape(), x.device())?,
        weight: Tensor::from_vec(gradients.scale, channels, x.device())?,
        bias: Tensor::from_vec(gradients.shift, channels, x.device())?,
    })
}

/// Evaluation mode: normalises with running statistics. Differentiable in x, weight and bias.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn batch_norm_evaluation(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let (scale, shift) = channel_affine(weight, bias, running_mean, running_variance, epsilon)?;
    affine(x, &scale, &shift)
}

/// Scale and shift per channel to which [`batch_norm_evaluation`] comes down.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn channel_affine(
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    let inverse = (running_variance + epsilon)?.sqrt()?.recip()?;
    let scale = weight.mul(&inverse)?;
    let shift = (bias - (running_mean * &scale)?)?;
    Ok((scale, shift))
}

/// `x · scale + shift` per channel. Differentiable in all three.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let channels = scale.elem_count();
    if x.rank() < 2 || x.dim(1)? != channels {
        bail!("batch norm: weight {:?} does not fit input {:?}", scale.dims(), x.dims());
    }
    if is_native(x) {
        return x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, Affine);
    }
    x.broadcast_mul(&composed::per_channel(scale, x)?)?.broadcast_add(&composed::per_channel(shift, x)?)
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

struct Training {
    statistics: Arc<OnceLock<Statistics>>,
    epsilon: f64,
    relu: bool,
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
        if weight.len() != bias.len() || weight.is_empty() {
            bail!("batch norm: weight {:?} does not fit bias {:?}", wl.dims(), bl.dims());
        }
        let planes = Planes { channels: weight.len(), area: xl.dims()[2..].iter().product() };
        let norm = Norm { planes, scale: weight, shift: bias, epsilon: self.epsilon, relu: self.relu };
        let (out, statistics) = norm.forward_training(x);
        if self.statistics.set(statistics).is_err() {
            bail!("batch norm: one operation ran forward twice");
        }
        output(out, xl.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Gradients> {
        let Some(statistics) = self.statistics.get() else { bail!("batch norm: no forward pass") };
        let relu = self.relu.then_some(bias);
        let gradients = gradients(grad, x, weight, relu, statistics, self.epsilon, true)?;
        Ok((Some(gradients.input), Some(gradients.weight), Some(gradients.bias)))
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
        let inner = xl.dims()[2..].iter().product();
        output(norm::affine(x, values(w, wl)?, values(b, bl)?, inner, false), xl.shape())
    }

    fn bwd(&self, x: &Tensor, scale: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Gradients> {
        let (channels, inner) = (scale.elem_count(), x.dims()[2..].iter().product());
        let grad = grad.contiguous()?;
        let (out, grad_scale, grad_shift) = read_values([x, scale, &grad], |[x, scale, grad]| {
            let zeros = vec![0.0; channels];
            let (sums, products) = norm::gradient_sums(grad, x, &zeros, inner);
            (norm::affine(grad, scale, &zeros, inner, false), products, sums)
        })?;
        let vector = |values| Tensor::from_vec(values, channels, x.device());
        Ok((
            Some(Tensor::from_vec(out, x.shape(), x.device())?),
            Some(vector(grad_scale)?),
            Some(vector(grad_shift)?),
        ))
    }
}
