//! `ecqx data`: list, fetch and verify data sets and published checkpoints.

use super::Global;
use super::duration::duration;
use crate::data::fetch::{Checked, Fetcher, Kind, Source, Table, Watch};
use crate::error::count;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// List, fetch or verify data sets and published checkpoints
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what can be fetched, with size, licence and whether it is there
    Ls(Sources),
    /// Download, check and unpack into the data folder; continues where an earlier call stopped
    ///
    /// Size and checksum are checked before anything is unpacked, and nothing that is there is overwritten. Proxies are
    /// taken from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, certificates from SSL_CERT_FILE.
    Fetch {
        /// What to fetch; `ecqx data ls` lists the names
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        sources: Sources,
        /// Server to ask instead of the publisher: files are fetched from URL/FILE
        #[arg(long, value_name = "URL", value_parser = mirror)]
        mirror: Option<String>,
        /// Keep archives after unpacking them (in .ecqx/downloads below the data folder)
        #[arg(long)]
        keep_archives: bool,
        /// Attempts after one in which nothing arrived
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
        retries: u32,
        /// Seconds of silence after which a connection counts as dead
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
        stall_seconds: u64,
    },
    /// Compare what is there with what the publisher gives; exit code 1 where it differs or is missing
    Verify {
        /// What to verify; `ecqx data ls` lists the names
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        sources: Sources,
    },
}

#[derive(Debug, clap::Args)]
struct Sources {
    /// Table of sources of your own, in the form of src/data/sources.yaml
    #[arg(long, value_name = "FILE.yaml")]
    sources: Option<PathBuf>,
}

impl Sources {
    fn table(&self) -> crate::Result<Table> {
        self.sources.as_deref().map_or_else(Table::builtin, Table::load)
    }
}

