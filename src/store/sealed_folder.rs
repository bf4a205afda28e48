//! Folders that appear whole: written elsewhere, flushed, renamed; a digest tells later damage.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// File contents by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Name of the file that lists every other file's digest.
const DIGEST: &str = "digest";

/// `blake3  name` lines, sorted by name.
fn digest_lines(files: &Files) -> String {
    files.iter().map(|(name, content)| format!("{}  {name}\n", blake3::hash(content).to_hex())).collect()
}

/// Writes `files` to `target` through a temporary folder in `partial`. An existing target is replaced.
pub(super) fn write(partial: &Path, target: &Path, files: &Files) -> Result<()> {
    let temporary = tempfile::Builder::new()
        .prefix(&super::process::Process::current().tag())
        .tempdir_in(partial)
        .map_err(Error::io(partial))?;
    let digest = digest_lines(files);
    let all = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
    for (name, content) in all.chain([(DIGEST, digest.as_bytes())]) {
        let path = temporary.path().join(name);
        let attempt = || -> std::io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        attempt().map_err(Error::io(target.join(name)))?;
    }
    let attempt = || -> std::io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755))?;
        }
        // A folder can't be renamed over another: the old one steps aside first and goes with the temporary one.
        if target.exists() {
            let aside = tempfile::Builder::new()
                .prefix(&super::process::Process::current().tag())
                .tempdir_in(partial)?;
            match fs::rename(target, aside.path().join("old")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // Losing a race against another worker leaves an equal result in place.
        match fs::rename(temporary.path(), target) {
            Err(error) if !target.is_dir() => return Err(error),
            _ => {}
        }
        if let Some(parent) = target.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    attempt().map_err(Error::io(target))
}

/// Checks every file against the digest.
///
/// # Errors
/// [`Error::Format`] naming the file that is not what was written.
pub(super) fn verify(folder: &Path) -> Result<()> {
    check(folder, None).map(drop)
}

/// Reads the file `name` after checking every file against the digest; with `only_it`, of the others only that they are
/// there.
///
/// # Errors
/// As [`verify`], also when the digest does not list the file.
pub(super) fn verified(folder: &Path, name: &str, only_it: bool) -> Result<Vec<u8>> {
    check(folder, Some((name, only_it)))?
        .ok_or_else(|| Error::format(folder.join(DIGEST), 0, format!("{name} is not listed")))
}

/// A regular file's content: a pipe would wait for ever, a device never end.
///
/// # Errors
/// [`Error::Format`] for anything else, [`Error::Io`] when it cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Err(Error::format(path, 0, "not a file"));
    }
    fs::read(path).map_err(Error::io(path))
}

/// The content of the file that is asked for, with whether it is the only one to check.
fn check(folder: &Path, asked: Option<(&str, bool)>) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    let path = folder.join(DIGEST);
    let lines = String::from_utf8(read(&path)?).map_err(|error| {
        Error::format(&path, error.utf8_error().valid_up_to() as u64, "not a digest file")
    })?;
    // An empty list would vouch for anything.
    if lines.is_empty() {
        return Err(Error::format(&path, 0, "not a digest file"));
    }
    for line in lines.lines() {
        let (digest, name) =
            line.split_once("  ").ok_or_else(|| Error::format(&path, 0, "not a digest file"))?;
        // A store that was sent may list anything; only what is in the folder is looked at.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(Error::format(
                &path,
                0,
                format!("'{}' is no name of a file here", name.escape_default()),
            ));
        }
        let file = folder.join(name);
        if asked.is_some_and(|(wanted, only_it)| only_it && wanted != name) {
            fs::metadata(&file).map_err(Error::io(&file))?;
            continue;
        }
        let content = read(&file)?;
        if blake3::hash(&content).to_hex().as_str() != digest {
            return Err(Error::format(&file, 0, "the content is not what was written (digest differs)"));
        }
        if asked.is_some_and(|(wanted, _)| wanted == name) {
            found = Some(content);
        }
    }
    Ok(found)
}
