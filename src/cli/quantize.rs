//! `ecqx quantize`: post-training quantization of a checkpoint alone.

use super::Global;
use super::allocation::{self, Width, allocation};
use super::evaluate::{network, options as key_values};
use super::quantize_summary::{Total, describe, print_table};
use super::weights::{WeightsArgs, facts};
use crate::codec::{EncodeOptions, model_file};
use crate::data::{self, DatasetSpec};
use crate::io::Output;
use crate::model::checkpoint::{self, Checkpoint, FitOptions, Metadata, ReadOptions, StateDict};
use crate::nn::transfer;
use crate::quant::allocation::{Budget, CostBy};
use crate::quant::quantizer::{
    FloatCoding, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor, replace_undefined,
};
use crate::spec::run_spec::CALIBRATION_SAMPLES;
use crate::train::calibration::{CalibrationSet, calibrate_quantizer};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Quantize a checkpoint without training
///
/// Weights of convolutions and linear layers (tensors called NAME.weight with more than one dimension) are quantized. The
/// output holds, for each, the values under its name, the level indices under NAME.levels and the step, or one per channel,
/// under NAME.step (the levels' values under NAME.codebook where they are not evenly spaced); all other tensors stay as they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Method: a name from `ecqx ls quantizers`
    #[arg(long)]
    method: String,
    /// Bit width; auto: one for each layer, within --budget or --budget-bytes
    #[arg(long, allow_negative_numbers = true, value_parser = Width::parse, value_name = "BITS|auto")]
    bits: Option<Width>,
    /// Mean bits per quantized weight that --bits auto may take
    #[arg(long, value_parser = super::number)]
    budget: Option<f64>,
    /// Bytes of all quantized weights, before entropy coding, that --bits auto may take
    #[arg(long, value_name = "BYTES")]
    budget_bytes: Option<u64>,
    /// What a layer's bit width costs under --bits auto: relevance or fisher (from --relevance), or error [default: relevance]
    #[arg(long, value_name = "WORD")]
    allocate_by: Option<String>,
    /// Strength of the entropy term
    #[arg(long, value_parser = super::number)]
    lambda: Option<f64>,
    /// Width of ECQx's sparsity band
    #[arg(long, value_parser = super::number)]
    p: Option<f64>,
    /// Whose choices stand for the rest: default or reference
    #[arg(long)]
    profile: Option<String>,
    /// Relevance of the weights, under their names, as `ecqx explain` writes it
    #[arg(long, value_name = "FILE.safetensors")]
    relevance: Option<PathBuf>,
    /// Model, for methods that calibrate: a name from `ecqx ls models`, or a YAML file that describes one
    #[arg(long, requires = "dataset")]
    model: Option<String>,
    /// Options of the model, as KEY=VALUE
    #[arg(long = "model-option", value_name = "KEY=VALUE", requires = "model")]
    model_options: Vec<String>,
    /// Data set whose training samples a method calibrates with: a name from `ecqx ls datasets`
    #[arg(long, value_name = "NAME", requires = "model")]
    dataset: Option<String>,
    /// Image normalization: dataset (its own), imagenet or none [default: dataset; for cifar10 imagenet]
    #[arg(long, requires = "dataset")]
    normalization: Option<String>,
    /// How many training samples a method calibrates with
    #[arg(long, value_name = "N", default_value_t = CALIBRATION_SAMPLES)]
    samples: usize,
    /// Which training samples
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Name pattern of weights that stay as they are (several times) [default: the method's]
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Another parameter of the method, as KEY=VALUE (several times)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the result goes: a name that ends in .safetensors, or in .nnc for a model file (the bitstream that holds
    /// everything); '-' is standard output
    #[arg(long, value_name = "OUT.safetensors|OUT.nnc")]
    output: PathBuf,
    /// Format of the result [default: what the name of the output says, else safetensors]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What `ecqx quantize` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Safetensors,
    Nnc,
}

impl Args {
    fn parameters(&self) -> Result<Map<String, Value>> {
        let mut parameters: Map<String, Value> = key_values("--set", &self.set)?.into_iter().collect();
        let own = [
            ("lambda", self.lambda.map(Value::from)),
            ("p", self.p.map(Value::from)),
            ("budget", self.budget.map(Value::from)),
            ("budget_bytes", self.budget_bytes.map(Value::from)),
            ("allocate_by", self.allocate_by.clone().map(Value::from)),
            ("profile", self.profile.clone().map(Value::from)),
            ("exclude", (!self.exclude.is_empty()).then(|| self.exclude.clone().into())),
        ];
        for (key, value) in own {
            if let Some(value) = value {
                parameters.insert(key.into(), value);
            }
        }
        Ok(parameters)
    }

    /// The file of relevance where there is one to read. `weighs`: an allocation of bit widths may use it too.
    fn relevance_file(&self, quantizer: &dyn Quantizer, weighs: bool) -> Result<Option<&Path>> {
        let wanted = quantizer.wants_relevance();
        match &self.relevance {
            Some(_) if !wanted && !weighs => {
                Err(Error::input(format!("method {} uses no relevance", self.method)))
            }
            // An allocation says itself what it needs.
            None if wanted => Err(Error::input_hint(
                format!("method {} needs --relevance FILE.safetensors", self.method),
                "`ecqx explain` writes one",
            )),
            path => Ok(path.as_deref()),
        }
    }

    /// Shows a method that calibrates the inputs of every layer.
    fn calibrate(
        &self,
        global: &Global,
        quantizer: &mut dyn Quantizer,
        weights: &[WeightTensor<'_>],
    ) -> Result<()> {
        let (Some(model), Some(name)) = (&self.model, &self.dataset) else {
            return Err(Error::input_hint(
                format!("method {} calibrates with training samples", self.method),
                "give --model and --dataset; --samples and --seed say how many and which",
            ));
        };
        let mut spec = DatasetSpec::named(name);
        spec.normalization = self.normalization.clone().map(data::Normalization::Preset);
        let dataset = data::open(&spec, &global.data_dir())?;
        let network = network(model, &self.model_options, dataset.as_ref())?;
        let fit = self.weights.path(global)?;
        let checkpoint = self.weights.open(global)?;
        let fitted = checkpoint.fit(&fit, &network, &global.device()?, FitOptions::default())?;
        let set = CalibrationSet { samples: self.samples, seed: self.seed };
        calibrate_quantizer(&network, &fitted.parameters, weights, quantizer, dataset.as_ref(), &set)
    }

    /// The format that was asked for, or that the output's name says.
    fn format(&self, output: &Output) -> Result<Format> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let extension = self.output.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("safetensors") => Ok(Format::Safetensors),
            Some("nnc") => Ok(Format::Nnc),
            _ if !output.is_file() => Ok(Format::Safetensors),
            _ => Err(Error::input_hint(
                format!("--output {}: only .safetensors and .nnc are written", self.output.display()),
                "PyTorch reads a safetensors file with safetensors.torch.load_file; another name needs --format",
            )),
        }
    }
}

