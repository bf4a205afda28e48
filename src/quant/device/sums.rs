//! Sums, extremes and counts of large tensors. candle reduces with one block of a GPU per result: rows first, then rows'
//! results, keeps the device busy.

use crate::Result;
use candle_core::{DType, Tensor};

/// Values of a row.
const ROW: usize = 1024;

/// A flat tensor as whole rows and a rest, either of which may be missing.
fn rows(x: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (count, whole) = (x.elem_count(), x.elem_count() / ROW * ROW);
    let part = |from, length| if length == 0 { Ok(None) } else { x.narrow(0, from, length).map(Some) };
    let rows = part(0, whole)?.map(|x| x.reshape((whole / ROW, ROW))).transpose()?;
    Ok((rows, part(whole, count - whole)?))
}

/// The sum of a flat tensor, in f64.
pub fn total(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::F64)?;
    let (rows, rest) = rows(&x)?;
    let of_rows = rows.map(|rows| rows.sum(1)?.sum(0)).transpose()?;
    let of_rest = rest.map(|rest| rest.sum(0)).transpose()?;
    Ok(match (of_rows, of_rest) {
        (Some(a), Some(b)) => (a + b)?,
        (Some(sum), None) | (None, Some(sum)) => sum,
        (None, None) => Tensor::zeros((), DType::F64, x.device())?,
    })
}

/// The largest value of a flat tensor that has one.
pub fn largest(x: &Tensor) -> Result<Tensor> {
    extreme(x, Tensor::max)
}

/// The smallest value of a flat tensor that has one.
pub fn smallest(x: &Tensor) -> Result<Tensor> {
    extreme(x, Tensor::min)
}

fn extreme(x: &Tensor, of: impl Fn(&Tensor, usize) -> candle_core::Result<Tensor>) -> Result<Tensor> {
    let (rows, rest) = rows(x)?;
    let parts: Vec<Tensor> = rows.map(|rows| of(&rows, 1)).transpose()?.into_iter().chain(rest).collect();
    Ok(of(&Tensor::cat(&parts, 0)?, 0)?)
}

/// A count takes this share of an f64's 53 exact bits.
const FIELD: f64 = (1u64 << 26) as f64;

/// How often each of `bins` positions (u8, flat) occurs, packed two to a number; [`unpacked`] reads them on the host. Exact
/// below 2²⁶ positions.
pub fn counts(positions: &Tensor, bins: usize) -> Result<Tensor> {
    let pair = |first: usize| -> Result<Tensor> {
        let mut table = vec![0.0f64; bins];
        table[first] = 1.0;
        if let Some(second) = table.get_mut(first + 1) {
            *second = FIELD;
        }
        let table = crate::nn::transfer::tensor(table, bins, positions.device())?;
        total(&super::looked_up(&table, positions)?)
    };
    let pairs: Vec<Tensor> = (0..bins).step_by(2).map(pair).collect::<Result<_>>()?;
    Ok(Tensor::stack(&pairs, 0)?)
}

/// What [`counts`] packed.
pub fn unpacked(packed: &[f64], bins: usize) -> Vec<usize> {
    let pair = |sum: &f64| {
        let second = (sum / FIELD).floor();
        [(sum - second * FIELD) as usize, second as usize]
    };
    packed.iter().flat_map(pair).take(bins).collect()
}

/// Sums and numbers of the magnitudes below `−limit` and above `limit`, a scalar tensor: four f64.
pub fn side_sums(x: &Tensor, limit: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    let of_side = |mask: Tensor| -> Result<[Tensor; 2]> {
        Ok([total(&mask.where_cond(&x.abs()?, &zeros)?)?, total(&mask)?])
    };
    let [low, low_count] = of_side(x.broadcast_lt(&limit.neg()?)?)?;
    let [high, high_count] = of_side(x.broadcast_gt(limit)?)?;
    Ok(Tensor::stack(&[low, low_count, high, high_count], 0)?)
}
