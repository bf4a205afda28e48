//! What training loops put into a [`Snapshot`]: parameters, optimizers, quantized tensors.

use super::optimizer::{Optimizer, Slot};
use crate::Result;
use crate::nn::Parameters;
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor};
use crate::snapshot::{Array, Snapshot, wrong};
use serde::{Deserialize, Serialize};

/// What [`Snapshot::put_tensors`] keeps of a tensor besides its numbers.
#[derive(Serialize, Deserialize)]
struct TensorEntry {
    name: String,
    shape: Vec<usize>,
    codebook: Option<Codebook>,
}

impl Snapshot {
    /// Adds all parameters and statistics.
    ///
    /// # Errors
    /// Those of reading them from the device.
    pub fn put_parameters(&mut self, prefix: &str, parameters: &Parameters) -> Result<()> {
        for (name, _) in parameters.iter() {
            self.put_floats(format!("{prefix}/{name}"), parameters.values(name)?);
        }
        Ok(())
    }

    /// Overwrites all parameters and statistics.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) when one is not there or of another size.
    pub fn restore_parameters(&self, prefix: &str, into: &Parameters) -> Result<()> {
        for (name, parameter) in into.iter() {
            into.set_values(name, self.floats(&format!("{prefix}/{name}"), parameter.var.elem_count())?)?;
        }
        Ok(())
    }

    /// Adds an optimizer's memory.
    ///
    /// # Errors
    /// Those of reading it from the device.
    pub fn put_optimizer(&mut self, prefix: &str, optimizer: &Optimizer) -> Result<()> {
        let (steps, slots) = optimizer.state()?;
        self.put(&format!("{prefix}.steps"), &steps)?;
        self.put(&format!("{prefix}.names"), &slots.keys().collect::<Vec<_>>())?;
        for (name, slot) in slots {
            self.put_floats(format!("{prefix}/{name}/first"), slot.first);
            self.put_floats(format!("{prefix}/{name}/second"), slot.second);
        }
        Ok(())
    }

    /// Gives an optimizer its memory back.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) when a part is not there.
    pub fn restore_optimizer(&self, prefix: &str, optimizer: &mut Optimizer) -> Result<()> {
        let names: Vec<String> = self.get(&format!("{prefix}.names"))?;
        let part = |name: &str, which: &str| match self.array(&format!("{prefix}/{name}/{which}"))? {
            Array::Floats(values) => Ok(values.clone()),
            _ => Err(wrong(format!("{prefix}/{name}/{which} has integers"))),
        };
        let slots = names
            .into_iter()
            .map(|name| {
                let slot = Slot { first: part(&name, "first")?, second: part(&name, "second")? };
                Ok((name, slot))
            })
            .collect::<Result<_>>()?;
        optimizer.restore(self.get(&format!("{prefix}.steps"))?, slots);
        Ok(())
    }

    /// Adds quantized tensors.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) for a codebook with values that JSON cannot hold.
    pub fn put_tensors(&mut self, prefix: &str, tensors: &[QuantizedTensor]) -> Result<()> {
        let mut entries = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let (codebook, array) = match &tensor.content {
                Content::Levels { positions, codebook } => {
                    (Some(codebook.clone()), Array::Bytes(positions.clone()))
                }
                Content::Values(values) => (None, Array::Floats(values.clone())),
            };
            self.arrays.insert(format!("{prefix}/{}", tensor.name), array);
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            entries.push(TensorEntry { name, shape, codebook });
        }
        self.put(&format!("{prefix}.entries"), &entries)
    }

    /// What [`put_tensors`](Self::put_tensors) added.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) when a part is not there or does not fit its shape.
    pub fn tensors(&self, prefix: &str) -> Result<Vec<QuantizedTensor>> {
        let entries: Vec<TensorEntry> = self.get(&format!("{prefix}.entries"))?;
        entries
            .into_iter()
            .map(|TensorEntry { name, shape, codebook }| {
                let count: usize = shape.iter().product();
                let content = match (self.array(&format!("{prefix}/{name}"))?, codebook) {
                    (Array::Bytes(positions), Some(codebook)) if positions.len() == count => {
                        Content::Levels { positions: positions.clone(), codebook }
                    }
                    (Array::Floats(values), None) if values.len() == count => Content::Values(values.clone()),
                    _ => return Err(wrong(format!("{prefix}/{name} does not have {count} values"))),
                };
                Ok(QuantizedTensor { name, shape, content })
            })
            .collect()
    }
}
