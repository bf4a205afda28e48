//! Training that is interrupted at random steps and continued from its checkpoint file equals undisturbed training, bit
//! for bit: at full precision and with every method, by either backend.

use super::checkpoints::{Checkpoints, Moment, NoCheckpoints};
use super::full_precision;
use super::quantized::{Calibration, QuantizationAware, Quantized, quantizable, quantization_aware};
use super::settings::TrainingSpec;
use super::{Observer, Silent};
use crate::data::{self, Dataset};
use crate::nn::backend::each;
use crate::nn::{Network, Parameters, init};
use crate::record::EpochMetrics;
use crate::rng::Rng;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::{Error, model, quant, relevance};
use candle_core::Device;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NETWORK: &str = "\
name: small
input_shape: [3, 32, 32]
layers:
  - {name: conv, kind: conv2d, in_channels: 3, out_channels: 4, kernel: 3, stride: 4, padding: 1}
  - {name: norm, kind: batch_norm, features: 4}
  - {name: relu, kind: relu}
  - {name: flatten, kind: flatten}
  - {name: dropout, kind: dropout, rate: 0.2}
  - {name: fc, kind: linear, input: dropout, inputs: 256, outputs: 10}
";
const STEPS: usize = 12;

/// Keeps checkpoints in a store.
struct Kept<'a>(&'a Store);

impl Checkpoints for Kept<'_> {
    fn load(&self) -> Option<Snapshot> {
        self.0.checkpoint("run").unwrap().map(|(_, snapshot)| snapshot)
    }
    fn reject(&self, reason: &Error) {
        panic!("{reason}");
    }
    fn due(&self, _: Moment) -> bool {
        true
    }
    fn save(&self, snapshot: &Snapshot) {
        self.0.save_checkpoint("run", &json!({}), snapshot).unwrap();
    }
}

/// Asks to stop after a number of steps, whether the epoch ends there or not.
struct StopAfter {
    steps: usize,
    seen: AtomicUsize,
}

