//! What the quantization-aware loop changes from step to step besides its [`Position`], and how a checkpoint keeps it.

use super::optimizer::Optimizer;
use super::position::Position;
use super::settings::TrainingSpec;
use crate::Result;
use crate::nn::Parameters;
use crate::quant::quantizer::{QuantizedTensor, Quantizer, WeightTensor};
use crate::relevance::RelevanceMeasure;
use crate::snapshot::Snapshot;

/// Latent weights: the full-precision weights behind the quantized ones.
pub(super) struct LatentWeights {
    pub names: Vec<String>,
    pub shapes: Vec<Vec<usize>>,
    pub values: Vec<Vec<f32>>,
}

impl LatentWeights {
    pub fn new(parameters: &Parameters, names: &[String]) -> Result<Self> {
        let mut latent = Self { names: names.to_vec(), shapes: Vec::new(), values: Vec::new() };
        for name in names {
            latent.shapes.push(parameters.tensor(name)?.dims().to_vec());
            latent.values.push(parameters.values(name)?);
        }
        Ok(latent)
    }

    pub fn tensors(&self) -> Vec<WeightTensor<'_>> {
        let shapes = self.names.iter().zip(&self.shapes);
        shapes.zip(&self.values).map(|((name, shape), values)| WeightTensor { name, shape, values }).collect()
    }
}

/// What the loop changes besides its [`Position`].
pub(super) struct LoopState {
    pub parameters: Parameters,
    pub latent: LatentWeights,
    pub tensors: Vec<QuantizedTensor>,
    pub optimizer: Optimizer,
    pub stepper: Optimizer,
    pub best: Option<(f64, Parameters, Vec<QuantizedTensor>)>,
    pub warnings: Vec<String>,
}

impl LoopState {
    /// The state before the first assignment.
    pub fn new(parameters: &Parameters, names: &[String], spec: &TrainingSpec) -> Result<Self> {
        let parameters = parameters.deep_copy()?;
        Ok(Self {
            latent: LatentWeights::new(&parameters, names)?,
            parameters,
            tensors: Vec::new(),
            optimizer: Optimizer::new(spec),
            stepper: Optimizer::new(spec),
            best: None,
            warnings: Vec::new(),
        })
    }

    /// Takes what a snapshot holds; the quantizer and the measure are restored last, when all else fits.
    pub fn restore(
        &mut self,
        position: &Position,
        snapshot: &Snapshot,
        quantizer: &mut dyn Quantizer,
        relevance: Option<&mut (dyn RelevanceMeasure + '_)>,
    ) -> Result<()> {
        snapshot.restore_parameters("model", &self.parameters)?;
        for (name, values) in self.latent.names.iter().zip(&mut self.latent.values) {
            let count = values.len();
            values.copy_from_slice(snapshot.floats(&format!("latent/{name}"), count)?);
        }
        self.tensors = snapshot.tensors("quantized")?;
        snapshot.restore_optimizer("optimizer", &mut self.optimizer)?;
        snapshot.restore_optimizer("stepper", &mut self.stepper)?;
        self.warnings = snapshot.get("warnings")?;
        if let Some(top1) = position.best {
            let kept = self.parameters.deep_copy()?;
            snapshot.restore_parameters("best", &kept)?;
            self.best = Some((top1, kept, snapshot.tensors("best quantized")?));
        }
        if let Some(measure) = relevance {
            measure.restore(&snapshot.get("measure")?)?;
        }
        quantizer.restore(&snapshot.get("quantizer")?)
    }

    pub fn snapshot(
        &mut self,
        position: &Position,
        quantizer: &mut dyn Quantizer,
        relevance: Option<&(dyn RelevanceMeasure + '_)>,
    ) -> Result<Snapshot> {
        for warning in quantizer.take_warnings() {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        let mut snapshot = Snapshot::default();
        position.put(&mut snapshot)?;
        snapshot.put_parameters("model", &self.parameters)?;
        for (name, values) in self.latent.names.iter().zip(&self.latent.values) {
            snapshot.put_floats(format!("latent/{name}"), values.clone());
        }
        snapshot.put_tensors("quantized", &self.tensors)?;
        snapshot.put_optimizer("optimizer", &self.optimizer)?;
        snapshot.put_optimizer("stepper", &self.stepper)?;
        snapshot.put("warnings", &self.warnings)?;
        if let Some((_, kept, tensors)) = &self.best {
            snapshot.put_parameters("best", kept)?;
            snapshot.put_tensors("best quantized", tensors)?;
        }
        if let Some(measure) = relevance {
            snapshot.put("measure", &measure.state())?;
        }
        snapshot.put("quantizer", &quantizer.state()?)?;
        Ok(snapshot)
    }
}
