//! The library's error type. A variant says whose mistake it is: the command line turns the user's into exit code 2.

mod wording;

pub use wording::{
    closest, count, did_you_mean, did_you_mean_or_all, excerpt, number, out_of_range, suggestion,
};

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
    // Not a `source`: candle's text holds a backtrace, which chains of causes would print.
    #[error("tensor operation: {}", without_backtrace(.0))]
    Tensor(candle_core::Error),
    /// A bitstream could not be written or read.
    #[error("bitstream: {0}")]
    Codec(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    /// A file could not be had from another machine.
    #[error("{message}")]
    Download {
        /// Which addresses were asked and what each answered.
        message: String,
        /// What to do by hand.
        hint: String,
    },
    /// A program of the user's did not do what it was asked.
    #[error("{0}")]
    Program(String),
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

    /// With `place` before the message of a mistake of the user's; other errors, which name their place, as they are.
    #[must_use]
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        match self {
            Self::Input { message, hint } => Self::Input { message: format!("{place}: {message}"), hint },
            other => other,
        }
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
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Input { .. } | Self::Format { .. } | Self::Codec(_) => true,
            Self::Io { source, .. } => NO_FILE.contains(&source.kind()),
            _ => false,
        }
    }

    /// Whether trying again may help without anybody changing anything: the machine's state is to blame (disk, memory,
    /// network), not the run.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { source, .. } => !NO_FILE.contains(&source.kind()),
            Self::Download { .. } => true,
            // A tensor operation that fails would fail again: shapes and numbers come from the run itself. But what fills a
            // device's memory now may have ended by then.
            Self::Tensor(_) => self.is_out_of_memory(),
            _ => false,
        }
    }

    /// Whether a device had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Tensor(error) = self else { return false };
        let text = error.to_string().to_lowercase();
        text.contains("out_of_memory") || text.contains("out of memory")
    }

    /// Whether every other run would fail in the same way: nothing can be written.
    pub fn is_fatal(&self) -> bool {
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
            Self::Download { hint, .. } => Some(hint),
            Self::Tensor(_) if self.is_out_of_memory() => {
                Some("use fewer --jobs or a smaller batch_size, or end what else runs on the device")
            }
            Self::StoreGone(_) => Some("was it moved while in use? run again with --store and its new place"),
            _ => None,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error)
    }
}

/// The text of a tensor error in one line, without the backtrace that candle carries when backtraces are on.
fn without_backtrace(error: &candle_core::Error) -> String {
    // The variants that wrap others print them with their backtraces, so it is the text that is cut.
    let is_frame = |line: &&str| {
        let number = line.trim_start().split_once(": ").map_or("", |(number, _)| number);
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !is_frame(line) && line.trim() != "stack backtrace:");
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Records, JSON and reports hold the message of a tensor error, never the backtrace that candle adds; and such an error
    /// is not tried again.
    #[test]
    fn tensor_errors_carry_no_backtrace() {
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let inner = Box::new(candle_core::Error::Msg("shapes differ".into()));
        let wrapped = candle_core::Error::WithBacktrace { inner, backtrace };
        assert!(wrapped.to_string().lines().count() > 1, "candle prints frames");
        let error = Error::from(wrapped.context("layer conv1"));
        assert_eq!(error.to_string(), "tensor operation: layer conv1: shapes differ");
        assert!(std::error::Error::source(&error).is_none() && !error.is_transient());
    }

    /// A device without memory may have some later; the user is told what takes less.
    #[test]
    fn out_of_memory_may_pass() {
        let driver = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        let error = Error::from(candle_core::Error::Msg(driver.into()));
        assert!(error.is_out_of_memory() && error.is_transient() && !error.is_user_error());
        assert!(error.hint().is_some_and(|hint| hint.contains("--jobs")));
    }
}
