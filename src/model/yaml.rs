//! Models described in YAML: a list of named layers with inputs. The format is described in `docs/models.md`.

use crate::error::did_you_mean_or_all;
use crate::io::yaml::{self, Expecting, Spanned};
use crate::nn::layer::INPUT;
use crate::nn::ops::Activation;
use crate::nn::{Layer, Network, Operation};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Name in tables; the file's name when absent.
    name: Option<String>,
    /// Shape of one input without the batch axis.
    input_shape: Vec<usize>,
    /// In topological order.
    layers: Vec<Spanned<Value>>,
}

/// Reads a model from a YAML file.
///
/// # Errors
/// [`Error::Input`] naming file, line and layer for anything that is not a model.
pub fn load(path: &Path) -> Result<Network> {
    parse(&crate::io::read_text(path)?, path)
}

/// Reads a model from YAML text; `path` is for messages and the default name.
///
/// # Errors
/// [`Error::Input`] naming file, line and layer for anything that is not a model.
pub fn parse(text: &str, path: &Path) -> Result<Network> {
    let place = path.display();
    let document: Document = yaml::parse(text, path, MODEL)?;
    if document.input_shape.is_empty()
        || document.input_shape.iter().any(|size| !(1..=LARGEST as usize).contains(size))
    {
        return Err(Error::input_hint(
            format!(
                "{place}: input_shape must be a list of sizes from 1 to {LARGEST}, found {:?}",
                document.input_shape
            ),
            "for images [channels, height, width], for example [3, 32, 32]",
        ));
    }
    let mut previous = INPUT.to_string();
    let mut layers = Vec::with_capacity(document.layers.len());
    for entry in document.layers {
        let layer = layer(entry.value, &previous).map_err(|error| {
            let hint = error.hint().unwrap_or(LAYER_HINT).to_owned();
            Error::input_hint(format!("{place}:{}:{}: {error}", entry.at.line, entry.at.column), hint)
        })?;
        previous.clone_from(&layer.name);
        layers.push(layer);
    }
    let stem = || path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy().into_owned());
    let name = document.name.unwrap_or_else(stem);
    Network::new(&name, &document.input_shape, layers).map_err(|error| error.at(place))
}

const LAYER_HINT: &str = "a layer is {name: …, kind: …} with the kind's fields and, where it does not read the layer \
                          before it, input: NAME or inputs: [NAME, NAME]; docs/models.md lists the kinds";

/// What the file is, for messages.
const MODEL: Expecting = Expecting { what: "the model", reference: "docs/models.md describes every key" };

/// One layer: `name`, `input` or `inputs`, and the operation's own fields.
fn layer(value: Value, previous: &str) -> Result<Layer> {
    let Value::Object(mut fields) = value else {
        return Err(Error::input(format!("a layer must be a mapping of keys, found {value}")));
    };
    let name = match fields.shift_remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(Error::input(format!("a layer's name must be text, found {other}"))),
        None => return Err(Error::input("a layer has no 'name', which it needs")),
    };
    let wrong = |what: String| Error::input(format!("layer {name}: {what}"));
    // A linear layer's `inputs` is a size; only a list names sources.
    let sources = match fields.get("inputs") {
        Some(Value::Array(_)) => fields.shift_remove("inputs"),
        _ => None,
    };
    let inputs = match (fields.shift_remove("input"), sources) {
        (None, None) => vec![previous.to_string()],
        (Some(Value::String(input)), None) => vec![input],
        (None, Some(Value::Array(inputs))) => inputs
            .into_iter()
            .map(|input| match input {
                Value::String(input) => Ok(input),
                other => Err(wrong(format!("inputs must be names of layers, found {other}"))),
            })
            .collect::<Result<_>>()?,
        _ => return Err(wrong("give either input: NAME or inputs: [NAME, NAME]".into())),
    };
    check_kind(&fields, &name)?;
    check_kinds(&fields).map_err(wrong)?;
    // `kernel: 3` is short for `kernel: [3, 3]`; a shortcut's stride is one number.
    if fields.get("kind").is_some_and(|kind| kind != "shortcut") {
        for (key, value) in &mut fields {
            if PAIRS.contains(&key.as_str()) && value.is_u64() {
                *value = serde_json::json!([value, value]);
            }
        }
    }
    // An activation is a kind like any other, although its name is a field of the operation.
    if let Some(Value::String(kind)) = fields.get("kind").filter(|kind| is_activation(kind)).cloned() {
        fields.insert("kind".into(), "activation".into());
        fields.insert("function".into(), kind.into());
    }
    let operation: Operation = yaml::from_value(&Value::Object(fields), &format!("layer {name}"))?;
    Ok(Layer { name, operation, inputs })
}

