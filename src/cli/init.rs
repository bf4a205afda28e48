//! `ecqx init`: an experiment to start from.

use super::Global;
use crate::data::DatasetSpec;
use crate::io::Output;
use crate::spec::{Experiment, grid};
use crate::{Error, Result};
use serde_json::json;
use std::path::PathBuf;

/// Write a commented experiment to start from
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Architecture: a name from `ecqx ls models` [default: one that fits the data set]
    #[arg(long)]
    model: Option<String>,
    /// Data set: a name from `ecqx ls datasets`
    #[arg(long, default_value = "embedded-audio")]
    dataset: String,
    /// The experiment's file; one that is there is never replaced
    #[arg(long, default_value = "experiment.yaml", value_name = "FILE.yaml")]
    output: PathBuf,
}

/// The file. What stands in brackets is replaced.
const TEMPLATE: &str = "\
# What is compared, on which model and data; docs/experiments.md describes every key.
#   ecqx validate [file]   checks this file
#   ecqx plan [file]       lists the runs
#   ecqx run [file]        does them; call it again to go on after an interruption
#   ecqx report [file]     writes tables, figures and report.html
name: [name]
description: What this experiment is about, in one line.

# Names: `ecqx ls datasets`, `ecqx ls models`. Real data sets lie in --data-dir or $ECQX_DATA.
dataset: [dataset]
model: [model]

# The full-precision weights that all methods start from: trained here once, or a checkpoint of yours.
baseline:
  train: {epochs: 10, batch_size: 64, learning_rate: 0.001}
  # checkpoint: weights.pt

# More seeds make smaller differences visible; from five on reports say 'is', before 'suggests'.
seeds: [1, 2]
bits: [3, 4]

# Quantization-aware training of each run. Leave it out (or write `training: null` in an entry) to quantize without
# training.
training: {epochs: 1, batch_size: 64, learning_rate: 0.0005}

# Methods and their parameters: `ecqx ls quantizers`. A list of values makes one run for each.
quantizers:
  - {method: ecqx, lambda: [0.02, 0.2]}
  - {method: ecq, lambda: [0.02, 0.2]}
  - {method: uniform}
  # Your own, in any language (docs/compare-your-quantizer.md):
  # - {method: external, command: [python3, my_quantizer.py], options: {alpha: [0.1, 0.2]}}
";

/// The model that is usual for the data set; small ones where there is a choice, so that a first run takes a minute.
fn model(args: &Args) -> &str {
    if let Some(model) = &args.model {
        return model;
    }
    match args.dataset.as_str() {
        "embedded-images" | "mnist" | "fashion-mnist" => "cnn-small",
        "embedded-audio" | "speech-commands" => "mlp-gsc",
        "voc2007" | "voc2012" => "resnet18",
        _ => "resnet20",
    }
}

/// The data set; of a generated one a part, which is enough to look at everything.
fn dataset(name: &str) -> String {
    match name.starts_with("embedded-") {
        true => format!("{{name: {name}, samples: {{train: 2000, validation: 500, test: 1000}}}}"),
        false => name.to_owned(),
    }
}

/// The experiment's text, checked as `ecqx validate` would without the data.
fn text(args: &Args, global: &Global) -> Result<String> {
    let registry = &global.registry;
    let family = registry.datasets.find(&args.dataset)?;
    DatasetSpec::named(&args.dataset).check(family)?;
    let model = model(args);
    registry.models.find(model)?;
    let values = [
        ("[file]", args.output.display().to_string()),
        ("[name]", format!("{}-{model}", args.dataset)),
        ("[dataset]", dataset(&args.dataset)),
        ("[model]", model.to_owned()),
    ];
    let text =
        values.iter().fold(TEMPLATE.to_owned(), |text, (place, value)| text.replace(place, value.as_str()));
    let experiment = Experiment::parse(&text, &args.output, registry)?;
    grid::expand(&experiment, registry)?;
    Ok(text)
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let output = Output::new(&args.output)?;
    output.leaves_room_for(global.json)?;
    if output.is_file() && args.output.exists() {
        return Err(Error::input_hint(
            format!("{}: is there already", args.output.display()),
            "name another file with --output",
        )
        .into());
    }
    output.write(text(args, global)?.as_bytes())?;
    if global.json {
        println!("{}", json!({"written": args.output}));
    } else if !output.is_standard_output() {
        let file = output.shown();
        println!("written to {file}; next: ecqx run {file} && ecqx report {file}");
    }
    Ok(super::DONE)
}
