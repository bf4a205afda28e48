//! One run from specification to record: baseline, quantization, model file, decoding, evaluation.
//!
//! ```
//! use ecqx::run::{Context, execute};
//! use ecqx::spec::{Experiment, Registry, grid};
//! let yaml = "
//! name: demo
//! dataset: {name: embedded-images, samples: {train: 64, validation: 16, test: 16}}
//! model: cnn-small
//! baseline: {train: {epochs: 1, batch_size: 32}}
//! bits: [4]
//! quantizers: [{method: uniform}]
//! ";
//! let registry = Registry::builtin();
//! let experiment = Experiment::parse(yaml, std::path::Path::new("demo.yaml"), &registry)?;
//! let run = grid::expand(&experiment, &registry)?.runs.remove(0);
//! let folder = tempfile::tempdir().unwrap();
//! let store = ecqx::store::Store::open(folder.path())?;
//! let device = candle_core::Device::Cpu;
//! let context = Context::new(registry, store, "data".into(), Vec::new(), device);
//! let record = execute(&context, &run, "demo", &ecqx::train::Silent)?.record;
//! assert!(record.is_done() && record.test().unwrap().n == 16);
//! // The size is that of the file, and the file is there.
//! let file = context.store.run_folder(&record.id).join("model.nnc");
//! assert_eq!(std::fs::metadata(file).unwrap().len(), record.sizes().unwrap().file as u64);
//! # Ok::<(), ecqx::Error>(())
//! ```

