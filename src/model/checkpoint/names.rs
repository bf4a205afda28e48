//! Names of tensors: prefixes that wrappers leave, and renaming by pattern.

use super::StateDict;
use crate::{Error, Result};
use std::path::Path;

/// Wrappers inside wrappers.
const DEEPEST: usize = 16;
/// What wrappers put before every name, wherever it stands in the order of wrapping.
const WRAPPERS: [&str; 2] = ["module", "_orig_mod"];
/// Attributes under which training code keeps its network; dropped where every name begins with one.
const HOLDERS: [&str; 2] = ["model", "net"];

/// One `--rename OLD=NEW`; a `*` in both stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    old: (String, Option<String>),
    new: (String, Option<String>),
}

impl std::str::FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (old, new) = text.split_once('=').ok_or("write OLD=NEW, such as 'fc.*=linear.*'")?;
        let pattern = |text: &str| match text.split_once('*') {
            Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
            None => (text.to_owned(), None),
        };
        let (old, new) = (pattern(old), pattern(new));
        let stars = |pattern: &(String, Option<String>)| pattern.1.as_deref().map(|rest| rest.contains('*'));
        if stars(&old) == Some(true) || stars(&new) == Some(true) || old.1.is_some() != new.1.is_some() {
            return Err("write one '*' on both sides or on none".into());
        }
        Ok(Self { old, new })
    }
}

impl Rename {
    fn apply(&self, name: &str) -> Option<String> {
        match (&self.old.1, &self.new.1) {
            (Some(after), Some(new_after)) => {
                let middle = name.strip_prefix(self.old.0.as_str())?.strip_suffix(after.as_str())?;
                Some(format!("{}{middle}{new_after}", self.new.0))
            }
            _ => (name == self.old.0).then(|| self.new.0.clone()),
        }
    }
}

/// Whether a tensor is batch norm's count of batches, which inference does not use.
pub fn is_batch_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

/// Renames, and drops the prefixes of wrappers. Tensors keep their order.
///
/// # Errors
/// [`Error::Input`] naming two tensors that would have one name, or a pattern that fits no tensor.
pub(super) fn clean(tensors: StateDict, renames: &[Rename], path: &Path) -> Result<StateDict> {
    let mut used = vec![false; renames.len()];
    let mut rename = |name: &str| {
        let found = renames.iter().enumerate().find_map(|(at, rename)| Some((at, rename.apply(name)?)));
        found.map(|(at, new)| {
            used[at] = true;
            new
        })
    };
    // A pattern may be meant for the name in the file or for the one that is left.
    let mut names: Vec<(String, bool)> = tensors
        .keys()
        .map(|name| match rename(name) {
            Some(new) => (new, true),
            None => (without_wrappers(name), false),
        })
        .collect();
    let holder = |names: &[(String, bool)]| {
        let free = || names.iter().filter(|(_, renamed)| !renamed).map(|(name, _)| name);
        let held = |holder: &&str| free().next().is_some() && free().all(|name| rest(name, holder).is_some());
        HOLDERS.into_iter().find(held)
    };
    for _ in 0..DEEPEST {
        let Some(holder) = holder(&names) else { break };
        for (name, _) in names.iter_mut().filter(|(_, renamed)| !renamed) {
            *name = without_wrappers(rest(name, holder).unwrap_or(name));
        }
    }
    for (name, renamed) in names.iter_mut().filter(|(_, renamed)| !renamed) {
        if let Some(new) = rename(name) {
            (*name, *renamed) = (new, true);
        }
    }
    if let Some(unused) = used.iter().position(|used| !used) {
        let Rename { old: (before, after), .. } = &renames[unused];
        let pattern =
            format!("{before}{}", after.as_ref().map_or(String::new(), |after| format!("*{after}")));
        return Err(Error::input(format!(
            "{}: --rename {pattern}: no tensor has such a name",
            path.display()
        )));
    }
    let mut cleaned = StateDict::new();
    let mut origins: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    for ((original, tensor), (name, _)) in tensors.into_iter().zip(names) {
        if let Some(other) = origins.insert(name.clone(), original.clone()) {
            let message = format!("'{other}' and '{original}' are both '{name}' without their prefixes");
            return Err(Error::input_hint(
                format!("{}: {message}", path.display()),
                collision_hint(&original, &name),
            ));
        }
        cleaned.insert(name, tensor);
    }
    Ok(cleaned)
}

