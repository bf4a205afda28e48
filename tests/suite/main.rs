//! Tests through the real binary. One crate, one module per subject: linking is the slow part.

#![allow(clippy::unwrap_used, reason = "a failed check is a panic")]

mod architecture;
mod backends;
mod baselines;
mod checkpoint_method;
mod checkpoints;
mod codec;
mod custom_quantizer;
mod data;
mod docs;
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
mod fetch;
mod fuzz;
mod fuzz_text;
mod image_folders;
mod kill;
mod loopback;
mod methods;
mod multi_label;
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

/// The program's: what is measured here is then its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// Holds a text to `tests/golden/FILE`, line by line; `ECQX_BLESS=1` writes the file anew.
fn check_golden(file: &str, text: &str) {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("ECQX_BLESS").is_some() {
        std::fs::write(&golden, text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    for (found, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}
