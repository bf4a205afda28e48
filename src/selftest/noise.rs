//! A data set of random inputs in memory, and trainings on it: what is needed where only devices or times are compared.

use crate::data::{Dataset, Split};
use crate::nn::{Network, Parameters};
use crate::quant::quantizer::QuantizedTensor;
use crate::relevance::{self, Context};
use crate::rng::Rng;
use crate::train::quantized::{Calibration, QuantizationAware, quantizable, quantization_aware};
use crate::train::{NoCheckpoints, Observer, TrainingSpec, full_precision};
use crate::{Result, quant};
use serde_json::Map;

/// Random inputs; the class of a sample is its number modulo the number of classes.
struct Noise {
    shape: Vec<usize>,
    classes: Vec<String>,
    samples: usize,
    values: Vec<f32>,
}

/// Different samples that are kept; they come over and over.
const KEPT: usize = 64;

impl Noise {
    /// A training split of `samples` for a network.
    fn new(network: &Network, samples: usize) -> Self {
        let mut rng = Rng::stream(1, "noise");
        let count = KEPT.min(samples.max(1)) * network.input_shape.iter().product::<usize>();
        Self {
            shape: network.input_shape.clone(),
            classes: (0..network.classes).map(|class| class.to_string()).collect(),
            samples,
            values: (0..count).map(|_| rng.normal()).collect(),
        }
    }
}

/// An epoch of `steps` steps of `batch` random samples: at full precision where there is no method, else with the method at
/// 4 bit and Λ 0.05, as far as it has them. Gives what the weights became.
pub fn train(
    network: &Network,
    parameters: &Parameters,
    method: Option<&str>,
    [steps, batch]: [usize; 2],
    observer: &dyn Observer,
) -> Result<Vec<QuantizedTensor>> {
    let dataset = Noise::new(network, steps * batch);
    let spec = TrainingSpec { epochs: 1, batch_size: batch, learning_rate: 1e-4, ..TrainingSpec::default() };
    let Some(method) = method else {
        full_precision::train(network, parameters, &dataset, &spec, 1, observer, &NoCheckpoints)?;
        return Ok(Vec::new());
    };
    let known = quant::builtin().find(method)?;
    let lambda = known.parameters.iter().any(|parameter| parameter.name == "lambda");
    let settings: Map<_, _> = lambda.then(|| ("lambda".to_owned(), 0.05.into())).into_iter().collect();
    let (mut quantizer, scope) = quant::build(method, known.bits.range().map(|_| 4), &settings)?;
    let mut measure = relevance::build(&relevance::builtin(), None, Context::default())?;
    let quantized = quantization_aware(
        network,
        parameters,
        &quantizable(parameters, &scope),
        quantizer.as_mut(),
        Some(measure.as_mut()),
        &dataset,
        &QuantizationAware { spec: &spec, seed: 1, calibration: Calibration::default() },
        observer,
        &NoCheckpoints,
    )?;
    Ok(quantized.tensors)
}

impl Dataset for Noise {
    fn name(&self) -> &str {
        "noise"
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn input_shape(&self) -> &[usize] {
        &self.shape
    }

    fn len(&self, split: Split) -> usize {
        if split == Split::Train { self.samples } else { 0 }
    }

    fn digest(&self) -> &str {
        "noise"
    }

    fn fill(
        &self,
        _: Split,
        indices: &[usize],
        _: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> Result<()> {
        let size: usize = self.shape.iter().product();
        let kept = self.values.len() / size.max(1);
        for ((output, target), &index) in inputs.chunks_exact_mut(size).zip(targets).zip(indices) {
            output.copy_from_slice(&self.values[index % kept.max(1) * size..][..size]);
            *target = (index % self.classes.len()) as u32;
        }
        Ok(())
    }
}
