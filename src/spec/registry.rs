//! Everything that an experiment can name: the built-in methods, models, data sets and relevance measures, and a user's.

use crate::data::{self, Family};
use crate::external;
use crate::model::{self, Model};
use crate::quant::{self, Method};
use crate::registry::Catalogue;
use crate::relevance::{self, Measure};

/// What an experiment can name.
///
/// ```
/// let registry = ecqx::Registry::builtin();
/// assert!(registry.quantizers.names().any(|name| name == "ecqx"));
/// let error = registry.quantizers.find("eqcx").err().unwrap();
/// assert_eq!(error.hint(), Some("did you mean 'ecqx'?"));
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    /// Quantization methods.
    pub quantizers: Catalogue<Method>,
    /// Architectures.
    pub models: Catalogue<Model>,
    /// Families of data sets.
    pub datasets: Catalogue<Family>,
    /// Relevance measures; the first is the default.
    pub measures: Catalogue<Measure>,
    /// Names of the figures that reports can draw, to check an experiment's `figures` against; empty: unchecked until a
    /// report is made.
    pub figures: Vec<&'static str>,
    /// The program that brings entries of its own, with version and revision, for the provenance of its results.
    pub program: Option<String>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Registry {
    /// What the library brings.
    pub fn builtin() -> Self {
        let mut quantizers = quant::builtin();
        quantizers.add(&external::METHOD);
        Self {
            quantizers,
            models: model::builtin(),
            datasets: data::builtin(),
            measures: relevance::builtin(),
            figures: Vec::new(),
            program: None,
        }
    }

    /// With one more method.
    #[must_use]
    pub fn with_quantizer(mut self, method: &'static Method) -> Self {
        self.quantizers.add(method);
        self
    }

    /// With one more architecture.
    #[must_use]
    pub fn with_model(mut self, model: &'static Model) -> Self {
        self.models.add(model);
        self
    }

    /// With one more family of data sets.
    #[must_use]
    pub fn with_dataset(mut self, family: &'static Family) -> Self {
        self.datasets.add(family);
        self
    }

    /// With one more relevance measure.
    #[must_use]
    pub fn with_measure(mut self, measure: &'static Measure) -> Self {
        self.measures.add(measure);
        self
    }
}
