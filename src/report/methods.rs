//! What reports know of methods: order, names, looks, the parameter along which each trades accuracy for size, and which
//! one the others are compared with. All of it comes from the registry: no report names a method in its code.

use crate::error::closest;
use crate::quant::{Method, Role};
use crate::record::RunRecord;
use crate::spec::Registry;
use crate::{Error, Result};
use indexmap::IndexMap;
use std::collections::BTreeSet;

/// The method name of records of a full-precision model.
pub const BASELINE: &str = "baseline";

/// The methods of a registry, and the one that reports compare with the others.
///
/// ```
/// use ecqx::{Registry, report::Methods};
/// let methods = Methods::new(&Registry::builtin());
/// assert_eq!((methods.reference(), methods.display("ecqx")), (Some("ecqx"), "ECQx"));
/// // A method of somebody else's records, which the registry does not have.
/// assert_eq!(methods.display("theirs"), "theirs");
/// assert!(methods.strengths("theirs").contains(&"lambda"));
/// ```
#[derive(Clone, Debug)]
pub struct Methods {
    registry: Registry,
    reference: Option<String>,
}

impl Methods {
    /// Of `registry`; the others are compared with its first method of [`Role::Proposed`].
    pub fn new(registry: &Registry) -> Self {
        let proposed = registry.quantizers.iter().find(|method| method.role == Role::Proposed);
        Self { registry: registry.clone(), reference: proposed.map(|method| method.name.to_owned()) }
    }

    /// With another method to compare the others with: one of the registry or of `records`.
    ///
    /// # Errors
    /// [`Error::Input`] with a suggestion for a name that neither knows.
    pub fn with_reference(mut self, name: &str, records: &[RunRecord]) -> Result<Self> {
        let own: BTreeSet<&str> = records.iter().map(|record| record.method.as_str()).collect();
        if self.get(name).is_none() && !own.contains(name) {
            let mut known: Vec<&str> = own.iter().copied().collect();
            self.registry.quantizers.names().for_each(|name| known.push(name));
            let hint = match closest(name, known) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("these records have {}", own.into_iter().collect::<Vec<_>>().join(", ")),
            };
            return Err(Error::input_hint(format!("--reference-method: unknown method '{name}'"), hint));
        }
        self.reference = Some(name.to_owned());
        Ok(self)
    }

    /// What the records' specifications may name.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The method that the others are compared with; `None` where the registry proposes none and none was chosen.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The reference method without the part that is new: the registry's first of [`Role::Ablation`] that is not the
    /// reference itself.
    pub fn ablation(&self) -> Option<&'static Method> {
        let mut all = self.registry.quantizers.iter();
        all.find(|method| method.role == Role::Ablation && Some(method.name) != self.reference())
    }

    /// The registry's entry; `None` for a method that it does not know.
    pub fn get(&self, method: &str) -> Option<&'static Method> {
        self.registry.quantizers.get(method)
    }

    /// The name in figures and sentences; of an unknown method its own.
    pub fn display<'a>(&self, method: &'a str) -> &'a str {
        self.get(method).map_or(method, |method| method.display)
    }

    /// The names in figures and sentences of all registered methods.
    pub fn names(&self) -> IndexMap<String, &'static str> {
        self.registry.quantizers.iter().map(|method| (method.name.to_owned(), method.display)).collect()
    }

    /// Place in a report: full precision first, then the method that the others are compared with, then the proposed one,
    /// its ablation, and all others (which are ordered by name).
    pub fn rank(&self, method: &str) -> u8 {
        let role = self.get(method).map(|method| method.role);
        match role {
            _ if method == BASELINE => 0,
            _ if Some(method) == self.reference() => 1,
            Some(Role::Proposed) => 2,
            Some(Role::Ablation) => 3,
            Some(Role::Rival) | None => 4,
        }
    }

    /// The parameter along which the method trades accuracy for size; of an unknown method every one that is such of a
    /// known one.
    pub fn strengths(&self, method: &str) -> Vec<&'static str> {
        match self.get(method) {
            Some(method) => method.strength.into_iter().collect(),
            None => {
                let all: BTreeSet<&str> =
                    self.registry.quantizers.iter().filter_map(|m| m.strength).collect();
                all.into_iter().collect()
            }
        }
    }

    /// Whether the method trades accuracy for size along Λ.
    pub fn has_lambda(&self, method: &str) -> bool {
        self.strengths(method).contains(&"lambda")
    }

    /// Number of the method's colour and marker: its place in the registry; of an unknown one a number that its name gives,
    /// so that it is the same in every figure.
    pub fn style(&self, method: &str) -> usize {
        let known = self.registry.quantizers.names().position(|name| name == method);
        known.unwrap_or_else(|| method.bytes().map(usize::from).sum::<usize>() % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Order, names and strengths come from the registry; a chosen reference comes first, and a misspelt one is an error.
    #[test]
    fn metadata_orders_methods() {
        let methods = Methods::new(&Registry::builtin());
        let ranks = |methods: &Methods| ["baseline", "ecqx", "ecq", "lsq", "mine"].map(|m| methods.rank(m));
        assert_eq!(ranks(&methods), [0, 1, 3, 4, 4]);
        assert_eq!(methods.strengths("magnitude"), ["sparsity"]);
        assert_eq!(methods.strengths("uniform"), [""; 0]);
        assert_eq!(methods.ablation().map(|method| method.name), Some("ecq"));
        assert!(methods.has_lambda("ec2t") && !methods.has_lambda("lsq"));
        let lsq = methods.clone().with_reference("lsq", &[]).unwrap();
        assert_eq!(ranks(&lsq), [0, 2, 3, 1, 4]);
        let error = methods.with_reference("lsqq", &[]).unwrap_err();
        assert_eq!(error.to_string(), "--reference-method: unknown method 'lsqq'");
        assert_eq!(error.hint(), Some("did you mean 'lsq'?"));
    }
}
