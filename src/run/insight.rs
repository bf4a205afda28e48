//! What figures show beyond records: relevance of the full-precision weights and of some inputs, and how ECQ and ECQx
//! assign one layer. Needs the baseline's weights from the store, and the data.

use super::baseline;
use super::context::Context;
use crate::Result;
use crate::data::{Dataset, Split};
use crate::insight::{Assignment, ExplainedLayer, Insight, Map};
use crate::nn::{Network, Parameters, Role};
use crate::quant::Profile;
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{Content, QuantizedTensor, Relevances};
use crate::relevance::{self, lrp};
use crate::spec::RunSpec;
use crate::spec::run_spec::CALIBRATION_SAMPLES;
use crate::train::batches;
use crate::train::quantized::{Calibration, calibrate, post_training, quantizable};
use serde_json::{Value, json};

/// Inputs in the figure of heat maps.
const MAPS: usize = 6;
/// The default's flat rule in the first layer gives every input of a fully connected layer the same relevance.
const MAP_COMPOSITE: &str = "epsilon_plus";

/// The strengths at which one layer's assignment is shown.
#[derive(Clone, Copy, Debug)]
pub struct Strength {
    /// Bit width.
    pub bits: u32,
    /// Λ.
    pub lambda: f64,
    /// p.
    pub p: f64,
}

/// Gathers it for the data set, model and baseline of `run`. `None` where the store does not have the baseline.
///
/// # Errors
/// Those of the data set, the weights and relevance propagation.
pub fn gather(context: &Context, run: &RunSpec, strength: Option<Strength>) -> Result<Option<Insight>> {
    let (_, id) = context.ids(run)?;
    if !context.store.has_baseline(&id) {
        return Ok(None);
    }
    let dataset = context.dataset(&run.dataset)?;
    let network = context.network(run, dataset.as_ref())?;
    let parameters = baseline::read(context, &id, &network)?.parameters;
    let samples = run.calibration_samples.unwrap_or(CALIBRATION_SAMPLES);
    let calibration = Calibration { samples, batch_size: 64 };
    let mut measure = relevance::build(&context.registry.measures, None, relevance::Context::default())?;
    let relevances = calibrate(&network, &parameters, measure.as_mut(), dataset.as_ref(), &calibration)?;
    let assignment = match strength {
        Some(strength) => {
            assignment(context, &network, &parameters, dataset.as_ref(), &calibration, strength)?
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
) -> Result<Vec<Map>> {
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
    for (index, target) in batch.targets.iter().enumerate() {
        let class = dataset.classes().get(*target as usize).cloned();
        maps.push(Map {
            title: class.unwrap_or_else(|| format!("class {target}")),
            channels,
            height,
            width,
            input: batch.inputs.get(index)?.flatten_all()?.to_vec1()?,
            relevance: relevance.get(index)?.flatten_all()?.to_vec1()?,
        });
    }
    Ok(maps)
}

/// The largest layer as both methods assign it after training.
fn assignment(
    context: &Context,
    network: &Network,
    parameters: &Parameters,
    dataset: &dyn Dataset,
    calibration: &Calibration,
    Strength { bits, lambda, p }: Strength,
) -> Result<Option<Assignment>> {
    let quantized = |method: &str, options: Value| -> Result<Vec<QuantizedTensor>> {
        let options = options.as_object().cloned().unwrap_or_default();
        let (mut quantizer, scope) =
            context.registry.quantizers.find(method)?.quantizer(Some(bits), &options)?;
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
        Ok(quantized.tensors)
    };
    let ecq = quantized("ecq", json!({"lambda": lambda}))?;
    let ecqx = quantized("ecqx", json!({"lambda": lambda, "p": p}))?;
    let weights = |tensor: &QuantizedTensor| tensor.shape.iter().product::<usize>();
    let Some(layer) = ecq.iter().max_by_key(|tensor| weights(tensor)) else { return Ok(None) };
    let other = ecqx.iter().find(|tensor| tensor.name == layer.name);
    let (
        Content::Levels { positions, codebook: codebook @ Codebook::Uniform { step, .. } },
        Some(Content::Levels { positions: other_positions, codebook: other_codebook }),
    ) = (&layer.content, other.map(|tensor| &tensor.content))
    else {
        return Ok(None);
    };
    Ok(Some(Assignment {
        layer: layer.name.clone(),
        bits,
        lambda,
        p,
        step: *step,
        weights: parameters.values(&layer.name)?,
        ecq: codebook.levels_of(positions),
        ecqx: other_codebook.levels_of(other_positions),
    }))
}
