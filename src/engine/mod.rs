//! Engines: who computes the runs of a plan — worker processes of this machine, HyperQueue, Slurm.
//!
//! They all drive the same command, `ecqx exec`, and nothing is read back from them: the store is the truth. An engine is
//! one file with an implementation of [`Engine`] and one line in [`ENGINES`].

mod hyperqueue;
mod local;
mod resources;
mod shell;
mod slurm;
mod submission;

pub use resources::Resources;
pub use submission::{Options, Submission};

use crate::error::did_you_mean_or_all;
use crate::{Error, Result};

/// What an engine did with a submission.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whether the runs are over; false when the engine was only handed them.
    pub finished: bool,
    /// Whether the user stopped it.
    pub interrupted: bool,
}

/// Who looks on while an engine works.
pub trait Watch: Sync {
    /// A line for people.
    fn note(&self, line: &str);
    /// How often the user asked to stop: once, at the end of the epochs in flight; twice, at once.
    fn interrupts(&self) -> usize {
        0
    }
}

/// Computes the entries of a plan by calling `ecqx exec` once for each.
pub trait Engine: Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;
    /// What it is, for listings.
    fn about(&self) -> &'static str;
    /// The command that must be installed, and where it comes from.
    fn needs(&self) -> Option<(&'static str, &'static str)> {
        None
    }
    /// Exactly what [`Engine::submit`] does, as a shell script.
    ///
    /// # Errors
    /// [`Error::Input`] for resources or options that the engine cannot express.
    fn script(&self, submission: &Submission) -> Result<String>;
    /// Hands the submission over.
    ///
    /// # Errors
    /// When the engine's command fails; what it had accepted by then stays with it.
    fn submit(&self, submission: &Submission, watch: &dyn Watch) -> Result<Outcome> {
        shell::run(&self.script(submission)?, self.name(), watch)?;
        Ok(Outcome::default())
    }
}

/// The registry.
pub const ENGINES: [&dyn Engine; 3] = [&local::Local, &hyperqueue::HyperQueue, &slurm::Slurm];

/// Looks an engine up.
///
/// # Errors
/// [`Error::Input`] with the closest name.
pub fn engine(name: &str) -> Result<&'static dyn Engine> {
    let names = || ENGINES.iter().map(|engine| engine.name());
    ENGINES.iter().find(|engine| engine.name() == name).copied().ok_or_else(|| Error::Input {
        message: format!("--engine: there is no engine '{name}'"),
        hint: Some(did_you_mean_or_all(name, names(), "there are")),
    })
}

/// Checks that the engine's command can be called.
///
/// # Errors
/// [`Error::Input`] that says what is missing and where it comes from.
pub fn check_installed(engine: &dyn Engine) -> Result<()> {
    match engine.needs() {
        Some((program, hint)) if !shell::on_path(program) => Err(Error::input_hint(
            format!("--engine {}: the command '{program}' was not found in PATH", engine.name()),
            format!("{hint}; `--print` shows what would be run, `--engine local` needs nothing"),
        )),
        _ => Ok(()),
    }
}
