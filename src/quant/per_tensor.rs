//! Methods that treat every tensor on its own: they say what is done with one, [`PerTensor`] does the rest.

use super::device::{DeviceQuantizer, DeviceTensor, Readings};
use super::method::Setup;
use super::quantizer::{
    ALL_ZEROS, Content, FloatCoding, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor,
};
use super::scope::Scope;
use super::state::{from_state, to_state};
use crate::Result;
use candle_core::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a method does with one tensor.
pub trait TensorQuantizer: Send + Sync + 'static {
    /// What it keeps of a tensor: a codebook, a learned step, clusters. Resumed runs continue from it.
    type Fitted: Serialize + DeserializeOwned + Send + Sync;

    /// What to warn of where [`fit`](Self::fit) gives nothing.
    const DEGENERATE: &'static str = ALL_ZEROS;

    /// Fits the method to trained weights; `None` where that is impossible, and the tensor becomes zeros. `bits` is the
    /// tensor's bit width, present for methods that require one.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for a bit width that is missing.
    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> Result<Option<Self::Fitted>>;

    /// The assignment of the current latent weights.
    fn assign(&self, fitted: &mut Self::Fitted, weights: &WeightTensor<'_>, at: StepInfo) -> Content;

    /// As [`Quantizer::backward`]; the default is the plain straight-through estimator.
    fn backward(
        &self,
        fitted: &mut Self::Fitted,
        weights: &WeightTensor<'_>,
        quantized: &Content,
        gradient: &mut [f32],
    ) {
        let _ = (fitted, weights, quantized, gradient);
    }

    /// What the method does on a device; `None` for one that computes on the host.
    fn on_device(&self) -> Option<&dyn TensorOnDevice<Self::Fitted>> {
        None
    }

    /// As [`Quantizer::coding`].
    fn coding(&self) -> Option<FloatCoding> {
        None
    }

    /// As [`Quantizer::update`], for one tensor.
    fn update(&self, fitted: &mut Self::Fitted, learning_rate: f64) {
        let _ = (fitted, learning_rate);
    }
}

/// What a method does with one tensor on a device.
pub trait TensorOnDevice<F> {
    /// What an assignment has to know on the host, as one tensor of f64: all tensors' are read together. `None` for nothing.
    ///
    /// # Errors
    /// Those of the device.
    fn measure(&self, fitted: &F, weights: &Tensor) -> Result<Option<Tensor>> {
        let _ = (fitted, weights);
        Ok(None)
    }

    /// The assignment of the current latent weights; `measured` is what [`measure`](Self::measure) asked for.
    ///
    /// # Errors
    /// Those of the device.
    fn assign(&self, fitted: &mut F, weights: &Tensor, measured: &[f64]) -> Result<DeviceTensor>;

    /// The gradient for the latent weights, and what [`learn`](Self::learn) has to know of it.
    ///
    /// # Errors
    /// Those of the device.
    fn backward(
        &self,
        fitted: &F,
        weights: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let _ = (fitted, weights, quantized);
        Ok((gradient.clone(), None))
    }

    /// Takes in what `backward` left for the method's own parameters, of a tensor of `count` weights.
    fn learn(&self, fitted: &mut F, sums: &[f64], count: usize) {
        let _ = (fitted, sums, count);
    }
}

/// A [`TensorQuantizer`] over all tensors of a network.
pub struct PerTensor<M: TensorQuantizer> {
    scope: Scope,
    method: M,
    /// One per tensor; `None` where everything is zero.
    fitted: Vec<Option<M::Fitted>>,
    /// What is still on the device for the methods' own parameters, by tensor and its size.
    pending: Vec<((usize, usize), Tensor)>,
    warnings: Vec<String>,
}

