//! Tells the crate which compiler and which sources built it, for the provenance of results.

use std::io::Write;
use std::process::{Command, Stdio};

/// What decides the program's behaviour.
const SOURCES: [&str; 4] = ["src", "build.rs", "Cargo.toml", "Cargo.lock"];

/// Standard output of a command that succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn line(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The hash that git gives to `content`.
fn hash(content: &[u8]) -> Option<String> {
    let mut git = Command::new("git");
    let mut child =
        git.args(["hash-object", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take()?.write_all(content).ok()?;
    line(child.wait_with_output().ok()?.stdout)
}

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = output(&rustc, &["--version"]).and_then(line).unwrap_or_default();
    println!("cargo:rustc-env=ECQX_RUSTC={version}");
    // A package inside somebody else's repository must not take that one's revision for its own.
    let is_ours = output("git", &["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let revision = is_ours.then(|| output("git", &["rev-parse", "HEAD"]).and_then(line)).flatten();
    let arguments = [&["diff", "HEAD", "--"][..], &SOURCES].concat();
    let difference = output("git", &arguments).unwrap_or_default();
    let changes = if is_ours && !difference.is_empty() { hash(&difference) } else { None };
    println!("cargo:rustc-env=ECQX_GIT_REVISION={}", revision.unwrap_or_default());
    println!("cargo:rustc-env=ECQX_GIT_CHANGES={}", changes.unwrap_or_default());
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
}
