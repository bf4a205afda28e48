//! What a network reaches on a split: the metrics of the data set's task, and its loss.

use super::average_precision::mean_average_precision;
use super::batches;
use super::observer::Observer;
use crate::data::{Dataset, Split, Task};
use crate::nn::ops::{IGNORED, PRESENT, targets};
use crate::nn::{Backend, Network, Parameters, memory, transfer};
use crate::record::{Metrics, Score};
use crate::{Error, Result};
use candle_core::Device;

/// Samples per forward pass on the CPU: large enough for the matrix products, small enough for the caches.
pub const BATCH: usize = 256;

/// Samples per forward pass: on a GPU as many as its memory takes.
fn batch_size(network: &Network, device: &Device) -> usize {
    match Backend::on(device) {
        Backend::Native => BATCH,
        Backend::Composed => memory::evaluation_batch(network),
    }
}

/// The task's metrics (top-1 and top-5 accuracy, or mean average precision; percent) and the mean loss (nats) in
/// evaluation mode, samples in file order. A sample with any logit that is not finite counts as wrong (where samples have
/// labels: is ranked last), and makes the loss NaN.
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
    let (mut sums, mut labels) = (Sums::default(), Labels::default());
    let task = dataset.task();
    let indices: Vec<usize> = (0..n).collect();
    let batch_size = batch_size(network, parameters.device());
    let steps = n.div_ceil(batch_size);
    for (step, indices) in indices.chunks(batch_size).enumerate() {
        let batch = batches::read(dataset, split, indices, parameters.device())?;
        let rows = transfer::rows::<f32>(&network.infer(parameters, &batch.inputs)?)?;
        if task == Task::MultiLabel {
            let classes = network.classes;
            if batch.targets.len() != batch.len() * classes {
                let (name, wanted) = (dataset.name(), dataset.classes().len());
                return Err(Error::input(format!(
                    "data set {name} has {wanted} labels, the model {classes}"
                )));
            }
            let rows = rows.iter().zip(batch.targets.chunks_exact(classes));
            rows.for_each(|(row, targets)| labels.add(row, targets));
            observer.step(0, 0, step + 1, steps, labels.mean_loss());
            continue;
        }
        for (row, &target) in rows.iter().zip(&batch.targets) {
            let target = target as usize;
            let truth = row.get(target).copied().ok_or_else(|| {
                Error::input(format!("class {target} of data set {} is unknown to the model", dataset.name()))
            })?;
            sums.add(row, target, truth);
        }
        observer.step(0, 0, step + 1, steps, sums.loss / ((step + 1) * batch_size) as f64);
    }
    if task == Task::MultiLabel {
        return Ok(labels.metrics(network.classes, n));
    }
    let percent = |count: usize| 100.0 * count as f64 / n as f64;
    Ok(Metrics {
        score: Score::Classes {
            top1: percent(sums.first),
            top5: (network.classes >= 10).then(|| percent(sums.five)),
        },
        loss: if sums.non_finite > 0 { f64::NAN } else { sums.loss / n as f64 },
        n,
        non_finite: sums.non_finite,
    })
}

/// [`evaluate`] on the validation split; `None` where the data set has none.
///
/// # Errors
/// When the data set fits the network in neither shape nor classes.
pub fn evaluate_validation(
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
) -> Result<Option<Metrics>> {
    match dataset.is_empty(Split::Validation) {
        true => Ok(None),
        false => evaluate(network, parameters, dataset, Split::Validation, observer).map(Some),
    }
}

/// Scores and labels of samples that may have any number of labels.
#[derive(Default)]
struct Labels {
    scores: Vec<f32>,
    targets: Vec<u32>,
    loss: f64,
    counted: usize,
    non_finite: usize,
}

impl Labels {
    /// Takes in the logits and labels of one sample.
    fn add(&mut self, row: &[f32], labels: &[u32]) {
        self.targets.extend(labels);
        if !row.iter().all(|logit| logit.is_finite()) {
            self.non_finite += 1;
            self.scores.extend(row.iter().map(|_| f32::NEG_INFINITY));
            return;
        }
        self.scores.extend(row);
        for (&logit, &label) in row.iter().zip(labels).filter(|(_, label)| **label != IGNORED) {
            self.loss += targets::term(logit, label == PRESENT);
            self.counted += 1;
        }
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.counted.max(1) as f64
    }

    fn metrics(&self, classes: usize, n: usize) -> Metrics {
        let found = mean_average_precision(&self.scores, &self.targets, classes);
        Metrics {
            score: Score::Labels { map: found.area, map11: found.eleven_points },
            loss: if self.non_finite > 0 { f64::NAN } else { self.mean_loss() },
            n,
            non_finite: self.non_finite,
        }
    }
}

/// Counts and sums over samples.
#[derive(Default)]
struct Sums {
    first: usize,
    five: usize,
    non_finite: usize,
    loss: f64,
}

impl Sums {
    /// Takes in the logits of one sample, `truth` being that of its class `target`.
    fn add(&mut self, row: &[f32], target: usize, truth: f32) {
        if !row.iter().all(|logit| logit.is_finite()) {
            self.non_finite += 1;
            return;
        }
        // The first of equal logits wins, as an argmax does.
        let rank = row.iter().enumerate().filter(|&(i, &v)| v > truth || (v == truth && i < target)).count();
        self.first += usize::from(rank == 0);
        self.five += usize::from(rank < 5);
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&v| f64::from(v - max).exp()).sum();
        let distance = max - truth;
        // Logits at both ends of f32 are further apart than it can say.
        let distance =
            if distance.is_finite() { f64::from(distance) } else { f64::from(max) - f64::from(truth) };
        self.loss += distance + sum.ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(rows: &[&[f32]]) -> Sums {
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(row, 0, row[0]));
        sums
    }

    /// A sample with a NaN or an infinity among its logits is wrong, whatever the place: a NaN compares with nothing, so
    /// that the others would seem to win or lose by chance.
    #[test]
    fn logits_that_are_not_finite_are_wrong() {
        let none = sums(&[
            &[1.0, f32::NAN, 0.0],
            &[f32::NAN; 3],
            &[f32::INFINITY, 0.0, 0.0],
            &[0.0, f32::NEG_INFINITY, 0.0],
        ]);
        assert_eq!((none.first, none.five, none.non_finite), (0, 0, 4));
        let some = sums(&[&[1.0, f32::NAN, 0.0], &[2.0, 1.0, 1.0]]);
        assert_eq!((some.first, some.five, some.non_finite), (1, 1, 1));
    }

    /// Finite logits give a finite loss, even those at both ends of the numbers.
    #[test]
    fn finite_logits_have_a_finite_loss() {
        let far = sums(&[&[-3e38, 3e38, 0.0], &[3e38, -3e38, 0.0]]);
        assert!(far.loss.is_finite() && far.loss > 5e38, "{}", far.loss);
        assert_eq!((far.first, far.non_finite), (1, 0));
        let even = sums(&[&[0.5; 4]]);
        assert!((even.loss - 4f64.ln()).abs() < 1e-12);
    }
}
