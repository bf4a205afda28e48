//! One run from specification to record: baseline, quantization, model file, decoding, evaluation.

use super::baseline::{self, Baseline};
use super::measure::{layer_records, sizes};
use super::provenance;
use super::record::{Metrics, RunRecord, SCHEMA, Status};
use crate::codec::{EncodeOptions, model_file};
use crate::data::{self, Dataset, Split};
use crate::model;
use crate::nn::{Network, Parameters};
use crate::quant::quantizer::{Content, QuantizedTensor};
use crate::quant::{self};
use crate::relevance::{self, RelevanceMeasure};
use crate::spec::RunSpec;
use crate::store::{Files, Store};
use crate::train::quantized::{
    Calibration, QuantizationAware, Quantized, post_training, quantizable, quantization_aware,
};
use crate::train::{Observer, evaluate};
use crate::{Error, Result};
use candle_core::Device;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What all runs of a process share.
pub struct Context {
    /// Results.
    pub store: Store,
    /// Where data sets and checkpoints lie.
    pub data_dir: PathBuf,
    /// Further folders in which checkpoints are looked for: those of the experiments' files.
    pub checkpoint_dirs: Vec<PathBuf>,
    /// Where tensors live.
    pub device: Device,
    datasets: Mutex<HashMap<String, Arc<dyn Dataset>>>,
}

impl Context {
    /// A context without open data sets.
    pub fn new(store: Store, data_dir: PathBuf, checkpoint_dirs: Vec<PathBuf>, device: Device) -> Self {
        Self { store, data_dir, checkpoint_dirs, device, datasets: Mutex::default() }
    }

    /// Opens a data set once per process.
    ///
    /// # Errors
    /// As [`data::open`].
    pub fn dataset(&self, spec: &data::DatasetSpec) -> Result<Arc<dyn Dataset>> {
        let key = serde_json::to_string(spec).map_err(|error| Error::Internal(error.to_string()))?;
        let mut open = self.datasets.lock().map_err(|_| Error::Internal("a worker panicked".into()))?;
        if let Some(dataset) = open.get(&key) {
            return Ok(dataset.clone());
        }
        let dataset = data::open(spec, &self.data_dir)?;
        open.insert(key, dataset.clone());
        Ok(dataset)
    }

    /// Ids of a run and of its baseline.
    ///
    /// # Errors
    /// When the data set or the checkpoint cannot be read.
    pub fn ids(&self, run: &RunSpec) -> Result<(String, String)> {
        let dataset = self.dataset(&run.dataset)?;
        let source = baseline::source_digest(self, &run.baseline)?;
        let baseline = run.baseline_id(dataset.digest(), source.as_deref())?;
        Ok((run.id(dataset.digest(), &baseline)?, baseline))
    }

    /// Builds the run's network.
    ///
    /// # Errors
    /// [`Error::Input`] when the model does not fit the data set.
    pub fn network(&self, run: &RunSpec, dataset: &dyn Dataset) -> Result<Network> {
        let (shape, classes) = (dataset.input_shape(), dataset.classes().len());
        let network = match (&run.model.name, &run.model.description) {
            (Some(name), _) => model::build(name, shape, classes, &run.model.options)?,
            (None, Some(text)) => model::yaml::parse(text, std::path::Path::new("model.yaml"))?,
            (None, None) => return Err(Error::input("the run names no model")),
        };
        if network.input_shape != shape || network.classes != classes {
            return Err(Error::input(format!(
                "model {} takes {:?} and has {} classes, data set {} gives {shape:?} and {classes}",
                network.name,
                network.input_shape,
                network.classes,
                dataset.name()
            )));
        }
        Ok(network)
    }
}

