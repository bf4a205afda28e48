//! The values of a tensor as a plain slice or vector, without a copy where the tensor is on the CPU.

use crate::nn::backend::is_native;
use crate::nn::transfer;
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};
use std::cell::RefCell;

/// Runs `work` on the values of a contiguous f32 tensor, row-major, and keeps what it writes. Every tensor that shares
/// these values sees the change.
///
/// # Errors
/// When the tensor is strided or not f32.
pub fn with_values<R>(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    if !is_native(tensor) {
        let mut values = transfer::values::<f32>(tensor)?;
        let result = work(&mut values);
        send(values, tensor)?;
        return Ok(result);
    }
    in_place(tensor, work)
}

/// As [`with_values`] for work that writes every value and reads none: on a device nothing is read back first.
///
/// # Errors
/// When the tensor is strided or not f32.
pub fn overwrite_values<R>(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    if !is_native(tensor) {
        let mut values = vec![0.0; tensor.elem_count()];
        let result = work(&mut values);
        send(values, tensor)?;
        return Ok(result);
    }
    in_place(tensor, work)
}

/// As [`with_values`] for a tensor that nobody reads afterwards: on a device nothing is sent back.
///
/// # Errors
/// When the tensor is not f32.
pub fn consume_values<R>(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    if !is_native(tensor) {
        return Ok(work(&mut transfer::values::<f32>(tensor)?));
    }
    in_place(&tensor.contiguous()?, work)
}

/// Overwrites a tensor on a device.
fn send(values: Vec<f32>, tensor: &Tensor) -> Result<()> {
    tensor.slice_set(&transfer::tensor(values, tensor.shape(), tensor.device())?, 0, 0)
}

fn in_place<R>(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    let result = RefCell::new(None);
    let work = RefCell::new(Some(work));
    tensor.inplace_op1(&OnValues(|values: &mut Vec<f32>, range: std::ops::Range<usize>| {
        if let Some(work) = work.take() {
            result.replace(Some(work(&mut values[range])));
        }
    }))?;
    match result.into_inner() {
        Some(result) => Ok(result),
        None => bail!("in place: the work was not done"),
    }
}

/// The values of a tensor that shares them with no other: they are moved out where that is possible.
///
/// # Errors
/// When the values cannot be read as f32.
pub fn into_values(tensor: Tensor) -> Result<Vec<f32>> {
    if !is_native(&tensor) || !tensor.is_contiguous() {
        return transfer::values(&tensor);
    }
    let moved = RefCell::new(None);
    tensor.inplace_op1(&OnValues(|values: &mut Vec<f32>, range: std::ops::Range<usize>| {
        moved.replace(Some(if range == (0..values.len()) {
            std::mem::take(values)
        } else {
            values[range].to_vec()
        }));
    }))?;
    match moved.into_inner() {
        Some(values) => Ok(values),
        None => bail!("in place: the values were not read"),
    }
}

/// An operation on the storage behind a contiguous tensor and the range of it that the tensor shows.
struct OnValues<F>(F);

impl<F: Fn(&mut Vec<f32>, std::ops::Range<usize>)> InplaceOp1 for OnValues<F> {
    fn name(&self) -> &'static str {
        "values"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("in place: expected contiguous f32 values")
        };
        (self.0)(values, start..end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Writes reach the tensor; a part of a tensor shows and moves only its own values.
    #[test]
    fn values_are_written_and_moved() {
        let tensor = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], (2, 2), &Device::Cpu).unwrap();
        let sum = with_values(&tensor, |values| {
            values[3] = 5.0;
            values.iter().sum::<f32>()
        });
        assert_eq!(sum.unwrap(), 11.0);
        let row = tensor.narrow(0, 1, 1).unwrap();
        assert_eq!(into_values(row).unwrap(), [3.0, 5.0]);
        assert_eq!(tensor.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [3.0, 5.0]]);
        assert_eq!(into_values(tensor).unwrap(), [1.0, 2.0, 3.0, 5.0]);
        let strided = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], (2, 2), &Device::Cpu).unwrap().t().unwrap();
        assert!(with_values(&strided, |_| ()).is_err());
        assert_eq!(into_values(strided).unwrap(), [1.0, 3.0, 2.0, 4.0]);
    }
}
