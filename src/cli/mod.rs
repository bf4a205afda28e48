//! The command line: one file per subcommand, each a clap `Args` struct and a `run` function; `anyhow` errors with hints.
//!
//! A subcommand is added with its file, one `mod` line, one variant of `Command` and one arm of `dispatch`.

mod allocation;
mod app;
mod check;
mod data;
mod decode;
mod duration;
mod encode;
mod evaluate;
mod exec;
mod experiments;
mod explain;
mod explain_rules;
mod init;
mod inspect;
mod interrupt;
mod listing;
mod ls;
mod plan;
mod progress;
mod quantize;
mod quantize_summary;
mod report;
mod results;
mod run;
mod run_options;
mod selftest;
mod show;
mod status;
mod store;
mod submit;
mod validate;
mod weights;

use crate::Error;
use crate::nn::backend;
use crate::report::figure::{self, Figures};
use crate::spec::Registry;
pub use app::App;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Everything went well.
pub const DONE: u8 = 0;
/// A run failed or a number is out of tolerance.
pub const FAILED: u8 = 1;
/// The user's input is wrong.
pub const USAGE: u8 = 2;
/// Another process is computing the run.
pub const CLAIMED: u8 = 75;
/// The user pressed Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Quantize neural networks with ECQx and the methods it is compared with; measure, tabulate, draw.
#[derive(Debug, Parser)]
#[command(name = "ecqx", version, about, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Print one JSON object on standard output and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Folder with the data sets [default: $ECQX_DATA, else data/]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Compute device: cpu, cuda or cuda:N
    #[arg(long, global = true, default_value = "cpu")]
    pub device: String,
    /// Threads for computation, 1 or more [default: all cores]
    #[arg(long, global = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// What experiments may name.
    #[arg(skip)]
    pub registry: Registry,
    /// What reports can draw.
    #[arg(skip = figure::builtin())]
    pub figures: Figures,
}

impl Global {
    /// The data folder: `--data-dir`, else `ECQX_DATA`, else `data/`.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir
            .clone()
            .or_else(|| std::env::var_os("ECQX_DATA").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("data"))
    }

    /// The compute device that `--device` names.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown name, for a GPU that is not there or in a binary built without the feature `cuda`, and for an
    /// `ECQX_BACKEND` that the device does not have.
    pub fn device(&self) -> crate::Result<candle_core::Device> {
        let index = match self.device.as_str() {
            "cpu" => {
                backend::check_environment(&candle_core::Device::Cpu)?;
                return Ok(candle_core::Device::Cpu);
            }
            "cuda" => Ok(0),
            other => other.strip_prefix("cuda:").unwrap_or(other).parse::<usize>(),
        };
        let index = index.map_err(|_| {
            Error::input_hint(format!("--device {}: no such device", self.device), "use cpu, cuda or cuda:N")
        })?;
        if !cfg!(feature = "cuda") {
            return Err(Error::input_hint(
                format!("--device {}: this binary was built without CUDA", self.device),
                "build it with `make gpu`: see docs/gpu.md",
            ));
        }
        let device = candle_core::Device::new_cuda(index).map_err(|error| {
            // Candle's messages carry a trace; the first line says what the driver answered.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or("no answer").trim().to_owned();
            Error::input_hint(
                format!("--device {}: no usable GPU: {first}", self.device),
                "check `nvidia-smi`, the driver and CUDA_VISIBLE_DEVICES, or use --device cpu",
            )
        })?;
        backend::check_environment(&device)?;
        Ok(device)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Report(report::Args),
    Results(results::Args),
    Plan(plan::Args),
    Validate(validate::Args),
    Ls(ls::Args),
    Data(data::Args),
    Init(init::Args),
    Evaluate(evaluate::Args),
    Explain(Box<explain::Args>),
    Quantize(Box<quantize::Args>),
    Encode(encode::Args),
    Decode(decode::Args),
    Inspect(inspect::Args),
    Exec(exec::Args),
    Submit(submit::Args),
    Selftest(selftest::Args),
    Status(status::Args),
    Collect(store::CollectArgs),
    Check(check::Args),
    Show(show::Args),
    Diff(show::DiffArgs),
    Store(store::Args),
}

