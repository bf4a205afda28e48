//! Training passes and inference of every model, and relevance by every composite and measure.

use super::{Check, Given, Values, compare, disturb};
use crate::Result;
use crate::model;
use crate::nn::init::initialise;
use crate::nn::{Mode, Network, Parameters, Role, ops, transfer};
use crate::quant::Profile;
use crate::relevance::lrp::{COMPOSITES, Settings, Wanted, explain};
use crate::relevance::{self, Context};
use crate::rng::Rng;
use candle_core::Device;
use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-5;
/// Gradients jump where rounding flips a ReLU or a maximum near its edge, by about one over the root of the active values.
const FLIPS: f64 = 5e-3;

/// All models, with an input shape and options.
pub fn models() -> Vec<(&'static str, Vec<usize>, Value)> {
    vec![
        ("mlp-gsc", vec![1, 49, 10], json!({"dropout": 0.3, "batch_norm": true})),
        ("cnn-small", vec![3, 16, 16], json!({})),
        ("resnet20", vec![3, 16, 16], json!({})),
        ("vgg16", vec![3, 32, 32], json!({})),
        ("resnet18", vec![3, 32, 32], json!({})),
    ]
}

/// A model of [`models`] with 10 classes.
pub fn network(name: &str, shape: &[usize], options: &Value) -> Result<Network> {
    model::build(name, shape, 10, options.as_object().unwrap_or(&model::Options::new()))
}

/// Initial weights, with statistics of a batch norm that has seen something.
pub fn parameters(network: &Network, device: &Device, disturbed: bool) -> Result<Parameters> {
    let parameters = initialise(network, &Device::Cpu, 1)?;
    let mut rng = Rng::stream(5, "statistics");
    let mut sent = Parameters::new(device.clone());
    for (name, parameter) in parameters.iter() {
        let mut values: Vec<f32> = match parameter.role {
            Role::Statistic | Role::Affine => {
                (0..parameter.var.elem_count()).map(|_| rng.range(0.5, 1.5)).collect()
            }
            Role::Weight | Role::Bias => parameters.values(name)?,
        };
        if disturbed {
            disturb(&mut values);
        }
        sent.insert(name, &transfer::tensor(values, parameter.var.shape(), device)?, parameter.role)?;
    }
    Ok(sent)
}

pub fn checks(device: &Device, seen: &mut dyn FnMut(Check)) {
    for (name, shape, options) in models() {
        let network = match network(name, &shape, &options) {
            Ok(network) => network,
            Err(error) => {
                seen(compare("network", name, 0.0, device, |_| {
                    Err(crate::Error::Internal(error.to_string()))
                }));
                continue;
            }
        };
        for frozen in [false, true] {
            let what = if frozen { "frozen batch norm" } else { "training" };
            let logits = |given: &Given<'_>| Ok(pass(given, &network, frozen)?.0);
            seen(compare("network", format!("{name}, {what}"), TOLERANCE, device, logits));
            let gradients = |given: &Given<'_>| Ok(pass(given, &network, frozen)?.1);
            seen(compare("network", format!("{name}, {what}, gradients"), FLIPS, device, gradients));
        }
        // The rules are the same for all models; two show skips, poolings and vectors.
        if !["resnet20", "mlp-gsc"].contains(&name) {
            continue;
        }
        for composite in COMPOSITES {
            let work = |given: &Given<'_>| relevance_by_composite(given, &network, composite.name);
            seen(compare("relevance", format!("{name}, {}", composite.name), TOLERANCE, device, work));
        }
        for rule in rules() {
            let work = |given: &Given<'_>| relevance_by_rule(given, &network, &rule);
            seen(compare("relevance", format!("{name}, weight rule {rule}"), TOLERANCE, device, work));
        }
        for measure in ["taylor", "fisher", "magnitude"] {
            let work = |given: &Given<'_>| relevance_by_measure(given, &network, measure);
            seen(compare("relevance", format!("{name}, {measure}"), TOLERANCE, device, work));
        }
    }
}

/// Logits, running statistics and inference; and gradients.
fn pass(given: &Given<'_>, network: &Network, frozen: bool) -> Result<(Values, Values)> {
    let parameters = parameters(network, given.device, false)?;
    let x = given.normal("input", &[vec![4], network.input_shape.clone()].concat())?;
    let mut dropout = Rng::stream(3, "dropout");
    let exact = ops::ConvAlgorithm::Auto;
    let mode = match frozen {
        true => Mode::TrainingFrozenNorm(&mut dropout, exact),
        false => Mode::Training(&mut dropout, exact),
    };
    let trace = network.forward(&parameters, &x, mode)?;
    let logits = trace.logits().detach();
    let loss = ops::training_loss(&logits, &[0, 3, 5, 9])?;
    let gradients = network.backward(&parameters, trace, &loss.gradient)?;
    let mut found: Values = vec![("logits".into(), transfer::values(&logits)?)];
    let gradients =
        gradients.iter().map(|(name, gradient)| Ok((name.to_owned(), transfer::values(gradient)?)));
    let gradients = gradients.collect::<Result<Values>>()?;
    for (name, _) in parameters.iter().filter(|(_, parameter)| parameter.role == Role::Statistic) {
        found.push((name.to_owned(), parameters.values(name)?));
    }
    found.push(("inference".into(), transfer::values(&network.infer(&parameters, &x)?)?));
    Ok((found, gradients))
}

fn rules() -> Vec<Value> {
    vec![
        json!("zplus"),
        json!("flat"),
        json!("wsquare"),
        json!({"gamma": 0.5}),
        json!("gamma_adapt"),
        json!("gamma_bn_conv"),
        json!({"alphabeta": [2, 1]}),
    ]
}

fn relevance_by_composite(given: &Given<'_>, network: &Network, composite: &str) -> Result<Values> {
    let settings = Settings::parse(&json!({"composite": composite, "epsilon": 0.01}), Profile::Default)?;
    explained(given, network, &settings, Wanted::Everything)
}

fn relevance_by_rule(given: &Given<'_>, network: &Network, rule: &Value) -> Result<Values> {
    let spec = json!({"weight_rule": rule, "epsilon": 0.01, "start": "probability"});
    explained(given, network, &Settings::parse(&spec, Profile::Default)?, Wanted::Weights)
}

fn explained(given: &Given<'_>, network: &Network, settings: &Settings, wanted: Wanted) -> Result<Values> {
    let parameters = parameters(network, given.device, false)?;
    let x = given.normal("input", &[vec![2], network.input_shape.clone()].concat())?;
    let found = explain(settings, network, &parameters, &x, &[3, 9], wanted)?;
    let mut values: Values = Vec::new();
    for (name, relevance) in &found.parameters {
        values.push((name.clone(), transfer::values(relevance)?));
    }
    if let Some(input) = &found.input {
        values.push(("input".into(), transfer::values(input)?));
    }
    Ok(values)
}

fn relevance_by_measure(given: &Given<'_>, network: &Network, measure: &str) -> Result<Values> {
    let parameters = parameters(network, given.device, false)?;
    let x = given.normal("input", &[vec![4], network.input_shape.clone()].concat())?;
    let mut measure = relevance::build(&relevance::builtin(), Some(&json!(measure)), Context::default())?;
    // On the device where the measure can, as training does.
    match measure.relevance_tensors(network, &parameters, &x, &[0, 3, 5, 9])? {
        Some(found) => {
            found.into_iter().map(|(name, tensor)| Ok((name, transfer::values(&tensor)?))).collect()
        }
        None => Ok(measure.relevance(network, &parameters, &x, &[0, 3, 5, 9])?.into_iter().collect()),
    }
}
