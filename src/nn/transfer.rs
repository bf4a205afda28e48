//! The one place through which values leave a device and reach it. On a GPU every read waits for the device, so reads are
//! counted, and the tests hold a training step to its number of them.
//!
//! Native tensors are in the host's memory: reading them is a copy, and not counted.

use super::backend::Backend;
use candle_core::{DType, Device, Result, Shape, Tensor, WithDType};
use std::cell::Cell;

/// What went between host and device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often the host waited for values.
    pub reads: usize,
    /// Bytes of these values.
    pub read_bytes: usize,
    /// How often values were sent to the device.
    pub writes: usize,
    /// Bytes of these values.
    pub write_bytes: usize,
}

thread_local! {
    static TRAFFIC: Cell<Traffic> = const { Cell::new(Traffic { reads: 0, read_bytes: 0, writes: 0, write_bytes: 0 }) };
}

/// What `work` moves between host and device in this thread, beside its result.
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Traffic) {
    let before = TRAFFIC.replace(Traffic::default());
    let result = work();
    let found = TRAFFIC.replace(before);
    let mut sum = before;
    sum.reads += found.reads;
    sum.read_bytes += found.read_bytes;
    sum.writes += found.writes;
    sum.write_bytes += found.write_bytes;
    TRAFFIC.set(sum);
    (result, found)
}

fn read(tensor: &Tensor) {
    if Backend::of(tensor) == Backend::Composed {
        let mut traffic = TRAFFIC.get();
        traffic.reads += 1;
        traffic.read_bytes += tensor.elem_count() * tensor.dtype().size_in_bytes();
        TRAFFIC.set(traffic);
    }
}

/// All values of a tensor, row-major.
///
/// # Errors
/// When the tensor has another type or the device fails.
pub fn values<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    read(tensor);
    tensor.flatten_all()?.to_vec1()
}

/// The rows of a matrix.
///
/// # Errors
/// When the tensor is no matrix of this type or the device fails.
pub fn rows<T: WithDType>(tensor: &Tensor) -> Result<Vec<Vec<T>>> {
    read(tensor);
    tensor.to_vec2()
}

/// The value of a scalar.
///
/// # Errors
/// When the tensor is no scalar of this type or the device fails.
pub fn scalar<T: WithDType>(tensor: &Tensor) -> Result<T> {
    read(tensor);
    tensor.to_scalar()
}

/// A tensor of these values on a device.
///
/// # Errors
/// When the shape does not fit or the device fails.
pub fn tensor<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    if Backend::on(device) == Backend::Composed {
        let mut traffic = TRAFFIC.get();
        traffic.writes += 1;
        traffic.write_bytes += values.len() * T::DTYPE.size_in_bytes();
        TRAFFIC.set(traffic);
    }
    Tensor::from_vec(values, shape.into(), device)
}

/// Several small tensors that leave the device together: one wait for all of them.
#[derive(Default)]
pub struct Parcel {
    parts: Vec<Tensor>,
}

impl Parcel {
    /// Adds a tensor; its position among the parts of [`read`](Self::read).
    pub fn add(&mut self, part: Tensor) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    /// The values of all parts, in order, as f64: counts and f32 arrive as they are.
    ///
    /// # Errors
    /// When the device fails.
    pub fn read(self) -> Result<Vec<Vec<f64>>> {
        if self.parts.is_empty() {
            return Ok(Vec::new());
        }
        let flat: Vec<Tensor> =
            self.parts.iter().map(|part| part.flatten_all()?.to_dtype(DType::F64)).collect::<Result<_>>()?;
        let mut rest = values::<f64>(&Tensor::cat(&flat, 0)?)?.into_iter();
        Ok(flat.iter().map(|part| rest.by_ref().take(part.elem_count()).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Composed reads and writes are counted, native ones are not; a parcel is one read whatever it holds.
    #[test]
    fn traffic_is_counted() {
        let work = || {
            let x = tensor(vec![1f32, 2.0, 3.0], 3, &Device::Cpu).unwrap();
            assert_eq!(values::<f32>(&x).unwrap(), [1.0, 2.0, 3.0]);
            let mut parcel = Parcel::default();
            parcel.add(x.sum_all().unwrap());
            let at = parcel.add(Tensor::new(&[7u8, 9], &Device::Cpu).unwrap());
            assert_eq!(parcel.read().unwrap()[at], [7.0, 9.0]);
        };
        let composed = Backend::Composed.run(|| count(work).1);
        assert_eq!(composed, Traffic { reads: 2, read_bytes: 12 + 24, writes: 1, write_bytes: 12 });
        assert_eq!(Backend::Native.run(|| count(work).1), Traffic::default());
    }
}
