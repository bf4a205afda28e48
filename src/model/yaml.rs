//! Models described in YAML: a list of named layers with inputs. The format is described in `docs/models.md`.

use crate::nn::layer::INPUT;
use crate::nn::{Layer, Network, Operation};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Name in tables; the file's name when absent.
    name: Option<String>,
    /// Shape of one input without the batch axis.
    input_shape: Vec<usize>,
    /// In topological order.
    layers: Vec<serde_saphyr::Spanned<serde_json::Value>>,
}

/// Reads a model from a YAML file.
///
/// # Errors
/// [`Error::Input`] naming file, line and layer for anything that is not a model.
pub fn load(path: &Path) -> Result<Network> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    parse(&text, path)
}

/// Reads a model from YAML text; `path` is for messages and the default name.
///
/// # Errors
/// [`Error::Input`] naming file, line and layer for anything that is not a model.
pub fn parse(text: &str, path: &Path) -> Result<Network> {
    let place = path.display();
    let document: Document =
        serde_saphyr::from_str(text).map_err(|error| Error::input(format!("{place}: {error}")))?;
    let mut previous = INPUT.to_string();
    let mut layers = Vec::with_capacity(document.layers.len());
    for entry in document.layers {
        let line = entry.referenced.line();
        let layer = layer(entry.value, &previous)
            .map_err(|error| Error::input_hint(format!("{place}:{line}: {error}"), LAYER_HINT))?;
        previous.clone_from(&layer.name);
        layers.push(layer);
    }
    let stem = || path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy().into_owned());
    let name = document.name.unwrap_or_else(stem);
    Network::new(&name, &document.input_shape, layers).map_err(|error| match error {
        Error::Input { message, hint } => Error::Input { message: format!("{place}: {message}"), hint },
        other => other,
    })
}

const LAYER_HINT: &str = "a layer is {name: …, kind: …} with the kind's fields and, where it does not read the layer \
                          before it, input: NAME or inputs: [NAME, NAME]; docs/models.md lists the kinds";

/// One layer: `name`, `input` or `inputs`, and the operation's own fields.
fn layer(value: serde_json::Value, previous: &str) -> std::result::Result<Layer, String> {
    let serde_json::Value::Object(mut fields) = value else { return Err("a layer must be a mapping".into()) };
    let name = match fields.remove("name") {
        Some(serde_json::Value::String(name)) => name,
        _ => return Err("a layer needs a name".into()),
    };
    // A linear layer's `inputs` is a size; only a list names sources.
    let sources = match fields.get("inputs") {
        Some(serde_json::Value::Array(_)) => fields.remove("inputs"),
        _ => None,
    };
    let inputs = match (fields.remove("input"), sources) {
        (None, None) => vec![previous.to_string()],
        (Some(serde_json::Value::String(input)), None) => vec![input],
        (None, Some(inputs)) => {
            serde_json::from_value(inputs).map_err(|error| format!("layer {name}: inputs: {error}"))?
        }
        _ => return Err(format!("layer {name}: give either input: NAME or inputs: [NAME, …]")),
    };
    // `kernel: 3` is short for `kernel: [3, 3]`; a shortcut's stride is one number.
    if fields.get("kind").is_some_and(|kind| kind != "shortcut") {
        for (key, value) in &mut fields {
            if matches!(key.as_str(), "kernel" | "stride" | "padding" | "dilation") && value.is_u64() {
                *value = serde_json::json!([value, value]);
            }
        }
    }
    let operation: Operation = serde_json::from_value(serde_json::Value::Object(fields))
        .map_err(|error| format!("layer {name}: {error}"))?;
    Ok(Layer { name, operation, inputs })
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
        assert!(error.to_string().contains("tiny.yaml:4: layer sum"), "{error}");
        let error = parse(&TINY.replace("inputs: 32", "inputs: 33"), Path::new("tiny.yaml")).unwrap_err();
        assert!(error.to_string().contains("layer fc"), "{error}");
        for cut in 0..TINY.len() {
            let _ = parse(&TINY[..cut], Path::new("tiny.yaml"));
        }
    }
}
