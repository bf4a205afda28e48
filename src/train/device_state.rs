//! What a quantization-aware run keeps on a device.

use super::latent::LatentWeights;
use crate::Result;
use crate::nn::{Backend, transfer};
use crate::quant::device::DeviceTensor;
use crate::quant::quantizer::{QuantizedTensor, Quantizer};
use candle_core::{Device, Tensor};

/// Latent weights and their assignment on the device.
pub(super) struct DeviceState {
    /// Latent weights, in their shapes.
    pub latent: Vec<Tensor>,
    /// What they are assigned to.
    pub tensors: Vec<DeviceTensor>,
}

/// Whether a method's steps on this device stay there.
pub(super) fn is_resident(quantizer: &mut dyn Quantizer, device: &Device) -> bool {
    Backend::on(device) == Backend::Composed
        && !quantizer.wants_gradients()
        && quantizer.on_device().is_some()
}

impl DeviceState {
    /// Sends what the host has to the device, and tells the method of it.
    pub fn new(
        latent: &LatentWeights,
        tensors: &[QuantizedTensor],
        quantizer: &mut dyn Quantizer,
        device: &Device,
    ) -> Result<Self> {
        if let Some(method) = quantizer.on_device() {
            method.begin(&latent.tensors());
        }
        let send = |(values, shape): (&Vec<f32>, &Vec<usize>)| {
            transfer::tensor(values.clone(), shape.as_slice(), device)
        };
        let on_device = latent.values.iter().zip(&latent.shapes).map(send);
        let latent = on_device.collect::<candle_core::Result<_>>()?;
        let tensors = tensors.iter().map(|tensor| DeviceTensor::from_host(tensor, device));
        Ok(Self { latent, tensors: tensors.collect::<Result<_>>()? })
    }

    /// Brings weights and assignment to the host.
    pub fn download(&self, latent: &mut LatentWeights, tensors: &mut Vec<QuantizedTensor>) -> Result<()> {
        for (values, tensor) in latent.values.iter_mut().zip(&self.latent) {
            *values = transfer::values(tensor)?;
        }
        let named = self.tensors.iter().zip(&latent.names);
        *tensors = named.map(|(tensor, name)| tensor.to_host(name)).collect::<Result<_>>()?;
        Ok(())
    }
}
