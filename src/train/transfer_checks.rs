//! What leaves the device in a training step: the loss, and in the same read what the method has to know. Counted where all
//! reads go through, on the composed backend.

use super::quantized::{Calibration, QuantizationAware, quantizable, quantization_aware};
use super::{NoCheckpoints, Silent, TrainingSpec, full_precision};
use crate::data::{self, Dataset};
use crate::nn::transfer::{self, Traffic};
use crate::nn::{Backend, Network, init};
use crate::{model, quant, relevance};
use candle_core::Device;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Reads and bytes of one step: trainings of different lengths differ by steps alone.
fn per_step(train: impl Fn(usize)) -> Traffic {
    let (short, long) = (1, 5);
    let traffic = |steps| Backend::Composed.run(|| transfer::count(|| train(steps)).1);
    let (few, many) = (traffic(short), traffic(long));
    let steps = long - short;
    // Rounded up: a single read more in one of the steps counts.
    let mean = |many: usize, few: usize| (many - few).div_ceil(steps);
    Traffic {
        reads: mean(many.reads, few.reads),
        read_bytes: mean(many.read_bytes, few.read_bytes),
        writes: mean(many.writes, few.writes),
        write_bytes: mean(many.write_bytes, few.write_bytes),
    }
}

fn setting() -> (Arc<dyn Dataset>, Network) {
    let spec = json!({"name": "embedded-images", "samples": {"train": 64, "validation": 8, "test": 8}});
    let dataset = data::open(&serde_json::from_value(spec).unwrap(), Path::new("nowhere")).unwrap();
    let network = model::build("resnet20", dataset.input_shape(), 10, &model::Options::new()).unwrap();
    (dataset, network)
}

fn recipe(steps: usize) -> TrainingSpec {
    let recipe = json!({"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "steps_per_epoch": steps});
    serde_json::from_value(recipe).unwrap()
}

fn of_method(method: &str, bits: Option<u32>, settings: &Value) -> Traffic {
    let (dataset, network) = setting();
    let parameters = init::initialise(&network, &Device::Cpu, 5).unwrap();
    per_step(|steps| {
        let (mut quantizer, scope) = quant::build(method, bits, settings.as_object().unwrap()).unwrap();
        let context = relevance::Context::default();
        let mut measure = relevance::build(&relevance::builtin(), None, context).unwrap();
        quantization_aware(
            &network,
            &parameters,
            &quantizable(&parameters, &scope),
            quantizer.as_mut(),
            Some(measure.as_mut()),
            dataset.as_ref(),
            &QuantizationAware { spec: &recipe(steps), seed: 3, calibration: Calibration::default() },
            &Silent,
            &NoCheckpoints,
        )
        .unwrap();
    })
}

/// Full precision reads the loss and the number of correct answers, 16 bytes.
#[test]
fn full_precision_reads_the_loss() {
    let (dataset, network) = setting();
    let parameters = init::initialise(&network, &Device::Cpu, 5).unwrap();
    let traffic = per_step(|steps| {
        let spec = recipe(steps);
        full_precision::train(&network, &parameters, dataset.as_ref(), &spec, 3, &Silent, &NoCheckpoints)
            .unwrap();
    });
    assert_eq!((traffic.reads, traffic.read_bytes), (1, 16), "{traffic:?}");
}

/// Methods with steps on the device read once, with the loss; EC2T once more between levels and assignment; ECQx at most
/// three times more, for the search of β. Never a tensor: ResNet-20 has 270,000 weights, and a read a few kilobytes.
#[test]
fn quantized_steps_read_no_tensor() {
    for (method, bits, settings, reads) in [
        ("ecq", Some(4), json!({"lambda": 0.02}), 1),
        ("ecq", Some(4), json!({"lambda": 0.02, "granularity": "channel"}), 1),
        ("uniform", Some(4), json!({}), 1),
        ("lsq", Some(4), json!({}), 1),
        ("ternary", None, json!({}), 1),
        ("ec2t", None, json!({"lambda": 0.02}), 2),
        ("ecqx", Some(4), json!({"lambda": 0.02, "p": 0.1}), 4),
    ] {
        let traffic = of_method(method, bits, &settings);
        assert!((1..=reads).contains(&traffic.reads), "{method} {settings}: {traffic:?}");
        assert!(traffic.read_bytes < 20_000 || method == "ecqx", "{method} {settings}: {traffic:?}");
        // Layers that the rounds do not settle are small.
        assert!(traffic.read_bytes < 200_000, "{method} {settings}: {traffic:?}");
    }
}

/// A method of the host visits it, gradients read once and weights sent once: nothing is read that is only written.
#[test]
fn host_methods_move_what_they_must() {
    let traffic = of_method("magnitude", None, &json!({}));
    let weights = 4 * 268_000;
    assert!(traffic.read_bytes > weights && traffic.read_bytes < 2 * weights, "{traffic:?}");
}
