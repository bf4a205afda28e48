//! A quantizer's state as JSON, for checkpoints.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A quantizer's state as JSON.
///
/// # Errors
/// [`Error::Internal`] for a state that JSON cannot hold.
pub fn to_state<T: Serialize>(state: &T) -> Result<Value> {
    serde_json::to_value(state).map_err(|error| Error::Internal(format!("quantizer state: {error}")))
}

/// A quantizer's state from JSON.
///
/// # Errors
/// [`Error::Input`] when it is not this method's state.
pub fn from_state<T: DeserializeOwned>(state: &Value) -> Result<T> {
    T::deserialize(state).map_err(|error| Error::input(format!("saved quantizer state: {error}")))
}
