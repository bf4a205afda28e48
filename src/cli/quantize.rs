//! `ecqx quantize`: post-training quantization of a checkpoint alone.

use super::Global;
use super::evaluate::options as key_values;
use crate::codec::{EncodeOptions, model_file};
use crate::model::checkpoint::{self, StateDict};
use crate::quant::codebook::Codebook;
use crate::quant::quantizer::{
    Content, QuantizedTensor, Relevances, StepInfo, WeightTensor, replace_undefined,
};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Quantize a checkpoint without training
///
/// Weights of convolutions and linear layers (tensors called NAME.weight with more than one dimension) are quantized. The
/// output holds, for each, the values under its name, the level indices under NAME.levels and the step under NAME.step
/// (the levels' values under NAME.codebook where they are not evenly spaced); all other tensors stay as they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint: .pt, .pth, .th, .safetensors or .nnc
    #[arg(long)]
    weights: PathBuf,
    /// Method: a name from `ecqx ls quantizers`
    #[arg(long)]
    method: String,
    /// Bit width
    #[arg(long)]
    bits: Option<u32>,
    /// Strength of the entropy term
    #[arg(long, value_parser = super::number)]
    lambda: Option<f64>,
    /// Width of ECQx's sparsity band
    #[arg(long, value_parser = super::number)]
    p: Option<f64>,
    /// Whose choices stand for the rest: default or reference
    #[arg(long)]
    profile: Option<String>,
    /// Relevance of the weights, under their names, as `ecqx explain` writes it
    #[arg(long, value_name = "FILE.safetensors")]
    relevance: Option<PathBuf>,
    /// Name pattern of weights that stay as they are (several times) [default: the method's]
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Another parameter of the method, as KEY=VALUE (several times)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the result goes; a name that ends in .nnc gives a model file, the bitstream that holds everything
    #[arg(long, value_name = "OUT.safetensors|OUT.nnc")]
    output: PathBuf,
}

impl Args {
    fn parameters(&self) -> Result<Map<String, Value>> {
        let mut parameters: Map<String, Value> = key_values("--set", &self.set)?.into_iter().collect();
        let own = [
            ("lambda", self.lambda.map(Value::from)),
            ("p", self.p.map(Value::from)),
            ("profile", self.profile.clone().map(Value::from)),
            ("exclude", (!self.exclude.is_empty()).then(|| self.exclude.clone().into())),
        ];
        for (key, value) in own {
            if let Some(value) = value {
                parameters.insert(key.into(), value);
            }
        }
        Ok(parameters)
    }
}

/// Weights of convolutions and linear layers by their form.
fn is_weight(name: &str, tensor: &Tensor) -> bool {
    let float = matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16 | DType::F64);
    float && tensor.rank() > 1 && name.ends_with(".weight")
}

