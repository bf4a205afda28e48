//! Which dictionary of a pickle is the state dict, and the tensors in it.

use super::objects::{Source, Value};
use super::pickle::{Id, Node, Pickle};
use crate::{Error, Result};
use indexmap::IndexMap;
use std::collections::HashSet;
use std::path::Path;

/// Keys under which training scripts put their state dict: what lies beside it is not part of the model.
const USUAL: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "model_weights",
];
/// Dictionaries inside dictionaries in which a state dict is looked for.
const DEEPEST: usize = 4;
/// Values that are looked at to find what a value holds.
const LOOKS: usize = 1_000_000;
/// Dictionaries with tensors that are told apart.
const MANY: usize = 1000;
/// Bytes of a key on the way to a state dict, and of a tensor's name.
const LONGEST_KEY: usize = 200;
const LONGEST_NAME: usize = 4096;

/// A dictionary that holds tensors, or a pickled module, which does too.
struct Candidate {
    /// Keys from the top, joined by dots; empty at the top.
    path: String,
    id: Id,
    tensors: usize,
    /// Whether one of them is more than a single number.
    has_arrays: bool,
    /// The class of a module.
    module: Option<String>,
}

/// The tensors of the state dict by name, in its order, and what was left out beside it.
pub(super) fn state_dict<'a>(
    pickle: &Pickle<'a>,
    key: Option<&str>,
    path: &Path,
) -> Result<(IndexMap<String, Source<'a>>, Vec<String>)> {
    let mut candidates = Vec::new();
    gather(pickle, pickle.root, String::new(), 0, &mut HashSet::new(), &mut candidates);
    let chosen = choose(pickle, &candidates, key, path)?;
    if let Some(class) = &chosen.module {
        return Err(whole_module(path, class));
    }
    let mut notes = Vec::new();
    let beside: Vec<String> = candidates
        .iter()
        .filter(|other| other.module.is_none() && is_above(&other.path, &chosen.path))
        .flat_map(|above| tensor_names(pickle, above.id))
        .collect();
    if !beside.is_empty() {
        notes.push(format!(
            "tensors beside the state dict are left out: {}",
            super::few(&beside.iter().map(String::as_str).collect::<Vec<_>>())
        ));
    }
    for below in candidates.iter().filter(|other| is_above(&chosen.path, &other.path)) {
        notes.push(format!("'{}' inside the state dict is left out ({} tensors)", below.path, below.tensors));
    }
    Ok((tensors(pickle, chosen, &candidates, path)?, notes))
}

fn is_above(above: &str, below: &str) -> bool {
    above != below
        && (above.is_empty() || below.strip_prefix(above).is_some_and(|rest| rest.starts_with('.')))
}

fn tensor_names(pickle: &Pickle<'_>, id: Id) -> Vec<String> {
    let entries = pickle.entries(id).unwrap_or_default();
    // A single number beside the weights is a loss or an accuracy.
    let is_tensor = |value| match pickle.value(value) {
        Value::Tensor(source) => !source.shape().is_empty(),
        Value::Refused(_) => true,
        Value::Other => false,
    };
    entries.iter().filter(|entry| is_tensor(entry.1)).filter_map(|entry| name(pickle, entry.0)).collect()
}

/// What a key of a dictionary is called.
fn name(pickle: &Pickle<'_>, key: Id) -> Option<String> {
    let text = pickle.text(key).filter(|name| name.len() <= LONGEST_NAME).map(str::to_owned);
    text.or_else(|| pickle.integer(key).map(|number| number.to_string()))
}

/// Parts of a training checkpoint that hold tensors and are no weights.
fn is_training_state(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let known = ["scaler", "grad_scaler", "amp", "callbacks", "loops", "hyper_parameters", "args", "config"];
    key.contains("optim")
        || key.contains("sched")
        || key.contains("rng_state")
        || known.contains(&key.as_str())
}

fn gather(
    pickle: &Pickle<'_>,
    id: Id,
    path: String,
    depth: usize,
    seen: &mut HashSet<Id>,
    found: &mut Vec<Candidate>,
) {
    if depth > DEEPEST || found.len() >= MANY || !seen.insert(id) {
        return;
    }
    if let Some(class) = pickle.module_class(id) {
        found.push(Candidate { path, id, tensors: 0, has_arrays: true, module: Some(class) });
        return;
    }
    let Some(entries) = pickle.entries(id) else { return };
    let (mut tensors, mut has_arrays) = (0, false);
    for &(_, value) in entries.iter() {
        match pickle.value(value) {
            Value::Tensor(source) => {
                tensors += 1;
                has_arrays |= !source.shape().is_empty();
            }
            Value::Refused(_) => (tensors, has_arrays) = (tensors + 1, true),
            Value::Other => {}
        }
    }
    if tensors > 0 {
        found.push(Candidate { path: path.clone(), id, tensors, has_arrays, module: None });
    }
    for &(key, value) in entries.iter() {
        if let Some(key) = pickle.text(key).filter(|key| key.len() <= LONGEST_KEY && !is_training_state(key))
        {
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            gather(pickle, value, path, depth + 1, seen, found);
        }
    }
}

