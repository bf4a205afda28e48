//! The whole tool as a value: a user's crate adds what it brings and calls [`App::main`].

use crate::data::Family;
use crate::model::Model;
use crate::quant::Method;
use crate::relevance::Measure;
use crate::report::figure::{self, Figure, Figures};
use crate::spec::Registry;
use std::process::ExitCode;

/// The command-line tool with what a user's crate adds to it.
///
/// ```no_run
/// # let builtin = ecqx::quant::builtin();
/// # let mine = builtin.find("uniform")?;
/// // In a user's crate: `static MINE: Method = …` and, as the whole of `main`:
/// ecqx::App::new().quantizer(mine).main();
/// # Ok::<(), ecqx::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct App {
    registry: Registry,
    figures: Figures,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// The tool as it is.
    pub fn new() -> Self {
        Self { registry: Registry::builtin(), figures: figure::builtin() }
    }

    /// Called by a program of its own: its name, version and revision stand in the provenance of every result beside the
    /// library's, for example `concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"))` with a revision that its
    /// build script found.
    #[must_use]
    pub fn program(mut self, description: impl Into<String>) -> Self {
        self.registry.program = Some(description.into());
        self
    }

    /// With one more method.
    #[must_use]
    pub fn quantizer(mut self, method: &'static Method) -> Self {
        self.registry = self.registry.with_quantizer(method);
        self
    }

    /// With one more architecture.
    #[must_use]
    pub fn model(mut self, model: &'static Model) -> Self {
        self.registry = self.registry.with_model(model);
        self
    }

    /// With one more family of data sets.
    #[must_use]
    pub fn dataset(mut self, family: &'static Family) -> Self {
        self.registry = self.registry.with_dataset(family);
        self
    }

    /// With one more relevance measure.
    #[must_use]
    pub fn measure(mut self, measure: &'static Measure) -> Self {
        self.registry = self.registry.with_measure(measure);
        self
    }

    /// With one more kind of figure.
    #[must_use]
    pub fn figure(mut self, figure: &'static Figure) -> Self {
        self.figures.add(figure);
        self
    }

    /// Parses the command line, runs the command, and returns its exit code.
    pub fn main(mut self) -> ExitCode {
        self.registry.figures = self.figures.names().collect();
        // A reader that closes early, such as `head`, ends the program quietly instead of failing a print.
        sigpipe::reset();
        super::main(self.registry, self.figures)
    }
}
