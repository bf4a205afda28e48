//! Tests through the real binary. One crate, one module per subject: linking is the slow part.

#![allow(clippy::unwrap_used, reason = "a failed check is a panic")]

mod architecture;
mod backends;
mod checkpoint_method;
mod checkpoints;
mod codec;
mod custom_quantizer;
mod data;
mod engines;
mod errors;
mod expected;
mod experiments;
mod explain;
#[cfg(unix)]
mod external;
#[cfg(unix)]
mod external_fuzz;
#[cfg(unix)]
mod external_python;
mod failures;
mod fuzz;
mod fuzz_text;
mod kill;
mod methods;
mod outputs;
#[cfg(unix)]
mod python;
mod quantize;
mod reference;
mod report;
mod results;
mod revisions;
mod terminal;
#[cfg(unix)]
mod tutorial;
mod wording;

use assert_cmd::Command;

/// The binary, without a data folder from the environment.
fn ecqx() -> Command {
    let mut command = Command::cargo_bin("ecqx").expect("cargo builds the binary before its tests");
    command.env_remove("ECQX_DATA");
    command
}

/// Small files of the kinds that people have.
fn cases() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}
