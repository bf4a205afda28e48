//! Shell scripts: quoting, looking for a command, running.

use super::Watch;
use crate::{Error, Result};
use std::process::{Command, Stdio};

/// `text` as one word of a POSIX shell.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Words as one line.
pub(super) fn line(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// Whether a command is in `PATH`.
pub(super) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a script with `sh`; its standard output goes to standard error, because ours may have to be JSON.
///
/// # Errors
/// [`Error::Engine`] when it ends with another code than 0.
pub(super) fn run(script: &str, engine: &str, watch: &dyn Watch) -> Result<()> {
    let failed = |what: String| Error::Engine { engine: engine.to_owned(), message: what };
    let output = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("sh: {error}")))?;
    String::from_utf8_lossy(&output.stdout).lines().for_each(|line| watch.note(line));
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(format!("the script ended with {}", output.status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a path contains arrives as it is.
    #[test]
    fn quoted_words_survive_the_shell() {
        for word in ["plain-1.0/x", "with space", "it's", "$HOME `x` \"y\"", "", "ü\n2"] {
            let output =
                Command::new("sh").args(["-c", &format!("printf %s {}", quote(word))]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quote("a=b"), "a=b");
    }
}
