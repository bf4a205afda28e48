//! Quantization: the post-training pass and the quantization-aware loop of spec ECQ/ECQx — full-precision
//! latent weights are trained through the quantized ones and assigned anew after every step.

use super::batches;
use super::calibration::{CalibrationSet, calibrate_quantizer};
use super::checkpoints::Checkpoints;
use super::device_state::{DeviceState, is_resident};
use super::device_step::Step;
use super::evaluate::evaluate_validation;
use super::latent::LatentWeights;
use super::loop_state::LoopState;
use super::observer::Observer;
use super::pass::{forward_backward, trained};
use super::position::{CurrentEpoch, Position, after_epoch, after_step};
use super::schedule::learning_rate;
use super::settings::{Selection, TrainingSpec};
use crate::Result;
use crate::data::{Dataset, Split};
use crate::nn::{Backend, Gradients, Network, Parameters, Role, ops, transfer};
use crate::quant::Scope;
use crate::quant::quantizer::{
    Content, FloatCoding, QuantizedTensor, Quantizer, RelevanceOf, Relevances, StepInfo, WeightTensor,
};
use crate::record::EpochMetrics;
use crate::relevance::RelevanceMeasure;

/// Weight decay of biases and batch norm during quantization-aware training when the recipe names none: the
/// reference's value.
pub const REST_WEIGHT_DECAY: f64 = 5e-6;

/// A quantized network.
pub struct Quantized {
    /// All parameters; quantized ones hold their quantized values.
    pub parameters: Parameters,
    /// The quantized tensors in layer order.
    pub tensors: Vec<QuantizedTensor>,
    /// How tensors that hold values are written to the file, where the method says so.
    pub coding: Option<FloatCoding>,
    /// One entry per epoch; empty for post-training quantization.
    pub epochs: Vec<EpochMetrics>,
    /// Warnings of the quantizer that were drained for checkpoints; it may hold more.
    pub warnings: Vec<String>,
}

/// Names of all weights of convolutions and linear layers, in layer order.
pub fn weight_names(parameters: &Parameters) -> impl Iterator<Item = &str> {
    parameters.iter().filter(|(_, parameter)| parameter.role == Role::Weight).map(|(name, _)| name)
}

/// Names of the weights to quantize: those in the method's scope.
pub fn quantizable(parameters: &Parameters, scope: &Scope) -> Vec<String> {
    scope.select(weight_names(parameters))
}

/// Writes quantized values into the model.
fn write(parameters: &Parameters, tensors: &[QuantizedTensor]) -> Result<()> {
    for tensor in tensors {
        match &tensor.content {
            Content::Values(values) => parameters.set_values(&tensor.name, values)?,
            Content::Levels { positions, codebook } => {
                let weights = parameters.tensor(&tensor.name)?;
                ops::overwrite_values(weights, |values| codebook.write_values(positions, values))?;
            }
        }
    }
    Ok(())
}

/// Share of zeros over all quantized weights, 0–1.
pub fn sparsity(tensors: &[QuantizedTensor]) -> f64 {
    let (mut zeros, mut total) = (0usize, 0usize);
    for tensor in tensors {
        let (of_tensor, count) = tensor.content.zeros_and_count();
        zeros += of_tensor;
        total += count;
    }
    zeros as f64 / total.max(1) as f64
}

/// Samples of the training split: for relevance after training the first ones in file order, in batches; for methods that
/// calibrate those that the seed draws.
pub struct Calibration {
    /// How many samples.
    pub samples: usize,
    /// Which samples calibration draws.
    pub seed: u64,
    /// Samples per pass.
    pub batch_size: usize,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { samples: 256, seed: 0, batch_size: 64 }
    }
}

/// Quantizes trained weights without training.
///
/// # Errors
/// Those of the quantizer, the relevance measure and the data set.
pub fn post_training(
    network: &Network,
    parameters: &Parameters,
    names: &[String],
    quantizer: &mut dyn Quantizer,
    relevance: Option<&mut dyn RelevanceMeasure>,
    dataset: &dyn Dataset,
    calibration: &Calibration,
) -> Result<Quantized> {
    let parameters = parameters.deep_copy()?;
    let latent = LatentWeights::new(&parameters, names)?;
    quantizer.initialize(&latent.tensors())?;
    let set = CalibrationSet { samples: calibration.samples, seed: calibration.seed };
    calibrate_quantizer(network, &parameters, &latent.tensors(), quantizer, dataset, &set)?;
    let relevance = match relevance.filter(|_| quantizer.wants_relevance()) {
        Some(measure) => Some(calibrate(network, &parameters, measure, dataset, calibration)?),
        None => None,
    };
    let tensors = quantizer.assign(&latent.tensors(), relevance.as_ref(), StepInfo::POST_TRAINING)?;
    write(&parameters, &tensors)?;
    let coding = quantizer.coding();
    Ok(Quantized { parameters, tensors, coding, epochs: Vec::new(), warnings: Vec::new() })
}

