//! The walk: from the relevance of the logits down to every weight and to the input.

use super::affine::{Affine, is_plain};
use super::elementwise::{multiply, product, ratio};
use super::rule::Rule;
use super::settings::{Canonizer, Residual, Settings, Start};
use crate::nn::{Layer, Mode, Network, Operation, Parameters, ops, transfer};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use indexmap::IndexMap;

/// What a walk should bring back; the rest is not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Relevance of weights of linear layers and convolutions.
    Weights,
    /// Relevance of all parameters and of the input, and the relevance that arrives at every layer's input.
    Everything,
}

/// The relevances of one batch.
#[derive(Debug, Default)]
pub struct Explanation {
    /// By parameter, in the parameter's shape and the model's order; signed, summed over the batch.
    pub parameters: IndexMap<String, Tensor>,
    /// Of the input, (batch, …). `None` where only weights were wanted.
    pub input: Option<Tensor>,
    /// What each layer hands to its inputs, (batch, …) by layer name, one tensor per input.
    pub layers: IndexMap<String, Vec<Tensor>>,
}

/// Propagates the relevance of the true classes through the network in evaluation mode.
///
/// # Errors
/// When inputs, targets and parameters do not fit the network.
pub fn explain(
    settings: &Settings,
    network: &Network,
    parameters: &Parameters,
    inputs: &Tensor,
    targets: &[u32],
    wanted: Wanted,
) -> Result<Explanation> {
    let inputs = inputs.detach();
    let trace = network.forward(parameters, &inputs, Mode::Evaluation(settings.algorithm))?;
    let mut values: Vec<Tensor> = trace.values.into_iter().map(|value| value.detach()).collect();
    let logits = values[values.len() - 1].clone();
    let (residual, functional) = settings.resolve(network);
    let rules = settings.composite.rules(network, functional);
    let bounds = match settings.bounds {
        Some(bounds) => bounds,
        None if rules.contains(&Rule::ZBox) => {
            let flat = inputs.flatten_all()?;
            let ends = transfer::values::<f32>(&Tensor::stack(&[flat.min(0)?, flat.max(0)?], 0)?)?;
            (ends[0], ends[1])
        }
        None => (0.0, 0.0),
    };
    let non_negative = non_negative(network);
    let has_weights = has_weights(network);
    let mut relevances: Vec<Option<Tensor>> = vec![None; values.len()];
    relevances[network.layers().len()] = Some(starting(settings.start, &logits, targets)?);
    let mut explanation = Explanation::default();
    for (index, layer) in network.layers().iter().enumerate().rev() {
        let output = values.pop();
        let (Some(output), Some(relevance)) = (output, relevances[index + 1].take()) else { continue };
        let sources = network.sources(index);
        let step = Step {
            settings,
            residual,
            bounds,
            layer,
            rule: rules[index],
            canonize: settings.canonizer != Canonizer::None && follows_affine(network, index),
            inputs: sources.iter().map(|&source| &values[source]).collect(),
            output: &output,
            relevance: &relevance,
            non_negative: non_negative[sources[0]],
            wanted,
            wants_input: wanted == Wanted::Everything || sources.iter().any(|&source| has_weights[source]),
        };
        let parts = step.run(parameters, &mut explanation.parameters)?;
        for (&source, part) in sources.iter().zip(&parts) {
            let slot = &mut relevances[source];
            *slot = Some(match slot.take() {
                None => part.clone(),
                Some(sum) => ops::add(&sum, part)?,
            });
        }
        if wanted == Wanted::Everything {
            explanation.layers.insert(layer.name.clone(), parts);
        }
    }
    if wanted == Wanted::Everything {
        explanation.input = relevances[0].take();
    }
    explanation.parameters.sort_by_cached_key(|name, _| parameter_position(parameters, name));
    explanation.layers.reverse();
    Ok(explanation)
}

fn parameter_position(parameters: &Parameters, name: &str) -> usize {
    parameters.iter().position(|(other, _)| other == name).unwrap_or(usize::MAX)
}

/// Relevance of the logits: zero but at the true classes (all of them in tasks of several labels), divided by the batch
/// size.
fn starting(start: Start, logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    let targets = ops::Targets::of(targets, batch, classes)
        .map_err(|expected| Error::input(format!("relevance needs {expected}")))?;
    let values = match (start, targets) {
        (Start::Logit, _) => logits.clone(),
        (Start::Probability, ops::Targets::Classes(_)) => ops::softmax(logits)?,
        (Start::Probability, ops::Targets::Labels(_)) => ops::activate(logits, ops::Activation::Sigmoid)?,
        (Start::Ones, _) => logits.ne(0f32)?.to_dtype(DType::F32)?,
    };
    let mask = match targets {
        ops::Targets::Classes(targets) => {
            let mut mask = vec![0f32; batch * classes];
            for (row, &target) in targets.iter().enumerate() {
                mask[row * classes + target as usize] = 1.0;
            }
            mask
        }
        ops::Targets::Labels(labels) => {
            labels.iter().map(|&label| if label == ops::PRESENT { 1.0 } else { 0.0 }).collect()
        }
    };
    let mask = transfer::tensor(mask, (batch, classes), logits.device())?;
    Ok(((values * mask)? / batch as f64)?)
}

