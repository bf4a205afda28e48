//! Named parameters and running statistics of a network, in layer order.

use super::transfer;
use crate::{Error, Result};
use candle_core::{Device, Tensor, Var};
use indexmap::IndexMap;

/// What a parameter is for. Decides what is trained, quantized and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a linear or convolution layer: the only thing a quantizer touches.
    Weight,
    /// Bias of a linear or convolution layer.
    Bias,
    /// Scale or shift of a batch norm.
    Affine,
    /// Running mean or variance: not trained by gradients, but part of the model and of its size.
    Statistic,
}

/// A parameter's name, shape and role, without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterShape {
    /// Full name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// One parameter with its values.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The values, always contiguous f32.
    pub var: Var,
    /// What it is for.
    pub role: Role,
}

/// All parameters of a network by name, in layer order (iteration order is that order, always).
#[derive(Clone, Debug)]
pub struct Parameters {
    entries: IndexMap<String, Parameter>,
    device: Device,
}

impl Parameters {
    /// No parameters yet, on `device`.
    pub fn new(device: Device) -> Self {
        Self { entries: IndexMap::new(), device }
    }

    /// Where the values are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds or replaces a parameter.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device fails.
    pub fn insert(&mut self, name: impl Into<String>, values: &Tensor, role: Role) -> Result<()> {
        let values = values.to_device(&self.device)?.contiguous()?;
        self.entries.insert(name.into(), Parameter { var: Var::from_tensor(&values)?, role });
        Ok(())
    }

    /// The parameter called `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.entries.get(name)
    }

    /// The values of the parameter called `name`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the network has no such parameter.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.entries
            .get(name)
            .map(|p| p.var.as_tensor())
            .ok_or_else(|| Error::Internal(format!("no parameter is called {name}")))
    }

    /// The values as a flat host vector, row-major.
    ///
    /// # Errors
    /// [`Error::Internal`] for an unknown name, [`Error::Tensor`] for a shape that does not fit.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(transfer::values(self.tensor(name)?)?)
    }

    /// Overwrites the values of `name` in place; the shape stays.
    ///
    /// # Errors
    /// [`Error::Internal`] for an unknown name, [`Error::Tensor`] for a shape that does not fit.
    pub fn set_values(&self, name: &str, values: &[f32]) -> Result<()> {
        let parameter = self
            .entries
            .get(name)
            .ok_or_else(|| Error::Internal(format!("no parameter is called {name}")))?;
        let tensor = transfer::tensor(values.to_vec(), parameter.var.shape(), &self.device)?;
        parameter.var.set(&tensor)?;
        Ok(())
    }

    /// Overwrites `name` in place with the values of a tensor on the same device; the shape stays.
    ///
    /// # Errors
    /// [`Error::Internal`] for an unknown name, [`Error::Tensor`] for a shape that does not fit.
    pub fn set_tensor(&self, name: &str, values: &Tensor) -> Result<()> {
        let parameter = self
            .entries
            .get(name)
            .ok_or_else(|| Error::Internal(format!("no parameter is called {name}")))?;
        parameter.var.set(values)?;
        Ok(())
    }

    /// Names and parameters in layer order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.entries.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// How many parameters and statistics (tensors) there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of scalars in all parameters and running statistics: the count behind compression ratios.
    pub fn scalars(&self) -> usize {
        self.entries.values().map(|p| p.var.elem_count()).sum()
    }

    /// An independent copy: later changes to either leave the other alone.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device fails.
    pub fn deep_copy(&self) -> Result<Self> {
        let mut copy = Self::new(self.device.clone());
        for (name, parameter) in self.iter() {
            copy.insert(name, &parameter.var.as_tensor().copy()?, parameter.role)?;
        }
        Ok(copy)
    }
}
