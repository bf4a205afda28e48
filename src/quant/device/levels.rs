//! Weights to positions and back. Comparisons with limits that the host laid are exact on every device; products and sums
//! are written so that no compiler can fuse them.

use super::looked_up;
use crate::Result;
use crate::nn::transfer;
use crate::quant::boundaries::Boundaries;
use crate::quant::codebook::Codebook;
use crate::quant::ste::SteScale;
use candle_core::{DType, Device, Tensor, WithDType};

/// A tensor as one axis, outside of candle's graph.
pub fn flat(x: &Tensor) -> Result<Tensor> {
    Ok(x.detach().flatten_all()?.contiguous()?)
}

/// A value as a tensor that broadcasts over anything, made on the device: a number would have to be sent, and dividing by one
/// multiplies by its reciprocal.
pub fn one<T: WithDType>(value: T, device: &Device) -> Result<Tensor> {
    Ok(Tensor::full(value, 1, device)?)
}

/// `f32` table entries at u8 positions.
pub fn at(table: Vec<f32>, positions: &Tensor) -> Result<Tensor> {
    let count = table.len();
    looked_up(&transfer::tensor(table, count, positions.device())?, positions)
}

/// `yes` where the u8 `mask` is set, else `no`.
pub fn where_at(mask: &Tensor, yes: &Tensor, no: f32) -> Result<Tensor> {
    Ok(mask.where_cond(yes, &Tensor::full(no, yes.shape(), yes.device())?)?)
}

/// How many of the ascending limits (at most 255) lie below each weight, u8: a binary search, one limit per bit.
pub fn places(weights: &Tensor, limits: &[f32]) -> Result<Tensor> {
    let mut place = Tensor::zeros(weights.shape(), DType::U8, weights.device())?;
    let bits = usize::BITS - limits.len().leading_zeros();
    let size = (1usize << bits) - 1;
    if size == 0 {
        return Ok(place);
    }
    let mut table = limits.to_vec();
    table.resize(size, f32::INFINITY);
    let table = transfer::tensor(table, size, weights.device())?;
    for bit in (0..bits).rev() {
        let step = 1usize << bit;
        let limit = table.index_select(&place.affine(1.0, (step - 1) as f64)?, 0)?;
        place = (place + weights.gt(&limit)?.affine(step as f64, 0.0)?)?;
    }
    Ok(place)
}

/// The position of every weight's level, u8: as [`Boundaries::assign`], bit for bit.
pub fn assigned(weights: &Tensor, boundaries: &Boundaries) -> Result<Tensor> {
    let place = places(weights, &boundaries.limits)?;
    let winners = boundaries.winners.clone();
    let is_plain = winners.iter().enumerate().all(|(at, winner)| at == usize::from(*winner));
    let sure = match is_plain {
        true => place,
        false => {
            let count = winners.len();
            looked_up(&transfer::tensor(winners, count, weights.device())?, &place)?
        }
    };
    if boundaries.doubtful.is_empty() {
        return Ok(sure);
    }
    let mut doubt = Tensor::zeros(weights.shape(), DType::U8, weights.device())?;
    for &(low, high) in &boundaries.doubtful {
        let (low, high) = (one(low, weights.device())?, one(high, weights.device())?);
        doubt = (doubt + (weights.broadcast_ge(&low)? * weights.broadcast_le(&high)?)?)?;
    }
    Ok(doubt.where_cond(&searched(weights, boundaries)?, &sure)?)
}

/// The plain search over all levels, in f32 as the native one.
fn searched(weights: &Tensor, boundaries: &Boundaries) -> Result<Tensor> {
    let mut best = Tensor::full(f32::INFINITY, weights.shape(), weights.device())?;
    let mut found = Tensor::full(boundaries.winners[0], weights.shape(), weights.device())?;
    for (at, (&level, &penalty)) in (0u8..=255).zip(boundaries.levels.iter().zip(&boundaries.penalties)) {
        if penalty == f32::INFINITY {
            continue;
        }
        let cost = cost(weights, &one(level, weights.device())?, &one(penalty, weights.device())?)?;
        let wins = cost.lt(&best)?;
        found = wins.where_cond(&Tensor::full(at, weights.shape(), weights.device())?, &found)?;
        best = wins.where_cond(&cost, &best)?;
    }
    Ok(found)
}

/// `(level − w)² + penalty`.
pub fn cost(weights: &Tensor, level: &Tensor, penalty: &Tensor) -> Result<Tensor> {
    Ok(level.broadcast_sub(weights)?.sqr()?.broadcast_add(penalty)?)
}

/// Runs of weights that share a step: a flat tensor as (repeats, channels, weights of a run).
#[derive(Clone, Copy, Debug)]
pub struct StepRuns {
    channels: usize,
    stride: usize,
}