impl Observer for StopAfter {
    fn step(&self, epoch: usize, _: usize, _: usize, _: usize, _: f64) {
        // Evaluations report steps of epoch 0.
        self.seen.fetch_add(usize::from(epoch > 0), Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= self.steps
    }
    fn cancelled_now(&self) -> bool {
        self.cancelled()
    }
}

fn setting() -> (Arc<dyn Dataset>, Network, Parameters) {
    let spec = json!({"name": "embedded-images", "samples": {"train": 32, "validation": 16, "test": 16}});
    let dataset = data::open(&serde_json::from_value(spec).unwrap(), Path::new("nowhere")).unwrap();
    let network = model::yaml::parse(NETWORK, Path::new("small.yaml")).unwrap();
    let parameters = init::initialise(&network, &Device::Cpu, 5).unwrap();
    (dataset, network, parameters)
}

fn recipe() -> TrainingSpec {
    let recipe = json!({"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "select": "best_validation"});
    serde_json::from_value(recipe).unwrap()
}

/// Ascending numbers of steps after which to stop, other ones every time.
fn points() -> Vec<usize> {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let mut rng = Rng::stream(seed as u64, "interruptions");
    let mut points: Vec<usize> = (0..3).map(|_| 1 + rng.below(STEPS)).collect();
    points.sort_unstable();
    points.dedup();
    points
}

/// Runs `train` with an interruption at each point, then to its end.
fn interrupted<T>(
    points: &[usize],
    mut train: impl FnMut(&dyn Observer, &dyn Checkpoints) -> crate::Result<T>,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut done = 0;
    for point in points {
        let stop = StopAfter { steps: point - done, seen: AtomicUsize::new(0) };
        let result = train(&stop, &Kept(&store));
        assert!(matches!(result, Err(Error::Cancelled)), "stopped at {point} of {points:?}");
        done = *point;
    }
    train(&Silent, &Kept(&store)).unwrap()
}

fn bits(parameters: &Parameters) -> Vec<(String, Vec<u32>)> {
    let values = |name: &str| parameters.values(name).unwrap().iter().map(|value| value.to_bits()).collect();
    parameters.iter().map(|(name, _)| (name.to_owned(), values(name))).collect()
}

fn without_times(epochs: &[EpochMetrics]) -> Vec<EpochMetrics> {
    epochs.iter().map(|epoch| EpochMetrics { seconds: 0.0, ..epoch.clone() }).collect()
}

/// Weights, running statistics and epoch metrics of a baseline.
#[test]
fn interrupted_baselines_are_equal() {
    each(check_baselines);
}

fn check_baselines() {
    let (dataset, network, parameters) = setting();
    for optimizer in ["adam", "sgd"] {
        let mut spec = recipe();
        spec.optimizer = serde_json::from_value(json!(optimizer)).unwrap();
        let train = |observer: &dyn Observer, checkpoints: &dyn Checkpoints| {
            full_precision::train(&network, &parameters, dataset.as_ref(), &spec, 3, observer, checkpoints)
        };
        let straight = train(&Silent, &NoCheckpoints).unwrap();
        let points = points();
        let resumed = interrupted(&points, train);
        assert_eq!(bits(&straight.parameters), bits(&resumed.parameters), "{optimizer} {points:?}");
        assert_eq!(without_times(&straight.epochs), without_times(&resumed.epochs), "{optimizer} {points:?}");
    }
}

/// Levels, codebooks, weights, metrics and warnings of every method; ECQx also with a measure that has a state of its
/// own, with the reference's second optimizer, and with relevance of every third batch; pruning by criteria.
#[test]
fn interrupted_quantizers_are_equal() {
    each(check_quantizers);
}

fn check_quantizers() {
    let (dataset, network, parameters) = setting();
    let mut cases: Vec<(&str, Option<u32>, Value, Option<Value>)> = vec![
        ("ecqx", Some(4), json!({"lambda": 0.02}), Some(json!("random"))),
        ("ecqx", Some(3), json!({"lambda": 0.02, "profile": "reference"}), None),
        ("ecq", Some(2), json!({"lambda": 0.02, "step": "learned"}), None),
        ("ecqx", Some(3), json!({"lambda": 0.02, "relevance_every": 3, "relevance_samples": 2}), None),
        ("magnitude", None, json!({"criterion": "lrp"}), None),
        ("magnitude", None, json!({"criterion": "lamp", "threshold": "global"}), None),
        ("magnitude", Some(3), json!({"criterion": "fisher", "relevance_every": 2}), Some(json!("fisher"))),
        ("magnitude", Some(3), json!({"criterion": "taylor", "schedule": "one_shot"}), Some(json!("taylor"))),
        ("magnitude", None, json!({"criterion": "random"}), Some(json!("random"))),
    ];
    for method in quant::builtin().iter() {
        let settings = match method.name {
            "ecqx" | "ecq" | "ec2t" => json!({"lambda": 0.02}),
            _ => json!({}),
        };
        cases.push((method.name, method.bits.range().map(|(low, high)| (low + 2).min(high)), settings, None));
    }
    let spec = recipe();
    for (method, bits_of_method, settings, measure) in &cases {
        let settings = settings.as_object().unwrap();
        let train = |observer: &dyn Observer, checkpoints: &dyn Checkpoints| {
            let (mut quantizer, scope) = quant::build(method, *bits_of_method, settings).unwrap();
            let context = relevance::Context {
                profile: quant::builtin().find(method).unwrap().profile(settings),
                seed: 3,
            };
            let mut measure = relevance::build(&relevance::builtin(), measure.as_ref(), context).unwrap();
            let mut quantized = quantization_aware(
                &network,
                &parameters,
                &quantizable(&parameters, &scope),
                quantizer.as_mut(),
                Some(measure.as_mut()),
                dataset.as_ref(),
                &QuantizationAware {
                    spec: &spec,
                    seed: 3,
                    calibration: Calibration { samples: 32, seed: 3, batch_size: 8 },
                },
                observer,
                checkpoints,
            )?;
            quantized.warnings.extend(quantizer.take_warnings());
            Ok(quantized)
        };
        let straight: Quantized = train(&Silent, &NoCheckpoints).unwrap();
        let points = points();
        let resumed = interrupted(&points, train);
        let case = format!("{method} {settings:?} stopped after {points:?}");
        assert_eq!(bits(&straight.parameters), bits(&resumed.parameters), "{case}");
        assert_eq!(straight.tensors, resumed.tensors, "{case}");
        assert_eq!(without_times(&straight.epochs), without_times(&resumed.epochs), "{case}");
        assert_eq!(straight.warnings, resumed.warnings, "{case}");
    }
}
