//! The quantizer that passes every question on to a program.

use super::exchange::{TensorFile, invalidate};
use super::greeting::{PROTOCOL, Wants, introduced};
use super::process::{Program, Start};
use super::reply;
use super::settings::{Calibration, Settings};
use crate::quant::Setup;
use crate::quant::calibration::{
    CalibrationData, CalibrationKind, CalibrationNeeds, LayerCalibration, Moments,
};
use crate::quant::quantizer::{
    Content, QuantizedTensor, Quantizer, Relevances, RunInfo, StepInfo, WeightTensor,
};
use crate::quant::scope::Scope;
use crate::quant::state::{from_state, to_state};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

struct External {
    scope: Scope,
    settings: Settings,
    run: Option<RunInfo>,
    /// A cell, since saving the state asks the program too.
    program: RefCell<Option<Program>>,
    wants: Wants,
    /// Whether the program has seen weights or a state.
    is_used: bool,
    /// Calibration data of the layers, until the program has it.
    calibration: Vec<(String, Vec<usize>, Vec<f32>)>,
    /// Gradients for the latent weights that `gather` got.
    gradients: Vec<(usize, Vec<f32>)>,
    files: [TensorFile; 3],
    /// The bytes of the last answer.
    answer: Vec<u8>,
    warnings: Vec<String>,
    /// Lines of a program that was ended, or about the program.
    log: Vec<String>,
}

/// The state of a run with a program of the user's.
#[derive(Serialize, Deserialize)]
struct State {
    /// What the program wrote, in hexadecimal digits; absent where it wrote nothing.
    program: Option<String>,
}

/// Builds it; the program is started by `begin`.
pub(super) fn build(setup: Setup) -> Result<Box<dyn Quantizer>> {
    let settings: Settings = setup.settings()?;
    if settings.command.is_empty() {
        return Err(Error::input_hint(
            format!("method {} needs a command", setup.method),
            "give the program and its arguments, such as 'command: [python3, my_quantizer.py]'",
        ));
    }
    Ok(Box::new(External {
        scope: setup.scope,
        settings,
        run: None,
        program: RefCell::default(),
        wants: Wants::default(),
        is_used: false,
        calibration: Vec::new(),
        gradients: Vec::new(),
        files: Default::default(),
        answer: Vec::new(),
        warnings: Vec::new(),
        log: Vec::new(),
    }))
}

impl External {
    /// Starts the program and greets it.
    fn greet(&mut self) -> Result<()> {
        // One that runs is ended first.
        *self.program.get_mut() = None;
        self.is_used = false;
        let run = self.run.as_ref().ok_or_else(|| {
            Error::input_hint(
                format!("method {} works in experiments only", super::METHOD.name),
                "write an experiment with it: docs/external.md",
            )
        })?;
        let directory = self.settings.directory(&run.folders)?;
        let mut program = Program::start(&Start {
            name: &self.settings.label,
            command: &self.settings.command,
            directory: directory.as_deref(),
            timeout: Duration::from_secs_f64(self.settings.timeout_seconds),
        })?;
        let tensors: Vec<Value> = run
            .tensors
            .iter()
            .map(|(name, shape)| match self.scope.bits(name).filter(|bits| Some(*bits) != run.bits) {
                Some(bits) => json!({"name": name, "shape": shape, "bits": bits}),
                None => json!({"name": name, "shape": shape}),
            })
            .collect();
        let hello = json!({
            "type": "hello", "protocol": PROTOCOL, "bits": run.bits, "seed": run.seed,
            "options": self.settings.options, "tensors": tensors, "total_steps": run.total_steps,
        });
        let what = "say hello";
        let answer = program.ask(what, &hello, "hello")?;
        match introduced(&answer) {
            Ok((wants, about)) => {
                self.log.push(about);
                if wants.contains(&"relevance") && !run.has_relevance {
                    return Err(Error::input_hint(
                        format!(
                            "{}: it wants relevance, and the experiment names no measure",
                            self.settings.label
                        ),
                        "add 'relevance: lrp' to its entry, or take 'relevance' out of what it wants",
                    ));
                }
                if run.has_relevance && !wants.contains(&"relevance") {
                    self.warn("it does not want relevance: 'relevance' in its entry has no effect");
                }
                let wants = |what: &str| wants.contains(&what);
                self.wants = Wants {
                    relevance: wants("relevance"),
                    calibration: wants("calibration"),
                    backward: wants("backward"),
                };
                *self.program.get_mut() = Some(program);
                Ok(())
            }
            Err(why) => Err(program.failed(what, &why)),
        }
    }