/// Runs one specification and saves the result; a failure is saved as a record with its error.
///
/// # Errors
/// [`Error::Cancelled`], and errors of the store; whatever fails inside the run becomes part of the record.
pub fn execute(
    context: &Context,
    run: &RunSpec,
    experiment: &str,
    observer: &dyn Observer,
) -> Result<RunRecord> {
    let start = Instant::now();
    let (id, baseline_id) = context.ids(run)?;
    let mut record = RunRecord {
        schema: SCHEMA,
        id,
        experiment: experiment.into(),
        dataset: run.dataset.name.clone(),
        model: run.model_name(),
        method: run.quantizer.method.clone(),
        label: run.label(),
        bits: run.quantizer.bits,
        lambda: run.quantizer.parameters.get("lambda").and_then(serde_json::Value::as_f64),
        p: run.quantizer.parameters.get("p").and_then(serde_json::Value::as_f64),
        seed: run.seed,
        spec: run.json()?,
        status: Status::Failed,
        error: None,
        warnings: Vec::new(),
        selection: run.training.as_ref().map_or("post-training", |t| t.select.describe()).into(),
        baseline: None,
        test: None,
        validation: None,
        sparsity: None,
        entropy: None,
        layers: Vec::new(),
        sizes: None,
        epochs: Vec::new(),
        seconds: 0.0,
        peak_memory: None,
        provenance: provenance::gather(&context.device),
    };
    let mut files = Files::new();
    match fill(context, run, &baseline_id, observer, &mut record, &mut files) {
        Ok(()) => record.status = Status::Done,
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => record.error = Some(error.to_string()),
    }
    record.seconds = start.elapsed().as_secs_f64();
    record.peak_memory = provenance::peak_memory();
    context.store.save(&record, &files)?;
    Ok(record)
}

/// Does the work; what is known by the time of an error stays in the record.
fn fill(
    context: &Context,
    run: &RunSpec,
    baseline_id: &str,
    observer: &dyn Observer,
    record: &mut RunRecord,
    files: &mut Files,
) -> Result<()> {
    let dataset = context.dataset(&run.dataset)?;
    let network = context.network(run, dataset.as_ref())?;
    record.model.clone_from(&network.name);
    record.provenance.dataset_digest = dataset.digest().into();
    let Baseline { parameters, test, digest } =
        baseline::obtain(context, run, baseline_id, &network, dataset.as_ref(), observer)?;
    record.provenance.baseline_digest = digest;
    record.baseline = Some(test);

    let quantized = quantize(run, &network, &parameters, dataset.as_ref(), observer, record)?;
    record.sparsity = Some(crate::train::quantized::sparsity(&quantized.tensors));
    record.epochs = quantized.epochs;

    observer.phase("encoding");
    let tensors = file_tensors(&quantized.parameters, &quantized.tensors)?;
    let (bytes, tensor_bytes) = model_file::write(&tensors, &EncodeOptions::default())?;
    record.layers = layer_records(&quantized.tensors, &tensor_bytes);
    let weights: usize = record.layers.iter().map(|layer| layer.weights).sum();
    let entropies = record.layers.iter().map(|layer| Some(layer.entropy? * layer.weights as f64));
    record.entropy = entropies.sum::<Option<f64>>().map(|bits| bits / weights.max(1) as f64);
    record.sizes = Some(sizes(&quantized.tensors, &quantized.parameters, run.quantizer.bits, bytes.len())?);

    // What is reported is what the file gives back.
    observer.phase("evaluating the decoded model");
    let decoded = decoded_parameters(&bytes, &network, &context.device)?;
    record.test = Some(evaluate(&network, &decoded, dataset.as_ref(), Split::Test, observer)?);
    record.validation = validation(&network, &decoded, dataset.as_ref(), observer)?;
    files.insert("model.nnc".into(), bytes);
    Ok(())
}

fn validation(
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
) -> Result<Option<Metrics>> {
    if dataset.is_empty(Split::Validation) {
        return Ok(None);
    }
    evaluate(network, parameters, dataset, Split::Validation, observer).map(Some)
}

fn quantize(
    run: &RunSpec,
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
    record: &mut RunRecord,
) -> Result<Quantized> {
    let (mut quantizer, scope) =
        quant::build(&run.quantizer.method, run.quantizer.bits, &run.quantizer.parameters)?;
    let names = quantizable(parameters, &scope);
    let mut measure: Option<Box<dyn RelevanceMeasure>> = match quantizer.wants_relevance() {
        true => Some(relevance::build(
            run.quantizer.relevance.as_ref(),
            relevance::Context { profile: quant::profile(&run.quantizer.parameters), seed: run.seed },
        )?),
        false => None,
    };
    let measure = measure.as_mut().map(|measure| measure.as_mut() as &mut dyn RelevanceMeasure);
    let quantized = match &run.training {
        None => {
            observer.phase("quantizing");
            let calibration = Calibration { samples: run.calibration_samples, batch_size: 64 };
            post_training(network, parameters, &names, quantizer.as_mut(), measure, dataset, &calibration)
        }
        Some(spec) => {
            let settings = QuantizationAware { spec, seed: run.seed };
            quantization_aware(
                network,
                parameters,
                &names,
                quantizer.as_mut(),
                measure,
                dataset,
                &settings,
                observer,
            )
        }
    };
    record.warnings = quantizer.take_warnings();
    quantized
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