use super::allocate::allocated;
use super::baseline::{self, Baseline};
use super::context::Context;
use super::log::Log;
use super::measure::{Width, layer_records, sizes};
use super::provenance;
use super::quantized_checkpoint;
use super::resume::StoredCheckpoints;
use crate::codec::{EncodeOptions, model_file};
use crate::data::{Dataset, Split};
use crate::model;
use crate::nn::{Network, Parameters};
use crate::quant::quantizer::{Content, QuantizedTensor, RunInfo, replace_undefined};
use crate::record::{Failure, Measurements, Outcome, RunRecord, SCHEMA, SampleCounts, emptied};
use crate::relevance::{self, RelevanceMeasure};
use crate::spec::RunSpec;
use crate::spec::run_spec::CALIBRATION_SAMPLES;
use crate::store::{Files, Lookup};
use crate::train::allocation::{Allocation, Measuring};
use crate::train::quantized::{
    Calibration, QuantizationAware, Quantized, post_training, quantizable, quantization_aware, weight_names,
};
use crate::train::{Checkpoints, Observer, TrainingSpec, evaluate, evaluate_validation};
use crate::{Error, Result};
use candle_core::Device;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Runs one specification and saves the result; a failure, a panic included, is saved as a record with its error.
/// Continues from a checkpoint that an interrupted process left.
///
/// # Errors
/// [`Error::Cancelled`], a disk on which nothing can be written, and errors of the store; whatever else fails inside the
/// run becomes part of the record.
pub fn execute(
    context: &Context,
    run: &RunSpec,
    experiment: &str,
    observer: &dyn Observer,
) -> Result<Executed> {
    let start = Instant::now();
    provenance::reset_peak_memory();
    let log = Log::new(observer);
    let (id, baseline_id) = context.ids(run)?;
    let earlier = match context.store.find(&id) {
        Lookup::Found(record) if record.is_failed() => record.attempts,
        _ => 0,
    };
    let mut record = RunRecord {
        schema: SCHEMA,
        id,
        experiment: experiment.into(),
        dataset: run.dataset.title(),
        model: run.model_name(),
        method: run.quantizer.name().into(),
        label: run.label(),
        bits: run.quantizer.bits,
        parameters: run.quantizer.parameters.clone(),
        seed: run.seed,
        spec: run.json()?,
        outcome: Outcome::Failed(Failure::default()),
        attempts: earlier + 1,
        interrupted: Vec::new(),
        warnings: Vec::new(),
        selection: run.training.as_ref().map_or("post-training", |t| t.select.describe()).into(),
        baseline: None,
        baseline_validation: None,
        epochs: Vec::new(),
        seconds: 0.0,
        peak_memory: None,
        provenance: provenance::gather(&context.device, context.registry.program.as_deref()),
    };
    let mut files = Files::new();
    let mut work = || fill(context, run, &baseline_id, &log, &mut record, &mut files);
    // What a panic leaves half done is thrown away below.
    let result = catch_unwind(AssertUnwindSafe(&mut work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
    let (mut is_transient, mut is_out_of_memory) = (false, false);
    match result {
        Ok(measurements) => record.outcome = Outcome::Done(Box::new(measurements)),
        Err(error) if matches!(error, Error::Cancelled) || error.is_fatal() => return Err(error),
        Err(error) => {
            is_transient = error.is_transient();
            is_out_of_memory = error.is_out_of_memory();
            if !is_transient {
                // The next attempt must not continue towards the same end.
                context.store.remove_checkpoint(&record.id);
            }
            // The way out stands with the error wherever a report shows it.
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            record.outcome = Outcome::Failed(Failure { error: format!("{error}{hint}"), log: log.tail() });
            files.clear();
        }
    }
    let before: f64 = record.interrupted.iter().map(|session| session.seconds).sum();
    record.seconds = before + start.elapsed().as_secs_f64();
    record.peak_memory = provenance::peak_memory();
    record.provenance.finished = provenance::now();
    record.provenance.energy_joules = log.joules();
    context.store.save(&record, &files)?;
    if record.is_done() {
        context.store.remove_checkpoint(&record.id);
    }
    Ok(Executed { record, is_transient, is_out_of_memory })
}

/// What a run came to.
pub struct Executed {
    /// The record in the store.
    pub record: RunRecord,
    /// Whether a failure may pass by itself: the machine's state caused it, not the run.
    pub is_transient: bool,
    /// Whether a device's memory was full.
    pub is_out_of_memory: bool,
}

/// A panic as an error: a defect, but not a reason to give up the other runs.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Internal(format!("panic: {}", text.unwrap_or_else(|| "no message".into())))
}

/// Does the work; what is known by the time of an error stays in the record.
fn fill(
    context: &Context,
    run: &RunSpec,
    baseline_id: &str,
    observer: &dyn Observer,
    record: &mut RunRecord,
    files: &mut Files,
) -> Result<Measurements> {
    let dataset = context.dataset(&run.dataset)?;
    let network = context.network(run, dataset.as_ref())?;
    record.model.clone_from(&network.name);
    record.provenance.dataset_digest = dataset.digest().into();
    record.provenance.samples = Some(SampleCounts {
        train: dataset.len(Split::Train),
        validation: dataset.len(Split::Validation),
        test: dataset.len(Split::Test),
    });
    let Baseline { parameters, test, validation, digest, notes } =
        baseline::obtain(context, run, baseline_id, &network, dataset.as_ref(), observer)?;
    record.provenance.baseline_digest.clone_from(&digest);
    let mut warnings = dataset.notes();
    warnings.extend(test.warning("the baseline, test split"));
    record.baseline = Some(test);
    record.baseline_validation = validation;

    let checkpoints =
        StoredCheckpoints::new(&context.store, &record.id, &digest, context.checkpoint_every, observer);
    let (parameters, notes_of_file) = match quantized_checkpoint::load(context, run, &network)? {
        Some(loaded) => loaded,
        None => (parameters, Vec::new()),
    };
    let (quantized, allocation) =
        quantize(context, run, &network, &parameters, dataset.as_ref(), observer, &checkpoints, record)?;
    record.warnings.extend(notes.into_iter().map(|note| format!("baseline: {note}")));
    record.warnings.extend(notes_of_file);
    record.interrupted = checkpoints.sessions();
    record.provenance.checkpoint_seconds = checkpoints.total_cost().as_secs_f64();
    let sparsity = crate::train::quantized::sparsity(&quantized.tensors);
    record.epochs = quantized.epochs;

    observer.phase("encoding");
    let tensors = file_tensors(&quantized.parameters, &quantized.tensors)?;
    let names: Vec<String> = quantized.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let coding = quantized.coding.map(|coding| (coding, names.as_slice()));
    let (bytes, tensor_bytes) = model_file::write_coded(&tensors, &EncodeOptions::default(), coding)?;
    if run.quantizer.weights().is_some() {
        warnings.extend(quantized_checkpoint::warnings(&quantized.tensors, &tensor_bytes));
    }
    let layers = layer_records(&quantized.tensors, &tensor_bytes, allocation.as_ref());
    warnings.extend(emptied(&layers));
    let weights: usize = layers.iter().map(|layer| layer.weights).sum();
    let entropies = layers.iter().map(|layer| Some(layer.entropy? * layer.weights as f64));
    let entropy = entropies.sum::<Option<f64>>().map(|bits| bits / weights.max(1) as f64);
    let width = match &allocation {
        Some(allocation) => Width::Allocated(allocation.total_bits()),
        None => Width::Equal(run.quantizer.bits),
    };
    let sizes = sizes(&quantized.tensors, &quantized.parameters, width, bytes.len())?;

    // What is reported is what the file gives back.
    observer.phase("evaluating the decoded model");
    let decoded = decoded_parameters(&bytes, &network, &context.device)?;
    let test = evaluate(&network, &decoded, dataset.as_ref(), Split::Test, observer)?;
    let validation = evaluate_validation(&network, &decoded, dataset.as_ref(), observer)?;
    warnings.extend(test.warning("the decoded model, test split"));
    warnings.extend(validation.as_ref().and_then(|v| v.warning("the decoded model, validation split")));
    record.warnings.append(&mut warnings);
    files.insert("model.nnc".into(), bytes);
    Ok(Measurements { test, validation, sparsity, entropy, layers, sizes })
}

#[allow(clippy::too_many_arguments, reason = "each is a different thing with a name of its own")]
fn quantize(
    context: &Context,
    run: &RunSpec,
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
    checkpoints: &dyn Checkpoints,
    record: &mut RunRecord,
) -> Result<(Quantized, Option<Allocation>)> {
    let method = context.registry.quantizers.find(&run.quantizer.method)?;
    let given = &run.quantizer;
    let (mut quantizer, mut scope) = method.quantizer(given.bits, &given.parameters)?;
    // What another program left in full precision shows by itself.
    let names = match method.reads_checkpoint() {
        true => weight_names(parameters).map(str::to_owned).collect(),
        false => quantizable(parameters, &scope),
    };
    if names.is_empty() {
        return Err(Error::input(format!("{}: `exclude` leaves nothing to quantize", run.label())));
    }
    let (parameters, undefined) = defined(parameters, &names)?;
    let parameters = &parameters;
    let samples = run.calibration_samples.unwrap_or(CALIBRATION_SAMPLES);
    let calibration = Calibration { samples, seed: run.seed, batch_size: 64 };
    let measuring = Measuring { network, parameters, dataset, calibration: &calibration };
    let allocation = allocated(context, run, method, &measuring, observer)?;
    if let Some(allocation) = &allocation {
        let parameters = allocation.parameters(&given.parameters);
        (quantizer, scope) = method.quantizer(allocation.widest(), &parameters)?;
    }
    quantizer.begin(&run_info(context, run, parameters, &names, dataset)?)?;
    let mut measure: Option<Box<dyn RelevanceMeasure>> = match quantizer.wants_relevance() {
        true => Some(relevance::build(
            &context.registry.measures,
            given.relevance.as_ref(),
            relevance::Context { profile: method.profile(&given.parameters), seed: run.seed },
        )?),
        false => None,
    };
    let measure = measure.as_mut().map(|measure| measure.as_mut() as &mut dyn RelevanceMeasure);
    let quantized = match &run.training {
        None => {
            observer.phase("quantizing");
            post_training(network, parameters, &names, quantizer.as_mut(), measure, dataset, &calibration)
        }
        Some(spec) => {
            observer.phase("training");
            let settings = QuantizationAware { spec, seed: run.seed, calibration };
            quantization_aware(
                network,
                parameters,
                &names,
                quantizer.as_mut(),
                measure,
                dataset,
                &settings,
                observer,
                checkpoints,
            )
        }
    };
    quantizer.take_log().iter().for_each(|line| observer.note(line));
    if let Ok(quantized) = &quantized {
        record.warnings.clone_from(&quantized.warnings);
    }
    let of_names = undefined.into_iter().chain(scope.warnings(weight_names(parameters)));
    for warning in quantizer.take_warnings().into_iter().chain(of_names) {
        if !record.warnings.contains(&warning) {
            record.warnings.push(warning);
        }
    }
    quantized.map(|quantized| (quantized, allocation))
}

/// What a method may ask of its run.
fn run_info(
    context: &Context,
    run: &RunSpec,
    parameters: &Parameters,
    names: &[String],
    dataset: &dyn Dataset,
) -> Result<RunInfo> {
    let shape = |name: &String| Ok((name.clone(), parameters.tensor(name)?.dims().to_vec()));
    let steps = |spec: &TrainingSpec| spec.epochs * spec.steps(dataset.len(Split::Train));
    Ok(RunInfo {
        bits: run.quantizer.bits,
        seed: run.seed,
        total_steps: run.training.as_ref().map_or(0, steps),
        tensors: names.iter().map(shape).collect::<Result<_>>()?,
        has_relevance: run.quantizer.relevance.is_some(),
        folders: context.checkpoint_dirs.clone(),
    })
}

/// A copy in which weights that are not numbers are zero, and what to warn of.
fn defined(parameters: &Parameters, names: &[String]) -> Result<(Parameters, Vec<String>)> {
    let parameters = parameters.deep_copy()?;
    let mut warnings = Vec::new();
    for name in names {
        let mut values = parameters.values(name)?;
        if let Some(warning) = replace_undefined(name, &mut values) {
            parameters.set_values(name, &values)?;
            warnings.push(warning);
        }
    }
    Ok((parameters, warnings))
}

/// All tensors of the file in layer order: quantized ones as levels, the others as they are.
fn file_tensors(parameters: &Parameters, quantized: &[QuantizedTensor]) -> Result<Vec<QuantizedTensor>> {
    let by_name: HashMap<&str, &QuantizedTensor> =
        quantized.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    parameters
        .iter()
        .map(|(name, parameter)| match by_name.get(name) {
            Some(tensor) => Ok((*tensor).clone()),
            None => Ok(QuantizedTensor {
                name: name.into(),
                shape: parameter.var.dims().to_vec(),
                content: Content::Values(parameters.values(name)?),
            }),
        })
        .collect()
}

/// The parameters that a model file holds.
fn decoded_parameters(bytes: &[u8], network: &Network, device: &Device) -> Result<Parameters> {
    let state = model::checkpoint::from_model_file(bytes, std::path::Path::new("model.nnc"))?;
    model::checkpoint::fit(&state, network, device)
}
