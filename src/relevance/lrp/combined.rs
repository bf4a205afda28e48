//! Layers besides sums whose inputs get different shares, and norms whose statistics are the sample's own.

use super::elementwise::{product, ratio};
use super::rule::Rule;
use super::settings::Product;
use super::walk::{Step, Wanted};
use crate::Result;
use crate::nn::{Operation, Parameters, ops};
use candle_core::Tensor;
use indexmap::IndexMap;

impl Step<'_> {
    /// The relevance of each input of a product or a concatenation; `None` for other layers.
    pub(super) fn combined(&self) -> Result<Option<Vec<Tensor>>> {
        Ok(match (&self.layer.operation, &self.inputs[..]) {
            // What lies side by side has its relevance side by side.
            (Operation::Concat, inputs) => Some(ops::concat_parts(self.relevance, inputs)?),
            (Operation::Multiply, [signal, gate]) => Some(self.factors(signal, gate)?),
            _ => None,
        })
    }

    fn factors(&self, signal: &Tensor, gate: &Tensor) -> Result<Vec<Tensor>> {
        if self.rule == Rule::Gradient {
            return Ok(ops::multiply_backward(self.relevance, signal, gate)?.to_vec());
        }
        Ok(match self.settings.product.unwrap_or_default() {
            Product::Signal => vec![self.relevance.clone(), gate.zeros_like()?],
            Product::Uniform => {
                let half = (self.relevance * 0.5)?;
                // Positions that share a gate's value add up.
                let [_, of_gate] = ops::multiply_backward(&half, &half.ones_like()?, gate)?;
                vec![half, of_gate]
            }
        })
    }

    /// The relevance of the input of a group or layer norm, and of its parameters, added to `found`; `None` for other
    /// layers.
    pub(super) fn row_norm(
        &self,
        parameters: &Parameters,
        found: &mut IndexMap<String, Tensor>,
    ) -> Result<Option<Vec<Tensor>>> {
        let Some((norm, epsilon)) = self.layer.operation.row_norm() else { return Ok(None) };
        if !self.wants_input {
            return Ok(Some(Vec::new()));
        }
        let x = self.inputs[0];
        let name = |suffix: &str| format!("{}.{suffix}", self.layer.name);
        let weight = parameters.tensor(&name("weight"))?.detach();
        let back = |relevance: &Tensor, deviation| {
            ops::row_norm_pullback(relevance, x, &weight, norm, epsilon, deviation)
        };
        Ok(Some(vec![match self.rule {
            Rule::Pass => self.relevance.clone(),
            Rule::Gradient => back(self.relevance, ops::Deviation::Varies)?.input,
            _ => {
                let shared = ratio(self.relevance, self.output, self.settings.epsilon)?;
                let shares = back(&shared, ops::Deviation::Constant)?;
                if self.wanted == Wanted::Everything {
                    let bias = parameters.tensor(&name("bias"))?.detach();
                    found.insert(name("weight"), product(&weight, &shares.weight)?);
                    found.insert(name("bias"), product(&bias, &shares.bias)?);
                }
                product(x, &shares.input)?
            }
        }]))
    }
}