fn mirror(text: &str) -> Result<String, String> {
    match text.starts_with("http://") || text.starts_with("https://") {
        true => Ok(text.to_owned()),
        false => Err("give an address, http://… or https://…".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    match &args.command {
        Command::Ls(sources) => ls(&sources.table()?, global),
        Command::Fetch { names, sources, mirror, keep_archives, retries, stall_seconds } => {
            let table = sources.table()?;
            // All names before the first byte.
            let chosen: Vec<&Source> = names.iter().map(|name| table.find(name)).collect::<Result<_, _>>()?;
            let shown = Shown::default();
            let fetcher = Fetcher {
                data_dir: global.data_dir(),
                mirror: mirror.clone(),
                stall: Duration::from_secs(*stall_seconds),
                retries: *retries,
                keep_archives: *keep_archives,
                watch: &shown,
            };
            fetch(&chosen, &fetcher, global)
        }
        Command::Verify { names, sources } => verify(names, &sources.table()?, global),
    }
}

fn ls(table: &Table, global: &Global) -> anyhow::Result<u8> {
    let data_dir = global.data_dir();
    if global.json {
        let items: Vec<_> = (table.sources.iter())
            .map(|source| {
                let mut item = json!(source);
                item["present"] = source.is_present(&data_dir).into();
                item
            })
            .collect();
        println!("{}", json!({"items": items}));
        return Ok(super::DONE);
    }
    let width = table.sources.iter().map(|source| source.name.len()).max().unwrap_or(0);
    for kind in [Kind::Dataset, Kind::Checkpoint] {
        println!("{}", if kind == Kind::Dataset { "Data sets" } else { "Checkpoints" });
        for source in table.sources.iter().filter(|source| source.kind == kind) {
            let there = if source.is_present(&data_dir) { "there" } else { "" };
            let size = match source.bytes() {
                (bytes, true) => size(bytes),
                _ => String::new(),
            };
            println!("  {:<width$}  {size:>8}  {there:<5}  {}", source.name, source.about);
            println!("  {:<width$}  {:>8}  {:<5}  licence: {}", "", "", "", source.licence);
        }
    }
    Ok(super::DONE)
}

fn fetch(sources: &[&Source], fetcher: &Fetcher, global: &Global) -> anyhow::Result<u8> {
    let mut items = Vec::new();
    for source in sources {
        let fetched = fetcher.fetch(source)?;
        for target in &fetched {
            if !global.json {
                let what =
                    if target.was_there { "is there already, complete" } else { "fetched and checked" };
                println!("{}: {} {what}", source.name, target.path.display());
            }
            let state = if target.was_there { "present" } else { "fetched" };
            items.push(json!({
                "name": source.name, "path": target.path, "state": state, "downloaded": target.downloaded,
            }));
        }
        if !global.json {
            println!("{}: licence: {}", source.name, source.licence);
        }
    }
    if global.json {
        println!("{}", json!({"items": items}));
    }
    Ok(super::DONE)
}

/// Problems that are shown of one target.
const SHOWN: usize = 10;

fn verify(names: &[String], table: &Table, global: &Global) -> anyhow::Result<u8> {
    let chosen: Vec<&Source> = names.iter().map(|name| table.find(name)).collect::<Result<_, _>>()?;
    let mut items = Vec::new();
    let mut intact = true;
    for source in chosen {
        for target in source.verify(&global.data_dir())? {
            intact &= target.problems.is_empty();
            if !global.json {
                let place = format!("{}: {}", source.name, target.path.display());
                let by = match target.by {
                    Checked::Checksum => "by checksum",
                    Checked::Manifest => "file by file",
                    Checked::Structure => {
                        "by names, sizes and numbers of files: it was unpacked by other means"
                    }
                    Checked::Absent => "",
                };
                match target.problems.as_slice() {
                    [] => println!("{place} is intact ({by})"),
                    problems => {
                        problems.iter().take(SHOWN).for_each(|problem| println!("{place}: {problem}"));
                        let more = problems.len().saturating_sub(SHOWN);
                        if more > 0 {
                            println!("{place}: and {}", count(more, "more problem"));
                        }
                    }
                }
            }
            items.push(json!({
                "name": source.name, "path": target.path, "intact": target.problems.is_empty(),
                "checked": target.by, "problems": target.problems,
            }));
        }
    }
    if global.json {
        println!("{}", json!({"intact": intact, "items": items}));
    }
    Ok(if intact { super::DONE } else { super::FAILED })
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Seconds between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress: a bar on a terminal, a line now and then elsewhere; always on standard error.
#[derive(Default)]
struct Shown {
    current: RefCell<Option<Current>>,
}

/// The file that is being downloaded.
struct Current {
    bar: ProgressBar,
    name: String,
    first: u64,
    total: Option<u64>,
    began: Instant,
    said: Instant,
}

impl Watch for Shown {
    fn begin(&self, file: &str, done: u64, total: Option<u64>) {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(total.unwrap_or(0)),
            false => ProgressBar::hidden(),
        };
        let template = match total {
            Some(_) => "{msg}  {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
            None => "{msg}  {spinner} {bytes}  {bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(file.to_owned());
        bar.set_position(done);
        // The rate is that of this download, not of what was there before.
        bar.reset_eta();
        let (name, began) = (file.to_owned(), Instant::now());
        *self.current.borrow_mut() = Some(Current { bar, name, first: done, total, began, said: began });
    }

    fn advance(&self, done: u64) {
        let mut current = self.current.borrow_mut();
        let Some(current) = current.as_mut() else { return };
        current.bar.set_position(done);
        if current.bar.is_hidden() && current.said.elapsed() >= LINE_EVERY {
            current.said = Instant::now();
            let rate = (done - current.first) as f64 / current.began.elapsed().as_secs_f64();
            let left = current.total.map_or(String::new(), |total| {
                let left = duration(total.saturating_sub(done) as f64 / rate.max(1.0));
                format!(" of {}, {left} left", size(total))
            });
            eprintln!("{}: {}{left}, {}/s", current.name, size(done), size(rate as u64));
        }
    }

    fn end(&self) {
        if let Some(current) = self.current.borrow_mut().take() {
            current.bar.finish_and_clear();
        }
    }

    fn note(&self, line: &str) {
        match self.current.borrow().as_ref().filter(|current| !current.bar.is_hidden()) {
            Some(current) => current.bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}
