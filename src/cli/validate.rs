//! `ecqx validate`: check experiments, with their checkpoints and data where these are at hand, without running anything.

use super::Global;
use crate::data::{Dataset, Split};
use crate::error::{count, did_you_mean_or_all};
use crate::nn::Network;
use crate::nn::parameters::Role;
use crate::plan;
use crate::run::Context;
use crate::spec::grid::Grid;
use crate::spec::{Experiment, RunSpec};
use crate::store::Store;
use crate::{Error, Result, model};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Check experiments without running anything
///
/// Keys, values and every point of the grid; that checkpoints are there; that the patterns of 'exclude' and 'layer_bits'
/// fit a weight of the model; and, where the data set is found, that model, recipes and data fit and no split is empty.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Experiments (YAML files)
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let loaded = plan::load(&args.specs, &global.registry)?;
    let folders = args.specs.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
    let context = Context::new(
        global.registry.clone(),
        Store::at(Path::new("")),
        global.data_dir(),
        folders,
        global.device()?,
    );
    let data: Vec<bool> =
        loaded.iter().map(|(experiment, grid)| check(&context, experiment, grid)).collect::<Result<_>>()?;
    if global.json {
        let list: Vec<_> = loaded
            .iter()
            .zip(data)
            .map(|((experiment, grid), data)| {
                serde_json::json!({
                    "file": experiment.path.display().to_string(),
                    "name": experiment.name,
                    "runs": grid.runs.len(),
                    "duplicates": grid.duplicates,
                    "data_checked": data,
                })
            })
            .collect();
        println!("{}", serde_json::json!({"experiments": list}));
        return Ok(super::DONE);
    }
    for ((experiment, grid), data) in loaded.iter().zip(data) {
        let runs = count(grid.runs.len(), "run");
        println!("{}: {} is valid, {runs}", experiment.path.display(), experiment.name);
        if grid.duplicates > 0 {
            println!("  note: {} stand there twice and run once", count(grid.duplicates, "equal grid point"));
        }
        if !data {
            println!("  note: data set {} was not found, so it was not checked", experiment.dataset.name);
        }
    }
    Ok(super::DONE)
}

/// Checks what the file alone does not tell; returns whether the data set was looked at.
fn check(context: &Context, experiment: &Experiment, grid: &Grid) -> Result<bool> {
    let named = |error: Error| error.at(experiment.path.display());
    context.checkpoint(&experiment.baseline).map_err(named)?;
    let weights: BTreeSet<&str> = grid.runs.iter().filter_map(|run| run.quantizer.weights()).collect();
    weights.into_iter().try_for_each(|name| context.checkpoint_file(name).map(drop).map_err(named))?;
    let Some(first) = grid.runs.first() else { return Ok(false) };
    let family = context.registry.datasets.find(&experiment.dataset.name)?;
    let is_there = (family.present)(&context.data_dir);
    let network = match is_there {
        true => {
            let dataset = context.dataset(&experiment.dataset).map_err(named)?;
            splits(dataset.as_ref(), first).map_err(named)?;
            grid.runs.iter().try_for_each(|run| context.check_recipes(run, false)).map_err(named)?;
            context.network(first, dataset.as_ref()).map_err(named)?
        }
        false => network(context, first)?,
    };
    patterns(context, experiment, grid, &network)?;
    Ok(is_there)
}

/// Most samples whose classes are looked at.
const LOOKED_AT: usize = 256;

/// Refuses splits without samples, and training data of one class.
fn splits(dataset: &dyn Dataset, run: &RunSpec) -> Result<()> {
    for (split, name) in [(Split::Train, "training"), (Split::Test, "test")] {
        if dataset.is_empty(split) {
            return Err(Error::input_hint(
                format!("data set {} has no {name} samples", run.dataset.name),
                "are its files complete, and do 'samples' and 'validation' leave some?",
            ));
        }
    }
    let length = dataset.len(Split::Train);
    let step = length.div_ceil(LOOKED_AT).max(1);
    // One of each stretch, at a place that moves: classes often take turns, with a period that a fixed step would hit.
    let places = (0..).map(|i| i * step + i % step);
    let indices: Vec<usize> = places.take_while(|place| *place < length).collect();
    let size: usize = dataset.input_shape().iter().product();
    let (mut inputs, mut classes) = (vec![0.0; size * indices.len()], vec![0; indices.len()]);
    dataset.fill(Split::Train, &indices, None, &mut inputs, &mut classes)?;
    let different: BTreeSet<u32> = classes.iter().copied().collect();
    match different.into_iter().collect::<Vec<_>>().as_slice() {
        [only] if length > 1 => {
            let name = dataset.classes().get(*only as usize).map_or("?", String::as_str);
            Err(Error::input_hint(
                format!(
                    "data set {}: all training samples that were checked are of one class, '{name}'",
                    run.dataset.name
                ),
                "a network learns nothing from one class: are the labels right?",
            ))
        }
        _ => Ok(()),
    }
}

/// The network by shapes that stand for the data's: names of weights do not depend on them.
fn network(context: &Context, run: &RunSpec) -> Result<Network> {
    if let Some(text) = &run.model.description {
        return model::yaml::parse(text, Path::new("model.yaml"));
    }
    let model = context.registry.models.find(&run.model_name())?;
    let [images, audio] =
        [&[3, 32, 32][..], &[1, 49, 10]].map(|shape| model.network(shape, 10, &run.model.options));
    images.or(audio)
}

/// Refuses patterns that fit none of the network's weights.
fn patterns(context: &Context, experiment: &Experiment, grid: &Grid, network: &Network) -> Result<()> {
    let shapes = network.parameter_shapes();
    let weights: Vec<&str> =
        shapes.iter().filter(|shape| shape.role == Role::Weight).map(|shape| shape.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    for run in &grid.runs {
        let quantizer = &run.quantizer;
        let parts = ["exclude", "layer_bits"].map(|key| quantizer.parameters.get(key));
        if parts.iter().all(Option::is_none) || !seen.insert(format!("{} {parts:?}", quantizer.method)) {
            continue;
        }
        let method = context.registry.quantizers.find(&quantizer.method)?;
        let (_, scope) = method.quantizer(quantizer.bits, &quantizer.parameters)?;
        if let Some(warning) = scope.warnings(weights.iter().copied()).into_iter().next() {
            let pattern = warning.split('\'').nth(1).unwrap_or_default().replace('*', "");
            return Err(Error::input_hint(
                format!("{}: {}: {warning}", experiment.path.display(), quantizer.method),
                did_you_mean_or_all(&pattern, weights.iter().copied(), "its weights are"),
            ));
        }
    }
    Ok(())
}