/// Mean relevance of the first training samples, in file order, without augmentation.
///
/// # Errors
/// Those of the measure and the data set.
pub fn calibrate(
    network: &Network,
    parameters: &Parameters,
    measure: &mut dyn RelevanceMeasure,
    dataset: &dyn Dataset,
    calibration: &Calibration,
) -> Result<Relevances> {
    let indices: Vec<usize> = (0..calibration.samples.min(dataset.len(Split::Train))).collect();
    let samples = indices.len().max(1) as f32;
    let mut mean = Relevances::new();
    for indices in indices.chunks(calibration.batch_size.max(1)) {
        let batch = batches::read(dataset, Split::Train, indices, parameters.device())?;
        // Measures are means over a batch; the last batch may be smaller.
        let share = indices.len() as f32 / samples;
        for (name, values) in measure.relevance(network, parameters, &batch.inputs, &batch.targets)? {
            let sum = mean.entry(name).or_insert_with(|| vec![0.0; values.len()]);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
        }
    }
    Ok(mean)
}

/// Gradients of the quantized tensors by index, copied.
fn quantized_gradients(
    parameters: &Parameters,
    gradients: &Gradients,
    names: &[String],
) -> Result<Vec<(usize, Vec<f32>)>> {
    trained(parameters, gradients)
        .filter_map(|(name, _, gradient)| Some((names.iter().position(|known| known == name)?, gradient)))
        .map(|(index, gradient)| Ok((index, transfer::values(gradient)?)))
        .collect()
}

/// What the quantization-aware loop needs besides network and quantizer.
pub struct QuantizationAware<'a> {
    /// The recipe.
    pub spec: &'a TrainingSpec,
    /// Seed of shuffling, augmentation, dropout and calibration.
    pub seed: u64,
    /// Samples for methods that calibrate, or that want relevance before the first step.
    pub calibration: Calibration,
}

