//! Batches: shuffled, augmented and decoded in a background thread while the previous one is being learned from.

use crate::data::{Dataset, Split};
use crate::nn::backend::Backend;
use crate::nn::ops::Targets;
use crate::nn::transfer;
use crate::rng::{Rng, RngState};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::sync::mpsc::sync_channel;

/// Inputs (batch, …) and true classes.
pub struct Batch {
    /// Inputs, f32.
    pub inputs: Tensor,
    /// One class per sample, or one label per sample and class: see [`ops::Targets`](crate::nn::ops::Targets).
    pub targets: Vec<u32>,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.inputs.dims().first().copied().unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first samples with their targets; all where `count` is `None`.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device fails.
    pub fn first(&self, count: Option<usize>) -> Result<(Tensor, &[u32])> {
        let count = count.map_or(self.len(), |count| count.min(self.len()));
        let targets = count * Targets::per_sample(&self.targets, self.len());
        Ok((self.inputs.narrow(0, 0, count)?, &self.targets[..targets]))
    }
}

/// Batches waiting ahead of the loop.
const AHEAD: usize = 2;

/// Reads samples `indices` of a split without augmentation.
///
/// # Errors
/// Those of the data set.
pub fn read(dataset: &dyn Dataset, split: Split, indices: &[usize], device: &Device) -> Result<Batch> {
    fill(dataset, split, indices, None, device)
}

fn fill(
    dataset: &dyn Dataset,
    split: Split,
    indices: &[usize],
    mut augment: Option<&mut Rng>,
    device: &Device,
) -> Result<Batch> {
    let size: usize = dataset.input_shape().iter().product();
    let mut targets = vec![0; indices.len() * dataset.targets_per_sample()];
    if Backend::on(device) == Backend::Composed
        && let Some(images) = dataset.placed(split, indices, augment.as_deref_mut(), &mut targets)?
    {
        return Ok(Batch { inputs: images.on_device(device)?, targets });
    }
    let mut inputs = vec![0.0; indices.len() * size];
    dataset.fill(split, indices, augment, &mut inputs, &mut targets)?;
    let mut shape = vec![indices.len()];
    shape.extend(dataset.input_shape());
    Ok(Batch { inputs: transfer::tensor(inputs, shape, device)?, targets })
}

/// Batches that `samples` are cut into. A last batch of one sample joins the batch before it: batch norm has no variance of
/// one sample, and the gradient of one is mostly noise.
pub fn count(samples: usize, batch_size: usize) -> usize {
    let whole = samples.div_ceil(batch_size);
    let lone = batch_size > 1 && samples > batch_size && samples % batch_size == 1;
    whole - usize::from(lone)
}

/// The batches of an epoch: [`count`] pieces of `order`.
fn slices(order: &[usize], batch_size: usize) -> impl Iterator<Item = &[usize]> {
    let batches = count(order.len(), batch_size);
    (0..batches).map(move |batch| {
        let end = if batch + 1 == batches { order.len() } else { (batch + 1) * batch_size };
        &order[batch * batch_size..end]
    })
}

/// Which batches of which epoch.
pub struct Epoch {
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Number of the epoch, from 1.
    pub number: usize,
    /// Samples per batch; the last may have fewer, or one more: see [`count`].
    pub batch_size: usize,
    /// Batches in the epoch.
    pub steps: usize,
    /// Batches to leave out at the beginning: an interrupted run has had them.
    pub done: usize,
    /// State of the augmentation's randomness after those; not needed where `done` is 0.
    pub augmentation: Option<RngState>,
}

