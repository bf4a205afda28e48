//! What the quantization-aware loop changes from step to step besides its [`Position`], and how a checkpoint keeps it.

use super::device_state::DeviceState;
use super::latent::LatentWeights;
use super::optimizer::Optimizer;
use super::position::Position;
use super::settings::TrainingSpec;
use crate::Result;
use crate::nn::Parameters;
use crate::quant::quantizer::{QuantizedTensor, Quantizer};
use crate::relevance::RelevanceMeasure;
use crate::snapshot::Snapshot;

/// What the loop changes besides its [`Position`].
pub(super) struct LoopState {
    pub parameters: Parameters,
    pub latent: LatentWeights,
    /// As of the last [`download`](Self::download) where steps stay on a device.
    pub tensors: Vec<QuantizedTensor>,
    /// Latent weights and assignment, where steps stay on a device.
    pub device: Option<DeviceState>,
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
            device: None,
            optimizer: Optimizer::new(spec),
            stepper: Optimizer::new(spec),
            best: None,
            warnings: Vec::new(),
        })
    }

    /// Brings what steps left on a device to the host.
    pub fn download(&mut self) -> Result<()> {
        match &self.device {
            Some(device) => device.download(&mut self.latent, &mut self.tensors),
            None => Ok(()),
        }
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
        self.download()?;
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
