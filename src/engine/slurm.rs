//! Slurm: job arrays, no longer than the site allows; the runs start when the baselines have ended.

use super::Engine;
use super::resources::clock;
use super::shell::quote;
use super::submission::Submission;
use crate::plan::Wave;
use crate::{Error, Result};
use std::process::Command;

/// `sbatch --array`.
pub(super) struct Slurm;

/// Slurm's own default of `MaxArraySize`, minus one: the largest index lies below it.
const DEFAULT_LIMIT: usize = 1000;
/// Seconds before the time limit at which a run is told to save its state and stop.
const WARNING: u64 = 120;

impl Engine for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn about(&self) -> &'static str {
        "a Slurm cluster: job arrays, chunked to the site's limit (`sbatch --array`)"
    }

    fn needs(&self) -> Option<(&'static str, &'static str)> {
        Some(("sbatch", "call it on a login node of the cluster, where Slurm's commands are installed"))
    }

    fn script(&self, submission: &Submission) -> Result<String> {
        let limit = submission.options.array_limit.or_else(site_limit).unwrap_or(DEFAULT_LIMIT).max(1);
        let mut script = String::from("set -eu\nbaselines=\n");
        for start in (0..submission.plan.len(Wave::Baselines)).step_by(limit) {
            // `--parsable` prints "id" or "id;cluster"; the id is what the runs depend on.
            script += &format!("id=$({})\n", sbatch(submission, Wave::Baselines, start, limit)?);
            script += "baselines=$baselines:${id%%;*}\necho \"baselines: job ${id%%;*}\"\n";
        }
        for start in (0..submission.plan.len(Wave::Runs)).step_by(limit) {
            script += &format!(
                "id=$({})\necho \"runs: job ${{id%%;*}}\"\n",
                sbatch(submission, Wave::Runs, start, limit)?
            );
        }
        Ok(script)
    }
}

/// The site's limit on array indices, minus one.
fn site_limit() -> Option<usize> {
    let output = Command::new("scontrol").args(["show", "config"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.trim_start().starts_with("MaxArraySize"))?;
    let size: usize = line.split('=').nth(1)?.trim().parse().ok()?;
    size.checked_sub(1).filter(|limit| *limit > 0)
}

/// One array over the entries from `start`.
fn sbatch(submission: &Submission, wave: Wave, start: usize, limit: usize) -> Result<String> {
    let options = &submission.options;
    let last = submission.plan.len(wave).min(start + limit) - start - 1;
    let at_a_time = options.workers.map_or(String::new(), |workers| format!("%{workers}"));
    let mut words: Vec<String> = ["sbatch", "--parsable"].map(String::from).into();
    words.push(format!("--job-name=ecqx-{}", wave.name()));
    words.push(format!("--array=0-{last}{at_a_time}"));
    words.push(format!("--cpus-per-task={}", submission.cpus()));
    if let Some(gpus) = options.resources.gpus {
        if gpus.fract() != 0.0 {
            return Err(Error::input_hint(
                format!("--resources: gpus={gpus}: Slurm gives whole graphics processors only"),
                "give gpus=1; or leave gpus out and pass the site's own option, such as --engine-option=--gres=shard:1 \
                 with --device cuda; HyperQueue workers inside a Slurm job share a GPU (docs/clusters.md)",
            ));
        }
        words.push(format!("--gres=gpu:{gpus}"));
    }
    if let Some(memory) = options.resources.memory {
        words.push(format!("--mem={memory}M"));
    }
    if let Some(time) = options.resources.time {
        words.push(format!("--time={}", clock(time)));
        // A run stops at the end of its epoch with a checkpoint when it is told in time; `B:` because the batch shell
        // is replaced by the run.
        words.push(format!("--signal=B:TERM@{}", WARNING.min(time / 2)));
    }
    words.push(format!("--chdir={}", submission.working_folder.display()));
    words.push(format!("--output={}/{}-%A_%a.log", submission.logs().display(), wave.name()));
    words.extend(options.engine_options.iter().cloned());
    let mut line: Vec<String> = words.iter().map(|word| quote(word)).collect();
    if wave == Wave::Runs {
        // After the baselines, however they ended: a run whose baseline failed must become a row with the reason.
        line.push("${baselines:+--dependency=afterany$baselines}".into());
    }
    let index = match start {
        0 => "$SLURM_ARRAY_TASK_ID".to_owned(),
        start => format!("$((SLURM_ARRAY_TASK_ID + {start}))"),
    };
    line.push(quote(&format!("--wrap={}", submission.shell_command(wave, &index))));
    Ok(line.join(" "))
}
