//! The container of checkpoints: what a training loop needs to continue, as small things in JSON and large arrays beside
//! them, and its file ([`mod@file`]). A leaf: it knows neither loops nor stores. What is in it is up to the loop, except the
//! finished epochs, which others show while the run is in flight.

pub mod file;

use crate::record::EpochMetrics;
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// Everything a loop needs to continue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The epochs that are finished, in order.
    pub epochs: Vec<EpochMetrics>,
    /// Small things by name.
    pub values: Map<String, Value>,
    /// Large arrays by name.
    pub arrays: IndexMap<String, Array>,
}

/// A checkpoint that does not hold what it should.
pub(crate) fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("checkpoint: {what}"))
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

    /// The array called `name`.
    ///
    /// # Errors
    /// [`Error::Internal`] when it is not there.
    pub fn array(&self, name: &str) -> Result<&Array> {
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
