//! Published numbers: YAML files with citation and setting, one per source, shown beside ours and never part of any
//! average. The files are in `baselines/published/`.

use super::methods::{BASELINE, Methods};
use crate::io::yaml::{self, Expecting};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What the file is, for messages.
const PUBLISHED: Expecting = Expecting {
    what: "the source",
    reference: "baselines/published/ec2t.yaml shows the form: citation, setting, results",
};

/// One source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Who, where, when; with the table.
    pub citation: String,
    /// Where to read it.
    #[serde(default)]
    pub url: Option<String>,
    /// What differs from our setting.
    pub setting: String,
    /// Statements that are no cells of a table.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Its numbers.
    pub results: Vec<Row>,
}

/// One published result; a number that the source does not give (or nobody has filled in) is absent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Data set, in our spelling.
    pub dataset: String,
    /// Model, in our spelling.
    pub model: String,
    /// Method, in our spelling; `baseline` for full precision, `other` for one that we do not have.
    pub method: String,
    /// The source's own name for it.
    pub label: String,
    /// Bit width.
    #[serde(default)]
    pub bits: Option<u32>,
    /// Top-1, percent.
    #[serde(default)]
    pub top1_percent: Option<f64>,
    /// Baseline − top-1, points.
    #[serde(default)]
    pub drop_points: Option<f64>,
    /// Zeros, percent.
    #[serde(default)]
    pub sparsity_percent: Option<f64>,
    /// File, bytes.
    #[serde(default)]
    pub file_bytes: Option<f64>,
    /// Full precision over file.
    #[serde(default)]
    pub compression_ratio: Option<f64>,
}

impl Row {
    /// Whether it has any number.
    pub fn is_filled(&self) -> bool {
        self.numbers().iter().any(|(_, value, _)| value.is_some())
    }

    fn numbers(&self) -> [(&'static str, Option<f64>, (f64, f64)); 5] {
        [
            ("top1_percent", self.top1_percent, (0.0, 100.0)),
            ("drop_points", self.drop_points, (-100.0, 100.0)),
            ("sparsity_percent", self.sparsity_percent, (0.0, 100.0)),
            ("file_bytes", self.file_bytes, (1.0, 1e13)),
            ("compression_ratio", self.compression_ratio, (0.1, 1e6)),
        ]
    }
}

impl Source {
    /// Reads and checks one file's text.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line and what is wrong.
    pub fn parse(text: &str, path: &Path, methods: &Methods) -> Result<Self> {
        let wrong =
            |what: String| Error::input_hint(format!("{}: {what}", path.display()), PUBLISHED.reference);
        let source: Self = yaml::parse(text, path, PUBLISHED)?;
        if source.citation.trim().is_empty() || source.setting.trim().is_empty() {
            return Err(wrong("a source needs a citation and what differs in its setting".into()));
        }
        for row in &source.results {
            let place = format!("{}, {}, '{}'", row.dataset, row.model, row.label);
            for (name, value, (low, high)) in row.numbers() {
                if value.is_some_and(|value| !(low..=high).contains(&value)) {
                    return Err(wrong(format!("{place}: {name} must lie in {low}–{high}")));
                }
            }
            if row.bits.is_some_and(|bits| !(1..=32).contains(&bits)) {
                return Err(wrong(format!("{place}: bits must lie in 1–32")));
            }
            let known = methods.get(&row.method).is_some() || row.method == BASELINE;
            if !known && row.method != "other" {
                return Err(wrong(format!(
                    "{place}: no method is called '{}'; 'other' takes any",
                    row.method
                )));
            }
        }
        Ok(source)
    }
}

/// All `*.yaml` files of a folder, by name. A folder that is not there has none.
///
/// # Errors
/// [`Error::Input`] for a file that is not of the form, [`Error::Io`] for one that cannot be read.
pub fn load(folder: &Path, methods: &Methods) -> Result<Vec<Source>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(Error::io(folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::io(folder))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths.iter().map(|path| Source::parse(&crate::io::read_text(path)?, path, methods)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods() -> Methods {
        Methods::new(&crate::Registry::builtin())
    }

    fn message(text: &str) -> String {
        Source::parse(text, Path::new("x.yaml"), &methods()).unwrap_err().to_string()
    }

    /// The committed files are of the form, and hold the numbers that the sources are known for.
    #[test]
    fn committed_files_are_read() {
        let sources =
            load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines/published"), &methods()).unwrap();
        assert_eq!(sources.len(), 4);
        let rows: Vec<&Row> = sources.iter().flat_map(|source| &source.results).collect();
        let find = |label: &str, data: &str, model: &str| {
            rows.iter().find(|r| r.label == label && r.dataset == data && r.model == model).unwrap()
        };
        assert_eq!(find("EC2T-3", "cifar10", "resnet20").sparsity_percent, Some(73.26));
        assert_eq!(find("DeepCABAC, no loss of accuracy", "imagenet", "vgg16").compression_ratio, Some(63.6));
        // Nobody has read the paper's table here: its cells stay empty.
        assert!(rows.iter().filter(|row| row.method == "ecqx").all(|row| !row.is_filled()));
    }

    /// Mistakes are named with file and row.
    #[test]
    fn mistakes_are_named() {
        let row = "results: [{dataset: a, model: b, method: ecq, label: c, ";
        let head = "citation: x\nsetting: y\n";
        assert!(message("citation: x\nresults: []").contains("x.yaml"));
        assert!(message(&format!("{head}{row}top1: 3}}]")).contains("top1"));
        assert!(message(&format!("{head}{row}top1_percent: 300}}]")).contains("a, b, 'c': top1_percent"));
        assert!(message(&format!("citation: ''\nsetting: y\n{row}}}]")).contains("citation"));
        assert!(
            message(&format!("{head}results: [{{dataset: a, model: b, method: ecp, label: c}}]"))
                .contains("ecp")
        );
    }
}