/// Which values (0 is the input, i + 1 the output of layer i) cannot be negative.
fn non_negative(network: &Network) -> Vec<bool> {
    let mut known = vec![false];
    for (index, layer) in network.layers().iter().enumerate() {
        let all_inputs = network.sources(index).iter().all(|&source| known[source]);
        known.push(match layer.operation {
            Operation::Relu => true,
            Operation::Activation(activation) => activation.is_non_negative(),
            Operation::Linear { .. }
            | Operation::Conv2d { .. }
            | Operation::BatchNorm { .. }
            | Operation::GroupNorm { .. }
            | Operation::LayerNorm { .. } => false,
            Operation::MaxPool2d { .. }
            | Operation::AvgPool2d { .. }
            | Operation::GlobalAvgPool
            | Operation::AdaptiveAvgPool2d { .. }
            | Operation::Flatten
            | Operation::Add
            | Operation::Multiply
            | Operation::Concat
            | Operation::Shortcut { .. }
            | Operation::Dropout { .. } => all_inputs,
        });
    }
    known
}

/// Which values (as in [`non_negative`]) depend on weights, whose relevance comes through them.
fn has_weights(network: &Network) -> Vec<bool> {
    let mut known = vec![false];
    for (index, layer) in network.layers().iter().enumerate() {
        known.push(is_affine(layer) || network.sources(index).iter().any(|&source| known[source]));
    }
    known
}

/// Whether a layer is a linear one or a convolution.
fn is_affine(layer: &Layer) -> bool {
    matches!(layer.operation, Operation::Linear { .. } | Operation::Conv2d { .. })
}

/// Whether layer `index` reads directly from a convolution or a linear layer.
fn follows_affine(network: &Network, index: usize) -> bool {
    network.sources(index).iter().all(|&source| source > 0 && is_affine(&network.layers()[source - 1]))
}

/// One layer of the walk.
pub(super) struct Step<'a> {
    pub(super) settings: &'a Settings,
    pub(super) residual: Residual,
    pub(super) bounds: (f32, f32),
    pub(super) layer: &'a Layer,
    pub(super) rule: Rule,
    pub(super) canonize: bool,
    pub(super) inputs: Vec<&'a Tensor>,
    pub(super) output: &'a Tensor,
    pub(super) relevance: &'a Tensor,
    pub(super) non_negative: bool,
    pub(super) wanted: Wanted,
    pub(super) wants_input: bool,
}

