//! Parametrizations folded into the weight they compute: weight normalization (old and new), pruning masks, spectral
//! normalization (old and new). A parametrization of another kind is an error: its parts
//! are no weights.

use super::StateDict;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use indexmap::IndexMap;
use std::collections::HashMap;
use std::path::Path;

/// The tensors with weights in place of what computes them, in the place of the first part; and what was done.
///
/// # Errors
/// [`Error::Input`] naming a parametrization that is not understood.
pub(super) fn fold(tensors: StateDict, path: &Path) -> Result<(StateDict, Vec<String>)> {
    let mut folds = Vec::new();
    // The parts of each parametrization of the new kind, by weight.
    let mut groups: IndexMap<(&str, &str), Vec<&str>> = IndexMap::new();
    for name in tensors.keys() {
        match split_parametrization(name) {
            Some((layer, attribute, part)) => groups.entry((layer, attribute)).or_default().push(part),
            None => folds.extend(recognise(&tensors, name)),
        }
    }
    for ((layer, attribute), parts) in &groups {
        folds.push(parametrization(layer, attribute, parts, path)?);
    }
    if folds.is_empty() {
        return Ok((tensors, Vec::new()));
    }
    let wrong = |fold: &Fold, what: &str| {
        Error::input_hint(
            format!("{}: {}: the parts of its {} {what}", path.display(), fold.weight, fold.kind),
            format!("remove it in Python before saving: {}", fold.remedy()),
        )
    };
    if let Some(fold) = folds.iter().find(|fold| tensors.contains_key(&fold.weight)) {
        return Err(wrong(fold, "stand beside the weight itself"));
    }
    let note = |kind| {
        let weights = folds.iter().filter(|fold| fold.kind == kind).map(|fold| fold.weight.as_str());
        let weights: Vec<&str> = weights.collect();
        (!weights.is_empty()).then(|| format!("{kind} folded into {}", super::few(&weights)))
    };
    let notes: Vec<String> = [WEIGHT_NORM, MASK, SPECTRAL_NORM].into_iter().filter_map(note).collect();
    let mut fold_of: HashMap<&String, usize> = HashMap::new();
    for (at, fold) in folds.iter().enumerate() {
        fold_of.extend(fold.parts.iter().map(|part| (part, at)));
    }
    let mut folded = StateDict::new();
    for (name, tensor) in &tensors {
        match fold_of.get(name).map(|&at: &usize| &folds[at]) {
            None => drop(folded.insert(name.clone(), tensor.clone())),
            Some(fold) if folded.contains_key(&fold.weight) => {}
            Some(fold) => {
                let weight = fold.weight(&tensors).ok_or_else(|| wrong(fold, "do not fit each other"))?;
                folded.insert(fold.weight.clone(), weight);
            }
        }
    }
    Ok((folded, notes))
}

/// A weight and the tensors that compute it.
struct Fold {
    weight: String,
    kind: &'static str,
    parts: Vec<String>,
}

const WEIGHT_NORM: &str = "weight normalization";
const MASK: &str = "pruning mask";
const SPECTRAL_NORM: &str = "spectral normalization";

/// The fold for `parametrizations.ATTRIBUTE.…` of a layer.
fn parametrization(layer: &str, attribute: &str, parts: &[&str], path: &Path) -> Result<Fold> {
    let weight = format!("{layer}{attribute}");
    let mut found = parts.to_vec();
    found.sort_unstable();
    let (kind, order): (_, &[&str]) = match found.as_slice() {
        ["original0", "original1"] => (WEIGHT_NORM, &["original0", "original1"]),
        ["0._u", "0._v", "original"] => (SPECTRAL_NORM, &["original", "0._u", "0._v"]),
        _ => {
            return Err(Error::input_hint(
                format!(
                    "{}: {weight} has a parametrization that is not read (with {})",
                    path.display(),
                    super::few(&found)
                ),
                format!(
                    "remove it in Python before saving: torch.nn.utils.parametrize.remove_parametrizations(layer, '{attribute}')"
                ),
            ));
        }
    };
    let parts = order.iter().map(|part| format!("{layer}{MARK}{attribute}.{part}")).collect();
    Ok(Fold { weight, kind, parts })
}

