//! Bit allocation: one bit width per layer with the smallest sum of costs within a budget, found exactly. What a width costs
//! is measured elsewhere; a cost is of one layer alone, so the model is additive.

use crate::registry::Parameter;
use crate::{Error, Result};
use serde_json::{Map, Value};

/// What a layer's bit widths cost.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCosts {
    /// Parameter name.
    pub name: String,
    /// Number of weights.
    pub weights: usize,
    /// Bit width and cost; at least one.
    pub costs: Vec<(u32, f64)>,
}

/// What a bit width's cost is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostBy {
    /// Sum of |relevance| of the layer's weights × squared error over the sum of squares.
    Relevance,
    /// Mean empirical Fisher information of the layer's weights × squared error / 2: a diagonal Hessian's trace.
    Fisher,
    /// Loss with this layer alone quantized minus that without quantization.
    Sensitivity,
    /// Squared error: needs no data.
    Error,
}

/// The budget and what costs are made of, as an experiment or the command line gives them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// How much.
    pub size: BudgetSize,
    /// What costs are made of.
    pub by: CostBy,
}

/// How many bits all quantized weights may take, before entropy coding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BudgetSize {
    /// Mean bits per weight.
    MeanBits(f64),
    /// Bytes together.
    Bytes(u64),
}

/// Names of the options of a budget.
pub const BUDGET_OPTIONS: [&str; 3] = ["budget", "budget_bytes", "allocate_by"];
const MEAN_BITS: Parameter =
    Parameter::number("budget", "mean bits per quantized weight", (1.0, 32.0), 4.0).open();
const BYTES: Parameter =
    Parameter::whole("budget_bytes", "bytes of all quantized weights before entropy coding", (1, 1 << 50), 1)
        .open();
const BY: Parameter = Parameter::word(
    "allocate_by",
    "what a layer's bit width costs",
    &["relevance", "fisher", "sensitivity", "error"],
    "relevance",
);

impl Budget {
    /// The options of a budget among those given, written out in one form; nothing where there is none.
    ///
    /// # Errors
    /// [`Error::Input`] for two budgets, one beside `layer_bits`, a word that needs a budget without one, or a value out of
    /// range.
    pub(super) fn write_out(subject: &str, given: &Map<String, Value>) -> Result<Map<String, Value>> {
        let mut resolved = Map::new();
        let options = BUDGET_OPTIONS.iter().filter_map(|key| given.get_key_value(*key));
        let own: Map<String, Value> = options.map(|(key, value)| (key.clone(), value.clone())).collect();
        if own.is_empty() {
            return Ok(resolved);
        }
        let sizes: Vec<&Parameter> =
            [&MEAN_BITS, &BYTES].into_iter().filter(|size| own.contains_key(size.name)).collect();
        let size = match sizes.as_slice() {
            [size] => *size,
            [] => {
                return Err(Error::input_hint(
                    format!("{subject}: allocate_by needs a budget"),
                    "give 'budget' (mean bits per weight) or 'budget_bytes'",
                ));
            }
            _ => return Err(Error::input(format!("{subject}: budget and budget_bytes exclude each other"))),
        };
        let is_empty = |value: &Value| {
            value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
        };
        if given.get("layer_bits").is_some_and(|value| !is_empty(value)) {
            return Err(Error::input(format!("{subject}: a budget and layer_bits exclude each other")));
        }
        resolved.insert(size.name.into(), size.normalise(subject, &own[size.name])?);
        let by = own.get(BY.name).cloned().unwrap_or_else(|| "relevance".into());
        resolved.insert(BY.name.into(), BY.normalise(subject, &by)?);
        Ok(resolved)
    }

    /// The budget of resolved parameters; `None` where they have none.
    pub fn of(resolved: &Map<String, Value>) -> Option<Self> {
        let size = match (resolved.get(MEAN_BITS.name), resolved.get(BYTES.name)) {
            (Some(bits), _) => BudgetSize::MeanBits(bits.as_f64()?),
            (None, bytes) => BudgetSize::Bytes(bytes?.as_u64()?),
        };
        let by = match resolved.get(BY.name)?.as_str()? {
            "fisher" => CostBy::Fisher,
            "sensitivity" => CostBy::Sensitivity,
            "error" => CostBy::Error,
            _ => CostBy::Relevance,
        };
        Some(Self { size, by })
    }

