//! A file from its publisher: attempts, resuming, and the check at the end.

use super::network::{self, Answer};
use super::{Fetcher, RemoteFile, checksum};
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use ureq::{Agent, Body};

/// Longest wait between two attempts, and the longest that a server's `Retry-After` is followed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// First wait between two attempts; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Attempts for one address in all, however much each of them brings.
const MOST_ATTEMPTS: u32 = 1000;
/// Most bytes of a file whose length nobody says.
const MOST_BYTES: u64 = 1 << 36;

/// Why a file cannot be had from one address.
enum Failure {
    /// This address does not give it; another may.
    Address(String),
    /// This machine fails.
    Here(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// Downloads `file` to `path`, which then has the published size and checksum. A part that an earlier attempt left beside it
/// is continued. Returns the bytes that came over the network.
///
/// # Errors
/// [`Error::Download`] where no address gives the file, with what to do by hand; [`Error::Io`] where it can't be written.
pub(super) fn download(fetcher: &Fetcher, file: &RemoteFile, path: &Path) -> Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let urls = match &fetcher.mirror {
        Some(mirror) => vec![format!("{}/{}", mirror.trim_end_matches('/'), file.name())],
        None => file.urls.clone(),
    };
    let agent = network::agent(fetcher.stall)?;
    let part = path.with_file_name(format!("{}.part", file.name()));
    let mut failures = Vec::new();
    for url in &urls {
        let transfer = Transfer { fetcher, agent: &agent, file, url, part: &part };
        match transfer.run() {
            Ok(downloaded) => {
                std::fs::rename(&part, path).map_err(Error::io(path))?;
                return Ok(downloaded);
            }
            Err(Failure::Address(what)) => failures.push(format!("{url}: {what}")),
            Err(Failure::Here(error)) => return Err(error),
        }
    }
    Err(Error::Download { message: failures.join("; "), hint: by_hand(fetcher, file) })
}

/// What to do where the network does not give a file.
fn by_hand(fetcher: &Fetcher, file: &RemoteFile) -> String {
    let size = file.bytes.map_or(String::new(), |bytes| format!("{bytes} bytes, "));
    format!(
        "run again to continue; or get {} ({size}{}) on another machine, put it at {} and run again; --mirror URL asks \
         another server, and HTTPS_PROXY, HTTP_PROXY and NO_PROXY are followed",
        file.name(),
        file.checksum(),
        fetcher.data_dir.join(file.name()).display()
    )
}

/// A file from one address.
struct Transfer<'a> {
    fetcher: &'a Fetcher<'a>,
    agent: &'a Agent,
    file: &'a RemoteFile,
    url: &'a str,
    /// What has arrived so far.
    part: &'a Path,
}

/// How an attempt ended.
enum End {
    Complete,
    /// The connection ended early; what arrived before is kept.
    Broken {
        what: String,
        wait: Option<Duration>,
    },
}