/// What begins at this tensor, if it is the first part of a parametrization of the old kind.
fn recognise(tensors: &StateDict, name: &str) -> Option<Fold> {
    let has = |name: &String| tensors.contains_key(name);
    let fold = |weight: &str, kind, parts: Vec<String>| Some(Fold { weight: weight.to_owned(), kind, parts });
    if let Some(weight) = name.strip_suffix("_g") {
        let direction = format!("{weight}_v");
        // A pair of other tensors with such names has other shapes.
        if has(&direction) && normalized(&tensors[name], &tensors[&direction]).is_some() {
            return fold(weight, WEIGHT_NORM, vec![name.to_owned(), direction]);
        }
    }
    if let Some(weight) = name.strip_suffix("_orig") {
        let [mask, u, v] = ["mask", "u", "v"].map(|part| format!("{weight}_{part}"));
        if has(&mask) {
            return fold(weight, MASK, vec![name.to_owned(), mask]);
        }
        if has(&u) && has(&v) {
            return fold(weight, SPECTRAL_NORM, vec![name.to_owned(), u, v]);
        }
    }
    None
}

/// The first component of names of the new kind.
const MARK: &str = "parametrizations.";

/// `LAYER.` (or nothing), attribute and part of a parametrization of the new kind.
fn split_parametrization(name: &str) -> Option<(&str, &str, &str)> {
    let at = name.find(MARK)?;
    let (attribute, part) = name[at + MARK.len()..].split_once('.')?;
    (at == 0 || name[..at].ends_with('.')).then(|| (&name[..at], attribute, part))
}

impl Fold {
    fn remedy(&self) -> &'static str {
        match self.kind {
            MASK => "torch.nn.utils.prune.remove(layer, 'weight')",
            WEIGHT_NORM => "torch.nn.utils.remove_weight_norm(layer)",
            _ => "torch.nn.utils.remove_spectral_norm(layer)",
        }
    }

    fn weight(&self, tensors: &StateDict) -> Option<Tensor> {
        let parts: Vec<&Tensor> = self.parts.iter().map(|part| tensors.get(part)).collect::<Option<_>>()?;
        match (self.kind, parts.as_slice()) {
            (MASK, [original, mask]) => (original.dims() == mask.dims())
                .then_some(())
                .and_then(|()| made(product(original, mask)?, original.dims())),
            (WEIGHT_NORM, [length, direction]) => normalized(length, direction),
            (_, [original, u, v]) => spectral(original, u, v),
            _ => None,
        }
    }
}

fn values(tensor: &Tensor) -> Option<Vec<f64>> {
    tensor.flatten_all().ok()?.to_dtype(DType::F64).ok()?.to_vec1().ok()
}

fn made(values: Vec<f32>, shape: &[usize]) -> Option<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu).ok()
}

/// Masked weights are exact zeros, whatever stands behind the mask.
fn product(original: &Tensor, mask: &Tensor) -> Option<Vec<f32>> {
    let masked = |(value, mask): (f64, f64)| if mask == 0.0 { 0.0 } else { (value * mask) as f32 };
    Some(values(original)?.into_iter().zip(values(mask)?).map(masked).collect())
}

/// `g · v / ‖v‖`, the norm over the axes along which `g` has one value; `None` where the shapes are of something else.
fn normalized(length: &Tensor, direction: &Tensor) -> Option<Tensor> {
    let shape = direction.dims();
    let lengths: Vec<usize> = match length.rank() {
        0 => vec![1; shape.len()],
        _ => length.dims().to_vec(),
    };
    let fits = lengths.len() == shape.len()
        && lengths.iter().zip(shape).all(|(&g, &v)| g == 1 || g == v)
        && lengths.iter().filter(|g| **g != 1).count() <= 1;
    if !fits || shape.is_empty() {
        return None;
    }
    let axis = lengths.iter().position(|g| *g != 1);
    let inner: usize = axis.map_or(1, |axis| shape[axis + 1..].iter().product());
    let group = |index: usize| axis.map_or(0, |axis| index / inner.max(1) % shape[axis]);
    let (lengths, direction) = (values(length)?, values(direction)?);
    let mut squares = vec![0f64; lengths.len()];
    for (index, value) in direction.iter().enumerate() {
        squares[group(index)] += value * value;
    }
    let value = |(index, value): (usize, &f64)| {
        let group = group(index);
        (lengths[group] * value / squares[group].sqrt()) as f32
    };
    made(direction.iter().enumerate().map(value).collect(), shape)
}

