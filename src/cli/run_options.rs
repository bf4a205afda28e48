//! Options of the commands that do runs.

use crate::run::Context;
use crate::run::scheduler::Retries;
use std::time::Duration;

/// How runs are kept and tried again.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunOptions {
    /// Minutes between two checkpoints inside an epoch, besides the one at its end; 0: none inside
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, value_parser = minutes)]
    checkpoint_minutes: f64,
    /// Retries of a failed run, counted over all calls: what disk or memory caused is retried in the same
    /// call, others in the next
    #[arg(long, value_name = "N", default_value_t = 2)]
    max_retries: u32,
    /// Retry failed runs that have no retries left
    #[arg(long)]
    retry_failed: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.0..=1e6).contains(&minutes) => Ok(minutes),
        _ => Err("a number of minutes, 0 or more".into()),
    }
}

impl RunOptions {
    /// Passes on what runs need to know.
    pub fn configure(&self, context: &mut Context) {
        context.checkpoint_every = Duration::from_secs_f64(60.0 * self.checkpoint_minutes);
    }

    /// How often failed runs are tried again.
    pub fn retries(&self) -> Retries {
        Retries { max: self.max_retries, even_used_up: self.retry_failed }
    }
}