/// The way out where two tensors would have one name: `name` is what `original` becomes.
pub(super) fn collision_hint(original: &str, name: &str) -> String {
    match original.strip_suffix(name).filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => {
            format!("name the others apart, such as --rename '{prefix}*=other.*', or save one set alone")
        }
        None => "save one of them alone".into(),
    }
}

fn rest<'n>(name: &'n str, first: &str) -> Option<&'n str> {
    name.strip_prefix(first)?.strip_prefix('.').filter(|rest| !rest.is_empty())
}

/// A name without the wrappers it begins with, and without `torch.compile`'s anywhere: modules inside are compiled too.
fn without_wrappers(name: &str) -> String {
    let mut left = name;
    while let Some(shorter) = WRAPPERS.into_iter().find_map(|wrapper| rest(left, wrapper)) {
        left = shorter;
    }
    match left.contains("._orig_mod.") {
        true => left.replace("._orig_mod.", "."),
        false => left.to_owned(),
    }
}

/// Names that a tensor may have in a network, likelier ones first: with wrappers inside or holders dropped, or a holder
/// that was dropped put back.
pub(super) fn variants(name: &str) -> Vec<String> {
    let mut variants = Vec::new();
    let inner = without_wrappers(name).replace(".module.", ".");
    let mut left = inner.as_str();
    variants.push(inner.clone());
    while variants.len() < DEEPEST
        && let Some(shorter) = WRAPPERS.into_iter().chain(HOLDERS).find_map(|prefix| rest(left, prefix))
    {
        variants.push(shorter.to_owned());
        left = shorter;
    }
    variants.extend(WRAPPERS.into_iter().chain(HOLDERS).map(|prefix| format!("{prefix}.{name}")));
    variants
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    fn cleaned(names: &[&str], renames: &[&str]) -> Result<Vec<String>> {
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let state = names.iter().map(|name| (name.to_string(), tensor.clone())).collect();
        let renames: Vec<Rename> = renames.iter().map(|text| text.parse().unwrap()).collect();
        Ok(clean(state, &renames, Path::new("x.pt"))?.into_keys().collect())
    }

    /// Prefixes go in any order and number; one that only some names have is part of the network.
    #[test]
    fn prefixes() {
        for prefix in [
            "module.",
            "_orig_mod.",
            "module._orig_mod.",
            "_orig_mod.module.module.",
            "model.",
            "module.net.",
            "model._orig_mod.",
        ] {
            let names = [format!("{prefix}a.weight"), format!("{prefix}b.bias")];
            assert_eq!(cleaned(&[&names[0], &names[1]], &[]).unwrap(), ["a.weight", "b.bias"], "{prefix}");
        }
        assert_eq!(cleaned(&["model.a", "head.b"], &[]).unwrap(), ["model.a", "head.b"]);
        assert_eq!(cleaned(&["a._orig_mod.w", "model"], &[]).unwrap(), ["a.w", "model"]);
        assert!(variants("features.module.0.weight").contains(&"features.0.weight".into()));
    }

    /// Two tensors of one name are an error that names both; neither wins.
    #[test]
    fn collisions() {
        let error = cleaned(&["fc.weight", "module.fc.weight"], &[]).unwrap_err().to_string();
        assert!(error.contains("'fc.weight' and 'module.fc.weight'"), "{error}");
        let kept = cleaned(&["fc.weight", "module.fc.weight"], &["module.fc.*=other.*"]).unwrap();
        assert_eq!(kept, ["fc.weight", "other.weight"]);
    }

    /// Patterns fit names in the file and names without prefixes; one that fits nothing is an error.
    #[test]
    fn renaming() {
        assert_eq!(
            cleaned(&["module.fc.weight", "module.a"], &["fc.*=linear.*"]).unwrap(),
            ["linear.weight", "a"]
        );
        assert_eq!(cleaned(&["module.fc.weight"], &["module.fc.weight=w"]).unwrap(), ["w"]);
        assert!(cleaned(&["a"], &["b=c"]).unwrap_err().to_string().contains("--rename b"));
        for wrong in ["a", "a*=b", "*a*=b*"] {
            assert!(wrong.parse::<Rename>().is_err(), "{wrong}");
        }
    }
}
