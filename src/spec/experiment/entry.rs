//! The entries of `quantizers`: a method, and what it overrides.

use super::raw::{Bits, RawEntry};
use super::{Checker, Entry, program};
use crate::Result;
use crate::error::{did_you_mean_or_all, number};
use crate::io::yaml::{Place, Spanned};
use crate::quant::Method;
use crate::quant::allocation::BUDGET_OPTIONS;
use crate::quant::scope::COMMON;
use crate::train::TrainingSpec;
use indexmap::IndexMap;
use serde_json::Value;
use std::path::Path;

/// Keys of an entry that are not parameters of its method.
const ENTRY_KEYS: [&str; 5] = ["method", "bits", "seeds", "training", "relevance"];
/// Most runs of an entry.
const MOST_RUNS: usize = 1_000_000;

/// Parameters as they stand, each with its place.
type Parameters = IndexMap<String, Spanned<Value>>;

impl Checker<'_> {
    /// Checks entry number `index`; `bits`, `seeds` and `training` are the experiment's.
    pub(super) fn entry(
        &self,
        index: usize,
        entry: Spanned<RawEntry>,
        bits: Option<&[Option<u32>]>,
        seeds: &[u64],
        training: Option<&TrainingSpec>,
    ) -> Result<Entry> {
        let at = entry.at;
        let raw = entry.value;
        let Some(method) = raw.method else {
            return Err(self.wrong_hint(
                at,
                "an entry of quantizers has no 'method', which it needs",
                "`ecqx ls quantizers` lists the methods",
            ));
        };
        let name = method.value;
        let method = self.registry.quantizers.find(&name).map_err(self.locate(method.at))?;
        let bits = self.entry_bits(at, method, &raw.parameters, raw.bits, bits)?;
        let seeds = match raw.seeds {
            None => seeds.to_vec(),
            Some(own) => self.not_empty("seeds", own.at, own.value.0)?,
        };
        let training = match raw.training {
            None => training.cloned(),
            Some(None) => None,
            Some(Some(recipe)) => {
                self.recipe(&recipe, &["quantizers", &index.to_string(), "training"])?;
                Some(recipe)
            }
        };
        let takes_relevance = method.may_need_relevance() || method.runs_program();
        if let (Some(relevance), false) = (&raw.relevance, takes_relevance) {
            return Err(self.wrong(relevance.at, format!("{name} uses no relevance")));
        }
        self.known_parameters(method, &raw.parameters)?;
        // Axes of the grid, before it is expanded.
        let axes =
            raw.parameters.iter().flat_map(|(key, found)| program::axes(method.kind(key), &found.value));
        let runs =
            axes.chain([bits.len(), seeds.len()]).fold(1usize, |product, n| product.saturating_mul(n.max(1)));
        if runs > MOST_RUNS {
            let what = format!("{name}: {} runs are more than a million", number(runs as f64));
            return Err(self.wrong_hint(at, what, "shorten the lists"));
        }
        let place = self.place(at);
        let mut parameters = raw.parameters.into_iter().map(|(key, found)| (key, found.value)).collect();
        if method.runs_program() {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            program::complete(&mut parameters, folder, &self.registry.quantizers).map_err(self.locate(at))?;
        }
        if method.reads_checkpoint() {
            program::check_checkpoint(&parameters, &self.registry.quantizers).map_err(self.locate(at))?;
        }
        let relevance = raw.relevance.map(|relevance| relevance.value);
        Ok(Entry { method: name, place, bits, seeds, training, parameters, relevance })
    }

    /// The bit widths of an entry: its `own`, the experiment's (`of_all`), or none where a budget decides or the method has
    /// none.
    fn entry_bits(
        &self,
        at: Place,
        method: &Method,
        parameters: &Parameters,
        own: Option<Spanned<Bits>>,
        of_all: Option<&[Option<u32>]>,
    ) -> Result<Vec<Option<u32>>> {
        let name = method.name;
        // A budget decides the widths; given alone, it need not be said twice.
        let is_auto = |bits: &[Option<u32>]| bits.contains(&None);
        let budget = parameters.iter().find(|(key, _)| BUDGET_OPTIONS.contains(&key.as_str()));
        let own_auto = own.as_ref().is_some_and(|own| is_auto(&own.value.0));
        match (budget, &own) {
            (Some((key, value)), Some(own)) if !is_auto(&own.value.0) => {
                let what = format!("{name}: {key} and bit widths exclude each other");
                return Err(self.wrong_hint(value.at, what, "write 'bits: auto'"));
            }
            (None, own) if own_auto || (own.is_none() && of_all.is_some_and(is_auto)) => {
                let at = own.as_ref().map_or(at, |own| own.at);
                let hint = "give 'budget' (mean bits per weight) or 'budget_bytes', or bit widths";
                return Err(self.wrong_hint(at, format!("{name}: 'bits: auto' needs a budget"), hint));
            }
            _ => {}
        }
        let bits = match (method.bits.range(), own) {
            (Some(_), _) if budget.is_some() => vec![None],
            (None, Some(own)) => return Err(self.wrong(own.at, format!("{name} takes no bit width"))),
            (None, None) => vec![None],
            (Some(_), Some(own)) => self.not_empty("bits", own.at, own.value.0)?,
            (Some(_), None) if method.runs_program() => of_all.map_or_else(|| vec![None], <[_]>::to_vec),
            (Some(_), None) if method.bits.is_optional() => vec![None],
            (Some(_), None) => of_all.unwrap_or(&[]).to_vec(),
        };
        match bits.is_empty() {
            true => Err(self.wrong_hint(
                at,
                format!("{name} needs bit widths"),
                "give 'bits: [2, 4]' here or for the whole experiment",
            )),
            false => Ok(bits),
        }
    }

    /// Refuses parameters that the method does not have.
    fn known_parameters(&self, method: &Method, parameters: &Parameters) -> Result<()> {
        let known = method.parameters.iter().map(|parameter| parameter.name).chain(COMMON);
        let known: Vec<&str> = known.chain(ENTRY_KEYS).collect();
        let Some((key, value)) = parameters.iter().find(|(key, _)| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let hint = match key.split_once(':') {
            Some((key, value)) => format!("write a space after the colon: '{key}: {value}'"),
            None => did_you_mean_or_all(key, known.iter().copied(), "it has"),
        };
        Err(self.wrong_hint(value.at, format!("{} has no parameter '{key}'", method.name), hint))
    }
}