/// Quantization-aware training, starting from trained weights. Continues from what `checkpoints` has.
///
/// # Errors
/// [`Error::Diverged`](crate::Error::Diverged), [`Error::Cancelled`](crate::Error::Cancelled), and those of the quantizer, the relevance measure and the data set.
#[allow(clippy::too_many_arguments, reason = "each is a different thing with a name of its own")]
pub fn quantization_aware(
    network: &Network,
    parameters: &Parameters,
    names: &[String],
    quantizer: &mut dyn Quantizer,
    mut relevance: Option<&mut dyn RelevanceMeasure>,
    dataset: &dyn Dataset,
    settings: &QuantizationAware<'_>,
    observer: &dyn Observer,
    checkpoints: &dyn Checkpoints,
) -> Result<Quantized> {
    let spec = settings.spec;
    spec.check_for(dataset, Backend::on(parameters.device()))?;
    let steps = spec.steps(dataset.len(Split::Train));
    let rest_decay = spec.weight_decay.unwrap_or(REST_WEIGHT_DECAY);
    let mut position = Position::begin(1, Vec::new(), None);
    let mut state = LoopState::new(parameters, names, spec)?;
    let mut is_new = true;
    if quantizer.wants_calibration().is_some() {
        // Of the trained weights, in a resumed run too: its state need not hold what can be had again.
        quantizer.initialize(&state.latent.tensors())?;
        let set = CalibrationSet { samples: settings.calibration.samples, seed: settings.seed };
        calibrate_quantizer(network, parameters, &state.latent.tensors(), quantizer, dataset, &set)?;
    }
    if let Some(snapshot) = checkpoints.load() {
        let restored = Position::restore(&snapshot, spec, steps).and_then(|found| {
            state.restore(&found, &snapshot, quantizer, relevance.as_deref_mut())?;
            Ok(found)
        });
        match restored {
            Ok(found) => (position, is_new) = (found, false),
            Err(error) => {
                checkpoints.reject(&error);
                state = LoopState::new(parameters, names, spec)?;
            }
        }
    }
    if is_new {
        if quantizer.wants_calibration().is_none() {
            quantizer.initialize(&state.latent.tensors())?;
        }
        let at = StepInfo { step: 0, total_steps: spec.epochs * steps, epoch: 0, epochs: spec.epochs };
        let first = match relevance.as_deref_mut().filter(|_| quantizer.wants_relevance_first()) {
            Some(measure) => {
                Some(calibrate(network, &state.parameters, measure, dataset, &settings.calibration)?)
            }
            None => None,
        };
        state.tensors = quantizer.assign(&state.latent.tensors(), first.as_ref(), at)?;
        write(&state.parameters, &state.tensors)?;
    }
    let device = state.parameters.device().clone();
    if is_resident(quantizer, &device) {
        state.device = Some(DeviceState::new(&state.latent, &state.tensors, quantizer, &device)?);
    } else if Backend::on(&device) == Backend::Composed {
        observer
            .note("this method computes on the host: weights and gradients leave the device at every step");
    }
    for epoch in position.epoch..=spec.epochs {
        let mut current = CurrentEpoch::enter(&position, settings.seed);
        let batches = position.batches(spec, settings.seed, steps);
        batches::training_epoch(dataset, &batches, &device, |step, batch, augmentation| {
            let done = (epoch - 1) * steps + step;
            let at = StepInfo {
                step: done + 1,
                total_steps: spec.epochs * steps,
                epoch: epoch - 1,
                epochs: spec.epochs,
            };
            let rate = learning_rate(spec, done, steps);
            if state.device.is_some() {
                let work = Step { network, names, batch: &batch, spec, at, rate, rest_decay };
                let measured =
                    work.run(&mut state, quantizer, relevance.as_deref_mut(), &mut current.dropout)?;
                current.running.add(measured, batch.len(), epoch, step)?;
                current.rate = rate;
                observer.step(epoch, spec.epochs, step + 1, steps, measured.loss);
                return after_step(checkpoints, observer, step, steps, || {
                    let here = current.position(&position, step + 1, augmentation);
                    state.snapshot(&here, quantizer, relevance.as_deref())
                });
            }
            let LoopState { parameters, latent, tensors, optimizer, stepper, .. } = &mut state;
            let pass = forward_backward(network, parameters, &batch, spec, &mut current.dropout)?;
            let measured = pass.read()?;
            current.running.add(measured, batch.len(), epoch, step)?;
            current.rate = rate;
            let trains_weights = quantizer.trains_weights(at);
            if quantizer.wants_gradients() {
                quantizer
                    .gather(&latent.tensors(), quantized_gradients(parameters, &pass.gradients, names)?)?;
            }
            optimizer.begin_step();
            stepper.begin_step();
            for (name, weights, gradient) in trained(parameters, &pass.gradients) {
                let Some(index) = names.iter().position(|quantized| quantized == name) else {
                    if trains_weights {
                        optimizer.update(name, weights, gradient, rate, rest_decay)?;
                    }
                    continue;
                };
                if quantizer.wants_relevance() && quantizer.relevance_of() == RelevanceOf::Stepped {
                    stepper.update(name, weights, gradient, rate, 0.0)?;
                }
                let values = &mut latent.values[index];
                let shape = &latent.shapes[index];
                // The gradient is used up: no copy.
                ops::consume_values(gradient, |gradient| {
                    let weights = WeightTensor { name, shape, values };
                    quantizer.backward(index, weights, &tensors[index], gradient)?;
                    match trains_weights {
                        true => optimizer.update_values(name, values, gradient, rate),
                        false => Ok(()),
                    }
                })??;
            }
            drop(pass);
            quantizer.update(rate, at)?;
            let due = quantizer.wants_relevance() && quantizer.wants_relevance_at(at);
            let relevances = match relevance.as_deref_mut().filter(|_| due) {
                Some(measure) => {
                    if quantizer.relevance_of() == RelevanceOf::Background {
                        for (name, values) in names.iter().zip(&latent.values) {
                            parameters.set_values(name, values)?;
                        }
                    }
                    let (inputs, targets) = batch.first(quantizer.relevance_samples())?;
                    Some(measure.relevance(network, parameters, &inputs, targets)?)
                }
                None => None,
            };
            *tensors = quantizer.assign(&latent.tensors(), relevances.as_ref(), at)?;
            write(parameters, tensors)?;
            observer.step(epoch, spec.epochs, step + 1, steps, measured.loss);
            after_step(checkpoints, observer, step, steps, || {
                let here = current.position(&position, step + 1, augmentation);
                state.snapshot(&here, quantizer, relevance.as_deref())
            })
        })?;
        state.download()?;
        let validation = evaluate_validation(network, &state.parameters, dataset, observer)?;
        let metrics = current.metrics(&position, validation.as_ref(), Some(sparsity(&state.tensors)));
        observer.epoch(&metrics);
        quantizer.take_log().iter().for_each(|line| observer.note(line));
        let mut epochs = std::mem::take(&mut position.epochs);
        epochs.push(metrics);
        if let (Selection::BestValidation, Some(validation)) = (spec.select, &validation)
            && state.best.as_ref().is_none_or(|(value, ..)| validation.value() > *value)
        {
            state.best = Some((validation.value(), state.parameters.deep_copy()?, state.tensors.clone()));
        }
        position = Position::begin(epoch + 1, epochs, state.best.as_ref().map(|(value, ..)| *value));
        after_epoch(checkpoints, observer, || state.snapshot(&position, quantizer, relevance.as_deref()))?;
    }
    let (epochs, warnings, coding) = (position.epochs, state.warnings, quantizer.coding());
    let (parameters, tensors) = match state.best {
        Some((_, parameters, tensors)) => (parameters, tensors),
        None => (state.parameters, state.tensors),
    };
    Ok(Quantized { parameters, tensors, coding, epochs, warnings })
}
