//! A baseline without a run: what engines do in the first wave of a plan.

use super::baseline;
use super::execute::Context;
use crate::Result;
use crate::record::Metrics;
use crate::spec::BaselineRun;
use crate::train::Observer;

/// Makes a baseline, or waits for the worker that is making it, and returns what it reaches on the test split.
///
/// # Errors
/// Those of reading, training and the store.
pub fn make_baseline(context: &Context, spec: &BaselineRun, observer: &dyn Observer) -> Result<Metrics> {
    let run = spec.as_run();
    let (_, id) = context.ids(&run)?;
    let dataset = context.dataset(&run.dataset)?;
    let network = context.network(&run, dataset.as_ref())?;
    let made = baseline::obtain(context, &run, &id, &network, dataset.as_ref(), observer)?;
    Ok(made.test)
}