/// Weights of convolutions and linear layers by their form.
fn is_weight(name: &str, tensor: &Tensor) -> bool {
    tensor.dtype().is_float() && tensor.rank() > 1 && (name == "weight" || name.ends_with(".weight"))
}

/// The relevance of every weight from a file, and what the file says of the samples.
fn relevance(path: &Path, names: &[String], state: &StateDict) -> Result<(Relevances, Metadata)> {
    let Checkpoint { tensors: file, metadata, .. } = checkpoint::open(path, &ReadOptions::default())?;
    let wrong = |what: String| {
        Error::input_hint(
            format!("{}: {what}", path.display()),
            "a relevance file must come from the same model; `ecqx explain` writes one",
        )
    };
    let mut relevances = Relevances::new();
    for name in names {
        let tensor = file.get(name).ok_or_else(|| wrong(format!("no relevance of {name}")))?;
        if tensor.dims() != state[name].dims() {
            return Err(wrong(format!(
                "relevance of {name} has shape {:?}, the weight {:?}",
                tensor.dims(),
                state[name].dims()
            )));
        }
        relevances.insert(name.clone(), transfer::values(&tensor.to_dtype(DType::F32)?)?);
    }
    Ok((relevances, metadata))
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let output = Output::new(&args.output)?;
    output.leaves_room_for(global.json)?;
    let format = args.format(&output)?;
    let method = global.registry.quantizers.find(&args.method)?;
    let resolved = method.resolve(&args.parameters()?)?;
    let budget = Budget::of(&resolved);
    if args.bits == Some(Width::Auto) && budget.is_none() {
        return Err(Error::input_hint("--bits auto needs a budget", "give --budget or --budget-bytes").into());
    }
    let (mut quantizer, mut scope) = method.quantizer(args.bits.and_then(Width::bits), &resolved)?;
    let Checkpoint { tensors: state, notes, .. } = args.weights.open(global)?;
    let weights = state.iter().filter(|(name, tensor)| is_weight(name, tensor));
    let names = scope.select(weights.map(|(name, _)| name.as_str()));
    if names.is_empty() {
        return Err(Error::input_hint(
            format!("{}: there is nothing to quantize", args.weights.weights.display()),
            "weights are tensors called NAME.weight with more than one dimension; see also --exclude",
        )
        .into());
    }
    let mut values: Vec<Vec<f32>> = names
        .iter()
        .map(|name| Ok(transfer::values(&state[name].to_dtype(DType::F32)?)?))
        .collect::<Result<_>>()?;
    let mut warnings: Vec<String> =
        names.iter().zip(&mut values).filter_map(|(name, values)| replace_undefined(name, values)).collect();
    let weights: Vec<WeightTensor<'_>> = names
        .iter()
        .zip(&values)
        .map(|(name, values)| WeightTensor { name, shape: state[name].dims(), values })
        .collect();
    let mut metadata = Metadata::from_iter([(facts::WRITTEN_BY.to_owned(), "ecqx quantize".to_owned())]);
    let weighs = budget.is_some_and(|budget| matches!(budget.by, CostBy::Relevance | CostBy::Fisher));
    let relevance = match args.relevance_file(quantizer.as_ref(), weighs)? {
        Some(path) => {
            let (relevance, facts) = relevance(path, &names, &state)?;
            warnings.extend(on_test_split(path, &facts));
            metadata.extend(facts.into_iter().filter(|(key, _)| key.starts_with("relevance_")));
            Some(relevance)
        }
        None => None,
    };
    let calibrate = |quantizer: &mut dyn Quantizer| match quantizer.wants_calibration() {
        Some(_) => args.calibrate(global, quantizer, &weights),
        None => Ok(()),
    };
    let allocation = match &budget {
        Some(budget) => {
            Some(allocation(method, &resolved, budget, &weights, relevance.as_ref(), &calibrate)?)
        }
        None => None,
    };
    if let Some(allocation) = &allocation {
        (quantizer, scope) = method.quantizer(allocation.widest(), &allocation.parameters(&resolved))?;
    }
    quantizer.initialize(&weights)?;
    calibrate(quantizer.as_mut())?;
    let used = relevance.as_ref().filter(|_| quantizer.wants_relevance());
    let tensors = quantizer.assign(&weights, used, StepInfo::POST_TRAINING)?;
    let all = state.iter().filter(|(name, tensor)| is_weight(name, tensor)).map(|(name, _)| name.as_str());
    warnings.extend(quantizer.take_warnings().into_iter().chain(scope.warnings(all)));
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));

    let mut state = quantized(state, &tensors)?;
    let whole = match format {
        Format::Safetensors => {
            let by_name = state.iter().map(|(name, tensor)| (name.as_str(), tensor));
            Some(checkpoint::to_safetensors_with(by_name, &metadata)?)
        }
        Format::Nnc => None,
    };
    let counters = leave_out_counters(&mut state);
    let (model, full_precision) =
        model_file(&state, quantizer.coding().map(|coding| (coding, names.as_slice())))?;
    output.write(whole.as_ref().unwrap_or(&model))?;

    let layers: Vec<Value> = tensors.iter().map(describe).collect();
    let total = Total::new(&tensors, model.len(), full_precision);
    if global.json {
        let mut report = json!({
            "method": args.method, "bits": args.bits.and_then(Width::bits), "layers": layers, "weights": total.weights,
            "zeros": total.zeros, "sparsity": total.sparsity(), "bytes": whole.as_ref().unwrap_or(&model).len(),
            "model_bytes": total.bytes, "full_precision_bytes": total.full_precision,
            "compression_ratio": total.ratio(), "notes": notes, "warnings": warnings,
        });
        if let Some(allocation) = &allocation {
            report["allocation"] = allocation::describe(allocation);
        }
        println!("{report}");
    } else if !output.is_standard_output() {
        if let Some(allocation) = &allocation {
            allocation::print(allocation);
        }
        print_table(&layers);
        if format == Format::Nnc && counters > 0 {
            println!("{counters} batch counters are not in the model file: inference does not use them");
        }
        println!("written to {}", output.shown());
        println!("{total}");
    }
    Ok(super::DONE)
}

