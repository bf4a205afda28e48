//! Activations besides ReLU, which has its own file because other layers are computed together with it.

use super::{is_native, output, values};
use crate::nn::kernels::elementwise;
use candle_core::cpu::erf::erf_f32;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, Var, bail};
use serde::{Deserialize, Serialize};

/// A function of every value alone, or (softmax) of all values along the second axis. Definitions are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "function", rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// min(max(x, 0), 6).
    Relu6,
    /// x for positive x, else `slope` · x.
    LeakyRelu {
        /// Factor of values that are not positive.
        #[serde(default = "leaky_slope")]
        slope: f32,
    },
    /// x · sigmoid(x).
    Silu,
    /// x · min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// x · Φ(x), with the normal distribution function Φ (not its approximation by tanh).
    Gelu,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// eˣ, divided by the sum of these along the second axis (features or channels).
    Softmax,
}

fn leaky_slope() -> f32 {
    0.01
}

impl Activation {
    /// The names in YAML: kinds of layers.
    pub const NAMES: [&str; 8] =
        ["relu6", "leaky_relu", "silu", "hard_swish", "gelu", "sigmoid", "tanh", "softmax"];

    /// The name in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu6 => "relu6",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Silu => "silu",
            Self::HardSwish => "hard_swish",
            Self::Gelu => "gelu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Softmax => "softmax",
        }
    }

    /// Whether results are never negative.
    pub fn is_non_negative(self) -> bool {
        matches!(self, Self::Relu6 | Self::Sigmoid | Self::Softmax)
    }
}

#[inline(always)]
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// min(max(x, 0), 6) by comparisons: NaN stays visible.
#[inline(always)]
fn relu6(x: f32) -> f32 {
    x.clamp(0.0, 6.0)
}

/// The normal distribution function.
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `activation(x)`, any shape; softmax needs a second axis. Differentiable.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if is_native(x) { x.contiguous()?.apply_op1(Activate(activation)) } else { composed(x, activation) }
}

/// [`activate`] by candle's operations alone: for devices without kernels of ours.
pub(super) fn composed(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let logistic = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.recip();
    match activation {
        Activation::Relu6 => between(x, 0.0, 6.0, x),
        Activation::LeakyRelu { slope } => x.gt(0f32)?.where_cond(x, &(x * f64::from(slope))?),
        Activation::Silu => x * logistic(x)?,
        Activation::HardSwish => (x * between(&(x + 3.0)?, 0.0, 6.0, &(x + 3.0)?)?)? / 6.0,
        Activation::Gelu => (x * ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?)? * 0.5,
        Activation::Sigmoid => logistic(x),
        Activation::Tanh => x.tanh(),
        Activation::Softmax => {
            let powers = x.broadcast_sub(&x.max_keepdim(1)?.detach())?.exp()?;
            powers.broadcast_div(&powers.sum_keepdim(1)?)
        }
    }
}

/// `inside` where low < x < high, else the nearer of both bounds; no gradient passes at a bound, as in PyTorch.
fn between(x: &Tensor, low: f64, high: f64, inside: &Tensor) -> Result<Tensor> {
    let bound = |value: f64| (x.zeros_like()? + value)?.detach().contiguous();
    let above = x.ge(high)?.where_cond(&bound(high)?, inside)?;
    x.le(low)?.where_cond(&bound(low)?, &above)
}

/// Gradient of `⟨grad, activate(x)⟩` with respect to x; `out` is `activate(x)`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn activate_backward(grad: &Tensor, x: &Tensor, out: &Tensor, activation: Activation) -> Result<Tensor> {
    if is_native(grad) {
        return grad.contiguous()?.apply_op3_no_bwd(
            &x.contiguous()?,
            &out.contiguous()?,
            &Backward(activation),
        );
    }
    vector_jacobian(x, grad, |x| composed(x, activation))
}