/// Runs `each` on the shuffled, augmented training batches of an epoch, with the state of the augmentation's randomness
/// after each. Order and augmentation depend on seed and epoch alone, so a resumed run sees what the uninterrupted one
/// would have seen.
///
/// # Errors
/// The first error of the data set or of `each`.
pub fn training_epoch(
    dataset: &dyn Dataset,
    epoch: &Epoch,
    device: &Device,
    mut each: impl FnMut(usize, Batch, &RngState) -> Result<()>,
) -> Result<()> {
    let mut order: Vec<usize> = (0..dataset.len(Split::Train)).collect();
    Rng::stream(epoch.seed, &format!("shuffle epoch {}", epoch.number)).shuffle(&mut order);
    let mut augmentation = match &epoch.augmentation {
        Some(state) => Rng::restore(state),
        None => Rng::stream(epoch.seed, &format!("augmentation epoch {}", epoch.number)),
    };
    // As many threads as the run has, but threads of its own: a data set's parallel loops would otherwise run on those
    // that all runs of the process share.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(rayon::current_num_threads())
        .thread_name(|index| format!("batches-{index}"))
        .build()
        .map_err(|error| Error::Internal(format!("threads for batches: {error}")))?;
    let (sender, receiver) = sync_channel::<Result<(Batch, RngState)>>(AHEAD);
    // Of this thread: that of the batches has no choice of its own.
    let backend = Backend::on(device);
    std::thread::scope(|scope| {
        let order = &order;
        scope.spawn(move || {
            for indices in slices(order, epoch.batch_size).take(epoch.steps).skip(epoch.done) {
                let batch = pool.install(|| {
                    backend.run(|| fill(dataset, Split::Train, indices, Some(&mut augmentation), device))
                });
                let failed = batch.is_err();
                // The loop hung up: it has failed and needs no more.
                if sender.send(batch.map(|batch| (batch, augmentation.state()))).is_err() || failed {
                    return;
                }
            }
        });
        for (step, batch) in receiver.iter().enumerate() {
            let (batch, augmentation) = batch?;
            each(epoch.done + step, batch, &augmentation)?;
        }
        // Dropping the receiver before the scope joins lets a waiting sender go.
        drop(receiver);
        Ok::<_, Error>(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use serde_json::json;
    use std::path::Path;

    /// Inputs and classes of some batches of an epoch, drawn in a pool of so many threads.
    fn batches(threads: usize, seed: u64, number: usize) -> Vec<(Vec<f32>, Vec<u32>)> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let dataset = data::open(
            &serde_json::from_value(json!({"name": "embedded-images"})).unwrap(),
            Path::new("nowhere"),
        )
        .unwrap();
        let epoch = Epoch { seed, number, batch_size: 48, steps: 4, done: 0, augmentation: None };
        let mut seen = Vec::new();
        pool.install(|| {
            training_epoch(dataset.as_ref(), &epoch, &Device::Cpu, |_, batch, _| {
                seen.push((batch.inputs.flatten_all()?.to_vec1()?, batch.targets));
                Ok(())
            })
        })
        .unwrap();
        seen
    }

    /// A device that makes its own inputs of bytes gets the same batches to the last bit, and leaves the augmentation's
    /// randomness where the host leaves it.
    #[test]
    fn batches_of_both_backends_are_equal() {
        let native = Backend::Native.run(|| batches(1, 7, 1));
        assert_eq!(native, Backend::Composed.run(|| batches(1, 7, 1)));
    }

    /// Only a last batch of one is merged, and only where there is another; every sample stays in one batch.
    #[test]
    fn a_last_batch_of_one_joins_its_neighbour() {
        let lengths = |samples: usize, batch_size: usize| -> Vec<usize> {
            let order: Vec<usize> = (0..samples).collect();
            let cut: Vec<&[usize]> = slices(&order, batch_size).collect();
            assert_eq!(cut.concat(), order);
            assert_eq!(cut.len(), count(samples, batch_size));
            cut.iter().map(|batch| batch.len()).collect()
        };
        assert_eq!(lengths(9, 4), [4, 5]);
        assert_eq!(lengths(5, 4), [5]);
        assert_eq!(lengths(8, 4), [4, 4]);
        assert_eq!(lengths(10, 4), [4, 4, 2]);
        assert_eq!(lengths(3, 2), [3]);
        assert_eq!(lengths(3, 4), [3]);
        assert_eq!(lengths(1, 4), [1]);
        assert_eq!(lengths(3, 1), [1, 1, 1]);
        assert_eq!(lengths(0, 4), [0; 0]);
    }

    /// Order and augmentation depend on seed and epoch alone: not on threads, nor on which batch was asked for when.
    #[test]
    fn batches_depend_on_seed_and_epoch_alone() {
        let first = batches(1, 7, 1);
        assert_eq!(first.len(), 4);
        assert_eq!(first, batches(3, 7, 1));
        assert_ne!(first, batches(1, 8, 1));
        assert_ne!(first, batches(1, 7, 2));
    }
}
