//! The state of a training loop between two steps, and the interface through which a loop leaves it and finds it again.
//! Where it is kept and when it is due is decided in [`crate::run`]; the file format is the store's.

use super::optimizer::{Optimizer, Slot};
use crate::nn::Parameters;
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Arrays with at least this many numbers leave the JSON part.
const LARGE: usize = 64;

/// A flat array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// f32.
    Floats(Vec<f32>),
    /// i32.
    Integers(Vec<i32>),
    /// u8.
    Bytes(Vec<u8>),
}

/// Everything a loop needs to continue: small things as JSON, large arrays beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Small things by name.
    pub values: Map<String, Value>,
    /// Large arrays by name.
    pub arrays: IndexMap<String, Array>,
}

/// When a loop asks whether to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Between two steps of an epoch.
    Step,
    /// At the end of an epoch.
    Epoch,
    /// Before stopping on request: the last chance.
    Stopping,
}

/// Keeps the state of a loop, so that a killed run can continue.
pub trait Checkpoints: Sync {
    /// The state that an earlier process left, if it can be used.
    fn load(&self) -> Option<Snapshot>;
    /// The state that [`load`](Self::load) gave does not fit the loop, which starts anew.
    fn reject(&self, reason: &Error);
    /// Whether to save now.
    fn due(&self, at: Moment) -> bool;
    /// Keeps a state instead of the one before. What cannot be written is reported and costs progress, not the run.
    fn save(&self, snapshot: &Snapshot);
}

/// Keeps nothing.
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn load(&self) -> Option<Snapshot> {
        None
    }
    fn reject(&self, _: &Error) {}
    fn due(&self, _: Moment) -> bool {
        false
    }
    fn save(&self, _: &Snapshot) {}
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("checkpoint: {what}"))
}

/// What [`Snapshot::put_tensors`] keeps of a tensor besides its numbers.
#[derive(Serialize, Deserialize)]
struct TensorEntry {
    name: String,
    shape: Vec<usize>,
    codebook: Option<Codebook>,
}

impl Snapshot {
    /// Adds anything serialisable; long arrays of numbers in it go beside the JSON.
    ///
    /// # Errors
    /// [`Error::Internal`] for what JSON cannot hold.
    pub fn put(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut value = serde_json::to_value(value).map_err(|error| wrong(format!("{name}: {error}")))?;
        self.take_arrays(name, &mut value);
        self.values.insert(name.into(), value);
        Ok(())
    }

