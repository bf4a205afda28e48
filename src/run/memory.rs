//! How many runs fit side by side into a GPU's memory: an estimate ([`crate::nn::memory`]), since nothing tells before.

use super::Context;
use crate::Result;
use crate::nn::{Backend, memory::of_training};
use crate::spec::RunSpec;
use candle_core::{Device, DeviceLocation};
use std::process::Command;

/// What a process takes before it computes anything: the driver's context, libraries, candle's kernels.
const CONTEXT: u64 = 600 << 20;
/// Share of the free memory that is given to runs.
const USED: f64 = 0.9;

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

    /// The estimate decides how many runs go side by side: always one.
    #[test]
    fn one_run_always_fits() {
        assert_eq!(side_by_side(80 << 30, 4 << 30), 17);
        assert_eq!((side_by_side(1 << 30, 4 << 30), side_by_side(0, 1)), (1, 1));
        assert_eq!(free(&Device::Cpu), None);
    }
}
