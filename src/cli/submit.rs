//! `ecqx submit`: hands what is missing to an engine.

use super::Global;
use super::experiments::{self, Selection};
use crate::engine::{self, Options, Resources, Submission, Watch};
use crate::plan::{Depth, Plan, State, Wave};
use crate::run::Context;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Submit the unfinished runs of experiments to an engine: worker processes here, HyperQueue or Slurm
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Who computes: local, hyperqueue or slurm (`ecqx ls engines`)
    #[arg(long, default_value = "local")]
    engine: String,
    /// Print what would be run as a shell script, and write nothing but the plan that it reads
    #[arg(long)]
    print: bool,
    /// Of each run, such as cpus=2,gpus=0.5,memory=4G,time=2h
    #[arg(long, value_name = "KEY=VALUE,…")]
    resources: Option<String>,
    /// Runs at a time (local, slurm) [default: local: cores ÷ cpus of a run; slurm: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workers: Option<u32>,
    /// A word for `hq submit` or `sbatch`, such as --engine-option=--partition=gpu (may be repeated)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    engine_option: Vec<String>,
    /// Largest number of tasks in one Slurm array [default: the site's MaxArraySize − 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    array_limit: Option<u32>,
    /// Retry failed runs that have no retries left
    #[arg(long)]
    retry_failed: bool,
    /// Restarts of a worker of the local engine whose process was killed
    #[arg(long, value_name = "N", default_value_t = 2)]
    max_restarts: u32,
}

impl Args {
    fn options(&self, global: &Global) -> Result<Options> {
        let mut resources: Resources = self.resources.as_deref().unwrap_or_default().parse()?;
        resources.cpus = resources.cpus.or(global.threads.map(|threads| threads.max(1)));
        Ok(Options {
            resources,
            workers: self.workers.map(|n| n as usize),
            engine_options: self.engine_option.clone(),
            array_limit: self.array_limit.map(|n| n as usize),
            max_restarts: self.max_restarts as usize,
        })
    }

    fn submission(&self, plan: Plan, context: &Context, global: &Global) -> Result<Submission> {
        let options = self.options(global)?;
        let store = absolute(&self.selection.store)?;
        let program = std::env::current_exe().map_err(Error::io(Path::new("ecqx")))?;
        let mut exec = vec![text(&program), "exec".into(), "--store".into(), text(&store)];
        exec.extend(["--data-dir".into(), text(&absolute(&context.data_dir)?)]);
        let mut folders: Vec<PathBuf> =
            context.checkpoint_dirs.iter().map(|folder| absolute(folder)).collect::<Result<_>>()?;
        folders.dedup();
        for folder in folders {
            exec.extend(["--checkpoint-dir".into(), text(&folder)]);
        }
        if self.retry_failed {
            exec.push("--retry-failed".into());
        }
        let device = match options.resources.gpus {
            Some(_) if global.device == "cpu" => "cuda".to_owned(),
            _ => global.device.clone(),
        };
        if device != "cpu" && !cfg!(feature = "cuda") {
            let (what, hint) = (
                "this binary was built without CUDA",
                "build it with `cargo build --release --features cuda`",
            );
            match self.print {
                true => eprintln!("warning: {what}; {hint}"),
                false => return Err(Error::input_hint(format!("--device {device}: {what}"), hint)),
            }
        }
        let folder = Submission::folder(&store, &self.engine, &plan)?;
        let working_folder = absolute(Path::new("."))?;
        Ok(Submission { plan, folder, store, working_folder, exec, device, options })
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    // An empty parent is the current folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    // Without "." at the end, and with links resolved where the path exists: the same folder has one name.
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).map_err(Error::io(path))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// How often the user asked to stop.
static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

/// Counts Ctrl-C instead of ending the process: the work is done by other processes, which have to be told.
fn count_signals() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTS.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!(
                "stopping at the end of the epochs; once more to stop at once (nothing finished is lost)"
            );
        }
    })?;
    Ok(())
}

/// Lines on standard error; stops on Ctrl-C.
struct Screen;

impl Watch for Screen {
    fn note(&self, line: &str) {
        eprintln!("{line}");
    }

    fn interrupts(&self) -> usize {
        INTERRUPTS.load(Ordering::Relaxed)
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let engine = engine::engine(&args.engine)?;
    args.options(global)?;
    if !args.print {
        engine::check_installed(engine)?;
    }
    // The device belongs to the engine's machines: planning needs none.
    let planner = Global { device: "cpu".into(), ..global.clone() };
    let context = experiments::context(&args.selection, &planner)?;
    let planned = experiments::plan(&args.selection, &context, Depth::Records)?;
    let plan = Plan::new(&planned, &context.store).missing();
    let (total, baselines, runs) = (planned.len(), plan.len(Wave::Baselines), plan.len(Wave::Runs));
    if plan.is_empty() {
        if global.json {
            println!(
                "{}",
                serde_json::json!({"engine": engine.name(), "runs": 0, "baselines": 0, "finished": true, "failed": 0})
            );
        } else {
            eprintln!("nothing to submit: all {total} runs are done");
        }
        return Ok(super::DONE);
    }
    let submission = args.submission(plan, &context, global)?;
    if args.print {
        let script = engine.script(&submission)?;
        submission.write()?;
        match global.json {
            true => println!("{}", serde_json::json!({"engine": engine.name(), "script": script})),
            false => print!("{script}"),
        }
        return Ok(super::DONE);
    }
    submission.write()?;
    eprintln!(
        "{total} runs: {} finished earlier; {}: {baselines} baselines, {runs} runs",
        total - runs,
        engine.name()
    );
    count_signals()?;
    let outcome = engine.submit(&submission, &Screen)?;
    // The store says what became of it.
    let failed = match outcome.finished {
        true => {
            let now = experiments::plan(&args.selection, &context, Depth::Records)?;
            now.iter().filter(|p| !matches!(p.state, State::Done(_))).count()
        }
        false => 0,
    };
    if global.json {
        println!(
            "{}",
            serde_json::json!({
                "engine": engine.name(), "baselines": baselines, "runs": runs, "finished": outcome.finished,
                "failed": failed, "folder": submission.folder, "interrupted": outcome.interrupted,
            })
        );
    }
    if outcome.interrupted {
        return Ok(super::INTERRUPTED);
    }
    if outcome.finished {
        eprintln!("{} of {total} runs are done, {failed} failed", total - failed);
    } else {
        eprintln!("submitted; `ecqx status` shows how far it is, submitting again adds only what is missing");
    }
    Ok(if failed > 0 { super::FAILED } else { super::DONE })
}
