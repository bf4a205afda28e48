//! `ecqx show` and `ecqx diff`: one record, and what two differ in.

use super::Global;
use super::listing;
use crate::error::{count, excerpt};
use crate::record::RunRecord;
use crate::store::{Lookup, Store};
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Print a run: results, layers and epochs, settings; provenance with --all
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the run or its beginning, or its label with or without 'seed=N'
    run: String,
    /// Also print the provenance and every field of the record
    #[arg(long)]
    all: bool,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// Show the differences between two runs, results first
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// Id of a run or its beginning, or its label
    first: String,
    /// Another run, named likewise
    second: String,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// The one run that `name` means: an id, the beginning of one, or a label as `ecqx results` shows it, followed by
/// `seed=N` where several seeds have it.
fn find(store: &Store, name: &str) -> Result<RunRecord> {
    let mut ids = store.run_ids()?;
    ids.retain(|id| id.starts_with(name));
    match ids.as_slice() {
        [] => by_label(store, name),
        [id] => match store.find(id) {
            Lookup::Found(record) => Ok(*record),
            Lookup::Damaged(why) => Err(Error::input_hint(why, "`ecqx run` does a damaged run again")),
            Lookup::Foreign(why) => {
                Err(Error::input_hint(why, "use the version that wrote it; it is left alone here"))
            }
            Lookup::Missing => Err(Error::input(format!("{id}: the run is being replaced; try again"))),
        },
        several => {
            Err(Error::input(format!("'{name}' is the beginning of {} ids: give more of it", several.len())))
        }
    }
}

/// The one run with this label.
fn by_label(store: &Store, name: &str) -> Result<RunRecord> {
    let (label, seed) = match name.rsplit_once(" seed=") {
        Some((label, seed)) => (label, seed.parse::<u64>().ok()),
        None => (name, None),
    };
    let (mut records, _) = store.records()?;
    records.retain(|record| {
        (record.label == label && seed.is_none_or(|seed| seed == record.seed)) || record.label == name
    });
    if records.len() > 1 {
        let ids: Vec<String> = records
            .iter()
            .take(MOST_SHOWN)
            .map(|record| format!("{:.8} ({}, seed {})", record.id, record.experiment, record.seed))
            .collect();
        let more = if records.len() > MOST_SHOWN { ", …" } else { "" };
        return Err(Error::input_hint(
            format!("{} have the label '{label}': {}{more}", count(records.len(), "run"), ids.join(", ")),
            "name one by the beginning of its id",
        ));
    }
    records.pop().ok_or_else(|| {
        Error::input_hint(
            format!(
                "{}: no run's id begins with '{1}', and none has the label '{1}'",
                store.root().display(),
                excerpt(name)
            ),
            "`ecqx results` lists them",
        )
    })
}

/// Runs that a message about several lists.
const MOST_SHOWN: usize = 8;

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

/// Which run it is, and what came of it.
fn headline(record: &RunRecord) {
    println!("{}  {} seed={}  ({})", record.id, record.label, record.seed, record.outcome.name());
    println!("{}: {} on {}, {}", record.experiment, record.model, record.dataset, record.selection);
    let mut listing = listing::Listing::new(&listing::result([record]));
    match record.error() {
        Some(error) => println!("\nfailed after {}: {error}", count(record.attempts as usize, "attempt")),
        None => {
            listing.push(listing::result_cells(&[record]).to_vec());
            println!();
            listing.lines().iter().for_each(|line| println!("{line}"));
        }
    }
}

/// Runs `show`.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let record = find(&Store::existing(&args.store)?, &args.run)?;
    if global.json {
        println!("{}", serde_json::to_string(&record)?);
        return Ok(super::DONE);
    }
    headline(&record);
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
    if !record.layers().is_empty() {
        println!(
            "\n{:<36} {:>10} {:>10} {:>7} {:>9} {:>9}",
            "layer", "weights", "zeros", "levels", "entropy", "bytes"
        );
    }
    for layer in record.layers() {
        let bytes = layer.bytes.map_or("-".into(), |bytes| bytes.to_string());
        let (name, entropy) = (&layer.name, number(layer.entropy));
        println!(
            "{name:<36} {:>10} {:>10} {:>7} {entropy:>9} {bytes:>9}",
            layer.weights, layer.zeros, layer.levels_in_use
        );
    }
    if !record.epochs.is_empty() {
        println!(
            "\n{:>5} {:>12} {:>12} {:>14} {:>9} {:>9}",
            "epoch", "loss", "training %", "validation %", "zeros", "seconds"
        );
    }
    for epoch in &record.epochs {
        println!(
            "{:>5} {:>12} {:>12} {:>14} {:>9} {:>9.1}",
            epoch.epoch,
            number(epoch.train_loss),
            number(epoch.train_top1),
            number(epoch.validation_value()),
            number(epoch.sparsity),
            epoch.seconds
        );
    }
    if !record.log().is_empty() {
        println!("\nend of the log");
    }
    record.log().iter().for_each(|line| println!("  {line}"));
    let fields = flat(&record)?;
    println!();
    let is_table = |key: &str| ["layers.", "epochs.", "log."].iter().any(|table| key.starts_with(table));
    let is_folded = |key: &str| !args.all && !["spec.", "warnings."].iter().any(|part| key.starts_with(part));
    for (key, value) in fields.iter().filter(|(key, _)| !is_table(key) && !is_folded(key)) {
        println!("{key:<36} {value}");
    }
    if !args.all {
        println!("\n`ecqx show {:.8} --all` adds provenance and all fields", record.id);
    }
    Ok(super::DONE)
}

/// Runs `diff`.
pub fn diff(args: &DiffArgs, global: &Global) -> anyhow::Result<u8> {
    let store = Store::existing(&args.store)?;
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