/// `W / (u · W v)` with W as a matrix whose rows lie along the axis that `u` fits (0, or 1 for transposed convolutions).
fn spectral(original: &Tensor, u: &Tensor, v: &Tensor) -> Option<Tensor> {
    let shape = original.dims();
    let count: usize = shape.iter().product();
    let (weights, u, v) = (values(original)?, values(u)?, values(v)?);
    let axis = (0..shape.len().min(2)).find(|&axis| u.len() == shape[axis] && u.len() * v.len() == count)?;
    let inner: usize = shape[axis + 1..].iter().product();
    let mut sigma = 0f64;
    for (index, weight) in weights.iter().enumerate() {
        let row = index / inner.max(1) % shape[axis];
        // The columns are the other axes in order.
        let outer = index / (inner * shape[axis]).max(1);
        sigma += u[row] * weight * v[outer * inner + index % inner.max(1)];
    }
    made(weights.iter().map(|weight| (weight / sigma) as f32).collect(), shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_vec(values.to_vec(), shape, &Device::Cpu).unwrap()
    }

    fn folded(parts: &[(&str, Tensor)]) -> Result<StateDict> {
        let state = parts.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
        fold(state, Path::new("x.pt")).map(|(state, _)| state)
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Weight normalization along rows, along columns and over everything; old and new names; the place of the first part.
    #[test]
    fn weight_normalization() {
        let v = tensor(&[3.0, 4.0, 6.0, 8.0], &[2, 2]);
        let rows = tensor(&[10.0, 1.0], &[2, 1]);
        let old = folded(&[
            ("fc.bias", rows.clone()),
            ("fc.weight_g", rows.clone()),
            ("fc.weight_v", v.clone()),
            ("z", v.clone()),
        ])
        .unwrap();
        assert_eq!(old.keys().collect::<Vec<_>>(), ["fc.bias", "fc.weight", "z"]);
        assert_eq!(flat(&old["fc.weight"]), [6.0, 8.0, 0.6, 0.8]);
        let new = [
            ("fc.parametrizations.weight.original0", rows),
            ("fc.parametrizations.weight.original1", v.clone()),
        ];
        assert_eq!(flat(&folded(&new).unwrap()["fc.weight"]), [6.0, 8.0, 0.6, 0.8]);
        let whole = [("w_g", tensor(&[5.0], &[])), ("w_v", tensor(&[3.0, 0.0, 4.0, 0.0], &[2, 2]))];
        assert_eq!(flat(&folded(&whole).unwrap()["w"]), [3.0, 0.0, 4.0, 0.0]);
        let columns = [("w_g", tensor(&[45f32.sqrt(), 80f32.sqrt()], &[1, 2])), ("w_v", v)];
        let found = flat(&folded(&columns).unwrap()["w"]);
        assert!(
            found.iter().zip([3.0, 4.0, 6.0, 8.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5),
            "{found:?}"
        );
    }

    /// What a mask covers is an exact zero, NaN included.
    #[test]
    fn masks() {
        let parts = [
            ("a.weight_orig", tensor(&[1.0, f32::NAN, -2.0], &[3])),
            ("a.weight_mask", tensor(&[1.0, 0.0, 1.0], &[3])),
        ];
        assert_eq!(flat(&folded(&parts).unwrap()["a.weight"]), [1.0, 0.0, -2.0]);
    }

    /// Spectral normalization divides by u · W v; other parametrizations and parts beside the weight are errors.
    #[test]
    fn others() {
        let w = tensor(&[2.0, 0.0, 0.0, 4.0], &[2, 2]);
        let (u, v) = (tensor(&[0.0, 1.0], &[2]), tensor(&[0.0, 1.0], &[2]));
        let old = [("a.weight_orig", w.clone()), ("a.weight_u", u.clone()), ("a.weight_v", v.clone())];
        assert_eq!(flat(&folded(&old).unwrap()["a.weight"]), [0.5, 0.0, 0.0, 1.0]);
        let new = [
            ("a.parametrizations.weight.original", w.clone()),
            ("a.parametrizations.weight.0._u", u),
            ("a.parametrizations.weight.0._v", v),
        ];
        assert_eq!(flat(&folded(&new).unwrap()["a.weight"]), [0.5, 0.0, 0.0, 1.0]);
        let unknown = [
            ("a.parametrizations.weight.original", w.clone()),
            ("a.parametrizations.weight.0.base", w.clone()),
        ];
        assert!(folded(&unknown).unwrap_err().to_string().contains("0.base"));
        let both = [("a.weight", w.clone()), ("a.weight_orig", w.clone()), ("a.weight_mask", w)];
        assert!(folded(&both).unwrap_err().to_string().contains("beside the weight"));
    }
}
