//! `method: checkpoint`: weights that somebody else quantized. Which file a run takes is the experiment's to say (and read by
//! `run`); here their levels are recognised.

use super::method::{Method, Role};
use super::quantizer::{Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::recognition::recognise;
use super::scope::Bits;
use super::state::from_state;
use crate::Result;
use crate::registry::{Choice, Parameter};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "checkpoint",
    display: "Checkpoint",
    about: "weights that another program quantized: levels are recognised, coded and compared",
    bits: Bits::Optional(1, 32),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        Parameter::text("label", "name in tables and figures"),
        Parameter::text(
            "weights",
            "checkpoint of a run; {bits}, {seed} and every key of options stand for their values",
        ),
        Parameter::options("options", "values for placeholders in 'weights'; lists are axes of the grid"),
        Parameter::word(
            "batch_norm",
            "statistics: the checkpoint has batch norms; folded: they were folded into the layer before",
            &["statistics", "folded"],
            "statistics",
        ),
        Parameter::number(
            "tolerance",
            "farthest that a weight may be from a grid's level, in steps; 0: the grid gives its last bit",
            (0.0, 0.1),
            0.0,
        )
        .added(Choice::Number(0.0)),
    ],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| Ok(Box::new(setup.settings::<Recognised>()?)),
};

#[derive(Deserialize)]
struct Recognised {
    tolerance: f64,
}

impl Quantizer for Recognised {
    fn initialize(&mut self, _: &[WeightTensor<'_>]) -> Result<()> {
        Ok(())
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        _: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        let of_tensor = |tensor: &WeightTensor<'_>| {
            let content = recognise(tensor.values, tensor.shape, self.tolerance);
            tensor.quantized(content.unwrap_or_else(|| Content::Values(tensor.values.to_vec())))
        };
        Ok(weights.par_iter().map(of_tensor).collect())
    }

    fn state(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        from_state(state)
    }
}