impl StepRuns {
    /// Of `channels` steps for runs of `stride` weights; one step for all weights where there is one channel.
    pub fn new(channels: usize, stride: usize) -> Self {
        Self { channels: channels.max(1), stride: stride.max(1) }
    }

    fn shape(self, x: &Tensor) -> (usize, usize, usize) {
        match self.channels {
            1 => (1, 1, x.elem_count()),
            channels => (x.elem_count() / (channels * self.stride), channels, self.stride),
        }
    }

    /// `f(weights, steps)` with one step per run, broadcast; the result is flat.
    pub fn with_steps(
        self,
        weights: &Tensor,
        steps: &Tensor,
        f: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Tensor> {
        let steps = steps.reshape((1, self.channels, 1))?;
        Ok(f(&weights.reshape(self.shape(weights))?, &steps)?.flatten_all()?)
    }

    /// Sums over the weights of each step, f64.
    pub fn sums(self, x: &Tensor) -> Result<Tensor> {
        if self.channels == 1 {
            return Ok(super::sums::total(x)?.reshape(1)?);
        }
        Ok(x.to_dtype(DType::F64)?.reshape(self.shape(x))?.sum(2)?.sum(0)?)
    }
}

/// The runs of a codebook of steps.
pub fn runs_of(codebook: &Codebook) -> StepRuns {
    match codebook {
        Codebook::PerChannel { steps, stride, .. } => StepRuns::new(steps.len(), *stride),
        Codebook::Uniform { .. } | Codebook::Explicit { .. } => StepRuns::new(1, 1),
    }
}

/// As [`Codebook::equalised`].
pub fn equalised(weights: &Tensor, codebook: &Codebook) -> Result<Tensor> {
    let Codebook::PerChannel { steps, .. } = codebook else { return Ok(weights.clone()) };
    // In f64: the ratio of two steps may overflow f32.
    let mean = f64::from(codebook.pooled().value(1));
    let factors: Vec<f64> = steps.iter().map(|&step| mean / f64::from(step)).collect();
    let count = factors.len();
    let factors = transfer::tensor(factors, count, weights.device())?;
    let scaled =
        runs_of(codebook).with_steps(&weights.to_dtype(DType::F64)?, &factors, |w, f| w.broadcast_mul(f))?;
    Ok(scaled.to_dtype(DType::F32)?)
}

/// The values at these positions, flat: as [`Codebook::values_of`], bit for bit.
pub fn values_of(positions: &Tensor, codebook: &Codebook) -> Result<Tensor> {
    let Codebook::PerChannel { steps, lowest, highest, .. } = codebook else {
        return at(codebook.values(), positions);
    };
    let levels = at((*lowest..=*highest).map(|level| level as f32).collect(), positions)?;
    let steps = transfer::tensor(steps.clone(), steps.len(), positions.device())?;
    runs_of(codebook).with_steps(&levels, &steps, |levels, steps| levels.broadcast_mul(steps))
}

/// The gradient scaled by the level in use, in its shape: as [`SteScale::apply`].
pub fn scaled_gradient(gradient: &Tensor, values: &Tensor, scale: SteScale) -> Result<Tensor> {
    let scaled = match scale {
        SteScale::None => return Ok(gradient.clone()),
        SteScale::CentroidAbs => (gradient * values.abs()?)?,
        SteScale::CentroidSigned => (gradient * values)?,
    };
    Ok(values.eq(&values.zeros_like()?)?.where_cond(gradient, &scaled)?)
}

/// 1.5 · 2²³: added to a small number and taken off again it rounds to whole numbers, halves to even.
const ROUNDING: f64 = 12_582_912.0;

/// `weights / steps` on the grid: positions within `lowest … highest` and the whole levels nearest to them (halves to
/// even; NaN counts as 0). Flat, f32.
pub fn rounded_levels(
    weights: &Tensor,
    steps: &Tensor,
    runs: StepRuns,
    (lowest, highest): (i32, i32),
) -> Result<(Tensor, Tensor)> {
    let place = runs.with_steps(weights, steps, |w, step| w.broadcast_div(step))?;
    let place = place.eq(&place)?.where_cond(&place, &place.zeros_like()?)?;
    let (low, high) = (one(lowest as f32, place.device())?, one(highest as f32, place.device())?);
    let clamped = place.broadcast_maximum(&low)?.broadcast_minimum(&high)?;
    let level = clamped.affine(1.0, ROUNDING)?.affine(1.0, -ROUNDING)?;
    Ok((place, level))
}

/// Where positions on a grid lie at its ends or beyond, u8.
pub fn is_beyond(place: &Tensor, (lowest, highest): (i32, i32)) -> Result<Tensor> {
    let (low, high) = (one(lowest as f32, place.device())?, one(highest as f32, place.device())?);
    Ok((place.broadcast_le(&low)? + place.broadcast_ge(&high)?)?)
}
