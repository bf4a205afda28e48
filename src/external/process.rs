//! A program of the user's as a process: started once for a run, asked line by line, ended in every case. Whatever it does
//! with its pipes, no question takes longer than the time allowed, and no more than a bounded part of it is kept.

use super::watchdog::{Watchdog, in_own_group};
use crate::error::excerpt;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Longest line of an answer, in bytes.
const LONGEST_LINE: u64 = 1 << 20;
/// Most bytes of standard error after one question.
const MOST_LOG: usize = 64 << 20;
/// Lines of standard error that are kept, and characters of each.
const LOG_LINES: usize = 200;
const LOG_WIDTH: usize = 300;
/// Lines of the log at the end of an error.
const SHOWN_LINES: usize = 10;
/// Time between the end of a program's output and that of the program.
const EXITS_WITHIN: Duration = Duration::from_millis(50);
/// Time for the rest of a killed program's standard error: a descendant that left the group may hold it open.
const LOG_WITHIN: Duration = Duration::from_millis(500);
/// Time that a program has after `bye`.
const BYE_WITHIN: Duration = Duration::from_secs(5);

/// What comes from a program's standard output, or has to be noticed at once.
enum Event {
    Line(Vec<u8>),
    TooLong,
    End,
    LogFlood,
}

/// The end of a program's standard error.
#[derive(Default)]
struct Log {
    lines: VecDeque<String>,
    /// Of `lines`, how many nobody has taken yet.
    fresh: usize,
    /// Bytes since the last question.
    bytes: usize,
}

impl Log {
    fn push(&mut self, line: &[u8]) {
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
        }
        let text = String::from_utf8_lossy(line);
        self.lines.push_back(text.trim_end().chars().take(LOG_WIDTH).collect());
        self.fresh = (self.fresh + 1).min(LOG_LINES);
    }
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    // Lines are as good after a panic as before.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a program is started.
pub(super) struct Start<'a> {
    /// Name for messages.
    pub name: &'a str,
    /// Program and arguments.
    pub command: &'a [String],
    /// Working folder.
    pub directory: Option<&'a Path>,
    /// Longest silence after a question.
    pub timeout: Duration,
}

/// A running program.
pub(super) struct Program {
    name: String,
    timeout: Duration,
    child: Child,
    /// `None` once the group was killed.
    watchdog: Option<Watchdog>,
    questions: Option<Sender<Vec<u8>>>,
    events: Receiver<Event>,
    log: Arc<Mutex<Log>>,
    /// Disconnected when standard error has ended.
    log_end: Receiver<()>,
    folder: TempDir,
}

