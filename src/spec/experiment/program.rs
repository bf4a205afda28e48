//! What an experiment says of a program of the user's: its name in tables, and the files that decide what it does, whose
//! digests become part of the run.

use super::Entry;
use crate::quant::Method;
use crate::registry::{Catalogue, Kind, found};
use crate::spec::label::name;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// Longest name in tables.
const LONGEST_LABEL: usize = 60;

/// How many values an axis has: one for every list that spans the grid.
pub(super) fn axes(kind: Option<Kind>, value: &Value) -> Vec<usize> {
    match (kind, value) {
        (Some(Kind::Command | Kind::Files), _) => Vec::new(),
        (Some(Kind::Options), Value::Object(options)) => {
            options.values().filter_map(|value| value.as_array().map(Vec::len)).collect()
        }
        (_, value) => value.as_array().map(Vec::len).into_iter().collect(),
    }
}

/// Writes out what follows from the folder of the experiment: digests of files, those that the command names among them,
/// and the name in tables.
///
/// # Errors
/// [`Error::Input`] naming the parameter or file.
pub(super) fn complete(
    parameters: &mut Map<String, Value>,
    folder: &Path,
    methods: &Catalogue<Method>,
) -> Result<()> {
    let command = texts(parameters, "command")?;
    if command.is_empty() {
        return Err(Error::input_hint(
            "the method needs a command",
            "give the program and its arguments, such as 'command: [python3, my_quantizer.py]'",
        ));
    }
    let mut files = texts(parameters, "files")?;
    let given = files.len();
    let named = command.iter().filter(|word| is_file_of(folder, word));
    files.extend(named.filter(|word| !files.contains(word)).cloned().collect::<Vec<_>>());
    let mut digests = Map::new();
    for file in &files {
        let path = folder.join(file);
        let content = std::fs::read(&path)
            .map_err(|error| Error::input(format!("files: {}", Error::io(&path)(error))))?;
        digests.insert(file.clone(), blake3::hash(&content).to_hex().as_str().into());
    }
    let label = match parameters.get("label") {
        None => default_label(files.first().filter(|_| given > 0 || files.len() == 1).unwrap_or(&command[0])),
        Some(Value::String(label)) => label.clone(),
        Some(other) => return Err(Error::input(format!("label must be a text, found {}", found(other)))),
    };
    check_label(&label, methods)?;
    parameters.insert("label".into(), label.into());
    parameters.insert("files".into(), digests.into());
    Ok(())
}

/// Checks what an entry says of a checkpoint: that it names one, and its name in tables.
///
/// # Errors
/// [`Error::Input`] naming the parameter.
pub(super) fn check_checkpoint(parameters: &Map<String, Value>, methods: &Catalogue<Method>) -> Result<()> {
    if !parameters.contains_key("weights") {
        return Err(Error::input_hint(
            "the method needs the checkpoint of each run",
            "such as 'weights: runs/mine_w{bits}_s{seed}.pt'",
        ));
    }
    match parameters.get("label") {
        Some(Value::String(label)) => check_label(label, methods),
        _ => Ok(()),
    }
}

/// Checks that entries that name different checkpoints are told apart in tables.
///
/// # Errors
/// [`Error::Input`] naming the later of two.
pub(super) fn check_distinct(entries: &[Entry], methods: &Catalogue<Method>) -> Result<()> {
    let reads = |entry: &&Entry| methods.get(&entry.method).is_some_and(Method::reads_checkpoint);
    let entries: Vec<&Entry> = entries.iter().filter(reads).collect();
    for (i, entry) in entries.iter().enumerate() {
        let own = name(&entry.method, &entry.parameters);
        let is_same = |other: &&&Entry| {
            name(&other.method, &other.parameters) == own
                && other.parameters.get("weights") != entry.parameters.get("weights")
        };
        if let Some(other) = entries[..i].iter().find(is_same) {
            return Err(Error::input_hint(
                format!("{}: other files than {} under the same label, '{own}'", entry.place, other.place),
                "tables and figures could not tell them apart: give each a 'label'",
            ));
        }
    }
    Ok(())
}

/// Whether a word of a command names a file beside the experiment. Absolute paths are interpreters: other machines have
/// others.
fn is_file_of(folder: &Path, word: &str) -> bool {
    !word.is_empty() && Path::new(word).is_relative() && folder.join(word).is_file()
}

/// A list of texts; nothing where there is none.
fn texts(parameters: &Map<String, Value>, key: &str) -> Result<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match parameters.get(key) {
        None => Ok(Vec::new()),
        Some(value) => value
            .as_array()
            .and_then(|items| items.iter().map(text).collect())
            .ok_or_else(|| Error::input(format!("{key} must be a list of texts, found {}", found(value)))),
    }
}

fn default_label(file: &str) -> String {
    Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn check_label(label: &str, methods: &Catalogue<Method>) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || "-_.+ ".contains(c);
    if label.is_empty() || label.chars().count() > LONGEST_LABEL || !label.chars().all(allowed) {
        return Err(Error::input_hint(
            format!(
                "label must consist of letters, digits, spaces and -_.+, at most {LONGEST_LABEL}, found '{}'",
                crate::error::excerpt(label)
            ),
            "for example 'label: my-method'",
        ));
    }
    let is_taken = methods.get(label).is_some_and(|method| !method.runs_program()) || label == "baseline";
    match is_taken {
        true => Err(Error::input_hint(
            format!("label '{label}' is the name of another method"),
            "for example 'label: my-method'",
        )),
        false => Ok(()),
    }
}
