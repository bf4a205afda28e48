//! `ecqx explain`: relevance of weights and inputs by layer-wise relevance propagation. Not here: the options that decide
//! how it is propagated, which are in `explain_rules`.

use super::Global;
use super::evaluate::{network, parse_split, parse_task};
use super::explain_rules::RuleArgs;
use super::weights::{FitArgs, WeightsArgs, facts};
use crate::data::{self, DatasetSpec, Split, Task};
use crate::insight::{ExplainedLayer, Map};
use crate::io::{Output, write_output};
use crate::model;
use crate::model::checkpoint::{self, Checkpoint};
use crate::nn::ops::{PRESENT, Targets};
use crate::nn::{Network, Parameters, transfer};
use crate::quant::quantizer::Relevances;
use crate::relevance::lrp::{self, Explanation, Settings, Wanted};
use crate::report::figure::{heat_maps, relevance_over_magnitude};
use crate::run::insight::explained;
use crate::train::batches;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Samples per pass.
const BATCH: usize = 256;
/// Samples in the figure of heat maps.
const HEAT_MAPS: usize = 6;

/// Compute the relevance of every parameter and of the input, by layer-wise relevance propagation
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model: a name from `ecqx ls models`, or a YAML file that describes one
    #[arg(long)]
    model: String,
    /// Options of the model, as KEY=VALUE
    #[arg(long = "model-option", value_name = "KEY=VALUE")]
    model_options: Vec<String>,
    #[command(flatten)]
    weights: WeightsArgs,
    #[command(flatten)]
    fit: FitArgs,
    /// Samples from a file: a safetensors file with "input" (batch, …) and "target" (batch)
    #[arg(long, value_name = "FILE", required_unless_present = "dataset", conflicts_with = "dataset")]
    input: Option<PathBuf>,
    /// Samples from a data set: a name from `ecqx ls datasets`
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Part of the data set
    #[arg(long, value_parser = parse_split, default_value = "train")]
    split: Split,
    /// How many samples of the data set, from its beginning, without augmentation
    #[arg(long, value_name = "N", default_value_t = 64)]
    samples: usize,
    /// Image normalization: dataset (its own), imagenet or none [default: dataset; for cifar10 imagenet]
    #[arg(long)]
    normalization: Option<String>,
    /// What is asked of the model: largest_object, or multi_label for data sets of pictures with several objects
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
    /// Explain this class for all samples, instead of each sample's true class
    #[arg(long, value_name = "CLASS")]
    target: Option<u32>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Where the relevances go: weights under their names, of the input under "input"
    #[arg(long, value_name = "FILE.safetensors")]
    output: PathBuf,
    /// Also draw heat maps of the inputs and relevance over magnitude by layer into this folder
    #[arg(long, value_name = "DIR")]
    figure: Option<PathBuf>,
}

impl Args {
    /// What the file says of the samples: they must not be those on which accuracy is measured.
    fn facts(&self, samples: usize) -> Result<checkpoint::Metadata> {
        let mut facts = checkpoint::Metadata::new();
        facts.insert(facts::WRITTEN_BY.into(), "ecqx explain".into());
        facts.insert(facts::RELEVANCE_SAMPLES.into(), samples.to_string());
        if let Some(dataset) = &self.dataset {
            let split =
                serde_json::to_value(self.split).map_err(|error| Error::Internal(error.to_string()))?;
            facts.insert(facts::RELEVANCE_DATASET.into(), dataset.clone());
            facts.insert(facts::RELEVANCE_SPLIT.into(), split.as_str().unwrap_or_default().into());
        }
        Ok(facts)
    }

    /// The network, its parameters, the samples and their targets.
    fn load(&self, global: &Global) -> Result<(Network, Parameters, Tensor, Vec<u32>)> {
        let device = global.device()?;
        let (network, inputs, mut targets, weights) = match (&self.dataset, &self.input) {
            (Some(name), _) => {
                let mut spec = DatasetSpec::named(name);
                spec.task = self.task;
                spec.normalization = self.normalization.clone().map(data::Normalization::Preset);
                let dataset = data::open(&spec, &global.data_dir())?;
                let network = network(&self.model, &self.model_options, dataset.as_ref())?;
                let count = self.samples.min(dataset.len(self.split));
                if count == 0 {
                    return Err(Error::input(format!("{name}: there are no samples to explain")));
                }
                let indices: Vec<usize> = (0..count).collect();
                let batch = batches::read(dataset.as_ref(), self.split, &indices, &device)?;
                (network, batch.inputs, batch.targets, self.weights.open(global)?)
            }
            (None, Some(path)) => {
                let (inputs, targets) = samples(path)?;
                let (network, weights) = self.network_for(global, &inputs.dims()[1..])?;
                (network, inputs.to_device(&device)?, targets, weights)
            }
            // The argument parser demands one of the two.
            (None, None) => return Err(Error::input("give --dataset or --input")),
        };
        if let Some(target) = self.target {
            targets = vec![target; inputs.dims()[0]];
        }
        let parameters = self.weights.fit(weights, global, &network, &device, self.fit)?.parameters;
        Ok((network, parameters, inputs, targets))
    }