    /// What [`put`](Self::put) added.
    ///
    /// # Errors
    /// [`Error::Internal`] when it is not there or of another kind.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let mut value = self.values.get(name).cloned().ok_or_else(|| wrong(format!("no {name}")))?;
        self.give_arrays(name, &mut value)?;
        T::deserialize(value).map_err(|error| wrong(format!("{name}: {error}")))
    }

    /// Moves long arrays of numbers out of `value`; a string with their name stays.
    fn take_arrays(&mut self, path: &str, value: &mut Value) {
        match value {
            Value::Array(items) if items.len() >= LARGE => match numbers(items) {
                Some(array) => {
                    self.arrays.insert(path.into(), array);
                    *value = serde_json::json!({ "array": path });
                }
                None => self.take_inner(path, value),
            },
            _ => self.take_inner(path, value),
        }
    }

    fn take_inner(&mut self, path: &str, value: &mut Value) {
        match value {
            Value::Array(items) => {
                items
                    .iter_mut()
                    .enumerate()
                    .for_each(|(index, item)| self.take_arrays(&format!("{path}/{index}"), item));
            }
            Value::Object(map) => {
                map.iter_mut().for_each(|(key, item)| self.take_arrays(&format!("{path}/{key}"), item));
            }
            _ => {}
        }
    }

    fn give_arrays(&self, path: &str, value: &mut Value) -> Result<()> {
        match value {
            Value::Array(items) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, item)| self.give_arrays(&format!("{path}/{index}"), item)),
            Value::Object(map)
                if map.len() == 1 && map.get("array").and_then(Value::as_str) == Some(path) =>
            {
                *value = match self.array(path)? {
                    Array::Floats(values) => values.iter().map(|&v| Value::from(v)).collect(),
                    Array::Integers(values) => values.iter().map(|&v| Value::from(v)).collect(),
                    Array::Bytes(values) => values.iter().map(|&v| Value::from(v)).collect(),
                };
                Ok(())
            }
            Value::Object(map) => {
                map.iter_mut().try_for_each(|(key, item)| self.give_arrays(&format!("{path}/{key}"), item))
            }
            _ => Ok(()),
        }
    }

    fn array(&self, name: &str) -> Result<&Array> {
        self.arrays.get(name).ok_or_else(|| wrong(format!("no array {name}")))
    }

    /// Adds f32 values.
    pub fn put_floats(&mut self, name: String, values: Vec<f32>) {
        self.arrays.insert(name, Array::Floats(values));
    }

    /// The `count` f32 values called `name`.
    ///
    /// # Errors
    /// [`Error::Internal`] when they are not there or there is another number of them.
    pub fn floats(&self, name: &str, count: usize) -> Result<&[f32]> {
        match self.array(name)? {
            Array::Floats(values) if values.len() == count => Ok(values),
            _ => Err(wrong(format!("{name} does not have {count} values"))),
        }
    }

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
    /// [`Error::Internal`] when one is not there or of another size.
    pub fn restore_parameters(&self, prefix: &str, into: &Parameters) -> Result<()> {
        for (name, parameter) in into.iter() {
            into.set_values(name, self.floats(&format!("{prefix}/{name}"), parameter.var.elem_count())?)?;
        }
        Ok(())
    }

    /// Adds an optimizer's memory.
    ///
    /// # Errors
    /// None in practice: its JSON part is plain.
    pub fn put_optimizer(&mut self, prefix: &str, optimizer: &Optimizer) -> Result<()> {
        let (steps, slots) = optimizer.state();
        self.put(&format!("{prefix}.steps"), &steps)?;
        self.put(&format!("{prefix}.names"), &slots.keys().collect::<Vec<_>>())?;
        for (name, slot) in slots {
            self.put_floats(format!("{prefix}/{name}/first"), slot.first.clone());
            self.put_floats(format!("{prefix}/{name}/second"), slot.second.clone());
        }
        Ok(())
    }

    /// Gives an optimizer its memory back.
    ///
    /// # Errors
    /// [`Error::Internal`] when a part is not there.
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
    /// [`Error::Internal`] for a codebook with values that JSON cannot hold.
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
    /// [`Error::Internal`] when a part is not there or does not fit its shape.
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

/// A JSON array as numbers of one kind that come back as they were.
fn numbers(items: &[Value]) -> Option<Array> {
    if items.iter().all(Value::is_f64) {
        let exact = items.iter().map(|item| {
            let value = item.as_f64()?;
            (f64::from(value as f32).to_bits() == value.to_bits()).then_some(value as f32)
        });
        return exact.collect::<Option<_>>().map(Array::Floats);
    }
    let whole = items.iter().map(|item| i32::try_from(item.as_i64()?).ok());
    whole.collect::<Option<_>>().map(Array::Integers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers come back bit for bit whatever they are nested in; long arrays are not in the JSON part, and what 32 bits
    /// cannot hold stays where it was.
    #[test]
    fn values_come_back() {
        let floats: Vec<f32> = (0..100).map(|i| (i as f32 - 50.0) / 7.0).collect();
        let exact: Vec<f64> = (0..100).map(|i| f64::from(i) / 7.0).collect();
        let state = serde_json::json!({
            "relevance": [floats, [-0.0f32, 1.0]], "levels": (0..80).map(|i| i - 40).collect::<Vec<i32>>(),
            "exact": exact, "huge": vec![u64::MAX; 70], "epoch": 3, "nothing": null,
        });
        let mut snapshot = Snapshot::default();
        snapshot.put("quantizer", &state).unwrap();
        assert_eq!(snapshot.get::<Value>("quantizer").unwrap(), state);
        let names: Vec<_> = snapshot.arrays.keys().map(String::as_str).collect();
        assert_eq!(names, ["quantizer/relevance/0", "quantizer/levels"]);
        assert!(snapshot.get::<Value>("other").is_err());
        assert!(snapshot.get::<u64>("quantizer").is_err());
    }
}