impl Transfer<'_> {
    fn run(&self) -> Result<u64, Failure> {
        let mut resumed = self.length()? > 0;
        let mut downloaded = 0;
        let (mut fruitless, mut furthest) = (0, self.length()?);
        for _ in 0..MOST_ATTEMPTS {
            let end = self.attempt(&mut downloaded);
            self.fetcher.watch.end();
            match end? {
                End::Complete => match self.file.problem(self.part)? {
                    None => return Ok(downloaded),
                    Some(problem) => {
                        std::fs::remove_file(self.part).map_err(Error::io(self.part))?;
                        if !resumed {
                            return Err(Failure::Address(format!("not the published file: {problem}")));
                        }
                        // Begun with another version of the file, or by a server that mixes ranges up.
                        let name = self.file.name();
                        self.fetcher.watch.note(&format!("{name}: {problem}; starting from the beginning"));
                        resumed = false;
                        continue;
                    }
                },
                End::Broken { what, wait } => {
                    // A server that always begins anew, and always breaks off, brings nothing.
                    let length = self.length()?;
                    fruitless = if length > furthest { 0 } else { fruitless + 1 };
                    furthest = furthest.max(length);
                    if fruitless > self.fetcher.retries {
                        return Err(Failure::Address(self.given_up(what)?));
                    }
                    let wait = wait.unwrap_or(FIRST_WAIT * 2u32.saturating_pow(fruitless.min(10)));
                    let again = format!("{}: {what}; trying again", self.file.name());
                    self.fetcher.watch.note(&again);
                    std::thread::sleep(wait.min(LONGEST_WAIT));
                    resumed = length > 0;
                }
            }
        }
        Err(Failure::Address(format!("broke off {MOST_ATTEMPTS} times")))
    }

    /// Why an address is given up, with what arrived where that says more than `what`: a page in place of the file is not
    /// continued.
    fn given_up(&self, what: String) -> Result<String> {
        if self.length()? == 0 {
            return Ok(what);
        }
        let kind = checksum::kind(self.part)?;
        if !kind.is_empty() {
            std::fs::remove_file(self.part).map_err(Error::io(self.part))?;
        }
        Ok(format!("{what}{kind}"))
    }

    /// Bytes that are there.
    fn length(&self) -> Result<u64> {
        match std::fs::metadata(self.part) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io(self.part)(error)),
        }
    }

    fn attempt(&self, downloaded: &mut u64) -> Result<End, Failure> {
        let mut have = self.length()?;
        // More than the file has can only be another file's beginning.
        if self.file.bytes.is_some_and(|bytes| have > bytes) {
            std::fs::remove_file(self.part).map_err(Error::io(self.part))?;
            have = 0;
        }
        if self.file.bytes == Some(have) {
            return Ok(End::Complete);
        }
        match network::ask(self.agent, self.url, have) {
            Answer::Bytes { start, total, body } if start == have || start == 0 => {
                if start < have {
                    let note = format!("{}: the server does not resume; starting over", self.file.name());
                    self.fetcher.watch.note(&note);
                }
                let known = self.file.bytes;
                if let (Some(known), Some(total)) = (known, total)
                    && known != total
                {
                    let what = format!("not the published file: {total} bytes in place of {known}");
                    return Err(Failure::Address(what));
                }
                self.receive(start, known.or(total), body, downloaded)
            }
            Answer::Bytes { start, .. } => {
                Err(Failure::Address(format!("gives bytes from {start} on in place of {have}")))
            }
            Answer::Nothing { total } if total == Some(have) => Ok(End::Complete),
            Answer::Nothing { .. } => {
                std::fs::remove_file(self.part).map_err(Error::io(self.part))?;
                Ok(End::Broken { what: "has less than what is there".into(), wait: None })
            }
            Answer::Later { what, wait } => Ok(End::Broken { what, wait }),
            Answer::Never(what) => Err(Failure::Address(what)),
        }
    }

    /// Writes a body behind the first `start` bytes of the part.
    fn receive(
        &self,
        start: u64,
        total: Option<u64>,
        mut body: Body,
        downloaded: &mut u64,
    ) -> Result<End, Failure> {
        let mut part: File = OpenOptions::new()
            .create(true)
            .truncate(start == 0)
            .write(true)
            .append(start > 0)
            .open(self.part)
            .map_err(Error::io(self.part))?;
        let watch = self.fetcher.watch;
        watch.begin(self.file.name(), start, total);
        let mut have = start;
        let mut reader = body.as_reader();
        let mut piece = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut piece) {
                Ok(read) => read,
                Err(error) => return Ok(End::Broken { what: lost(&error), wait: None }),
            };
            if read == 0 {
                break;
            }
            part.write_all(&piece[..read]).map_err(Error::io(self.part))?;
            have += read as u64;
            *downloaded += read as u64;
            watch.advance(have);
            let most = total.unwrap_or(MOST_BYTES);
            if have > most {
                drop(part);
                std::fs::remove_file(self.part).map_err(Error::io(self.part))?;
                return Err(Failure::Address(format!("sends more than {most} bytes")));
            }
        }
        part.sync_all().map_err(Error::io(self.part))?;
        Ok(match total {
            Some(total) if have < total => {
                End::Broken { what: format!("ended after {have} of {total} bytes"), wait: None }
            }
            _ => End::Complete,
        })
    }
}

/// Why a body ended, in words.
fn lost(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "the server fell silent".into(),
        _ if error.to_string().contains("timeout") => "the server fell silent".into(),
        _ => format!("connection lost: {error}"),
    }
}
