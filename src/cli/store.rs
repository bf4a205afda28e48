//! `ecqx store`: check, clean and export a folder of results.

use super::Global;
use crate::error::count;
use crate::io::write_output;
use crate::record::RunRecord;
use crate::report::archive;
use crate::report::export::{self, ALL};
use crate::report::tables::raw;
use crate::run::{Adoption, Context};
use crate::store::Store;
use clap::Subcommand;
use indexmap::IndexMap;
use std::path::PathBuf;

/// Check, clean or export a folder of results
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare every record, model file and baseline with its digest; exit code 1 when one does not match
    Verify(Folder),
    /// Remove claims of dead processes, what they left half-written, damaged runs and baselines, and checkpoints that
    /// nobody needs; what is in use stays
    Gc(Folder),
    /// Write all runs as raw.csv, raw.parquet and records.parquet (whole records, without model files)
    Export {
        #[command(flatten)]
        folder: Folder,
        /// Folder to write to
        #[arg(long, default_value = "export")]
        output: PathBuf,
    },
    /// Import records from the records.parquet of another store to resume a sweep
    ///
    /// Records of an earlier schema get their present ids, for which their data set and checkpoint must be at hand; those
    /// that cannot be mapped are listed and left out, with exit code 1.
    Import {
        #[command(flatten)]
        folder: Folder,
        /// Files that `ecqx store export`, `collect` or `report` wrote
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Folder {
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// Write the runs of one or more stores as raw.csv, raw.parquet and records.parquet
#[derive(Debug, clap::Args)]
pub struct CollectArgs {
    /// Folders of results; a run that several hold is taken once
    #[arg(long, default_value = "store", num_args = 1..)]
    store: Vec<PathBuf>,
    /// Folder to write to
    #[arg(long, default_value = "export")]
    output: PathBuf,
}

/// Runs `collect`.
pub fn collect(args: &CollectArgs, global: &Global) -> anyhow::Result<u8> {
    let mut by_id = std::collections::BTreeMap::new();
    for folder in &args.store {
        let (records, damaged) = Store::existing(folder)?.records()?;
        damaged.iter().for_each(|message| eprintln!("warning: {message}; left out"));
        records.into_iter().for_each(|record| drop(by_id.insert(record.id.clone(), record)));
    }
    let mut records: Vec<RunRecord> = by_id.into_values().collect();
    let methods = crate::report::Methods::new(&global.registry);
    crate::report::records::sort(&mut records, &methods);
    let mut files = export::write(&raw(&records, &methods)?, ALL, &args.output)?;
    let path = args.output.join(format!("{}.parquet", archive::NAME));
    let content = archive::write(&records)?;
    write_output(&path, &content)?;
    files.push(path);
    if global.json {
        println!("{}", serde_json::json!({"runs": records.len(), "files": files}));
    } else {
        println!("{} in {}", count(records.len(), "run"), args.output.display());
    }
    Ok(super::DONE)
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    match &args.command {
        Command::Verify(folder) => {
            let (records, damaged) = Store::existing(&folder.store)?.verified_records()?;
            if global.json {
                println!("{}", serde_json::json!({"runs": records.len(), "damaged": damaged}));
            } else {
                damaged.iter().for_each(|message| println!("{message}"));
                println!("{} intact, {} damaged", count(records.len(), "run"), damaged.len());
            }
            Ok(if damaged.is_empty() { super::DONE } else { super::FAILED })
        }
        Command::Gc(folder) => {
            let removed = Store::existing(&folder.store)?.collect_garbage()?;
            if global.json {
                println!("{}", serde_json::json!({"removed": removed}));
            } else {
                removed.iter().for_each(|path| println!("removed {}", path.display()));
                println!("{} removed", count(removed.len(), "thing"));
            }
            Ok(super::DONE)
        }
        Command::Import { folder, files } => {
            let mut records = Vec::new();
            for file in files {
                records.extend(archive::read_whole(file)?);
            }
            let store = Store::open(&folder.store)?;
            // Checkpoints that are not below the data folder lie beside the experiments, mostly here.
            let folders = vec![PathBuf::from(".")];
            let context =
                Context::new(global.registry.clone(), store, global.data_dir(), folders, global.device()?);
            let mut adoption = Adoption::new(&context);
            let (mut adopted, mut refused) = (Vec::new(), Vec::new());
            let mut reasons: IndexMap<String, Vec<String>> = IndexMap::new();
            for record in records {
                let id = record.id.clone();
                match adoption.adopt(record) {
                    Ok(record) => adopted.push(record),
                    Err(error) => {
                        refused.push(format!("run {id} is left out: {error}"));
                        reasons.entry(error.to_string()).or_default().push(id);
                    }
                }
            }
            let done = context.store.import(&adopted)?;
            // One data set that is missing is one message, however many runs are on it.
            for (reason, ids) in &reasons {
                match ids.as_slice() {
                    [id] => eprintln!("warning: run {id} is left out: {reason}"),
                    ids => eprintln!("warning: {} are left out: {reason}", count(ids.len(), "run")),
                }
            }
            if global.json {
                println!(
                    "{}",
                    serde_json::json!({"imported": done.new, "known": done.known, "left_out": refused})
                );
            } else {
                println!(
                    "{} imported, {} finished here already, {} left out",
                    count(done.new, "run"),
                    done.known,
                    refused.len()
                );
            }
            Ok(if refused.is_empty() { super::DONE } else { super::FAILED })
        }
        Command::Export { folder, output } => {
            collect(&CollectArgs { store: vec![folder.store.clone()], output: output.clone() }, global)
        }
    }
}
