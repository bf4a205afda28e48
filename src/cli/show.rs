//! `ecqx show` and `ecqx diff`: one record, and what two differ in.

use super::Global;
use crate::run::RunRecord;
use crate::store::Store;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Print the record of a run: settings, results, provenance
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the run, or its beginning
    run: String,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// Say in what two runs differ
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// Id of a run, or its beginning
    first: String,
    /// Id of another run
    second: String,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// The one record whose id begins with `prefix`.
fn find(store: &Store, prefix: &str) -> Result<RunRecord> {
    let (records, damaged) = store.records()?;
    damaged.iter().for_each(|message| eprintln!("warning: {message}"));
    let mut matches: Vec<RunRecord> =
        records.into_iter().filter(|record| record.id.starts_with(prefix)).collect();
    match (matches.pop(), matches.len()) {
        (Some(record), 0) => Ok(record),
        (None, _) => Err(Error::input_hint(
            format!("{}: no run's id begins with '{prefix}'", store.root().display()),
            "the raw table of `ecqx report` lists them",
        )),
        (Some(_), others) => {
            Err(Error::input(format!("'{prefix}' is the beginning of {} ids: give more of it", others + 1)))
        }
    }
}

/// Leaves of a JSON value by their path.
fn leaves(value: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &below(key), out)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| leaves(value, &below(&index.to_string()), out));
        }
        Value::Null => {}
        leaf => {
            drop(out.insert(path.to_owned(), leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned)))
        }
    }
}

fn flat(record: &RunRecord) -> Result<BTreeMap<String, String>> {
    let value = serde_json::to_value(record).map_err(|error| Error::Internal(format!("record: {error}")))?;
    let mut out = BTreeMap::new();
    leaves(&value, "", &mut out);
    Ok(out)
}

/// Runs `show`.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let record = find(&Store::open(&args.store)?, &args.run)?;
    if global.json {
        println!("{}", serde_json::to_string(&record)?);
        return Ok(super::DONE);
    }
    // Layers and epochs have tables of their own.
    let fields = flat(&record)?;
    for (key, value) in
        fields.iter().filter(|(key, _)| !key.starts_with("layers.") && !key.starts_with("epochs."))
    {
        println!("{key:<36} {value}");
    }
    println!("{:<36} {}", "layers", record.layers.len());
    println!("{:<36} {}", "epochs", record.epochs.len());
    Ok(super::DONE)
}

/// Runs `diff`.
pub fn diff(args: &DiffArgs, global: &Global) -> anyhow::Result<u8> {
    let store = Store::open(&args.store)?;
    let (first, second) = (flat(&find(&store, &args.first)?)?, flat(&find(&store, &args.second)?)?);
    let keys: std::collections::BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let differing = keys.into_iter().filter(|key| first.get(*key) != second.get(*key));
    let rows: Vec<(&String, Option<&String>, Option<&String>)> =
        differing.map(|key| (key, first.get(key), second.get(key))).collect();
    if global.json {
        let object: serde_json::Map<String, Value> =
            rows.iter().map(|(key, a, b)| ((*key).clone(), serde_json::json!([a, b]))).collect();
        println!("{}", Value::Object(object));
        return Ok(super::DONE);
    }
    let shown = |value: Option<&String>| value.map_or("-".to_owned(), Clone::clone);
    for (key, a, b) in rows {
        println!("{key:<36} {:<28} {}", shown(a), shown(b));
    }
    Ok(super::DONE)
}