impl Program {
    /// Starts a program.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no such program; [`Error::Io`] when there is no room for the exchange.
    pub fn start(start: &Start<'_>) -> Result<Self> {
        ignore_closed_pipes();
        // The program may work in another folder than we do.
        let temporary = std::path::absolute(std::env::temp_dir()).map_err(Error::io(std::env::temp_dir()))?;
        let folder = tempfile::Builder::new().prefix("ecqx-external-").tempdir_in(&temporary);
        let folder = folder.map_err(Error::io(&temporary))?;
        let (program, arguments) =
            start.command.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = start.directory {
            command.current_dir(directory);
        }
        in_own_group(&mut command);
        let mut child = command.spawn().map_err(|error| {
            Error::input_hint(
                format!("{}: '{}' can't be started: {error}", start.name, excerpt(program)),
                "`command` is a program and its arguments, such as [python3, my_quantizer.py]",
            )
        })?;
        let watchdog = Watchdog::start(child.id(), folder.path()).map_err(|source| {
            // Without it the program could outlive us.
            let _ = child.kill();
            let _ = child.wait();
            Error::Io { path: "sh".into(), source }
        })?;
        let (questions, to_write) = channel();
        let (found, events) = sync_channel(8);
        let (alive, log_end) = sync_channel(0);
        let log = Arc::new(Mutex::new(Log::default()));
        if let Some(input) = child.stdin.take() {
            std::thread::spawn(move || write_questions(input, &to_write));
        }
        if let Some(errors) = child.stderr.take() {
            let (log, found) = (log.clone(), found.clone());
            std::thread::spawn(move || {
                keep_log(errors, &log, &found);
                drop(alive);
            });
        }
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || read_lines(output, &found));
        }
        Ok(Self {
            name: start.name.into(),
            timeout: start.timeout,
            child,
            watchdog: Some(watchdog),
            questions: Some(questions),
            events,
            log,
            log_end,
            folder,
        })
    }

    /// A file of the exchange.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a message and waits for the answer, an object whose type is `kind`. `what` says what is asked, for messages.
    ///
    /// # Errors
    /// [`Error::Program`] when there is no such answer in time; the program has ended then.
    pub fn ask(&mut self, what: &str, message: &Value, kind: &str) -> Result<Map<String, Value>> {
        match self.events.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(Event::Line(line)) => {
                let line = shown(&line);
                return Err(
                    self.failed(what, &format!("before that, it wrote what nobody asked for: {line}"))
                );
            }
            Ok(event) => return Err(self.unanswered(what, event)),
            Err(TryRecvError::Disconnected) => return Err(self.unanswered(what, Event::End)),
        }
        locked(&self.log).bytes = 0;
        // A program that has ended is noticed by its output.
        let _ = self.questions.as_ref().map(|questions| questions.send(format!("{message}\n").into_bytes()));
        let line = match self.events.recv_timeout(self.timeout) {
            Ok(Event::Line(line)) => line,
            Ok(event) => return Err(self.unanswered(what, event)),
            Err(RecvTimeoutError::Disconnected) => return Err(self.unanswered(what, Event::End)),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.timeout.as_secs_f64();
                return Err(self.failed(what, &format!("no answer within {seconds} s (timeout_seconds)")));
            }
        };
        let answer = match serde_json::from_slice(&line) {
            Ok(Value::Object(answer)) => answer,
            _ => {
                let line = shown(&line);
                return Err(self.failed(what, &format!("the answer is not a JSON object: {line}")));
            }
        };
        if answer.get("type").and_then(Value::as_str) == Some(kind) {
            return Ok(answer);
        }
        let line = shown(&line);
        Err(self.failed(what, &format!("the answer's type must be '{kind}', found {line}")))
    }

    fn unanswered(&mut self, what: &str, event: Event) -> Error {
        match event {
            Event::TooLong => self.failed(what, &format!("a line of more than {LONGEST_LINE} bytes")),
            Event::LogFlood => {
                self.failed(what, &format!("more than {MOST_LOG} bytes of standard error while it was asked"))
            }
            Event::End | Event::Line(_) => {
                std::thread::sleep(EXITS_WITHIN);
                let why = match self.kill() {
                    Some(status) => match status.code() {
                        Some(code) => format!("it ended with exit code {code}"),
                        None => format!("it closed its output or was killed ({status})"),
                    },
                    None => "it has ended".into(),
                };
                self.failed(what, &why)
            }
        }
    }

    /// Ends the program and says why, with the last lines of its log.
    pub fn failed(&mut self, what: &str, why: &str) -> Error {
        self.kill();
        let _ = self.log_end.recv_timeout(LOG_WITHIN);
        let log = locked(&self.log);
        let last = log.lines.iter().skip(log.lines.len().saturating_sub(SHOWN_LINES));
        let last: String = last.map(|line| format!("\n  {line}")).collect();
        let end = match last.is_empty() {
            true => "; its log is empty".to_owned(),
            false => format!("; its log ends with{last}"),
        };
        Error::Program(format!("{}: asked to {what}: {why}{end}", self.name))
    }

    /// Lines of standard error since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        let mut log = locked(&self.log);
        let fresh = std::mem::take(&mut log.fresh);
        log.lines.iter().skip(log.lines.len() - fresh.min(log.lines.len())).cloned().collect()
    }

    /// Kills the program with all that it started in its group, and waits for it. Again: nothing.
    fn kill(&mut self) -> Option<std::process::ExitStatus> {
        self.questions = None;
        self.watchdog.take()?.fire();
        // For systems without groups.
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    /// Says goodbye; a program that does not go is killed.
    fn end(&mut self) {
        let Some(questions) = self.questions.take().filter(|_| self.watchdog.is_some()) else { return };
        let _ = questions.send(b"{\"type\":\"bye\"}\n".to_vec());
        // Its input ends too.
        drop(questions);
        while let Ok(Event::Line(_) | Event::LogFlood) = self.events.recv_timeout(BYE_WITHIN) {}
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After a panic nobody waits for politeness.
        if !std::thread::panicking() {
            self.end();
        }
        self.kill();
    }
}

/// A line in a message.
fn shown(line: &[u8]) -> String {
    format!("'{}'", excerpt(String::from_utf8_lossy(line).trim_end()))
}

fn write_questions(mut input: impl Write, questions: &Receiver<Vec<u8>>) {
    while let Ok(question) = questions.recv() {
        if input.write_all(&question).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(output: impl Read, found: &SyncSender<Event>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let event = match output.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => Event::End,
            Ok(_) if line.len() as u64 > LONGEST_LINE => Event::TooLong,
            Ok(_) => Event::Line(line),
        };
        let is_last = !matches!(event, Event::Line(_));
        if found.send(event).is_err() || is_last {
            return;
        }
    }
}

fn keep_log(mut errors: impl Read, log: &Mutex<Log>, found: &SyncSender<Event>) {
    let mut chunk = [0; 1 << 14];
    let mut line: Vec<u8> = Vec::new();
    let mut is_told = false;
    while let Ok(count @ 1..) = errors.read(&mut chunk) {
        let mut kept = locked(log);
        for part in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
            // Characters of up to four bytes.
            let room = (4 * LOG_WIDTH).saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                kept.push(&line);
                line.clear();
            }
        }
        kept.bytes = kept.bytes.saturating_add(count);
        let is_flood = kept.bytes > MOST_LOG;
        drop(kept);
        if is_flood && !is_told {
            is_told = true;
            // A full queue is noticed by itself.
            let _ = found.try_send(Event::LogFlood);
        }
    }
    if !line.is_empty() {
        locked(log).push(&line);
    }
}

/// The command line lets a closed pipe end this process, for `ecqx … | head`. Not where a program may close one.
fn ignore_closed_pipes() {
    #[cfg(all(unix, feature = "cli"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            let noticed = Arc::new(std::sync::atomic::AtomicBool::new(false));
            // Refused only for signals that can't be caught.
            let _ = signal_hook::flag::register(signal_hook::consts::SIGPIPE, noticed);
        });
    }
}