/// The gradient of `⟨grad, f(x)⟩` through candle's differentiation: for operations composed of candle's own.
pub(super) fn vector_jacobian(
    x: &Tensor,
    grad: &Tensor,
    f: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let x = Var::from_tensor(&x.detach())?;
    let gradients = (f(x.as_tensor())? * grad.detach())?.sum_all()?.backward()?;
    gradients.get(x.as_tensor()).cloned().map_or_else(|| x.zeros_like(), Ok)
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let out = match self.0 {
            Activation::Relu6 => elementwise::mapped(x, relu6),
            Activation::LeakyRelu { slope } => {
                elementwise::mapped(x, |x| if x > 0.0 { x } else { x * slope })
            }
            Activation::Silu => elementwise::mapped(x, |x| x * logistic(x)),
            Activation::HardSwish => elementwise::mapped(x, |x| x * relu6(x + 3.0) / 6.0),
            Activation::Gelu => elementwise::mapped(x, |x| x * normal(x)),
            Activation::Sigmoid => elementwise::mapped(x, logistic),
            Activation::Tanh => elementwise::mapped(x, f32::tanh),
            Activation::Softmax => softmax_lines(x, lines(layout)?),
        };
        output(out, layout.shape())
    }

    fn bwd(&self, x: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        activate_backward(grad, x, out, self.0).map(Some)
    }
}

struct Backward(Activation);

impl CustomOp3 for Backward {
    fn name(&self) -> &'static str {
        "activation_backward"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        gl: &Layout,
        x: &CpuStorage,
        xl: &Layout,
        out: &CpuStorage,
        ol: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if gl.dims() != xl.dims() || gl.dims() != ol.dims() {
            bail!("activation: a gradient of shape {:?} does not fit {:?}", gl.dims(), xl.dims());
        }
        let (g, x, y) = (values(grad, gl)?, values(x, xl)?, values(out, ol)?);
        let by_input = |slope: fn(f32) -> f32| elementwise::zipped(g, x, |g, x| g * slope(x));
        let out = match self.0 {
            Activation::Relu6 => by_input(|x| if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }),
            Activation::LeakyRelu { slope } => {
                elementwise::zipped(g, x, |g, x| if x > 0.0 { g } else { g * slope })
            }
            Activation::Silu => by_input(|x| {
                let s = logistic(x);
                s * (1.0 + x * (1.0 - s))
            }),
            Activation::HardSwish => by_input(|x| match x {
                x if x <= -3.0 => 0.0,
                x if x >= 3.0 => 1.0,
                x => x / 3.0 + 0.5,
            }),
            Activation::Gelu => by_input(|x| {
                // The normal density is 1/√(2π) · e^(−x²/2).
                const PEAK: f32 = 0.398_942_3;
                normal(x) + x * PEAK * (-0.5 * x * x).exp()
            }),
            Activation::Sigmoid => elementwise::zipped(g, y, |g, y| g * y * (1.0 - y)),
            Activation::Tanh => elementwise::zipped(g, y, |g, y| g * (1.0 - y * y)),
            Activation::Softmax => softmax_backward(g, y, lines(gl)?),
        };
        output(out, gl.shape())
    }
}

/// Length of the second axis and distance between its values.
fn lines(layout: &Layout) -> Result<(usize, usize)> {
    match layout.dims() {
        [_, length, rest @ ..] if *length > 0 => Ok((*length, rest.iter().product())),
        other => bail!("softmax: expected a second axis, found shape {other:?}"),
    }
}

/// Calls `f` with the positions of every line along the second axis.
fn each_line(count: usize, (length, pitch): (usize, usize), mut f: impl FnMut(&dyn Fn(usize) -> usize)) {
    for sample in 0..count / (length * pitch).max(1) {
        for offset in 0..pitch {
            f(&|index| (sample * length + index) * pitch + offset);
        }
    }
}

fn softmax_lines(x: &[f32], (length, pitch): (usize, usize)) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    each_line(x.len(), (length, pitch), |at| {
        let max = (0..length).fold(f32::NEG_INFINITY, |max, i| max.max(x[at(i)]));
        let mut sum = 0.0f64;
        for i in 0..length {
            out[at(i)] = (x[at(i)] - max).exp();
            sum += f64::from(out[at(i)]);
        }
        (0..length).for_each(|i| out[at(i)] = (f64::from(out[at(i)]) / sum) as f32);
    });
    out
}

fn softmax_backward(grad: &[f32], y: &[f32], (length, pitch): (usize, usize)) -> Vec<f32> {
    let mut out = vec![0.0; y.len()];
    each_line(y.len(), (length, pitch), |at| {
        let sum: f64 = (0..length).map(|i| f64::from(grad[at(i)]) * f64::from(y[at(i)])).sum();
        (0..length).for_each(|i| out[at(i)] = (f64::from(y[at(i)]) * (f64::from(grad[at(i)]) - sum)) as f32);
    });
    out
}