    /// Parameters without the options of a budget.
    pub fn without(resolved: &Map<String, Value>) -> Map<String, Value> {
        let kept = resolved.iter().filter(|(key, _)| !BUDGET_OPTIONS.contains(&key.as_str()));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Bits that a network of so many quantized weights may take.
    pub fn bits(&self, weights: usize) -> u64 {
        match self.size {
            // Rounded: 2.1 × 10 is 21, whatever its binary form.
            BudgetSize::MeanBits(mean) => (mean * weights as f64 + 1e-6).floor() as u64,
            BudgetSize::Bytes(bytes) => bytes.saturating_mul(8),
        }
    }
}

impl CostBy {
    /// Whether costs need training samples.
    pub fn needs_data(self) -> bool {
        self != Self::Error
    }
}

/// A set of widths for the layers so far that no other beats in size and cost.
#[derive(Clone, Copy)]
struct State {
    size: u64,
    cost: f64,
    /// The state of the layers before, and the choice for the last.
    parent: usize,
    choice: usize,
}

/// The bit width of every layer that makes the sum of costs smallest with at most `budget` bits together. Exact: a
/// multiple-choice knapsack by dynamic programming over the sets of widths that no other beats. Of equal sums the smaller
/// size is taken. Costs that are not finite are never taken where others fit.
///
/// # Errors
/// [`Error::Input`] when the smallest widths are over the budget already.
pub fn allocate(layers: &[LayerCosts], budget: u64) -> Result<Vec<u32>> {
    let size = |layer: &LayerCosts, bits: u32| layer.weights as u64 * u64::from(bits);
    let least: Vec<u64> = layers
        .iter()
        .map(|layer| layer.costs.iter().map(|&(bits, _)| size(layer, bits)).min().unwrap_or(0))
        .collect();
    let mut rest: u64 = least.iter().sum();
    if rest > budget {
        let weights = layers.iter().map(|layer| layer.weights).sum::<usize>().max(1) as f64;
        return Err(Error::input_hint(
            format!(
                "the budget of {budget} bits ({:.3} per weight) is too small: the smallest widths take {rest} ({:.3})",
                budget as f64 / weights,
                rest as f64 / weights
            ),
            "raise the budget, or take a method with smaller bit widths",
        ));
    }
    let mut stages: Vec<Vec<State>> = vec![vec![State { size: 0, cost: 0.0, parent: 0, choice: 0 }]];
    for (layer, least) in layers.iter().zip(&least) {
        rest -= least;
        let before = stages.last().map_or(&[][..], Vec::as_slice);
        let mut states = Vec::with_capacity(before.len() * layer.costs.len());
        for (parent, state) in before.iter().enumerate() {
            for (choice, &(bits, cost)) in layer.costs.iter().enumerate() {
                let size = state.size + size(layer, bits);
                let cost = state.cost + if cost.is_finite() { cost } else { 1e300 };
                if size + rest <= budget {
                    states.push(State { size, cost, parent, choice });
                }
            }
        }
        states.sort_by(|a, b| a.size.cmp(&b.size).then(a.cost.total_cmp(&b.cost)));
        let mut best = f64::INFINITY;
        states.retain(|state| {
            let is_better = state.cost < best;
            best = best.min(state.cost);
            is_better
        });
        stages.push(states);
    }
    // The last of a stage is the largest and cheapest.
    let mut widths = Vec::with_capacity(layers.len());
    let mut at = stages.last().map_or(0, |stage| stage.len().saturating_sub(1));
    for (layer, stage) in layers.iter().zip(stages.iter().skip(1)).rev() {
        let Some(state) = stage.get(at) else {
            return Err(Error::Internal("bit allocation: no state within the budget".into()));
        };
        widths.push(layer.costs[state.choice].0);
        at = state.parent;
    }
    widths.reverse();
    Ok(widths)
}

/// What `layer_bits` says of these widths: pairs of a pattern that fits the name alone, and bits.
pub fn layer_bits(layers: &[LayerCosts], widths: &[u32]) -> Value {
    let pairs = layers.iter().zip(widths);
    pairs.map(|(layer, bits)| serde_json::json!([globset::escape(&layer.name), bits])).collect()
}

/// Sum of squared differences over the sum of squares of `weights`, both over finite weights, and the latter.
pub fn squared_error(weights: &[f32], quantized: &[f32]) -> (f64, f64) {
    let (mut error, mut squares) = (0.0f64, 0.0f64);
    for (&w, &q) in weights.iter().zip(quantized).filter(|(w, _)| w.is_finite()) {
        let (w, q) = (f64::from(w), f64::from(q));
        error += (q - w) * (q - w);
        squares += w * w;
    }
    (error, squares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn cost_of(layers: &[LayerCosts], widths: &[u32]) -> (u64, f64) {
        let pairs = layers.iter().zip(widths);
        pairs.fold((0, 0.0), |(size, cost), (layer, &bits)| {
            let of = layer.costs.iter().find(|(width, _)| *width == bits).unwrap().1;
            (size + layer.weights as u64 * u64::from(bits), cost + of)
        })
    }

    /// The least cost of all combinations within the budget.
    fn by_trying_all(layers: &[LayerCosts], budget: u64) -> f64 {
        let mut best = f64::INFINITY;
        let combinations: usize = layers.iter().map(|layer| layer.costs.len()).product();
        for mut code in 0..combinations {
            let mut widths = Vec::new();
            for layer in layers {
                widths.push(layer.costs[code % layer.costs.len()].0);
                code /= layer.costs.len();
            }
            let (size, cost) = cost_of(layers, &widths);
            if size <= budget {
                best = best.min(cost);
            }
        }
        best
    }

    proptest! {
        /// The cost is that of trying all combinations, whatever the sizes and costs (they need not fall with the width),
        /// and the budget holds.
        #[test]
        fn allocation_is_exact(
            layers in prop::collection::vec((1usize..400, prop::collection::vec(-1.0f64..10.0, 1..5)), 1..6),
            share in 0.0f64..1.2,
        ) {
            let layers: Vec<LayerCosts> = layers
                .into_iter()
                .enumerate()
                .map(|(index, (weights, costs))| LayerCosts {
                    name: index.to_string(),
                    weights,
                    costs: (2..).zip(costs).collect(),
                })
                .collect();
            let least: u64 = layers.iter().map(|layer| 2 * layer.weights as u64).sum();
            let most: u64 = layers.iter().map(|layer| 6 * layer.weights as u64).sum();
            let budget = least + (share * (most - least) as f64) as u64;
            let (size, cost) = cost_of(&layers, &allocate(&layers, budget).unwrap());
            prop_assert!(size <= budget);
            prop_assert!((cost - by_trying_all(&layers, budget)).abs() < 1e-9);
            prop_assert!(allocate(&layers, least - 1).is_err());
        }
    }

    /// A layer that matters gets the bits, and one whose cost is undefined does not lead the search astray.
    #[test]
    fn important_layers_get_the_bits() {
        let layer = |name: &str, scale: f64| LayerCosts {
            name: name.into(),
            weights: 100,
            costs: (2..=8).map(|bits| (bits, scale * 4f64.powi(-(bits as i32)))).collect(),
        };
        let widths = allocate(&[layer("a", 1.0), layer("b", 1000.0)], 800).unwrap();
        assert!(widths[1] > widths[0] && widths.iter().sum::<u32>() == 8, "{widths:?}");
        let undefined =
            LayerCosts { name: "c".into(), weights: 10, costs: vec![(2, f64::NAN), (3, 1.0), (4, f64::NAN)] };
        assert_eq!(allocate(std::slice::from_ref(&undefined), 40).unwrap(), [3]);
        assert_eq!(allocate(std::slice::from_ref(&undefined), 20).unwrap(), [2]);
        assert_eq!(layer_bits(&[undefined], &[3]), json!([["c", 3]]));
    }

    /// One budget, alone, in range; what is left out is written out.
    #[test]
    fn budgets_are_checked() {
        let write = |given: Value| Budget::write_out("method ecq", given.as_object().unwrap());
        let found = write(json!({"budget": 3})).unwrap();
        assert_eq!(Value::from(found.clone()), json!({"budget": 3.0, "allocate_by": "relevance"}));
        let budget = Budget::of(&found).unwrap();
        assert_eq!((budget.bits(10), budget.by), (30, CostBy::Relevance));
        let bytes = write(json!({"budget_bytes": 100, "allocate_by": "fisher"})).unwrap();
        assert_eq!(Budget::of(&bytes).unwrap().bits(7), 800);
        assert_eq!(Budget::of(&Map::new()), None);
        assert!(write(json!({"layer_bits": {}, "budget": 3})).is_ok());
        for wrong in [
            json!({"budget": 3, "budget_bytes": 100}),
            json!({"allocate_by": "error"}),
            json!({"budget": 0.5}),
            json!({"budget": 3, "allocate_by": "guess"}),
            json!({"budget": 3, "layer_bits": {"a": 2}}),
        ] {
            assert!(write(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
