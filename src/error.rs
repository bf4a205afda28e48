//! The library's error type. A variant says whose mistake it is: the command line turns the user's into exit code 2.

mod wording;

pub use wording::{closest, count, did_you_mean, did_you_mean_or_all, number, out_of_range, suggestion};

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, with the place and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user asked for something that cannot be: an unknown name, a value out of range, an impossible combination.
    #[error("{}", wording::shown(message))]
    Input {
        /// What is wrong and where.
        message: String,
        /// The way out, shown after `hint:`.
        hint: Option<String>,
    },
    /// A file whose content is not what it should be: truncated, corrupt, of another kind.
    #[error("{}: byte {offset}: {message}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        message: String,
    },
    /// The operating system refused a file operation.
    #[error("{}: {}", .path.display(), words(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A bitstream could not be written or read.
    #[error("bitstream: {0}")]
    Codec(#[from] crate::codec::CodecError),
    /// Training left the range of finite numbers.
    #[error("{0}")]
    Diverged(String),
    /// An engine's own command failed.
    #[error("engine {engine}: {message}")]
    Engine {
        /// Name of the engine.
        engine: String,
        /// What happened.
        message: String,
    },
    /// The store was moved or removed while it was in use.
    #[error("{}: the store is not there any more", .0.display())]
    StoreGone(PathBuf),
    /// The user asked to stop; what was finished is kept.
    #[error("stopped on request")]
    Cancelled,
    /// A defect of this program.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// A mistake of the user's without a hint.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input { message: message.into(), hint: None }
    }

    /// A mistake of the user's with the way out.
    pub fn input_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Input { message: message.into(), hint: Some(hint.into()) }
    }

    /// A file with wrong content at `offset`.
    pub fn format(path: impl AsRef<Path>, offset: u64, message: impl Into<String>) -> Self {
        Self::Format { path: path.as_ref().to_path_buf(), offset, message: message.into() }
    }

    /// For `map_err` on file operations: `fs::read(p).map_err(Error::io(p))`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// Whether the user's input is to blame (exit code 2).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Input { .. } | Self::Format { .. } | Self::Codec(_) => true,
            Self::Io { source, .. } => NO_FILE.contains(&source.kind()),
            _ => false,
        }
    }

    /// Whether trying again may help without anybody changing anything: the machine's state is to blame (disk, memory,
    /// network), not the run.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Io { source, .. } => !NO_FILE.contains(&source.kind()),
            Self::Tensor(_) => true,
            _ => false,
        }
    }

    /// Whether every other run would fail in the same way: nothing can be written.
    pub fn stops_everything(&self) -> bool {
        match self {
            Self::Io { source, .. } => NO_WRITING.contains(&source.kind()),
            Self::StoreGone(_) => true,
            _ => false,
        }
    }

    /// The way out, where the error carries one.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Input { hint, .. } => hint.as_deref(),
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    Some("make room and run again: nothing that was finished is lost")
                }
                ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                    Some("make the folder writable, or name another one")
                }
                _ => None,
            },
            Self::StoreGone(_) => Some("was it moved while in use? run again with --store and its new place"),
            _ => None,
        }
    }
}

/// Kinds of errors after which nothing else can be written either.
const NO_WRITING: [ErrorKind; 4] = [
    ErrorKind::StorageFull,
    ErrorKind::QuotaExceeded,
    ErrorKind::FileTooLarge,
    ErrorKind::ReadOnlyFilesystem,
];

/// Kinds of errors that say that a path names no file that can be read or written: the user's to mend.
const NO_FILE: [ErrorKind; 6] = [
    ErrorKind::NotFound,
    ErrorKind::IsADirectory,
    ErrorKind::NotADirectory,
    ErrorKind::InvalidFilename,
    ErrorKind::InvalidInput,
    ErrorKind::InvalidData,
];

/// What the operating system said, in words where it says it in terms of its own.
fn words(source: &std::io::Error) -> String {
    match source.kind() {
        ErrorKind::NotFound => "no such file or folder".into(),
        ErrorKind::IsADirectory => "is a folder, and a file is needed".into(),
        ErrorKind::NotADirectory => "a part of this path is a file, and a folder is needed".into(),
        ErrorKind::InvalidFilename => "the name is too long or not possible here".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::StorageFull => "no space left on the disk".into(),
        _ => source.to_string(),
    }
}
