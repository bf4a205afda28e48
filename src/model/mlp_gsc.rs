//! The multilayer perceptron of the paper for Speech Commands: 512–512–256–256–128–128–classes with ReLU.

use super::Options;
use crate::Result;
use crate::nn::{Layer, Network, Operation, layer::INPUT};
use serde::Deserialize;

/// Widths of the hidden layers.
const HIDDEN: [usize; 6] = [512, 512, 256, 256, 128, 128];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Batch norm after every hidden layer.
    batch_norm: bool,
    /// Dropout rate after every hidden layer.
    dropout: f64,
}

/// Options: `batch_norm` (default false), `dropout` (rate, default 0).
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for an option or an input shape that does not fit.
pub fn build(input_shape: &[usize], classes: usize, options: &Options) -> Result<Network> {
    let settings: Settings = super::options("mlp-gsc", options)?;
    let mut layers = vec![Layer::new("flatten", Operation::Flatten, INPUT)];
    let mut last = "flatten".to_string();
    let mut push = |layers: &mut Vec<Layer>, name: String, operation| {
        layers.push(Layer::new(&name, operation, &last));
        last = name;
    };
    let mut inputs = input_shape.iter().product();
    for (index, &outputs) in HIDDEN.iter().enumerate() {
        let n = index + 1;
        push(&mut layers, format!("fc{n}"), Operation::Linear { inputs, outputs, bias: true });
        if settings.batch_norm {
            push(&mut layers, format!("bn{n}"), Operation::batch_norm(outputs));
        }
        push(&mut layers, format!("relu{n}"), Operation::Relu);
        if settings.dropout > 0.0 {
            push(&mut layers, format!("dropout{n}"), Operation::Dropout { rate: settings.dropout });
        }
        inputs = outputs;
    }
    push(&mut layers, "fc7".into(), Operation::Linear { inputs, outputs: classes, bias: true });
    Network::new("mlp-gsc", input_shape, layers)
}
