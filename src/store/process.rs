//! Which process something in the store belongs to, and whether it still runs. Process ids are used again and mean
//! something on one machine only, so a process is known by its start time and by the boot and the namespace it lives in.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Machine's name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Start, in clock ticks after the boot; 0 where the system does not tell.
    #[serde(default)]
    pub started: u64,
    /// Boot of the machine and namespace of the process ids: only there the id means anything.
    #[serde(default)]
    pub place: String,
}

/// What can be said about a process from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Running,
    /// It has ended.
    Gone,
    /// It runs, or has run, where this process can't look.
    Elsewhere,
}

/// This machine's name.
pub fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_string())
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "unknown".into())
}

/// State letter and start time from `/proc/PID/stat`. The second field may contain anything, parentheses too.
fn stat(pid: &str) -> Option<(char, u64)> {
    let text = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

impl Process {
    /// This process.
    pub fn current() -> &'static Self {
        static CURRENT: OnceLock<Process> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
            Self {
                host: host(),
                pid: std::process::id(),
                started: stat("self").map_or(0, |(_, started)| started),
                place: format!("{} {}", boot.trim(), namespace.display()),
            }
        })
    }

    /// Whether it still runs. A process that has ended and was not waited for counts as ended.
    pub fn life(&self) -> Life {
        let here = Self::current();
        if self.place != here.place || self.place.trim().is_empty() || self.host != here.host {
            return Life::Elsewhere;
        }
        match stat(&self.pid.to_string()) {
            Some((state, started)) if !matches!(state, 'Z' | 'X') && started == self.started => Life::Running,
            _ => Life::Gone,
        }
    }

    /// Beginning of the names of this process's temporary files: id, start, and a digest of the place.
    pub fn tag(&self) -> String {
        let place = blake3::hash(format!("{} {}", self.host, self.place).as_bytes()).to_hex();
        format!("{}-{}-{}-", self.pid, self.started, &place[..8])
    }

    /// Whether the process that wrote a temporary file of this name runs.
    pub fn life_of_writer(name: &str) -> Life {
        let here = Self::current();
        let mut parts = name.split('-');
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u64>().ok());
        let (Some(pid), Some(started)) = (number(parts.next()), number(parts.next())) else {
            return Life::Elsewhere;
        };
        let writer = Self { pid: u32::try_from(pid).unwrap_or(0), started, ..here.clone() };
        if name.starts_with(&writer.tag()) { writer.life() } else { Life::Elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process runs; one with its id that started at another time has ended, since ids are used again; nothing is
    /// known about another machine's.
    #[test]
    fn processes_are_told_apart() {
        let here = Process::current().clone();
        assert_eq!(here.life(), Life::Running);
        assert_eq!(Process { started: here.started + 1, ..here.clone() }.life(), Life::Gone);
        assert_eq!(Process { pid: u32::MAX - 5, ..here.clone() }.life(), Life::Gone);
        assert_eq!(Process { place: "other boot".into(), ..here.clone() }.life(), Life::Elsewhere);
        assert_eq!(Process { host: "elsewhere".into(), ..here.clone() }.life(), Life::Elsewhere);
        assert_eq!(Process::life_of_writer(&format!("{}abc", here.tag())), Life::Running);
        let gone = Process { started: here.started + 1, ..here.clone() };
        assert_eq!(Process::life_of_writer(&format!("{}abc", gone.tag())), Life::Gone);
        assert_eq!(Process::life_of_writer("1-2-00000000-abc"), Life::Elsewhere);
        assert_eq!(Process::life_of_writer(".tmp"), Life::Elsewhere);
    }

    /// A child that has ended but was not waited for holds nothing any more.
    #[test]
    fn a_zombie_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let (mut last, mut started) = (' ', 0);
        for _ in 0..200 {
            (last, started) = stat(&pid.to_string()).unwrap();
            if last == 'Z' {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(last, 'Z');
        assert_eq!(Process { pid, started, ..Process::current().clone() }.life(), Life::Gone);
        child.wait().unwrap();
    }
}