impl Step<'_> {
    /// Relevance of the parameters, added to `found`; gives the relevance of each input, or nothing where none is wanted.
    fn run(&self, parameters: &Parameters, found: &mut IndexMap<String, Tensor>) -> Result<Vec<Tensor>> {
        if let Some(affine) = Affine::of(self.layer, parameters, self.canonize, self.settings.algorithm)? {
            return Ok(self.affine(&affine, found)?.into_iter().collect());
        }
        if let Some(parts) = self.row_norm(parameters, found)? {
            return Ok(parts);
        }
        if !self.wants_input {
            return Ok(Vec::new());
        }
        if let Some(parts) = self.combined()? {
            return Ok(parts);
        }
        if let Operation::Add = self.layer.operation {
            return self.sum();
        }
        Ok(vec![match self.rule {
            Rule::Pass => self.relevance.reshape(self.inputs[0].shape())?,
            Rule::Norm => {
                let shared = ratio(self.relevance, self.output, self.settings.epsilon)?;
                product(self.inputs[0], &self.gradient(&shared)?)?
            }
            _ => self.gradient(self.relevance)?,
        }])
    }

    /// A sum of several inputs.
    fn sum(&self) -> Result<Vec<Tensor>> {
        if self.residual == Residual::Duplicate {
            return Ok(vec![self.relevance.clone(); self.inputs.len()]);
        }
        let shared = ratio(self.relevance, self.output, self.settings.epsilon)?;
        self.inputs.iter().map(|input| product(input, &shared)).collect()
    }

    /// The gradient of `⟨gradient, output⟩` for layers without parameters.
    fn gradient(&self, gradient: &Tensor) -> Result<Tensor> {
        let x = self.inputs[0];
        Ok(match self.layer.operation {
            Operation::Relu => ops::relu_backward(gradient, self.output)?,
            Operation::Activation(activation) => {
                ops::activate_backward(gradient, x, self.output, activation)?
            }
            Operation::AdaptiveAvgPool2d { .. } => ops::adaptive_avg_pool2d_backward(gradient, x.dims())?,
            Operation::MaxPool2d { kernel, stride, padding } => {
                ops::max_pool2d_backward(gradient, x, &ops::Pool2dGeometry { kernel, stride, padding })?
            }
            Operation::AvgPool2d { kernel, stride, padding } => ops::avg_pool2d_backward(
                gradient,
                x.dims(),
                &ops::Pool2dGeometry { kernel, stride, padding },
            )?,
            Operation::GlobalAvgPool => ops::global_avg_pool_backward(gradient, x.dims())?,
            Operation::Shortcut { stride, .. } => ops::shortcut_backward(gradient, x.dims(), stride)?,
            Operation::Flatten => gradient.reshape(x.shape())?,
            // In evaluation mode dropout does nothing; the others have parameters or several inputs.
            _ => gradient.clone(),
        })
    }

    /// A layer with parameters.
    fn affine(&self, layer: &Affine, found: &mut IndexMap<String, Tensor>) -> Result<Option<Tensor>> {
        let (x, epsilon) = (self.inputs[0], self.settings.epsilon);
        let without_rule = matches!(self.rule, Rule::Pass | Rule::Gradient);
        // A layer that relevance passes by has none of its own, in the reference as well.
        let of_weights = !without_rule && (self.wanted == Wanted::Everything || !layer.is_batch_norm());
        // Coefficients of the plain layer serve both ε rules.
        let mut plain = None;
        let mut plain_ratio = || -> Result<Tensor> {
            if plain.is_none() {
                plain = Some(ratio(self.relevance, self.output, epsilon)?);
            }
            plain.clone().ok_or_else(|| Error::Internal("a ratio vanished".into()))
        };
        if of_weights {
            let rule = self.settings.weight_rule;
            let (mut weight, mut bias): (Option<Tensor>, Option<Tensor>) = (None, None);
            for term in rule.terms(self.non_negative) {
                let modified_weight = term.parameter.apply(&layer.weight, self.bounds)?;
                let coefficient = match is_plain(term) {
                    true => plain_ratio()?,
                    false => {
                        let output = layer.copy(x, &modified_weight, term, self.bounds)?;
                        ratio(self.relevance, &output, epsilon)?
                    }
                };
                let x = term.input.apply(x, self.bounds)?;
                let mut gradient = layer.backward_weight(&coefficient, &x)?;
                if rule.multiplies() {
                    gradient = multiply(gradient, &modified_weight)?;
                }
                accumulate(&mut weight, gradient, term.factor)?;
                if self.wanted == Wanted::Everything
                    && let Some(modified) = layer.modified_bias(term, self.bounds)?
                {
                    let mut gradient = ops::channel_sum(&coefficient)?;
                    if rule.multiplies() {
                        gradient = product(&modified, &gradient)?;
                    }
                    accumulate(&mut bias, gradient, term.factor)?;
                }
            }
            for (suffix, relevance) in [("weight", weight), ("bias", bias)] {
                if let Some(relevance) = relevance {
                    found.insert(format!("{}.{suffix}", self.layer.name), relevance);
                }
            }
        }
        if !self.wants_input {
            return Ok(None);
        }
        match self.rule {
            Rule::Pass => return Ok(Some(self.relevance.clone())),
            Rule::Gradient => {
                return layer.backward_input(self.relevance, &layer.weight, x.dims()).map(Some);
            }
            _ => {}
        }
        let terms = self.rule.terms(self.non_negative);
        let weights: Vec<Tensor> = terms
            .iter()
            .map(|term| term.parameter.apply(&layer.weight, self.bounds))
            .collect::<Result<_>>()?;
        let coefficients = if let [term] = terms[..]
            && is_plain(term)
        {
            vec![plain_ratio()?]
        } else {
            let outputs: Vec<Tensor> = terms
                .iter()
                .zip(&weights)
                .map(|(&term, weight)| match is_plain(term) {
                    true => Ok(self.output.clone()),
                    false => layer.copy(x, weight, term, self.bounds),
                })
                .collect::<Result<_>>()?;
            self.rule.coefficients(self.relevance, &terms, &outputs, epsilon)?
        };
        let mut sum = None;
        for ((term, weight), coefficient) in terms.iter().zip(&weights).zip(coefficients) {
            let mut part = layer.backward_input(&coefficient, weight, x.dims())?;
            if self.rule.multiplies() {
                part = multiply(part, &term.input.apply(x, self.bounds)?)?;
            }
            accumulate(&mut sum, part, term.factor)?;
        }
        Ok(sum)
    }
}

/// `sum += factor · part`.
fn accumulate(sum: &mut Option<Tensor>, part: Tensor, factor: f32) -> Result<()> {
    let part = if factor == 1.0 { part } else { (part * f64::from(factor))? };
    *sum = Some(match sum.take() {
        None => part,
        Some(sum) => ops::add(&sum, &part)?,
    });
    Ok(())
}
