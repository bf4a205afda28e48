//! Training in bf16 learns what training in f32 learns, twice the same, and only where the native kernels run.

use super::checkpoints::NoCheckpoints;
use super::settings::{Precision, TrainingSpec};
use super::{Silent, full_precision};
use crate::nn::{Backend, init};
use crate::{Result, data, model};
use candle_core::Device;
use serde_json::json;
use std::path::Path;

const NETWORK: &str = "\
name: wide
input_shape: [3, 32, 32]
layers:
  - {name: conv1, kind: conv2d, in_channels: 3, out_channels: 32, kernel: 3, stride: 4, padding: 1}
  - {name: norm1, kind: batch_norm, features: 32}
  - {name: relu1, kind: relu}
  - {name: conv2, kind: conv2d, in_channels: 32, out_channels: 32, kernel: 3, padding: 1}
  - {name: norm2, kind: batch_norm, features: 32}
  - {name: relu2, kind: relu}
  - {name: flatten, kind: flatten}
  - {name: fc, kind: linear, inputs: 2048, outputs: 10}
";

/// Losses of the epochs.
fn losses(precision: Precision) -> Result<Vec<f64>> {
    let spec = json!({"name": "embedded-images", "samples": {"train": 256, "validation": 16, "test": 16}});
    let dataset = data::open(&serde_json::from_value(spec).unwrap(), Path::new("nowhere"))?;
    let network = model::yaml::parse(NETWORK, Path::new("wide.yaml"))?;
    let parameters = init::initialise(&network, &Device::Cpu, 5)?;
    let recipe = TrainingSpec { epochs: 3, batch_size: 32, precision, ..TrainingSpec::default() };
    let trained =
        full_precision::train(&network, &parameters, &*dataset, &recipe, 1, &Silent, &NoCheckpoints)?;
    Ok(trained.epochs.iter().filter_map(|epoch| epoch.train_loss).collect())
}

/// The losses are other ones, by less than a tenth, and fall.
#[test]
fn bf16_learns_as_f32_does() {
    Backend::Native.run(|| {
        let (exact, rounded) = (losses(Precision::F32).unwrap(), losses(Precision::Bf16).unwrap());
        assert_eq!(rounded.len(), 3);
        assert_eq!(rounded, losses(Precision::Bf16).unwrap());
        assert_ne!(rounded, exact);
        assert!(rounded[2] < 0.9 * rounded[0], "{rounded:?}");
        let close = rounded.iter().zip(&exact).all(|(rounded, exact)| (rounded - exact).abs() < 0.1 * exact);
        assert!(close, "{rounded:?}, in f32 {exact:?}");
    });
}

#[test]
fn composed_operations_refuse_bf16() {
    let error = Backend::Composed.run(|| losses(Precision::Bf16)).unwrap_err();
    assert!(error.to_string().contains("native kernels of the CPU"), "{error}");
}
