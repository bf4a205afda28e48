//! What each bit width of each layer costs, measured on trained weights and training samples, and the widths that a budget
//! then allows. Never the validation or the test split.

use super::batches;
use super::quantized::{Calibration, calibrate, post_training, quantizable};
use crate::data::{Dataset, Split};
use crate::nn::{Network, Parameters, ops, transfer};
use crate::quant::Method;
use crate::quant::allocation::{Budget, CostBy, LayerCosts, allocate, layer_bits, squared_error};
use crate::quant::quantizer::{QuantizedTensor, Relevances};
use crate::relevance::RelevanceMeasure;
use crate::{Error, Result};
use serde_json::{Map, Value};

/// The widths of every layer, and what they were chosen from.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// What every width costs.
    pub layers: Vec<LayerCosts>,
    /// The chosen widths.
    pub widths: Vec<u32>,
}

impl Allocation {
    /// The widths within the budget with the smallest sum of costs.
    ///
    /// # Errors
    /// As [`allocate`].
    pub fn within(layers: Vec<LayerCosts>, budget: &Budget) -> Result<Self> {
        let weights = layers.iter().map(|layer| layer.weights).sum();
        let widths = allocate(&layers, budget.bits(weights))?;
        Ok(Self { layers, widths })
    }

    /// A method's parameters with these widths as `layer_bits` in place of the budget.
    pub fn parameters(&self, resolved: &Map<String, Value>) -> Map<String, Value> {
        let mut parameters = Budget::without(resolved);
        parameters.insert("layer_bits".into(), layer_bits(&self.layers, &self.widths));
        parameters
    }

    /// A width that stands for all of them where one is asked for: the largest.
    pub fn widest(&self) -> Option<u32> {
        self.widths.iter().copied().max()
    }

    /// Bits of all weights together before entropy coding.
    pub fn total_bits(&self) -> u64 {
        let pairs = self.layers.iter().zip(&self.widths);
        pairs.map(|(layer, &bits)| layer.weights as u64 * u64::from(bits)).sum()
    }
}

/// What costs are measured with.
pub struct Measuring<'a> {
    /// The network.
    pub network: &'a Network,
    /// Its trained weights.
    pub parameters: &'a Parameters,
    /// Where samples come from: the training split, in file order.
    pub dataset: &'a dyn Dataset,
    /// Which samples.
    pub calibration: &'a Calibration,
}

/// Costs of all bit widths of a method, layer by layer. `relevance` is the measure that the method itself asks for, `weigh`
/// the one that weighs layers (relevance or squared gradients), where `by` needs one.
///
/// # Errors
/// Those of the method, the measures and the data set.
pub fn costs(
    measuring: &Measuring<'_>,
    method: &Method,
    resolved: &Map<String, Value>,
    by: CostBy,
    mut relevance: Option<&mut (dyn RelevanceMeasure + '_)>,
    weigh: Option<&mut (dyn RelevanceMeasure + '_)>,
) -> Result<Vec<LayerCosts>> {
    let Measuring { network, parameters, dataset, calibration } = *measuring;
    let (low, high) = method.bits.range().ok_or_else(|| {
        Error::input(format!("method {} takes no bit width: there is nothing to allocate", method.name))
    })?;
    let own = Budget::without(resolved);
    let weights = match weigh {
        Some(measure) => Some(calibrate(network, parameters, measure, dataset, calibration)?),
        None => None,
    };
    let samples = match by {
        CostBy::Sensitivity => Some(Losses::new(measuring)?),
        _ => None,
    };
    let mut layers: Vec<LayerCosts> = Vec::new();
    for bits in low..=high {
        let (mut quantizer, scope) = method.quantizer(Some(bits), &own)?;
        let names = quantizable(parameters, &scope);
        let measure = relevance.as_deref_mut().map(|measure| measure as &mut dyn RelevanceMeasure);
        let quantized =
            post_training(network, parameters, &names, quantizer.as_mut(), measure, dataset, calibration)?;
        for (index, tensor) in quantized.tensors.iter().enumerate() {
            let values = parameters.values(&tensor.name)?;
            let cost = match &samples {
                Some(losses) => losses.of(tensor)?,
                None => weighted_error(by, &tensor.name, &values, &tensor.content.values(), weights.as_ref()),
            };
            if layers.len() <= index {
                layers.push(LayerCosts {
                    name: tensor.name.clone(),
                    weights: values.len(),
                    costs: Vec::new(),
                });
            }
            layers[index].costs.push((bits, cost));
        }
    }
    Ok(layers)
}

/// The cost of a layer's quantized values that its error alone decides.
pub fn weighted_error(
    by: CostBy,
    name: &str,
    weights: &[f32],
    quantized: &[f32],
    measured: Option<&Relevances>,
) -> f64 {
    let (error, squares) = squared_error(weights, quantized);
    let sum = || {
        let values = measured.and_then(|measured| measured.get(name));
        values.map_or(0.0, |values| {
            values.iter().map(|value| f64::from(value.abs())).filter(|value| value.is_finite()).sum::<f64>()
        })
    };
    match by {
        // A layer of zeros is exact at every width.
        CostBy::Relevance if squares == 0.0 => 0.0,
        CostBy::Relevance => sum() * error / squares,
        CostBy::Fisher => 0.5 * sum() / weights.len().max(1) as f64 * error,
        CostBy::Error | CostBy::Sensitivity => error,
    }
}

/// Losses on the calibration samples with one layer at a time quantized.
struct Losses<'a> {
    network: &'a Network,
    /// A copy of its own: layers come and go.
    parameters: Parameters,
    batches: Vec<batches::Batch>,
    /// Mean cross entropy without quantization.
    plain: f64,
}

impl<'a> Losses<'a> {
    fn new(measuring: &Measuring<'a>) -> Result<Self> {
        let Measuring { network, parameters, dataset, calibration } = *measuring;
        let indices: Vec<usize> = (0..calibration.samples.min(dataset.len(Split::Train))).collect();
        let batches = indices
            .chunks(super::evaluate::BATCH)
            .map(|indices| batches::read(dataset, Split::Train, indices, parameters.device()))
            .collect::<Result<_>>()?;
        let mut losses = Self { network, parameters: parameters.deep_copy()?, batches, plain: 0.0 };
        losses.plain = losses.mean()?;
        Ok(losses)
    }

    fn mean(&self) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0usize);
        for batch in &self.batches {
            let logits = self.network.infer(&self.parameters, &batch.inputs)?;
            let loss = transfer::scalar::<f32>(&ops::loss(&logits, &batch.targets)?)?;
            sum += f64::from(loss) * batch.len() as f64;
            count += batch.len();
        }
        Ok(sum / count.max(1) as f64)
    }

    /// How much the loss rises with this tensor alone quantized; not a number where it is not finite.
    fn of(&self, tensor: &QuantizedTensor) -> Result<f64> {
        let before = self.parameters.values(&tensor.name)?;
        self.parameters.set_values(&tensor.name, &tensor.content.values())?;
        let loss = self.mean();
        self.parameters.set_values(&tensor.name, &before)?;
        Ok(loss? - self.plain)
    }
}