impl<M: TensorQuantizer> PerTensor<M> {
    /// The quantizer of a method's entry: `build: |setup| Ok(PerTensor::boxed(setup, Mine))`.
    pub fn boxed(setup: Setup, method: M) -> Box<dyn Quantizer> {
        Box::new(Self {
            scope: setup.scope,
            method,
            fitted: Vec::new(),
            pending: Vec::new(),
            warnings: Vec::new(),
        })
    }
}

impl<M: TensorQuantizer> Quantizer for PerTensor<M> {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        self.fitted.clear();
        for tensor in weights {
            let fitted = self.method.fit(tensor, self.scope.bits(tensor.name))?;
            if fitted.is_none() {
                self.warnings.push(format!("{}: {}", tensor.name, M::DEGENERATE));
            }
            self.fitted.push(fitted);
        }
        Ok(())
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        let method = &self.method;
        let of_tensor = |(tensor, fitted): (&WeightTensor<'_>, &mut Option<M::Fitted>)| {
            let content = match fitted {
                Some(fitted) => method.assign(fitted, tensor, at),
                None => Content::zeros(tensor.values.len()),
            };
            tensor.quantized(content)
        };
        Ok(weights.par_iter().zip(&mut self.fitted).map(of_tensor).collect())
    }

    fn backward(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        quantized: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        if let Some(Some(fitted)) = self.fitted.get_mut(index) {
            self.method.backward(fitted, &weights, &quantized.content, gradient);
        }
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        for fitted in self.fitted.iter_mut().flatten() {
            self.method.update(fitted, learning_rate);
        }
        Ok(())
    }

    fn coding(&self) -> Option<FloatCoding> {
        self.method.coding()
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceQuantizer> {
        match self.method.on_device() {
            Some(_) => Some(self),
            None => None,
        }
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn state(&self) -> Result<Value> {
        to_state(&self.fitted)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.fitted = from_state(state)?;
        Ok(())
    }
}

impl<M: TensorQuantizer> DeviceQuantizer for PerTensor<M> {
    fn assign(
        &mut self,
        weights: &[Tensor],
        _: Option<&[Tensor]>,
        _: StepInfo,
        readings: &mut Readings,
    ) -> Result<Vec<DeviceTensor>> {
        let Some(method) = self.method.on_device() else { return Ok(Vec::new()) };
        let mut parts = Vec::new();
        let mut is_measured = Vec::new();
        for (tensor, fitted) in weights.iter().zip(&self.fitted) {
            let part = fitted.as_ref().map(|fitted| method.measure(fitted, tensor)).transpose()?.flatten();
            is_measured.push(part.is_some());
            parts.extend(part);
        }
        let mut numbers = readings.read(parts)?.into_iter();
        let mut tensors = Vec::with_capacity(weights.len());
        for ((tensor, fitted), is_measured) in weights.iter().zip(&mut self.fitted).zip(is_measured) {
            let measured = if is_measured { numbers.next().unwrap_or_default() } else { Vec::new() };
            tensors.push(match fitted {
                Some(fitted) => method.assign(fitted, tensor, &measured)?,
                None => DeviceTensor::zeros(tensor)?,
            });
        }
        Ok(tensors)
    }

    fn backward(
        &mut self,
        index: usize,
        weights: &Tensor,
        quantized: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let (Some(method), Some(Some(fitted))) = (self.method.on_device(), self.fitted.get(index)) else {
            return Ok(gradient.clone());
        };
        let (gradient, sums) = method.backward(fitted, weights, quantized, gradient)?;
        self.pending.extend(sums.map(|sums| ((index, weights.elem_count()), sums)));
        Ok(gradient)
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo, readings: &mut Readings) -> Result<()> {
        let Some(method) = self.method.on_device() else { return Ok(()) };
        for ((index, count), sums) in readings.read_each(std::mem::take(&mut self.pending))? {
            if let Some(Some(fitted)) = self.fitted.get_mut(index) {
                method.learn(fitted, &sums, count);
            }
        }
        for fitted in self.fitted.iter_mut().flatten() {
            self.method.update(fitted, learning_rate);
        }
        Ok(())
    }
}
