//! Accuracy and loss of a network on a split.

use super::batches;
use super::observer::Observer;
use crate::data::{Dataset, Split};
use crate::nn::{Network, Parameters};
use crate::record::Metrics;
use crate::{Error, Result};

/// Samples per forward pass: large enough for the matrix products, small enough for the caches.
pub const BATCH: usize = 256;

/// Top-1 and top-5 accuracy (percent) and mean cross entropy (nats) in evaluation mode, samples in file order.
///
/// # Errors
/// When the split is empty or the data set fits the network in neither shape nor classes.
pub fn evaluate(
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    split: Split,
    observer: &dyn Observer,
) -> Result<Metrics> {
    let n = dataset.len(split);
    if n == 0 {
        return Err(Error::input(format!("data set {}: the {split:?} split has no samples", dataset.name())));
    }
    let (mut first, mut five, mut loss) = (0usize, 0usize, 0.0f64);
    let indices: Vec<usize> = (0..n).collect();
    let steps = n.div_ceil(BATCH);
    for (step, indices) in indices.chunks(BATCH).enumerate() {
        let batch = batches::read(dataset, split, indices, parameters.device())?;
        let rows = network.infer(parameters, &batch.inputs)?.to_vec2::<f32>()?;
        for (row, &target) in rows.iter().zip(&batch.targets) {
            let target = target as usize;
            let truth = row.get(target).copied().ok_or_else(|| {
                Error::input(format!("class {target} of data set {} is unknown to the model", dataset.name()))
            })?;
            // The first of equal logits wins, as an argmax does.
            let rank =
                row.iter().enumerate().filter(|&(i, &v)| v > truth || (v == truth && i < target)).count();
            first += usize::from(rank == 0 && !truth.is_nan());
            five += usize::from(rank < 5 && !truth.is_nan());
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&v| f64::from(v - max).exp()).sum();
            loss += f64::from(max - truth) + sum.ln();
        }
        observer.step(0, 0, step + 1, steps, loss / ((step + 1) * BATCH) as f64);
    }
    let percent = |count: usize| 100.0 * count as f64 / n as f64;
    Ok(Metrics {
        top1: percent(first),
        top5: (network.classes >= 10).then(|| percent(five)),
        loss: loss / n as f64,
        n,
    })
}
