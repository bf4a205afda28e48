//! Weights of a network with another number of classes: the last layer begins anew.

use super::{StateDict, names};
use crate::Result;
use crate::nn::{Network, Parameters};

/// Replaces the tensors of the last layer by those of `fresh` where the checkpoint has them for another number of classes.
/// Returns what to say of it; nothing where the checkpoint's fit.
///
/// # Errors
/// [`Error::Internal`](crate::Error::Internal) when `fresh` is not of this network.
pub fn renew_head(state: &mut StateDict, network: &Network, fresh: &Parameters) -> Result<Option<String>> {
    let shapes = network.parameter_shapes();
    let Some((layer, _)) = shapes.last().and_then(|last| last.name.rsplit_once('.')) else { return Ok(None) };
    let of_layer = shapes.iter().filter(|shape| {
        shape.name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.') && !rest[1..].contains('.'))
    });
    let (mut renewed, mut outputs) = (Vec::new(), 0);
    for shape in of_layer {
        let is_it = |key: &&String| **key == shape.name || names::variants(key).contains(&shape.name);
        let Some(key) = state.keys().find(is_it).cloned() else { continue };
        let (found, wanted) = (state[&key].dims(), shape.shape.as_slice());
        let only_classes = found.len() == wanted.len()
            && found.first() != wanted.first()
            && found.get(1..) == wanted.get(1..)
            && wanted.first() == Some(&network.classes);
        if only_classes {
            outputs = found[0];
            state.insert(key, fresh.tensor(&shape.name)?.clone());
            renewed.push(shape.name.clone());
        }
    }
    Ok((!renewed.is_empty()).then(|| {
        format!(
            "{} of the checkpoint are for {outputs} classes in place of {}: they begin anew",
            renewed.join(" and "),
            network.classes
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::nn::init;
    use candle_core::Device;

    /// A checkpoint for more classes gives all layers but the last; one that fits stays as it is; one that differs in more
    /// than the classes is left for the fit to refuse.
    #[test]
    fn the_last_layer_begins_anew() {
        let network = |classes| {
            model::builtin().find("cnn-small").unwrap().network(&[3, 32, 32], classes, &Default::default())
        };
        let (many, few) = (network(100).unwrap(), network(10).unwrap());
        let trained = init::initialise(&many, &Device::Cpu, 1).unwrap();
        let fresh = init::initialise(&few, &Device::Cpu, 2).unwrap();
        let state = |prefix: &str| -> StateDict {
            let named =
                trained.iter().map(|(name, p)| (format!("{prefix}{name}"), p.var.as_tensor().clone()));
            named.collect()
        };
        for prefix in ["", "module."] {
            let mut state = state(prefix);
            let note = renew_head(&mut state, &few, &fresh).unwrap().unwrap();
            assert!(note.contains("100 classes in place of 10"), "{note}");
            let fitted = super::super::fit(&state, &few, &Device::Cpu).unwrap();
            let last = few.parameter_shapes().last().unwrap().name.clone();
            for (name, _) in fitted.iter() {
                let layer = last.rsplit_once('.').unwrap().0;
                let source = if name.starts_with(layer) { &fresh } else { &trained };
                assert_eq!(fitted.values(name).unwrap(), source.values(name).unwrap(), "{name}");
            }
        }
        let mut same = state("");
        assert!(
            renew_head(&mut same, &many, &init::initialise(&many, &Device::Cpu, 3).unwrap())
                .unwrap()
                .is_none()
        );
    }
}