fn choose<'c>(
    pickle: &Pickle<'_>,
    candidates: &'c [Candidate],
    key: Option<&str>,
    path: &Path,
) -> Result<&'c Candidate> {
    let shown = |candidate: &Candidate| match &candidate.module {
        Some(class) => format!("  {} (a whole module, {class})", shown_path(&candidate.path)),
        None => format!("  {} ({} tensors)", shown_path(&candidate.path), candidate.tensors),
    };
    let list = |candidates: &[&Candidate]| {
        candidates.iter().map(|candidate| shown(candidate)).collect::<Vec<_>>().join("\n")
    };
    if let Some(key) = key {
        let wanted = if key == "." { "" } else { key };
        return candidates.iter().find(|candidate| candidate.path == wanted).ok_or_else(|| {
            let all: Vec<&Candidate> = candidates.iter().collect();
            Error::input(format!(
                "{}: no dictionary of tensors is called '{key}'; the file holds\n{}",
                path.display(),
                list(&all)
            ))
        });
    }
    let has_usual_below = |above: &Candidate| {
        candidates.iter().any(|below| {
            is_above(&above.path, &below.path)
                && USUAL.contains(&below.path.rsplit('.').next().unwrap_or_default())
        })
    };
    let mut left: Vec<&Candidate> =
        candidates.iter().filter(|candidate| !has_usual_below(candidate)).collect();
    if left.iter().any(|candidate| candidate.has_arrays) {
        left.retain(|candidate| candidate.has_arrays);
    }
    match left.as_slice() {
        [only] => Ok(only),
        [] => Err(no_tensors(pickle, path)),
        several => Err(Error::input_hint(
            format!("{}: several dictionaries hold tensors:\n{}", path.display(), list(several)),
            format!(
                "choose one with --key, such as --key {}; for an experiment, save it alone",
                shown_path(&several[0].path)
            ),
        )),
    }
}

fn shown_path(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

fn whole_module(path: &Path, class: &str) -> Error {
    Error::input_hint(
        format!("{}: holds a whole pickled module ({class}), not a state dict", path.display()),
        "its code would have to run to be read; in Python: torch.save(model.state_dict(), 'weights.pt')",
    )
}

fn no_tensors(pickle: &Pickle<'_>, path: &Path) -> Error {
    let what = match pickle.node(pickle.root) {
        Node::List(_) | Node::Tuple(_) => "a list, whose tensors have no names",
        _ if matches!(pickle.value(pickle.root), Value::Tensor(_)) => "a single tensor without a name",
        Node::Call(_) if pickle.entries(pickle.root).is_none() => "an object that is no state dict",
        _ => "no dictionary of tensors",
    };
    Error::input_hint(
        format!("{}: the file holds {what}", path.display()),
        "save a state dict: torch.save(model.state_dict(), 'weights.pt')",
    )
}

/// The tensors of the chosen dictionary. Nothing that holds a tensor is passed over in silence.
fn tensors<'a>(
    pickle: &Pickle<'a>,
    chosen: &Candidate,
    candidates: &[Candidate],
    path: &Path,
) -> Result<IndexMap<String, Source<'a>>> {
    let refused = |name: &str, what: &str| {
        Error::input_hint(
            format!("{}: tensor {name}: {what} is not read", path.display()),
            "save it as a plain tensor, such as tensor.to_dense() or tensor.dequantize()",
        )
    };
    let mut found = IndexMap::new();
    let own: HashSet<Id> = candidates.iter().map(|candidate| candidate.id).collect();
    let mut seen = HashSet::new();
    let mut add = |name: String, source: Source<'a>| match found.insert(name.clone(), source) {
        None => Ok(()),
        Some(_) => Err(Error::input(format!("{}: two tensors are called '{name}'", path.display()))),
    };
    let entries = pickle.entries(chosen.id).unwrap_or_default();
    for &(key, value) in entries.iter() {
        let Some(name) = name(pickle, key) else {
            match pickle.value(value) {
                Value::Other => continue,
                _ => {
                    return Err(refused(
                        "(without a name)",
                        "a key that is neither a number nor text of moderate length",
                    ));
                }
            }
        };
        match pickle.value(value) {
            Value::Tensor(source) => add(name, source)?,
            Value::Refused(what) => return Err(refused(&name, &what)),
            Value::Other => {
                if own.contains(&value)
                    || is_training_state(&name)
                    || !holds_tensors(pickle, value, &mut seen)
                {
                    continue;
                }
                // A quantized linear layer keeps weight and bias in one value.
                let layer = name.strip_suffix("._packed_params._packed_params");
                let (Some(layer), Some(&[weight, bias])) = (layer, pickle.items(value)) else {
                    return Err(refused(&name, "a tensor inside another value"));
                };
                for (part, id) in [("weight", weight), ("bias", bias)] {
                    match pickle.value(id) {
                        Value::Tensor(source) => add(format!("{layer}.{part}"), source)?,
                        Value::Refused(what) => return Err(refused(&format!("{layer}.{part}"), &what)),
                        Value::Other => {}
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Whether a value has a storage or an array anywhere inside; `seen` are values without.
fn holds_tensors(pickle: &Pickle<'_>, id: Id, seen: &mut HashSet<Id>) -> bool {
    let mut pending = vec![id];
    while let Some(id) = pending.pop() {
        if matches!(pickle.node(id), Node::Persistent(_)) || seen.len() > LOOKS {
            return true;
        }
        if !seen.insert(id) {
            continue;
        }
        match pickle.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => pending.extend(items),
            Node::Dict(entries) => pending.extend(entries.iter().map(|entry| entry.1)),
            Node::Call(call) => {
                // A single number of numpy's is a number.
                if let Value::Tensor(source) = pickle.value(id)
                    && !source.shape().is_empty()
                {
                    seen.remove(&id);
                    return true;
                }
                pending.extend(call.state);
                pending.push(call.arguments);
                pending.extend(call.items.iter().map(|entry| entry.1));
                pending.extend(&call.list);
            }
            _ => {}
        }
    }
    false
}

/// Every storage that is mentioned anywhere, optimizer states included: name and bytes per element.
pub(super) fn storages(pickle: &Pickle<'_>) -> std::collections::HashMap<String, usize> {
    pickle
        .persistent()
        .filter_map(|id| pickle.storage(id).ok())
        .map(|(name, kind, _)| (name, kind.size()))
        .collect()
}