/// The relevance of every weight from a file.
fn relevance(path: &Path, names: &[String], state: &StateDict) -> Result<Relevances> {
    let file = checkpoint::read(path)?;
    let wrong = |what: String| {
        Error::input_hint(
            format!("{}: {what}", path.display()),
            "a relevance file must come from the same model; `ecqx explain` writes one",
        )
    };
    let mut relevances = Relevances::new();
    for name in names {
        let tensor = file.get(name).ok_or_else(|| wrong(format!("no relevance of {name}")))?;
        if tensor.dims() != state[name].dims() {
            return Err(wrong(format!(
                "relevance of {name} has shape {:?}, the weight {:?}",
                tensor.dims(),
                state[name].dims()
            )));
        }
        relevances.insert(name.clone(), tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
    }
    Ok(relevances)
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let method = global.registry.quantizers.find(&args.method)?;
    let (mut quantizer, scope) = method.quantizer(args.bits, &args.parameters()?)?;
    let state = checkpoint::read(&args.weights)?;
    let weights = state.iter().filter(|(name, tensor)| is_weight(name, tensor));
    let names = scope.select(weights.map(|(name, _)| name.as_str()));
    if names.is_empty() {
        return Err(Error::input_hint(
            format!("{}: there is nothing to quantize", args.weights.display()),
            "weights are tensors called NAME.weight with more than one dimension; see also --exclude",
        )
        .into());
    }
    let mut values: Vec<Vec<f32>> = names
        .iter()
        .map(|name| Ok(state[name].to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
        .collect::<Result<_>>()?;
    for (name, values) in names.iter().zip(&mut values) {
        if let Some(warning) = replace_undefined(name, values) {
            eprintln!("warning: {warning}");
        }
    }
    let weights: Vec<WeightTensor<'_>> = names
        .iter()
        .zip(&values)
        .map(|(name, values)| WeightTensor { name, shape: state[name].dims(), values })
        .collect();
    let relevance = match (&args.relevance, quantizer.wants_relevance()) {
        (Some(path), true) => Some(relevance(path, &names, &state)?),
        (None, false) => None,
        (Some(_), false) => {
            return Err(Error::input(format!("method {} uses no relevance", args.method)).into());
        }
        (None, true) => {
            return Err(Error::input_hint(
                format!("method {} needs --relevance FILE.safetensors", args.method),
                "`ecqx explain` writes one",
            )
            .into());
        }
    };
    quantizer.initialize(&weights)?;
    let tensors = quantizer.assign(&weights, relevance.as_ref(), StepInfo::POST_TRAINING)?;
    let all = state.iter().filter(|(name, tensor)| is_weight(name, tensor)).map(|(name, _)| name.as_str());
    for warning in quantizer.take_warnings().into_iter().chain(scope.warnings(all)) {
        eprintln!("warning: {warning}");
    }
    if args.output.extension().is_some_and(|extension| extension == "nnc") {
        let (bytes, _) = model_file::write(&model(&state, &tensors)?, &EncodeOptions::default())?;
        crate::io::write_atomically(&args.output, |file| std::io::Write::write_all(file, &bytes))?;
    } else {
        let written = output(&state, &tensors)?;
        let written = written.iter().map(|(name, tensor)| (name.as_str(), tensor));
        checkpoint::write_safetensors(&args.output, written)?;
    }
    let layers: Vec<Value> = tensors.iter().map(describe).collect();
    if global.json {
        println!("{}", json!({"method": args.method, "bits": args.bits, "layers": layers}));
    } else {
        println!(
            "{:<40} {:>9} {:>9} {:>7} {:>8} {:>12}",
            "weight", "values", "zeros", "% zero", "levels", "bits/weight"
        );
        for layer in &layers {
            println!(
                "{:<40} {:>9} {:>9} {:>7.2} {:>8} {:>12}",
                layer["name"].as_str().unwrap_or(""),
                layer["values"].as_u64().unwrap_or(0),
                layer["zeros"].as_u64().unwrap_or(0),
                layer["sparsity"].as_f64().unwrap_or(0.0),
                layer["levels_in_use"].as_u64().map_or("-".into(), |levels| levels.to_string()),
                layer["entropy"].as_f64().map_or("-".into(), |bits| format!("{bits:.3}")),
            );
        }
        println!("written to {}", args.output.display());
    }
    Ok(super::DONE)
}

/// What is told about one tensor; sparsity in percent, entropy in bits per weight.
fn describe(tensor: &QuantizedTensor) -> Value {
    match &tensor.content {
        Content::Levels { positions, codebook } => {
            let levels = codebook.levels_of(positions);
            let zeros = levels.iter().filter(|level| **level == 0).count();
            let mut used = levels.clone();
            used.sort_unstable();
            used.dedup();
            let count = levels.len().max(1) as f64;
            json!({
                "name": tensor.name, "values": levels.len(), "zeros": zeros, "sparsity": 100.0 * zeros as f64 / count,
                "levels_in_use": used.len(), "entropy": crate::codec::comparison::entropy_bits(&levels) / count,
            })
        }
        Content::Values(values) => {
            let zeros = values.iter().filter(|value| **value == 0.0).count();
            let sparsity = 100.0 * zeros as f64 / values.len().max(1) as f64;
            json!({"name": tensor.name, "values": values.len(), "zeros": zeros, "sparsity": sparsity})
        }
    }
}

/// The checkpoint with quantized tensors and their levels.
fn output(state: &StateDict, tensors: &[QuantizedTensor]) -> Result<StateDict> {
    let mut out = state.clone();
    for tensor in tensors {
        let (name, shape) = (&tensor.name, tensor.shape.as_slice());
        let vector = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu);
        match &tensor.content {
            Content::Values(values) => {
                out.insert(name.clone(), vector(values.clone(), shape)?);
            }
            Content::Levels { positions, codebook } => {
                out.insert(name.clone(), vector(codebook.values_of(positions), shape)?);
                let levels = Tensor::from_vec(codebook.levels_of(positions), shape, &Device::Cpu)?;
                out.insert(format!("{name}.levels"), levels);
                match codebook {
                    Codebook::Uniform { step, .. } => {
                        out.insert(format!("{name}.step"), vector(vec![*step], &[1])?);
                    }
                    Codebook::Explicit { values, .. } => {
                        out.insert(format!("{name}.codebook"), vector(values.clone(), &[values.len()])?);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// All tensors of the checkpoint, the quantized ones as levels.
fn model(state: &StateDict, tensors: &[QuantizedTensor]) -> Result<Vec<QuantizedTensor>> {
    state
        .iter()
        .map(|(name, tensor)| match tensors.iter().find(|quantized| quantized.name == *name) {
            Some(quantized) => Ok(quantized.clone()),
            None => {
                let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                let (name, shape) = (name.clone(), tensor.dims().to_vec());
                Ok(QuantizedTensor { name, shape, content: Content::Values(values) })
            }
        })
        .collect()
}
