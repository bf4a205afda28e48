//! `ecqx evaluate`: accuracy of a checkpoint on a data set.

use super::Global;
use super::weights::{FitArgs, WeightsArgs, facts};
use crate::data::{self, DatasetSpec, Split, Task};
use crate::model;
use crate::nn::Network;
use crate::train::{self, Silent};
use crate::{Error, Result};
use std::path::Path;

/// Measure the accuracy of a checkpoint on a data set
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
    /// Data set: a name from `ecqx ls datasets`
    #[arg(long)]
    dataset: String,
    /// Part of the data set
    #[arg(long, value_parser = parse_split, default_value = "test")]
    split: Split,
    /// Only the first N samples of the split (of a generated set: generate N) [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,
    /// Image normalization: dataset (its own), imagenet or none [default: dataset; for cifar10 imagenet]
    #[arg(long)]
    normalization: Option<String>,
    /// What is asked of the model: largest_object, or multi_label for data sets of pictures with several objects
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
}

/// A split by its name.
pub(super) fn parse_split(name: &str) -> std::result::Result<Split, String> {
    match name {
        "train" => Ok(Split::Train),
        "validation" => Ok(Split::Validation),
        "test" => Ok(Split::Test),
        _ => Err("a split is train, validation or test".into()),
    }
}

/// A task by its name.
pub(super) fn parse_task(name: &str) -> std::result::Result<Task, String> {
    let words = serde_json::Value::from(name);
    serde_json::from_value(words).map_err(|_| "a task is largest_object or multi_label".into())
}

/// Builds a model from a registry name or a YAML file; `options` are `KEY=VALUE` with YAML values.
pub(super) fn network(model: &str, options: &[String], dataset: &dyn data::Dataset) -> Result<Network> {
    if Path::new(model).extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let network = model::yaml::load(Path::new(model))?;
        if network.input_shape != dataset.input_shape() {
            return Err(Error::input(format!(
                "{model} takes inputs of shape {:?}, data set {} gives {:?}",
                network.input_shape,
                dataset.name(),
                dataset.input_shape()
            )));
        }
        if network.classes != dataset.classes().len() {
            return Err(Error::input(format!(
                "{model} gives {} classes, data set {} has {}",
                network.classes,
                dataset.name(),
                dataset.classes().len()
            )));
        }
        if let Some(option) = options.first() {
            return Err(Error::input(format!("--model-option {option}: a model in YAML has no options")));
        }
        return Ok(network);
    }
    model::build(
        model,
        dataset.input_shape(),
        dataset.classes().len(),
        &self::options("--model-option", options)?,
    )
}

/// Settings given as `KEY=VALUE`, the values JSON or plain words; `flag` is for messages.
pub(super) fn options(flag: &str, options: &[String]) -> Result<model::Options> {
    let mut parsed = model::Options::new();
    for option in options {
        let (key, value) = option.split_once('=').ok_or_else(|| {
            Error::input_hint(format!("{flag} {option}: no '='"), "write KEY=VALUE, such as batch_norm=true")
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.into()));
        parsed.insert(key.into(), value);
    }
    Ok(parsed)
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let mut spec = DatasetSpec::named(&args.dataset);
    spec.task = args.task;
    spec.normalization = args.normalization.clone().map(data::Normalization::Preset);
    if args.samples.is_some() {
        let [train, validation, test] = [Split::Train, Split::Validation, Split::Test]
            .map(|split| args.samples.filter(|_| split == args.split).map(|samples| samples as usize));
        spec.samples = Some(data::Samples { train, validation, test });
    }
    let dataset = data::open(&spec, &global.data_dir())?;
    let network = network(&args.model, &args.model_options, dataset.as_ref())?;
    let fitted = args.weights.load(global, &network, &global.device()?, args.fit)?;
    let split = serde_json::to_value(args.split)?;
    let split = split.as_str().unwrap_or_default();
    let fact = |name| fitted.metadata.get(name).map(String::as_str);
    let mut warnings = fitted.warnings.clone();
    if fact(facts::RELEVANCE_SPLIT) == Some(split) && fact(facts::RELEVANCE_DATASET) == Some(&args.dataset) {
        let warning = format!(
            "these weights were quantized with relevance from the {split} split of {}: what they reach on it is too high",
            args.dataset
        );
        eprintln!("warning: {warning}");
        warnings.push(warning);
    }
    let metrics = train::evaluate(&network, &fitted.parameters, dataset.as_ref(), args.split, &Silent)?;
    warnings.extend(dataset.notes());
    warnings.extend(metrics.warning("the model"));
    if global.json {
        let mut object = serde_json::to_value(&metrics)?;
        object["non_finite"] = metrics.non_finite.into();
        object["warnings"] = serde_json::to_value(&warnings)?;
        object["model"] = network.name.clone().into();
        object["dataset"] = args.dataset.clone().into();
        object["split"] = split.into();
        object["notes"] = fitted.notes.into();
        object["warnings"] = warnings.into();
        println!("{object}");
    } else {
        println!("{} on {} ({split}, {} samples)", network.name, args.dataset, metrics.n);
        let width = metrics.list().iter().map(|(metric, _)| metric.name().len()).max().unwrap_or(0);
        for (metric, value) in metrics.list() {
            println!("  {:<width$}  {}", metric.name(), metric.shown(value));
        }
        for warning in &warnings {
            println!("  warning: {warning}");
        }
    }
    Ok(super::DONE)
}
