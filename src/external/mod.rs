//! `method: external`: a quantizer that is a program of the user's, in any language (docs/external.md has the protocol).
//!
//! Here are the registry's entry, the process, what is sent and what is accepted. What an experiment may say about the
//! program is checked in [`crate::spec`], the Python side is the package in `python/`.

mod exchange;
mod greeting;
mod process;
mod quantizer;
mod reply;
mod settings;
mod watchdog;

use crate::quant::{Bits, Method, Role};
use crate::registry::Parameter;

/// The registry's entry.
pub static METHOD: Method = Method {
    name: "external",
    display: "External",
    about: "a program of yours, asked over its standard input and output (docs/external.md)",
    bits: Bits::Optional(1, 16),
    needs_relevance: false,
    // Which programs want some is not known before they run.
    needs_calibration: true,
    parameters: &[
        Parameter::text("label", "name in tables and figures [default: that of the first file or program]"),
        Parameter::command("command", "the program and its arguments, as a list"),
        Parameter::files("files", "files whose content is part of the run's id, as a list"),
        Parameter::options("options", "what the program is told; lists are axes of the grid"),
        Parameter::word(
            "calibration",
            "what a program that wants calibration data gets: inputs of each layer, or their second moments",
            &["inputs", "hessian"],
            "inputs",
        ),
        Parameter::number("timeout_seconds", "longest silence after a question", (0.01, 1e6), 600.0),
    ],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: quantizer::build,
};