/// Largest size of anything in a layer: beyond it, products of sizes have no meaning.
const LARGEST: u64 = 1 << 24;

/// Keys with one value for each direction.
const PAIRS: [&str; 5] = ["kernel", "stride", "padding", "dilation", "output"];

/// Kinds of layers without settings; serde does not look for further keys in them.
const BARE: [&str; 6] = ["relu", "flatten", "global_avg_pool", "add", "multiply", "concat"];

fn is_activation(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| Activation::NAMES.contains(&kind))
}

/// Checks that the kind is a known one, where it is text.
fn check_kind(fields: &Map<String, Value>, name: &str) -> Result<()> {
    let known = || Operation::KINDS.into_iter().chain(Activation::NAMES);
    match fields.get("kind") {
        Some(Value::String(kind)) if !known().any(|known| known == kind) => Err(Error::input_hint(
            format!("layer {name}: unknown kind '{kind}'"),
            did_you_mean_or_all(kind, known(), "there are"),
        )),
        _ => Ok(()),
    }
}

/// Checks what fields hold by their names, which are the same for all kinds of layers.
fn check_kinds(fields: &Map<String, Value>) -> std::result::Result<(), String> {
    let size = |value: &Value| value.as_u64().is_some_and(|size| size <= LARGEST);
    let kind = fields.get("kind").and_then(Value::as_str);
    let is_bare =
        |kind: &&str| BARE.contains(kind) || (Activation::NAMES.contains(kind) && *kind != "leaky_relu");
    let bare = kind.filter(is_bare);
    if let (Some(kind), Some(key)) = (bare, fields.keys().find(|key| *key != "kind")) {
        return Err(format!("{kind} has no key '{key}' (it has none)"));
    }
    for (key, value) in fields {
        let (valid, expected) = match key.as_str() {
            "kind" => (value.is_string(), "the name of a kind of layer".to_owned()),
            "bias" => (value.is_boolean(), "true or false".into()),
            "epsilon" | "momentum" | "rate" | "slope" => (value.is_number(), "a number".into()),
            "shape" => {
                let list = value.as_array().is_some_and(|list| list.iter().all(size));
                (list, "a list of whole numbers".into())
            }
            key if PAIRS.contains(&key) => {
                let pair = value.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(size));
                (size(value) || pair, "a whole number or [vertical, horizontal]".into())
            }
            "inputs" | "outputs" | "in_channels" | "out_channels" | "features" | "groups" => {
                (size(value), format!("a whole number from 0 to {LARGEST}"))
            }
            // Which others there are is known to the kind.
            _ => continue,
        };
        if !valid {
            let found = value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"));
            return Err(format!("{key} must be {expected}, found {found}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = "input_shape: [1, 4, 4]\nlayers:\n  - {name: conv, kind: conv2d, in_channels: 1, out_channels: 2, kernel: 3, padding: 1}\n  - {name: sum, kind: add, inputs: [conv, conv]}\n  - {name: flat, kind: flatten}\n  - {name: fc, kind: linear, inputs: 32, outputs: 3}\n";

    /// A described network has the layers, sizes and parameter names it says.
    #[test]
    fn describes_a_network() {
        let network = parse(TINY, Path::new("tiny.yaml")).unwrap();
        assert_eq!((network.name.as_str(), network.classes, network.layers().len()), ("tiny", 3, 4));
        assert_eq!(network.parameter_shapes()[0].name, "conv.weight");
    }

    /// Mistakes name file, line and layer and never panic.
    #[test]
    fn mistakes_are_located() {
        let error = parse(&TINY.replace("kind: add", "kind: ad"), Path::new("tiny.yaml")).unwrap_err();
        assert!(error.to_string().contains("tiny.yaml:4:5: layer sum"), "{error}");
        let error = parse(&TINY.replace("inputs: 32", "inputs: 33"), Path::new("tiny.yaml")).unwrap_err();
        assert!(error.to_string().contains("layer fc"), "{error}");
        for cut in 0..TINY.len() {
            let _ = parse(&TINY[..cut], Path::new("tiny.yaml"));
        }
    }
}
