//! How much memory of a GPU a training run takes, and how many fit side by side: an estimate, since nothing tells before.

use super::Context;
use crate::Result;
use crate::nn::{Backend, Network, Operation};
use crate::spec::RunSpec;
use candle_core::{Device, DeviceLocation};
use std::process::Command;

/// What a process takes before it computes anything: the driver's context, libraries, candle's kernels.
const CONTEXT: u64 = 600 << 20;
/// Tensors of a parameter's size that a quantized training keeps: weights, latent weights, gradient, two moments,
/// relevance, thresholds, positions, and as much again in passing.
const COPIES: u64 = 12;
/// Share of the free memory that is given to runs.
const USED: f64 = 0.9;

/// Bytes of one training of this network with batches of `batch` samples: what the backward pass needs, a gradient of
/// each value in passing, the largest unfolded convolution twice, and `COPIES` of the parameters.
pub fn of_training(network: &Network, batch: usize) -> u64 {
    let size = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let layers = network.layers();
    let outputs = (0..layers.len()).map(|index| size(network.output_shape(index)));
    let kept = size(&network.input_shape) + outputs.sum::<u64>();
    let unfolded = layers.iter().enumerate().map(|(index, layer)| match layer.operation {
        Operation::Conv2d { in_channels, out_channels, kernel, groups, .. } => {
            let pixels = size(network.output_shape(index)) / (out_channels as u64).max(1);
            pixels * (in_channels / groups.max(1) * kernel[0] * kernel[1]) as u64
        }
        _ => 0,
    });
    let parameters: u64 = network.parameter_shapes().iter().map(|parameter| size(&parameter.shape)).sum();
    4 * (batch as u64 * (2 * kept + 2 * unfolded.max().unwrap_or(0)) + COPIES * parameters)
}

/// Free memory of a GPU, bytes, as its driver tells it; `None` for the CPU and where nobody tells.
pub fn free(device: &Device) -> Option<u64> {
    let DeviceLocation::Cuda { gpu_id } = device.location() else { return None };
    let index = gpu_id.to_string();
    let query = ["--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", &index];
    let told =
        Command::new("nvidia-smi").args(query).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&told.stdout).trim().parse::<u64>().ok()? << 20)
}

/// How many runs of `each` bytes fit into `free` bytes, at least one. They are threads of one process and share its context.
pub fn side_by_side(free: u64, each: u64) -> usize {
    let room = (free as f64 * USED) as u64;
    (room.saturating_sub(CONTEXT) / each.max(1)).max(1) as usize
}

impl Context {
    /// Bytes that the largest of these runs takes while it trains on a GPU; `None` on the CPU, where memory is not the
    /// limit.
    ///
    /// # Errors
    /// When a data set or model can't be opened.
    pub fn memory_estimate<'a>(&self, runs: impl IntoIterator<Item = &'a RunSpec>) -> Result<Option<u64>> {
        if Backend::on(&self.device) == Backend::Native {
            return Ok(None);
        }
        let mut most = 0;
        for run in runs {
            let run = run.resolve(&self.registry)?;
            let dataset = self.dataset(&run.dataset)?;
            let baseline = run.baseline.recipe().map(|recipe| recipe.batch_size);
            let batch = run.training.as_ref().map(|spec| spec.batch_size).max(baseline).unwrap_or(1);
            most = most.max(of_training(&self.network(&run, dataset.as_ref())?, batch));
        }
        Ok(Some(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    /// The estimate is above what the backward pass needs at least (`make bench-reference` prints 350 MB for VGG-16 and 115
    /// for ResNet-20), grows with the batch, and decides how many runs go side by side: always one.
    #[test]
    fn estimates() {
        let of = |name: &str, batch: usize| {
            of_training(&model::build(name, &[3, 32, 32], 10, &model::Options::new()).unwrap(), batch)
        };
        let (vgg, resnet) = (of("vgg16", 64), of("resnet20", 64));
        assert!((400 << 20..4_u64 << 30).contains(&vgg), "{vgg}");
        assert!((120 << 20..2_u64 << 30).contains(&resnet), "{resnet}");
        assert!(of("vgg16", 128) > vgg);
        assert_eq!(side_by_side(80 << 30, 4 << 30), 17);
        assert_eq!((side_by_side(1 << 30, 4 << 30), side_by_side(0, 1)), (1, 1));
        assert_eq!(free(&Device::Cpu), None);
    }
}
