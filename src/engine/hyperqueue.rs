//! HyperQueue: a task array from a JSON list, one task per run, with shares of a graphics processor.

use super::Engine;
use super::shell::line;
use super::submission::Submission;
use crate::Result;
use crate::plan::Wave;

/// `hq submit --from-json`, a job for the baselines and then one for the runs.
pub(super) struct HyperQueue;

impl Engine for HyperQueue {
    fn name(&self) -> &'static str {
        "hyperqueue"
    }

    fn about(&self) -> &'static str {
        "a running HyperQueue server: one task per run, shares of a GPU (`hq submit --from-json`)"
    }

    fn needs(&self) -> Option<(&'static str, &'static str)> {
        Some(("hq", "install HyperQueue, then `hq server start` and `hq worker start` (docs/clusters.md)"))
    }

    fn script(&self, submission: &Submission) -> Result<String> {
        let mut script = String::from("set -eu\n");
        if !submission.plan.baselines.is_empty() {
            // The second job is submitted when the first has ended, however it ended: a run whose baseline could not be
            // made must still become a row with the reason. If the server is gone, the second submission says so.
            script += "# Baselines first; runs would otherwise occupy workers that wait for them.\n";
            script += &format!("{} || true\n", line(&job(submission, Wave::Baselines)));
        }
        if !submission.plan.runs.is_empty() {
            script += &format!("{}\n", line(&job(submission, Wave::Runs)));
        }
        Ok(script)
    }
}

fn job(submission: &Submission, wave: Wave) -> Vec<String> {
    let wishes = &submission.options.resources;
    let logs = submission.logs().join(format!("{}-%{{TASK_ID}}", wave.name()));
    let mut words: Vec<String> = ["hq", "submit"].map(String::from).into();
    words.push(format!("--name=ecqx-{}", wave.name()));
    words.push(format!("--from-json={}", submission.items_file(wave).display()));
    words.push(format!("--cpus={}", submission.cpus()));
    if let Some(gpus) = wishes.gpus {
        words.push(format!("--resource=gpus/nvidia={gpus}"));
    }
    if let Some(memory) = wishes.memory {
        words.push(format!("--resource=mem={memory}"));
    }
    if let Some(time) = wishes.time {
        // The request keeps a task from a worker that ends sooner, the limit ends the task.
        words.extend([format!("--time-request={time}s"), format!("--time-limit={time}s")]);
    }
    words.push(format!("--cwd={}", submission.working_folder.display()));
    words.push("--stdout=none".into());
    // Ten thousand files of finished runs help nobody: a failed task's stays.
    words.push(format!("--stderr={}.log:rm-if-finished", logs.display()));
    if wave == Wave::Baselines {
        words.push("--wait".into());
    }
    words.extend(submission.options.engine_options.iter().cloned());
    words.extend(["--", "sh", "-c"].map(String::from));
    words.push(submission.shell_command(wave, "$HQ_ENTRY"));
    words
}