    fn warn(&mut self, what: &str) {
        let warning = format!("{}: {what}", self.settings.label);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Levels beyond what the bit width allows are coded as they are, and told.
    fn check_levels(&mut self, tensors: &[QuantizedTensor]) {
        for tensor in tensors {
            let Content::Levels { codebook, .. } = &tensor.content else { continue };
            let (lowest, highest) = codebook.range();
            let levels = i64::from(highest) - i64::from(lowest) + 1;
            if let Some(bits) = self.scope.bits(&tensor.name)
                && levels > 1 << bits
            {
                self.warn(&format!("{}: {levels} levels are more than {bits} bit have", tensor.name));
            }
        }
    }
}

/// The running program.
fn running<'a>(program: &'a mut Option<Program>, label: &str) -> Result<&'a mut Program> {
    program.as_mut().ok_or_else(|| Error::Program(format!("{label}: it is not running")))
}

impl Quantizer for External {
    fn begin(&mut self, run: &RunInfo) -> Result<()> {
        self.run = Some(run.clone());
        self.greet()
    }

    fn initialize(&mut self, _: &[WeightTensor<'_>]) -> Result<()> {
        match self.is_used || self.program.get_mut().is_none() {
            // After a state that did not fit.
            true => self.greet(),
            false => Ok(()),
        }
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        relevance: Option<&Relevances>,
        at: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        self.is_used = true;
        let program = running(self.program.get_mut(), &self.settings.label)?;
        let [weights_file, relevance_file, _] = &mut self.files;
        let (path, output) = (program.file("weights.safetensors"), program.file("quantized.safetensors"));
        let tensors: Vec<_> =
            weights.iter().map(|tensor| (tensor.name, tensor.shape, tensor.values)).collect();
        weights_file.write(&path, &tensors)?;
        let mut message = json!({"type": "quantize", "step": at.step, "epoch": at.epoch, "weights": path});
        if let Some(relevance) = relevance {
            let path = program.file("relevance.safetensors");
            let of = |tensor: &WeightTensor<'_>| Some(relevance.get(tensor.name)?.as_slice());
            let tensors: Option<Vec<_>> =
                weights.iter().map(|tensor| Some((tensor.name, tensor.shape, of(tensor)?))).collect();
            let tensors = tensors.ok_or_else(|| Error::input("relevance of other tensors"))?;
            relevance_file.write(&path, &tensors)?;
            message["relevance"] = json!(path);
        }
        if !self.calibration.is_empty() {
            let path = program.file("calibration.safetensors");
            let tensors: Vec<_> = self
                .calibration
                .iter()
                .map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.as_slice()))
                .collect();
            TensorFile::default().write(&path, &tensors)?;
            message["calibration"] = json!(path);
            self.calibration = Vec::new();
        }
        message["output"] = json!(output);
        let what = format!("quantize step {}", at.step);
        let found =
            answered(program, &what, &message, (&output, &mut self.answer), weights, reply::quantized)?;
        self.check_levels(&found);
        Ok(found)
    }

    fn wants_relevance(&self) -> bool {
        self.wants.relevance
    }

    fn wants_calibration(&self) -> Option<CalibrationNeeds> {
        let kind = match self.settings.calibration {
            Calibration::Inputs => CalibrationKind::Inputs,
            Calibration::Hessian => CalibrationKind::Moments,
        };
        self.wants.calibration.then_some(CalibrationNeeds { kind, sequential: false })
    }

    fn calibrate(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        layer: LayerCalibration,
    ) -> Result<Option<QuantizedTensor>> {
        if index == 0 {
            self.calibration.clear();
        }
        let (shape, values) = match layer.data {
            CalibrationData::Inputs { shape, values } => (shape, values),
            CalibrationData::Moments(Moments { size, groups, .. }) => {
                let shape = match groups.len() {
                    1 => vec![size, size],
                    count => vec![count, size, size],
                };
                (shape, groups.iter().flatten().map(|value| *value as f32).collect())
            }
        };
        self.calibration.push((weights.name.to_owned(), shape, values));
        Ok(None)
    }

    fn wants_gradients(&self) -> bool {
        self.wants.backward
    }

    fn gather(&mut self, weights: &[WeightTensor<'_>], gradients: Vec<(usize, Vec<f32>)>) -> Result<()> {
        let program = running(self.program.get_mut(), &self.settings.label)?;
        let (path, output) = (program.file("gradients.safetensors"), program.file("latent.safetensors"));
        let tensors: Vec<_> = gradients
            .iter()
            .filter_map(|(index, gradient)| {
                let tensor = weights.get(*index)?;
                Some((tensor.name, tensor.shape, gradient.as_slice()))
            })
            .collect();
        let wanted: Vec<WeightTensor<'_>> =
            tensors.iter().map(|&(name, shape, values)| WeightTensor { name, shape, values }).collect();
        self.files[2].write(&path, &tensors)?;
        let message = json!({"type": "backward", "gradients": path, "output": output});
        let found = answered(
            program,
            "give gradients for the latent weights",
            &message,
            (&output, &mut self.answer),
            &wanted,
            reply::floats,
        )?;
        self.gradients = gradients.iter().map(|(index, _)| *index).zip(found).collect();
        Ok(())
    }

    fn backward(
        &mut self,
        index: usize,
        _: WeightTensor<'_>,
        _: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        if let Some((_, found)) = self.gradients.iter().find(|(of, _)| *of == index) {
            gradient.copy_from_slice(found);
        }
        Ok(())
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn take_log(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.log);
        if let Some(program) = self.program.get_mut() {
            lines.extend(program.take_log());
        }
        lines.iter().map(|line| format!("{}: {line}", self.settings.label)).collect()
    }

    fn state(&self) -> Result<Value> {
        let mut program = self.program.borrow_mut();
        let program = running(&mut program, &self.settings.label)?;
        let output = program.file("state");
        let what = "save its state";
        // What an earlier question left is nobody's state.
        if output.exists() {
            std::fs::remove_file(&output).map_err(Error::io(&output))?;
        }
        program.ask(what, &json!({"type": "state", "output": output}), "done")?;
        let content = match output.exists() {
            true => {
                let mut bytes = Vec::new();
                reply::read(&output, usize::MAX / 64, &mut bytes)
                    .map_err(|why| program.failed(what, &why))?;
                Some(hexadecimal(&bytes))
            }
            false => None,
        };
        to_state(&State { program: content })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = from_state(state)?;
        let Some(text) = state.program else { return Ok(()) };
        let content =
            from_hexadecimal(&text).ok_or_else(|| Error::input("saved quantizer state: no bytes"))?;
        self.is_used = true;
        let program = running(self.program.get_mut(), &self.settings.label)?;
        let input = program.file("state");
        std::fs::write(&input, content).map_err(Error::io(&input))?;
        program.ask("restore its state", &json!({"type": "restore", "input": input}), "done")?;
        Ok(())
    }
}

/// Asks for a file of tensors like `wanted` and reads it by way of `bytes`.
fn answered<T>(
    program: &mut Program,
    what: &str,
    message: &Value,
    (output, bytes): (&Path, &mut Vec<u8>),
    wanted: &[WeightTensor<'_>],
    read: impl Fn(&[u8], &[WeightTensor<'_>]) -> std::result::Result<T, String>,
) -> Result<T> {
    invalidate(output)?;
    program.ask(what, message, "done")?;
    let weights = wanted.iter().map(|tensor| tensor.values.len()).sum();
    let found = reply::read(output, weights, bytes).and_then(|()| read(bytes, wanted));
    found.map_err(|why| program.failed(what, &why))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}
