//! What figures show beyond records: relevance of the full-precision weights and of some inputs, and how two methods
//! assign one layer. Needs the baseline's weights from the store, and the data.

use super::baseline;
use super::context::Context;
use crate::Result;
use crate::data::{Dataset, Split, Task};
use crate::insight::{self, Assignment, ExplainedLayer, Insight};
use crate::nn::{Network, Parameters, Role, ops, transfer};
use crate::quant::Profile;
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor, Relevances};
use crate::relevance::{self, lrp};
use crate::spec::RunSpec;
use crate::spec::run_spec::CALIBRATION_SAMPLES;
use crate::train::batches;
use crate::train::quantized::{Calibration, calibrate, post_training, quantizable};
use serde_json::{Map, Value, json};

/// Inputs in the figure of heat maps.
const MAPS: usize = 6;
/// The default's flat rule in the first layer gives every input of a fully connected layer the same relevance.
const MAP_COMPOSITE: &str = "epsilon_plus";

/// Two methods at one bit width, of which one layer's assignment is shown.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// Bit width.
    pub bits: u32,
    /// What both have in common, for the title.
    pub setting: String,
    /// Registry names with the parameters that are not the defaults.
    pub methods: [(&'static str, Map<String, Value>); 2],
}

/// Gathers it for the data set, model and baseline of `run`. `None` where the store does not have the baseline.
///
/// # Errors
/// Those of the data set, the weights and relevance propagation.
pub fn gather(context: &Context, run: &RunSpec, contrast: Option<Contrast>) -> Result<Option<Insight>> {
    let (_, id) = context.ids(run)?;
    if !context.store.has_baseline(&id) {
        return Ok(None);
    }
    let dataset = context.dataset(&run.dataset)?;
    let network = context.network(run, dataset.as_ref())?;
    let parameters = baseline::read(context, &id, &network)?.parameters;
    let samples = run.calibration_samples.unwrap_or(CALIBRATION_SAMPLES);
    let calibration = Calibration { samples, seed: run.seed, batch_size: 64 };
    let mut measure = relevance::build(&context.registry.measures, None, relevance::Context::default())?;
    let relevances = calibrate(&network, &parameters, measure.as_mut(), dataset.as_ref(), &calibration)?;
    let assignment = match contrast {
        Some(contrast) => {
            assignment(context, &network, &parameters, dataset.as_ref(), &calibration, contrast)?
        }
        None => None,
    };
    Ok(Some(Insight {
        layers: explained(&parameters, &relevances)?,
        maps: maps(context, &network, &parameters, dataset.as_ref())?,
        assignment,
    }))
}

/// Every weight tensor with its relevance and their correlation.
///
/// # Errors
/// When a tensor cannot be read.
pub fn explained(parameters: &Parameters, relevances: &Relevances) -> Result<Vec<ExplainedLayer>> {
    let mut layers = Vec::new();
    for (name, _) in parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight) {
        let Some(relevance) = relevances.get(name) else { continue };
        layers.push(ExplainedLayer::new(name, parameters.values(name)?, relevance.clone()));
    }
    Ok(layers)
}

/// Some test samples with the relevance of their values, spread over the split.
fn maps(
    context: &Context,
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
) -> Result<Vec<insight::Map>> {
    let &[channels, height, width] = dataset.input_shape() else { return Ok(Vec::new()) };
    let all = dataset.len(Split::Test);
    let count = MAPS.min(all);
    if count == 0 {
        return Ok(Vec::new());
    }
    let indices: Vec<usize> = (0..count).map(|i| (2 * i + 1) * all / (2 * count)).collect();
    let batch = batches::read(dataset, Split::Test, &indices, &context.device)?;
    let settings = lrp::Settings::parse(&json!({"composite": MAP_COMPOSITE}), Profile::Default)?;
    let found =
        lrp::explain(&settings, network, parameters, &batch.inputs, &batch.targets, lrp::Wanted::Everything)?;
    let Some(relevance) = found.input else { return Ok(Vec::new()) };
    let mut maps = Vec::new();
    for (index, targets) in batch.targets.chunks(dataset.targets_per_sample().max(1)).enumerate() {
        maps.push(insight::Map {
            title: title(targets, dataset),
            channels,
            height,
            width,
            input: transfer::values(&batch.inputs.get(index)?)?,
            relevance: transfer::values(&relevance.get(index)?)?,
        });
    }
    Ok(maps)
}

/// The classes of a sample in words.
fn title(targets: &[u32], dataset: &dyn Dataset) -> String {
    let classes = dataset.classes();
    if let (Task::SingleLabel, [target]) = (dataset.task(), targets) {
        let class = classes.get(*target as usize).cloned();
        return class.unwrap_or_else(|| format!("class {target}"));
    }
    let present = classes.iter().zip(targets).filter(|(_, label)| **label == ops::PRESENT);
    present.map(|(class, _)| class.as_str()).collect::<Vec<_>>().join(", ")
}

/// The largest layer as both methods assign it without training.
fn assignment(
    context: &Context,
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    calibration: &Calibration,
    contrast: Contrast,
) -> Result<Option<Assignment>> {
    let mut found: Vec<(String, Vec<QuantizedTensor>)> = Vec::new();
    for (name, options) in &contrast.methods {
        let method = context.registry.quantizers.find(name)?;
        let (mut quantizer, scope) = method.quantizer(Some(contrast.bits), options)?;
        let names = quantizable(parameters, &scope);
        let mut measure = relevance::build(&context.registry.measures, None, relevance::Context::default())?;
        let quantized = post_training(
            network,
            parameters,
            &names,
            quantizer.as_mut(),
            Some(measure.as_mut()),
            dataset,
            calibration,
        )?;
        found.push((method.display.to_owned(), quantized.tensors));
    }
    let weights = |tensor: &QuantizedTensor| tensor.shape.iter().product::<usize>();
    let [(first, tensors), (second, others)] = found.as_slice() else { return Ok(None) };
    let Some(layer) = tensors.iter().max_by_key(|tensor| weights(tensor)) else { return Ok(None) };
    let other = others.iter().find(|tensor| tensor.name == layer.name);
    let (
        Content::Levels { positions, codebook: codebook @ Codebook::Uniform { step, .. } },
        Some(Content::Levels { positions: other_positions, codebook: other_codebook }),
    ) = (&layer.content, other.map(|tensor| &tensor.content))
    else {
        return Ok(None);
    };
    Ok(Some(Assignment {
        layer: layer.name.clone(),
        setting: contrast.setting,
        step: *step,
        weights: parameters.values(&layer.name)?,
        methods: [
            (first.clone(), codebook.levels_of(positions)),
            (second.clone(), other_codebook.levels_of(other_positions)),
        ],
    }))
}