    /// The model for inputs from a file, which has as many classes as the checkpoint's last matrix has rows, and the
    /// checkpoint.
    fn network_for(&self, global: &Global, shape: &[usize]) -> Result<(Network, Checkpoint)> {
        if matches!(Path::new(&self.model).extension().and_then(|e| e.to_str()), Some("yaml" | "yml")) {
            let network = model::yaml::load(Path::new(&self.model))?;
            if network.input_shape != shape {
                return Err(Error::input(format!(
                    "{} takes inputs of shape {:?}, the file has {shape:?}",
                    self.model, network.input_shape
                )));
            }
            return Ok((network, self.weights.open(global)?));
        }
        let weights = self.weights.open(global)?;
        let classes =
            weights.tensors.values().rev().find(|tensor| tensor.rank() == 2).map(|tensor| tensor.dims()[0]);
        let classes = classes.ok_or_else(|| {
            Error::input(format!(
                "{}: no linear layer tells the number of classes",
                self.weights.weights.display()
            ))
        })?;
        let options = super::evaluate::options("--model-option", &self.model_options)?;
        Ok((model::build(&self.model, shape, classes, &options)?, weights))
    }
}

/// "input" and "target" of a file.
fn samples(path: &Path) -> Result<(Tensor, Vec<u32>)> {
    let mut state = checkpoint::read(path)?;
    let mut take = |name: &str| {
        state.shift_remove(name).ok_or_else(|| {
            Error::input_hint(
                format!("{}: there is no tensor '{name}'", path.display()),
                "the file holds \"input\" (batch, …; f32) and \"target\" (batch; integers)",
            )
        })
    };
    let (inputs, targets) = (take("input")?.to_dtype(DType::F32)?, take("target")?);
    let targets = transfer::values::<f64>(&targets.to_dtype(DType::F64)?)?;
    if inputs.rank() < 2 || inputs.dims()[0] != targets.len() || targets.is_empty() {
        return Err(Error::input(format!(
            "{}: input has shape {:?}, target {} values: expected one class per sample",
            path.display(),
            inputs.dims(),
            targets.len()
        )));
    }
    if let Some(wrong) = targets.iter().find(|t| t.fract() != 0.0 || !(0.0..=1e9).contains(*t)) {
        return Err(Error::input(format!("{}: target {wrong} is not a class", path.display())));
    }
    Ok((inputs, targets.iter().map(|&target| target as u32).collect()))
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let settings = args.rules.settings()?;
    let output = Output::new(&args.output)?;
    output.leaves_room_for(global.json)?;
    let (network, parameters, inputs, targets) = args.load(global)?;
    let samples = inputs.dims()[0];
    let found = explain(&settings, &network, &parameters, &inputs, &targets)?;
    let input = found.input.as_ref().map(|input| ("input", input));
    let tensors = found.parameters.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let content = checkpoint::to_safetensors_with(tensors.chain(input), &args.facts(samples)?)?;
    output.write(&content)?;
    let layers = layers(&parameters, &found)?;
    let input_sum = found.input.as_ref().map(sum).transpose()?;
    if global.json {
        let layers: Vec<Value> = layers.iter().map(Layer::json).collect();
        println!(
            "{}",
            json!({"model": network.name, "samples": samples, "layers": layers, "input_sum": input_sum})
        );
    } else if !output.is_standard_output() {
        println!(
            "{:<32} {:>12} {:>12} {:>12} {:>12}",
            "weight", "sum", "mean |R|", "max |R|", "corr(|W|,|R|)"
        );
        for layer in &layers {
            println!(
                "{:<32} {:>12.5} {:>12.3e} {:>12.3e} {:>12}",
                layer.explained.name,
                layer.sum,
                layer.mean,
                layer.max,
                layer.explained.correlation.map_or("-".into(), |c| format!("{c:.3}"))
            );
        }
        println!("{samples} samples; relevances in {}", output.shown());
    }
    if let Some(folder) = &args.figure {
        draw(folder, &inputs, &targets, &found, layers)?;
    }
    Ok(super::DONE)
}

