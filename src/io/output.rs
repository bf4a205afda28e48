//! The one writer of files that a user names: a regular file is replaced whole and keeps its mode, also behind a symbolic
//! link; pipes and standard output are written through; nothing else is touched.

use crate::{Error, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Symbolic links that are followed before a circle is assumed.
const LINKS: usize = 40;

/// A place that a user named for a result, looked at before the work begins and again when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    StandardOutput,
    /// A named pipe, or one that a shell made.
    Pipe,
    /// A regular file (to be), behind all links.
    File(PathBuf),
}

impl Output {
    /// Looks at what stands at `path`; `-` is standard output.
    ///
    /// # Errors
    /// [`Error::Input`] for folders, devices, sockets, files without write permission and links in a circle;
    /// [`Error::Io`] where nothing can be looked at.
    pub fn new(path: &Path) -> Result<Self> {
        let shown = path.display();
        let made = |kind| Ok(Self { path: path.to_owned(), kind });
        if ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name)) {
            return made(Kind::StandardOutput);
        }
        let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(Error::input_hint(
                format!("{shown}: is a folder"),
                "name a file in it, or '-' for standard output",
            )),
            Ok(metadata) if metadata.is_file() => {
                if metadata.permissions().readonly() {
                    return Err(Error::input_hint(
                        format!("{shown}: is read-only"),
                        "name another file, or make this one writable",
                    ));
                }
                made(Kind::File(behind_links(path)?))
            }
            Ok(metadata) if is_pipe(&metadata) => made(Kind::Pipe),
            Ok(_) => Err(Error::input_hint(
                format!("{shown}: is a device or a socket, not a file"),
                "name a file, or '-' for standard output",
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && ends_in_slash => {
                Err(Error::input_hint(format!("{shown}: is no file's name"), "name a file in that folder"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                made(Kind::File(behind_links(path)?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(Error::input_hint(
                format!("{shown}: a part of the path is a file, not a folder"),
                "name a file in a folder",
            )),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Whether what is written appears on standard output, where nothing else should be then.
    pub fn is_standard_output(&self) -> bool {
        self.kind == Kind::StandardOutput
    }

    /// Whether it is a file, not a pipe or standard output.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// Refuses to mix what is written with a report in JSON.
    ///
    /// # Errors
    /// [`Error::Input`] when both go to standard output.
    pub fn leaves_room_for(&self, json: bool) -> Result<()> {
        match json && self.is_standard_output() {
            true => Err(Error::input_hint(
                "the result and the report of --json would both go to standard output",
                "name a file for the result",
            )),
            false => Ok(()),
        }
    }

    /// The place as the user named it, for messages.
    pub fn shown(&self) -> String {
        match self.kind {
            Kind::StandardOutput => "standard output".into(),
            _ => self.path.display().to_string(),
        }
    }

    /// Writes all of `content`. Missing folders are made. A file that has several names (hard links) keeps them: its
    /// content is replaced in place.
    ///
    /// # Errors
    /// Those of [`Output::new`] if something else stands there by now; [`Error::Io`]: what stood there before is
    /// untouched then, except in pipes and files of several names.
    pub fn write(&self, content: &[u8]) -> Result<()> {
        let now = Self::new(&self.path)?;
        let written = match &now.kind {
            Kind::StandardOutput => {
                let mut standard = std::io::stdout().lock();
                standard.write_all(content).and_then(|()| standard.flush())
            }
            Kind::Pipe => OpenOptions::new().write(true).open(&self.path).and_then(|mut pipe| {
                pipe.write_all(content)?;
                pipe.flush()
            }),
            Kind::File(target) => write_file(target, content),
        };
        written.map_err(Error::io(&self.path))
    }
}

/// Writes a file that a user named, without a look before the work.
///
/// # Errors
/// Those of [`Output::new`] and [`Output::write`].
pub fn write_output(path: &Path, content: &[u8]) -> Result<()> {
    Output::new(path)?.write(content)
}

/// Where a chain of symbolic links ends; the end need not exist.
fn behind_links(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                path = folder.join(target);
            }
            Err(_) => return Ok(path),
        }
    }
    Err(Error::input(format!("{}: symbolic links lead in a circle", path.display())))
}

fn write_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let before = match std::fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            None
        }
        Err(error) => return Err(error),
    };
    if before.as_ref().is_some_and(has_several_names) {
        return write_in_place(path, content);
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    // As any new file: what the process's mask leaves.
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    let mut temporary = builder.tempfile_in(folder)?;
    temporary.write_all(content)?;
    if let Some(before) = &before {
        if !takes_over_owner(temporary.as_file(), before)? {
            return write_in_place(path, content);
        }
        temporary.as_file().set_permissions(before.permissions())?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn write_in_place(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_pipe(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn has_several_names(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() > 1
}

#[cfg(not(unix))]
fn has_several_names(_: &Metadata) -> bool {
    false
}

/// Gives the new file the owner and group of the old one; `false` where this user may not.
#[cfg(unix)]
fn takes_over_owner(new: &File, old: &Metadata) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let now = new.metadata()?;
    if (now.uid(), now.gid()) == (old.uid(), old.gid()) {
        return Ok(true);
    }
    Ok(std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid())).is_ok())
}

#[cfg(not(unix))]
fn takes_over_owner(_: &File, _: &Metadata) -> std::io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

    fn content(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap()
    }

    /// A new file, with folders; an old one keeps its mode and nothing is left beside it.
    #[test]
    fn regular_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/out.bin");
        write_output(&path, b"one").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        write_output(&path, b"two").unwrap();
        assert_eq!(content(&path), b"two");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    /// Links stay links, relative and dangling ones too; a circle is an error. Hard links stay one file.
    #[test]
    fn links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("below")).unwrap();
        std::fs::write(at("below/target"), b"old").unwrap();
        symlink("below/target", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        symlink("below/new", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        write_output(&at("second"), b"new").unwrap();
        write_output(&at("dangling"), b"made").unwrap();
        assert_eq!(
            (content(&at("below/target")), content(&at("below/new"))),
            (b"new".to_vec(), b"made".to_vec())
        );
        for link in ["link", "second", "dangling"] {
            assert!(at(link).symlink_metadata().unwrap().is_symlink(), "{link}");
        }
        assert!(write_output(&at("circle"), b"").is_err());
        std::fs::hard_link(at("below/target"), at("other")).unwrap();
        write_output(&at("other"), b"both").unwrap();
        assert_eq!(content(&at("below/target")), b"both");
        assert_eq!(at("other").metadata().unwrap().nlink(), 2);
    }

    /// A pipe is written through and stays a pipe.
    #[test]
    fn pipes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = {
            let path = path.clone();
            std::thread::spawn(move || content(&path))
        };
        write_output(&path, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(path.metadata().unwrap().file_type().is_fifo());
    }

    /// Folders, devices, sockets and read-only files are refused with a way out before anything is written, as root too.
    #[test]
    fn what_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("read-only"), b"kept").unwrap();
        std::fs::set_permissions(at("read-only"), std::fs::Permissions::from_mode(0o444)).unwrap();
        symlink("read-only", at("link")).unwrap();
        // Only looked at: nothing is ever written to a device here.
        let devices = [PathBuf::from("/dev/null"), PathBuf::from("/dev/full")];
        let refused = [folder.path().to_owned(), at("socket"), at("read-only"), at("link"), at("new/")];
        for path in refused.iter().chain(&devices) {
            let error = Output::new(path).unwrap_err();
            assert!(error.is_user_error() && error.hint().is_some(), "{error}");
        }
        assert_eq!(content(&at("read-only")), b"kept");
        assert!(Output::new(Path::new("-")).unwrap().is_standard_output());
    }
}
