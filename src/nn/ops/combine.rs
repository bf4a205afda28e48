//! Operations of several inputs besides sums: products of a signal and a gate, and concatenation. Both are composed of
//! operations that have a kernel of their own where one pays.

use super::{affine, channel_sum};
use candle_core::{Result, Tensor, bail};

/// How a gate's values lie over the signal's.
enum Fit {
    /// One for each value.
    Full,
    /// One for each channel of each sample: squeeze and excitation (Hu et al. 2018).
    Channels,
}

fn fit(signal: &[usize], gate: &[usize]) -> Result<Fit> {
    let channels = signal.len() > 2
        && gate.len() >= 2
        && gate[..2] == signal[..2]
        && gate[2..].iter().all(|&size| size == 1);
    match () {
        () if signal == gate => Ok(Fit::Full),
        () if channels => Ok(Fit::Channels),
        () => bail!("cannot multiply {signal:?} by {gate:?}"),
    }
}

/// All channels of all samples as channels of one sample.
fn as_channels(x: &Tensor) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    x.contiguous()?.reshape((1, batch * channels, x.elem_count() / (batch * channels).max(1)))
}

/// `signal ⊙ gate`, where the gate has the signal's shape or one value for each sample and channel: (batch, channels),
/// or with further axes of length 1. Differentiable in both.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn multiply(signal: &Tensor, gate: &Tensor) -> Result<Tensor> {
    match fit(signal.dims(), gate.dims())? {
        Fit::Full => signal * gate,
        Fit::Channels => {
            let factors = gate.flatten_all()?;
            affine(&as_channels(signal)?, &factors, &factors.zeros_like()?)?.reshape(signal.shape())
        }
    }
}

/// Gradients of `⟨grad, multiply(signal, gate)⟩` with respect to signal and gate.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn multiply_backward(grad: &Tensor, signal: &Tensor, gate: &Tensor) -> Result<[Tensor; 2]> {
    let product = (grad * signal.detach())?;
    let of_gate = match fit(signal.dims(), gate.dims())? {
        Fit::Full => product,
        Fit::Channels => channel_sum(&as_channels(&product)?)?.reshape(gate.shape())?,
    };
    Ok([multiply(grad, &gate.detach())?, of_gate])
}

/// All inputs side by side along the second axis (channels or features). Differentiable in all.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn concat(inputs: &[&Tensor]) -> Result<Tensor> {
    Tensor::cat(inputs, 1)?.contiguous()
}

/// The parts of `whole` that belong to each of `inputs` of [`concat()`]: its gradients, and shares of relevance.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) for shapes, types or devices that do not fit.
pub fn concat_parts(whole: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(inputs.len());
    for input in inputs {
        let length = input.dim(1)?;
        parts.push(whole.narrow(1, start, length)?.contiguous()?);
        start += length;
    }
    Ok(parts)
}