/// Explains in passes of [`BATCH`] samples, as if it were one.
fn explain(
    settings: &Settings,
    network: &Network,
    parameters: &Parameters,
    inputs: &Tensor,
    targets: &[u32],
) -> Result<Explanation> {
    let mut whole = Explanation::default();
    let mut input_parts = Vec::new();
    let samples = inputs.dims()[0];
    let per_sample = Targets::per_sample(targets, samples).max(1);
    for (index, targets_of_pass) in targets.chunks(BATCH * per_sample).enumerate() {
        let count = targets_of_pass.len() / per_sample;
        let part = inputs.narrow(0, index * BATCH, count)?.contiguous()?;
        let found = lrp::explain(settings, network, parameters, &part, targets_of_pass, Wanted::Everything)?;
        let share = count as f64 / samples as f64;
        for (name, relevance) in found.parameters {
            let relevance = (relevance * share)?;
            let sum = match whole.parameters.get(&name) {
                Some(sum) => (sum + relevance)?,
                None => relevance,
            };
            whole.parameters.insert(name, sum);
        }
        input_parts.extend(found.input.map(|input| input * share).transpose()?);
    }
    if !input_parts.is_empty() {
        whole.input = Some(Tensor::cat(&input_parts, 0)?);
    }
    Ok(whole)
}

fn sum(values: &Tensor) -> Result<f64> {
    Ok(transfer::values::<f32>(values)?.iter().map(|&value| f64::from(value)).sum())
}

/// What is told about one weight tensor.
struct Layer {
    explained: ExplainedLayer,
    sum: f64,
    mean: f64,
    max: f64,
}

impl Layer {
    fn json(&self) -> Value {
        json!({
            "name": self.explained.name, "sum": self.sum, "abs_mean": self.mean, "abs_max": self.max,
            "correlation_with_magnitude": self.explained.correlation,
        })
    }
}

fn layers(parameters: &Parameters, found: &Explanation) -> Result<Vec<Layer>> {
    let mut relevances = Relevances::new();
    for (name, relevance) in &found.parameters {
        relevances.insert(name.clone(), transfer::values::<f32>(relevance)?);
    }
    let layer = |explained: ExplainedLayer| {
        let absolute = || explained.relevance.iter().map(|value| f64::from(value.abs()));
        Layer {
            sum: explained.relevance.iter().map(|&value| f64::from(value)).sum(),
            mean: absolute().sum::<f64>() / explained.relevance.len().max(1) as f64,
            max: absolute().fold(0.0, f64::max),
            explained,
        }
    };
    Ok(explained(parameters, &relevances)?.into_iter().map(layer).collect())
}

fn draw(
    folder: &Path,
    inputs: &Tensor,
    targets: &[u32],
    found: &Explanation,
    layers: Vec<Layer>,
) -> Result<()> {
    let layers: Vec<ExplainedLayer> = layers.into_iter().map(|layer| layer.explained).collect();
    let mut drawings =
        vec![("relevance_over_magnitude", relevance_over_magnitude(&layers, Default::default())?)];
    if let (Some(relevance), [_, channels, height, width]) = (&found.input, inputs.dims()) {
        let mut maps = Vec::new();
        let per_sample = Targets::per_sample(targets, inputs.dims()[0]).max(1);
        for (index, targets) in targets.chunks(per_sample).enumerate().take(HEAT_MAPS) {
            let present = (0..targets.len()).filter(|&class| targets[class] == PRESENT);
            let title = match targets {
                [class] => format!("class {class}"),
                _ => format!(
                    "classes {}",
                    present.map(|class| class.to_string()).collect::<Vec<_>>().join(", ")
                ),
            };
            maps.push(Map {
                title,
                channels: *channels,
                height: *height,
                width: *width,
                input: transfer::values(&inputs.get(index)?)?,
                relevance: transfer::values(&relevance.get(index)?)?,
            });
        }
        drawings.push(("heat_maps", heat_maps(&maps, Default::default())?));
    }
    for (name, drawing) in drawings {
        for (extension, content) in drawing.files()? {
            write_output(&folder.join(format!("{name}.{extension}")), &content)?;
        }
    }
    Ok(())
}
