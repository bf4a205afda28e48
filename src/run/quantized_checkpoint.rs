//! Weights that somebody else quantized, in the place of the baseline's.

use super::context::{Context, digest_of};
use crate::model::checkpoint::{self, Fitted, ReadOptions};
use crate::nn::{Network, Parameters};
use crate::quant::quantizer::{Content, QuantizedTensor};
use crate::spec::RunSpec;
use crate::{Error, Result};
use std::collections::HashMap;

/// The parameters of the checkpoint that a run names, and what was converted or left out; `None` for methods that read none.
///
/// # Errors
/// Those of reading; [`Error::Input`] where the file does not fit the network or changed meanwhile.
pub(super) fn load(
    context: &Context,
    run: &RunSpec,
    network: &Network,
) -> Result<Option<(Parameters, Vec<String>)>> {
    let Some(name) = run.quantizer.weights() else { return Ok(None) };
    let path = context.checkpoint_file(name)?;
    let expected = context.file_digest(name)?;
    let mut file = checkpoint::open(&path, &ReadOptions::default())?;
    if digest_of(&path)? != expected {
        let message = format!("{}: the file changed while it was being used", path.display());
        return Err(Error::input_hint(message, "run again: what it holds now is another run"));
    }
    if run.quantizer.parameters.get("batch_norm").is_some_and(|value| value == "folded") {
        checkpoint::unfold_batch_norm(&mut file.tensors, network)?;
    }
    let Fitted { parameters, notes, warnings, .. } =
        file.fit(&path, network, &context.device, Default::default()).map_err(|error| {
            let message = error.to_string();
            match message.contains(".running_mean: missing") {
                true => Error::input_hint(
                    message,
                    "if batch norms were folded into the layers before them, write 'batch_norm: folded'",
                ),
                false => error,
            }
        })?;
    Ok(Some((parameters, notes.into_iter().chain(warnings).collect())))
}

/// What to warn of: weights in which no levels were recognised, and what they take in the file.
pub(super) fn warnings<'t>(
    tensors: &'t [QuantizedTensor],
    bytes: &'t HashMap<String, usize>,
) -> impl Iterator<Item = String> + 't {
    let floats = tensors.iter().filter(|tensor| matches!(tensor.content, Content::Values(_)));
    floats.map(|tensor| {
        let bytes = bytes.get(&tensor.name).copied().unwrap_or_default();
        format!("{}: no levels were recognised: coded as floats, {bytes} bytes", tensor.name)
    })
}
