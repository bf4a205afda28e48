//! Published numbers: YAML files with citation and setting, one per source, shown beside ours and never part of any
//! average. The files are in `baselines/published/`.

use super::methods::{BASELINE, Methods};
use crate::io::yaml::{self, Expecting};
use crate::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, Unexpected, Visitor};
use std::fmt;
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
    /// Bit width of activations of all rows that do not say otherwise; 32: only weights are quantized.
    #[serde(default)]
    pub activation_bits: Option<u32>,
    /// What became of the first and the last layer, in all rows that do not say otherwise.
    #[serde(default)]
    pub first_last: Option<FirstLast>,
    /// Statements that are no cells of a table.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Its numbers.
    pub results: Vec<Row>,
}

/// What a method does to the first and the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLast {
    /// They are quantized like the others.
    Quantized,
    /// They stay in full precision.
    FullPrecision,
    /// They have this bit width.
    Bits(u32),
}

impl fmt::Display for FirstLast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantized => f.write_str("quantized"),
            Self::FullPrecision => f.write_str("full precision"),
            Self::Bits(bits) => write!(f, "{bits} bit"),
        }
    }
}

impl<'de> Deserialize<'de> for FirstLast {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = FirstLast;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("'quantized', 'full precision' or a bit width from 1 to 32")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<FirstLast, E> {
                match text {
                    "quantized" => Ok(FirstLast::Quantized),
                    "full precision" => Ok(FirstLast::FullPrecision),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
            fn visit_u64<E: serde::de::Error>(self, bits: u64) -> std::result::Result<FirstLast, E> {
                match u32::try_from(bits) {
                    Ok(bits @ 1..=32) => Ok(FirstLast::Bits(bits)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(bits), &self)),
                }
            }
            fn visit_i64<E: serde::de::Error>(self, bits: i64) -> std::result::Result<FirstLast, E> {
                match u64::try_from(bits) {
                    Ok(bits) => self.visit_u64(bits),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(bits), &self)),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
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
    /// Bit width of the weights.
    #[serde(default)]
    pub bits: Option<u32>,
    /// Bit width of the activations; 32: only weights are quantized.
    #[serde(default)]
    pub activation_bits: Option<u32>,
    /// What became of the first and the last layer.
    #[serde(default)]
    pub first_last: Option<FirstLast>,
    /// Number of the model's parameters.
    #[serde(default)]
    pub parameter_count: Option<u64>,
    /// The source's own full-precision model, top-1, percent.
    #[serde(default)]
    pub baseline_top1_percent: Option<f64>,
    /// Top-1, percent.
    #[serde(default)]
    pub top1_percent: Option<f64>,
    /// The source's own full-precision model, mean average precision, percent: of tasks of several labels.
    #[serde(default)]
    pub baseline_map_percent: Option<f64>,
    /// Mean average precision, percent: of tasks of several labels.
    #[serde(default)]
    pub map_percent: Option<f64>,
    /// The source's own baseline − top-1, points; worked out where both are given.
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
    /// Bits of the file per parameter; worked out where both are given.
    #[serde(default)]
    pub bits_per_weight: Option<f64>,
}

impl Row {
    /// The value of the task's metric, percent.
    pub fn score_percent(&self) -> Option<f64> {
        self.top1_percent.or(self.map_percent)
    }

    /// That of the source's own full-precision model.
    pub fn baseline_percent(&self) -> Option<f64> {
        self.baseline_top1_percent.or(self.baseline_map_percent)
    }

    /// Whether it has any number.
    pub fn is_filled(&self) -> bool {
        self.numbers().iter().any(|(name, value, _)| value.is_some() && !name.starts_with("baseline_"))
    }

    /// Fills in what follows from the other numbers and from what the source says of all its rows.
    fn complete(&mut self, activation_bits: Option<u32>, first_last: Option<FirstLast>) {
        self.activation_bits = self.activation_bits.or(activation_bits);
        self.first_last = self.first_last.or(first_last);
        if let (None, Some(baseline), Some(score)) =
            (self.drop_points, self.baseline_percent(), self.score_percent())
        {
            // Without the dust of a difference of decimal numbers.
            self.drop_points = Some(((baseline - score) * 1e6).round() / 1e6);
        }
        if let (None, Some(bytes), Some(count @ 1..)) =
            (self.bits_per_weight, self.file_bytes, self.parameter_count)
        {
            self.bits_per_weight = Some(8.0 * bytes / count as f64);
        }
    }

    fn numbers(&self) -> [(&'static str, Option<f64>, (f64, f64)); 9] {
        [
            ("baseline_top1_percent", self.baseline_top1_percent, (0.0, 100.0)),
            ("bits_per_weight", self.bits_per_weight, (1e-4, 64.0)),
            ("top1_percent", self.top1_percent, (0.0, 100.0)),
            ("baseline_map_percent", self.baseline_map_percent, (0.0, 100.0)),
            ("map_percent", self.map_percent, (0.0, 100.0)),
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
        let mut source: Self = yaml::parse(text, path, PUBLISHED)?;
        if source.citation.trim().is_empty() || source.setting.trim().is_empty() {
            return Err(wrong("a source needs a citation and what differs in its setting".into()));
        }
        let (activation_bits, first_last) = (source.activation_bits, source.first_last);
        source.results.iter_mut().for_each(|row| row.complete(activation_bits, first_last));
        for row in &source.results {
            let place = format!("{}, {}, '{}'", row.dataset, row.model, row.label);
            for (name, value, (low, high)) in row.numbers() {
                if value.is_some_and(|value| !(low..=high).contains(&value)) {
                    return Err(wrong(format!("{place}: {name} must lie in {low}–{high}")));
                }
            }
            for (name, bits) in [("bits", row.bits), ("activation_bits", row.activation_bits)] {
                if bits.is_some_and(|bits| !(1..=32).contains(&bits)) {
                    return Err(wrong(format!("{place}: {name} must lie in 1–32")));
                }
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
        assert!(sources.len() >= 11);
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
        assert!(
            message(&format!("{head}{row}activation_bits: 40}}]")).contains("activation_bits must lie in")
        );
        let wrong = message(&format!("{head}{row}first_last: some}}]"));
        assert!(wrong.contains("x.yaml:3") && wrong.contains("'full precision'"), "{wrong}");
    }

    /// What makes rows comparable stands once for a source or in a row, and what follows from it is worked out.
    #[test]
    fn rows_are_completed() {
        let yaml = "citation: x\nsetting: y\nactivation_bits: 32\nfirst_last: full precision\nresults:\n  \
                    - {dataset: a, model: b, method: ecq, label: c, bits: 2, top1_percent: 91.13, \
                    baseline_top1_percent: 91.67, file_bytes: 25000, parameter_count: 100000}\n  \
                    - {dataset: a, model: b, method: ecq, label: d, first_last: 8, activation_bits: 4}\n";
        let source = Source::parse(yaml, Path::new("x.yaml"), &methods()).unwrap();
        let [first, second] = &source.results[..] else { panic!("two rows") };
        assert_eq!((first.drop_points, first.bits_per_weight), (Some(0.54), Some(2.0)));
        assert_eq!((first.activation_bits, first.first_last), (Some(32), Some(FirstLast::FullPrecision)));
        assert_eq!((second.activation_bits, second.first_last), (Some(4), Some(FirstLast::Bits(8))));
        assert!(first.is_filled() && !second.is_filled());
    }
}