/// A warning when relevance was computed on the split on which accuracy is reported.
fn on_test_split(path: &Path, facts: &Metadata) -> Option<String> {
    let fact = |name| facts.get(name).map(String::as_str);
    (fact(facts::RELEVANCE_SPLIT)? == "test").then(|| {
        format!(
            "{}: relevance was computed on the test split of {}: an accuracy on that split will be too high \
             (compute it with `ecqx explain --split train`)",
            path.display(),
            fact(facts::RELEVANCE_DATASET).unwrap_or("a data set")
        )
    })
}

/// Takes out batch norm's counts of batches, which a model file does not hold; returns how many there were.
pub(super) fn leave_out_counters(state: &mut StateDict) -> usize {
    let before = state.len();
    state.retain(|name, _| !checkpoint::is_batch_counter(name));
    before - state.len()
}

/// The model file of a quantized state dict, as a run would write it, and its bytes in full precision.
fn model_file(state: &StateDict, coding: Option<(FloatCoding, &[String])>) -> Result<(Vec<u8>, usize)> {
    let entries = checkpoint::entries(state)?;
    let full_precision = 4 * entries.iter().map(model_file::Entry::count).sum::<usize>();
    Ok((model_file::write_entries_coded(&entries, &EncodeOptions::default(), coding)?.0, full_precision))
}

/// The checkpoint with quantized tensors and, at its end, their levels.
fn quantized(mut state: StateDict, tensors: &[QuantizedTensor]) -> Result<StateDict> {
    // What an earlier quantization left beside a weight says nothing of the new one.
    for tensor in tensors {
        for suffix in checkpoint::SIDE_SUFFIXES {
            state.shift_remove(&format!("{}{suffix}", tensor.name));
        }
    }
    for tensor in tensors {
        let values = Tensor::from_vec(tensor.content.values(), tensor.shape.as_slice(), &Device::Cpu)?;
        state.insert(tensor.name.clone(), values);
        state.extend(checkpoint::side_tensors(tensor)?);
    }
    Ok(state)
}