fn dispatch(command: Command, global: &Global) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => run::run(&args, global),
        Command::Report(args) => report::run(&args, global),
        Command::Results(args) => results::run(&args, global),
        Command::Plan(args) => plan::run(&args, global),
        Command::Validate(args) => validate::run(&args, global),
        Command::Ls(args) => ls::run(&args, global),
        Command::Data(args) => data::run(&args, global),
        Command::Init(args) => init::run(&args, global),
        Command::Evaluate(args) => evaluate::run(&args, global),
        Command::Explain(args) => explain::run(&args, global),
        Command::Quantize(args) => quantize::run(&args, global),
        Command::Encode(args) => encode::run(&args, global),
        Command::Decode(args) => decode::run(&args, global),
        Command::Inspect(args) => inspect::run(&args, global),
        Command::Exec(args) => exec::run(&args, global),
        Command::Submit(args) => submit::run(&args, global),
        Command::Selftest(args) => selftest::run(&args, global),
        Command::Status(args) => status::run(&args, global),
        Command::Check(args) => check::run(&args, global),
        Command::Collect(args) => store::collect(&args, global),
        Command::Show(args) => show::run(&args, global),
        Command::Diff(args) => show::diff(&args, global),
        Command::Store(args) => store::run(&args, global),
    }
}

/// Most threads; what is beyond costs memory and gains nothing.
const MOST_THREADS: usize = 256;

fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|threads| *threads > 0).ok_or_else(|| "give a whole number of 1 or more".into())
}

/// A finite number, for `value_parser`.
fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("give a finite number".into()),
        Err(_) if text.replacen(',', ".", 1).parse::<f64>().is_ok() => {
            Err(format!("write {}, with a point", text.replacen(',', ".", 1)))
        }
        Err(_) => Err("give a number, such as 0.05".into()),
    }
}

/// Joins a negative number with the option before it (`--lambda=-1e-3`), so that its range is checked instead of an option
/// called `-1` missed.
fn with_negative_numbers(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut options = true;
    for argument in arguments {
        options &= argument != "--";
        let is_negative = argument
            .to_str()
            .is_some_and(|text| text.starts_with(['-']) && text.len() > 1 && text.parse::<f64>().is_ok());
        let before = joined.last_mut().filter(|before| {
            let text = before.to_string_lossy();
            text.starts_with("--") && text.len() > 2 && !text.contains('=')
        });
        match before {
            Some(before) if options && is_negative => {
                before.push("=");
                before.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// What the argument parser says, without the words of the standard library's parsers.
fn in_words(message: &str) -> String {
    [
        ("invalid digit found in string", "give a whole number"),
        ("invalid float literal", "give a number, such as 0.05"),
        ("number too large to fit in target type", "the number is too large"),
        ("number too small to fit in target type", "the number is too small"),
        ("cannot parse integer from empty string", "give a whole number"),
        ("cannot parse float from empty string", "give a number, such as 0.05"),
    ]
    .iter()
    .fold(message.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Parses the arguments, runs the command with what `registry` and `figures` have, and returns its exit code.
pub(super) fn main(registry: Registry, figures: Figures) -> ExitCode {
    let mut cli = match Cli::try_parse_from(with_negative_numbers(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) if error.kind() == clap::error::ErrorKind::ValueValidation => {
            eprint!("{}", in_words(&error.render().to_string()));
            return ExitCode::from(USAGE);
        }
        // Help and version too, which end with 0.
        Err(error) => error.exit(),
    };
    cli.global.registry = registry;
    cli.global.figures = figures;
    if let Some(threads) = cli.global.threads {
        if threads > MOST_THREADS {
            eprintln!("warning: --threads {threads}: {MOST_THREADS} are used, the most that are of any use");
        }
        // Fails only if a pool exists already, which nothing before this line creates.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.min(MOST_THREADS)).build_global();
    }
    match dispatch(cli.command, &cli.global) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(report(&error)),
    }
}

/// Prints `error: …`, its causes and a `hint:` on standard error; returns the exit code.
fn report(error: &anyhow::Error) -> u8 {
    // Our messages already contain what the operating system or a library said: causes behind them are not repeated.
    let mut message = error.to_string();
    let above = error.chain().take_while(|cause| cause.downcast_ref::<Error>().is_none()).count();
    for cause in error.chain().skip(1).take(above).map(ToString::to_string) {
        if !message.ends_with(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    eprintln!("error: {message}");
    let ours = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if let Some(hint) = ours.and_then(Error::hint) {
        eprintln!("hint: {hint}");
    }
    if ours.is_some_and(Error::is_user_error) { USAGE } else { FAILED }
}
