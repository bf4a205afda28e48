//! `ecqx quantize --bits auto`: bit widths from a budget, with what a checkpoint and a relevance file tell.

use crate::quant::Method;
use crate::quant::allocation::{Budget, CostBy, LayerCosts};
use crate::quant::quantizer::{Quantizer, Relevances, StepInfo, WeightTensor};
use crate::train::allocation::{Allocation, weighted_error};
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// `--bits`: a width, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// So many bits.
    Bits(u32),
    /// Those that the budget allows.
    Auto,
}

impl Width {
    /// For the command line.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(bits)) => Ok(Self::Bits(bits)),
            _ => Err("give a whole number, or auto with --budget".into()),
        }
    }

    /// The number of bits, where it is one.
    pub fn bits(self) -> Option<u32> {
        match self {
            Self::Bits(bits) => Some(bits),
            Self::Auto => None,
        }
    }
}

/// The widths within the budget. `relevance` is that of the file on the command line, `calibrate` shows a method that
/// calibrates the inputs of every layer.
pub(super) fn allocation(
    method: &Method,
    resolved: &Map<String, Value>,
    budget: &Budget,
    weights: &[WeightTensor<'_>],
    relevance: Option<&Relevances>,
    calibrate: &dyn Fn(&mut dyn Quantizer) -> Result<()>,
) -> Result<Allocation> {
    match budget.by {
        CostBy::Sensitivity => {
            return Err(Error::input_hint(
                "allocate_by sensitivity needs a network and its training data",
                "write it into an experiment, or take --allocate-by relevance, fisher or error",
            ));
        }
        CostBy::Relevance | CostBy::Fisher if relevance.is_none() => {
            return Err(Error::input_hint(
                "allocate_by relevance and fisher need --relevance FILE.safetensors",
                "`ecqx explain` writes one (for fisher with its measure); --allocate-by error needs none",
            ));
        }
        _ => {}
    }
    let (low, high) = method
        .bits
        .range()
        .ok_or_else(|| Error::input(format!("method {} takes no bit width", method.name)))?;
    let own = Budget::without(resolved);
    let layer = |tensor: &WeightTensor<'_>| LayerCosts {
        name: tensor.name.to_owned(),
        weights: tensor.values.len(),
        costs: Vec::new(),
    };
    let mut layers: Vec<LayerCosts> = weights.iter().map(layer).collect();
    for bits in low..=high {
        let (mut quantizer, _) = method.quantizer(Some(bits), &own)?;
        quantizer.initialize(weights)?;
        calibrate(quantizer.as_mut())?;
        let used = relevance.filter(|_| quantizer.wants_relevance());
        let quantized = quantizer.assign(weights, used, StepInfo::POST_TRAINING)?;
        for ((layer, tensor), quantized) in layers.iter_mut().zip(weights).zip(&quantized) {
            let values = quantized.content.values();
            let cost = weighted_error(budget.by, tensor.name, tensor.values, &values, relevance);
            layer.costs.push((bits, cost));
        }
    }
    Allocation::within(layers, budget)
}

/// The table of an allocation: widths, and what each would cost.
pub(super) fn print(allocation: &Allocation) {
    let widths: Vec<u32> =
        allocation.layers.first().into_iter().flat_map(|layer| &layer.costs).map(|(bits, _)| *bits).collect();
    let costs: String = widths.iter().map(|bits| format!(" {:>9}", format!("at {bits} bit"))).collect();
    println!("{:<40} {:>9} {:>5}{costs}", "weight", "values", "bits");
    for (layer, bits) in allocation.layers.iter().zip(&allocation.widths) {
        let costs: String = layer.costs.iter().map(|(_, cost)| format!(" {cost:>9.2e}")).collect();
        println!("{:<40} {:>9} {bits:>5}{costs}", layer.name, layer.weights);
    }
    let weights: usize = allocation.layers.iter().map(|layer| layer.weights).sum();
    let total = allocation.total_bits();
    println!(
        "{:.3} bits per weight, {} bytes before entropy coding\n",
        total as f64 / weights.max(1) as f64,
        total.div_ceil(8)
    );
}

/// The same for scripts.
pub(super) fn describe(allocation: &Allocation) -> Value {
    let of_layer = |(layer, bits): (&LayerCosts, &u32)| {
        let costs = layer.costs.iter().map(|(bits, cost)| (bits.to_string(), Value::from(*cost)));
        json!({"name": layer.name, "bits": bits, "costs": costs.collect::<Map<_, _>>()})
    };
    let layers: Vec<Value> = allocation.layers.iter().zip(&allocation.widths).map(of_layer).collect();
    json!({"layers": layers, "bits": allocation.total_bits()})
}
