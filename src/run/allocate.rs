//! Bit widths that a run's budget allows: costs measured on its trained weights, and what is noted of them.

use super::context::Context;
use crate::quant::Method;
use crate::quant::allocation::{Budget, CostBy};
use crate::relevance::{self, RelevanceMeasure};
use crate::spec::RunSpec;
use crate::train::Observer;
use crate::train::allocation::{Allocation, Measuring, costs};
use crate::{Error, Result};
use serde_json::Value;

/// The widths of every layer; `None` for runs without a budget.
///
/// # Errors
/// A budget that the smallest widths exceed, and those of the method, the measures and the data set.
pub(super) fn allocated(
    context: &Context,
    run: &RunSpec,
    method: &Method,
    measuring: &Measuring<'_>,
    observer: &dyn Observer,
) -> Result<Option<Allocation>> {
    let given = &run.quantizer;
    let Some(budget) = Budget::of(&given.parameters) else { return Ok(None) };
    observer.phase("allocating bit widths");
    // Measures of their own: those of the run itself must not depend on what happened here.
    let build = |spec: Option<&Value>| -> Result<Box<dyn RelevanceMeasure>> {
        let at = relevance::Context { profile: method.profile(&given.parameters), seed: run.seed };
        relevance::build(&context.registry.measures, spec, at)
    };
    let mut own = match given.relevance {
        Some(_) => Some(build(given.relevance.as_ref())?),
        None => None,
    };
    let mut weigh = match budget.by {
        CostBy::Relevance => Some(build(given.relevance.as_ref())?),
        CostBy::Fisher => Some(build(Some(&"fisher".into()))?),
        CostBy::Sensitivity | CostBy::Error => None,
    };
    let layers = costs(
        measuring,
        method,
        &given.parameters,
        budget.by,
        own.as_mut().map(|measure| measure.as_mut() as &mut dyn RelevanceMeasure),
        weigh.as_mut().map(|measure| measure.as_mut() as &mut dyn RelevanceMeasure),
    )?;
    let allocation = Allocation::within(layers, &budget).map_err(|error| match error {
        Error::Input { message, hint } => {
            Error::Input { message: format!("{}: {message}", run.label()), hint }
        }
        other => other,
    })?;
    for (layer, bits) in allocation.layers.iter().zip(&allocation.widths) {
        observer.note(&format!("{}: {bits} bit", layer.name));
    }
    Ok(Some(allocation))
}
