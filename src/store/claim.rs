//! Claims: small files that keep two workers from computing the same thing.
//!
//! A claim is written whole under a name of its own and then linked to its place, which succeeds for one worker only,
//! on a network file system too. A claim whose holder is gone is replaced under a guard, a claim of its own that is named
//! after the one to be replaced: of many workers that see the same dead claim one replaces it, and none can hit a
//! successor's. A holder that lives on another machine shows that by touching its claim; time is taken from the file
//! system alone, so clocks that differ or jump do no harm. Should all of this fail, a run is computed twice, which wastes
//! work and corrupts nothing: results are written atomically.

use super::process::{Life, Process};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

/// Time without a heartbeat after which a claim of another machine is stale.
const EXPIRY: Duration = Duration::from_secs(120);
/// Time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Guards of guards: each level needs a process that died while it replaced the claim of another dead one.
const DEPTH: usize = 4;

/// Content of a claim file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    #[serde(flatten)]
    process: Process,
    /// Tells this claim from every other one.
    #[serde(default)]
    nonce: String,
}

/// A claim as others see it.
#[derive(Clone, Debug)]
pub struct ClaimInfo {
    /// Id of the run or baseline.
    pub id: String,
    /// Machine of the process that holds it.
    pub host: String,
    /// That process.
    pub pid: u32,
    /// Whether the process is gone.
    pub stale: bool,
    /// Time since the last heartbeat, where the clocks allow to tell.
    pub heartbeat: Option<Duration>,
}

/// What stands in a claim file.
struct ClaimFile {
    /// `None` for a file that cannot be parsed: a disk was full, or a program of another kind wrote it.
    holder: Option<Holder>,
    /// Tells it from every other content.
    mark: String,
}

impl ClaimFile {
    /// `None` when there is no file.
    fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path)(error)),
        };
        let mark = blake3::hash(&bytes).to_hex()[..16].to_string();
        Ok(Some(Self { holder: serde_json::from_slice(&bytes).ok(), mark }))
    }

    /// Whether the holder is gone: a process of this machine that has ended, or one elsewhere without heartbeat. A
    /// heartbeat far in the future is none either: the clock was set back, and a living holder corrects it soon.
    fn is_stale(&self, path: &Path) -> bool {
        match self.holder.as_ref().map_or(Life::Elsewhere, |holder| holder.process.life()) {
            Life::Running => false,
            Life::Gone => true,
            Life::Elsewhere => distance(path).is_some_and(|distance| distance > EXPIRY),
        }
    }
}

/// The file system's present time, which may differ from this machine's: that of a new file. This machine's where none
/// can be made.
pub(super) fn present(folder: &Path) -> SystemTime {
    let probe =
        tempfile::Builder::new().prefix(&format!(".{}", Process::current().tag())).tempfile_in(folder);
    let time = probe.and_then(|probe| probe.as_file().metadata()?.modified());
    time.unwrap_or_else(|_| SystemTime::now())
}

/// How far a file's last change is from the present, in either direction.
pub(super) fn distance(path: &Path) -> Option<Duration> {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let present = present(path.parent()?);
    Some(present.duration_since(changed).unwrap_or_else(|ahead| ahead.duration()))
}

impl ClaimInfo {
    /// Reads a claim file; `None` when it is gone or no claim of a run or baseline.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let id = name.strip_suffix(".json").filter(|id| !id.starts_with('.'))?.to_owned();
        let seen = ClaimFile::read(path).ok()??;
        let stale = seen.is_stale(path);
        let (host, pid) = seen.holder.map_or(("unknown".into(), 0), |h| (h.process.host, h.process.pid));
        Some(Self { id, host, pid, stale, heartbeat: distance(path) })
    }
}

/// Whether a file in the claims' folder belongs to nobody any more.
pub(super) fn is_stale(path: &Path) -> bool {
    // Files that are not claims yet, and probes of the time, bear their writer's name.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.strip_prefix('.').is_some_and(|name| Process::life_of_writer(name) == Life::Gone) {
        return true;
    }
    ClaimFile::read(path).ok().flatten().is_some_and(|seen| seen.is_stale(path))
}

/// A claim held by this process; released when dropped.
pub struct Claim {
    path: PathBuf,
    holder: Holder,
    /// Its end stops the heartbeat.
    _stop: Option<Sender<()>>,
}

impl Claim {
    /// Takes the claim at `path`; `None` when a live process has it. A stale claim is taken over.
    pub(super) fn take(path: &Path) -> Result<Option<Self>> {
        let Some(mut claim) = Self::acquire(path, 0)? else { return Ok(None) };
        claim._stop = Some(claim.beat());
        Ok(Some(claim))
    }

    fn acquire(path: &Path, depth: usize) -> Result<Option<Self>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let process = Process::current().clone();
        let nonce = format!("{}{}", process.tag(), COUNT.fetch_add(1, Ordering::Relaxed));
        let claim = Self { path: path.to_path_buf(), holder: Holder { process, nonce }, _stop: None };
        // Not a claim yet: a drop finds that the file is another's.
        let own = claim.write_own()?;
        let result = claim.contend(&own, depth);
        // Linked or renamed by now, or in vain; left behind by a crash it is swept up as stale.
        let _ = fs::remove_file(&own);
        Ok(result?.then_some(claim))
    }

    /// Writes the claim under a name that nobody else uses.
    fn write_own(&self) -> Result<PathBuf> {
        let own = self.path.with_file_name(format!(".{}.json", self.holder.nonce));
        let json =
            serde_json::to_vec(&self.holder).map_err(|error| Error::Internal(format!("claim: {error}")))?;
        let attempt = || -> std::io::Result<()> {
            let mut file = File::create(&own)?;
            file.write_all(&json)?;
            file.sync_all()
        };
        match attempt() {
            Ok(()) => Ok(own),
            Err(error) => {
                let _ = fs::remove_file(&own);
                Err(Error::io(&self.path)(error))
            }
        }
    }

    /// Whether the claim is this process's now.
    fn contend(&self, own: &Path, depth: usize) -> Result<bool> {
        for _ in 0..8 {
            match link(own, &self.path) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                // File systems without hard links: an exclusive creation, with a moment in which the file is empty.
                Err(error) if !self.path.exists() => {
                    let mut file = match OpenOptions::new().write(true).create_new(true).open(&self.path) {
                        Ok(file) => file,
                        Err(second) if second.kind() == ErrorKind::AlreadyExists => continue,
                        Err(_) => return Err(Error::io(&self.path)(error)),
                    };
                    let written = fs::read(own).and_then(|json| file.write_all(&json));
                    if let Err(error) = written {
                        // Nobody could tell whose it is.
                        let _ = fs::remove_file(&self.path);
                        return Err(Error::io(&self.path)(error));
                    }
                    return Ok(true);
                }
                Err(_) => {}
            }
            let Some(seen) = ClaimFile::read(&self.path)? else { continue };
            if depth >= DEPTH || !seen.is_stale(&self.path) {
                return Ok(false);
            }
            let name = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let guard =
                self.path.with_file_name(format!(".{}.{}.json", name.trim_start_matches('.'), seen.mark));
            let Some(_guard) = Self::acquire(&guard, depth + 1)? else { return Ok(false) };
            // Another worker may have replaced it before this one had the guard.
            if ClaimFile::read(&self.path)?.is_some_and(|now| now.mark == seen.mark) {
                fs::rename(own, &self.path).map_err(Error::io(&self.path))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Touches the claim from time to time until the sender is dropped. A missed heartbeat costs at most a run computed
    /// twice.
    fn beat(&self) -> Sender<()> {
        let (stop, stopped) = channel();
        let (path, holder) = (self.path.clone(), self.holder.clone());
        std::thread::spawn(move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                let _ = touch(&path, &holder);
            }
        });
        stop
    }
}

/// A hard link, where the file system has them.
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    #[cfg(test)]
    if tests::NO_LINKS.load(Ordering::Relaxed) {
        return Err(ErrorKind::Unsupported.into());
    }
    fs::hard_link(from, to)
}

/// Writes a claim's content over itself, so that the file system sets its time. Done through one open file: should another
/// worker replace the claim meanwhile, its file stays untouched.
fn touch(path: &Path, holder: &Holder) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if serde_json::from_slice::<Holder>(&bytes).is_ok_and(|found| found == *holder) {
        file.rewind()?;
        file.write_all(&bytes)?;
    }
    Ok(())
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Perhaps this process was stopped for long, and another has taken over. A claim that stays is seen as stale.
        let is_own = ClaimFile::read(&self.path)
            .ok()
            .flatten()
            .is_some_and(|s| s.holder.as_ref() == Some(&self.holder));
        if is_own {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    /// Stands for a file system without hard links. Tests of other claims may run meanwhile: both ways must serve them.
    pub(super) static NO_LINKS: AtomicBool = AtomicBool::new(false);

    fn claim_of(path: &Path, process: Process) {
        let holder = Holder { process, nonce: "n".into() };
        fs::write(path, serde_json::to_vec(&holder).unwrap()).unwrap();
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    /// Of many workers that find the same dead claim exactly one gets it, again and again; nothing but the claim stays.
    #[test]
    fn one_worker_takes_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        for round in 0..50 {
            let dead = Process { started: 1 + round, ..Process::current().clone() };
            claim_of(&path, dead);
            let taken = AtomicUsize::new(0);
            let barrier = std::sync::Barrier::new(8);
            let claims: Vec<_> = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            let claim = Claim::take(&path).unwrap();
                            taken.fetch_add(usize::from(claim.is_some()), Ordering::Relaxed);
                            claim
                        })
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            assert_eq!(taken.load(Ordering::Relaxed), 1, "round {round}");
            assert_eq!(files(folder.path()), 1, "round {round}");
            drop(claims);
            assert_eq!(files(folder.path()), 0, "round {round}");
        }
    }

    /// Without hard links one of many workers gets a claim too, and a dead one's is taken over.
    #[test]
    fn file_systems_without_links() {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                NO_LINKS.store(false, Ordering::Relaxed);
            }
        }
        let _reset = Reset;
        NO_LINKS.store(true, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        for round in 0..50 {
            if round % 2 == 1 {
                claim_of(&path, Process { started: 1 + round, ..Process::current().clone() });
            }
            let barrier = std::sync::Barrier::new(4);
            let claims: Vec<Option<Claim>> = std::thread::scope(|scope| {
                let take = || {
                    barrier.wait();
                    Claim::take(&path).unwrap()
                };
                let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            assert_eq!(claims.iter().flatten().count(), 1, "round {round}");
            drop(claims);
            assert_eq!(files(folder.path()), 0, "round {round}");
        }
    }

    /// A live holder keeps its claim; one elsewhere loses it without heartbeat, and so does one whose heartbeat lies far in
    /// the future, as after a clock that was set back; a file without content is no claim for ever.
    #[test]
    fn holders_elsewhere_need_a_heartbeat() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let held = Claim::take(&path).unwrap().unwrap();
        assert!(Claim::take(&path).unwrap().is_none());
        drop(held);
        let elsewhere = Process { host: "elsewhere".into(), ..Process::current().clone() };
        let at = |time: SystemTime| {
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            let claim = Claim::take(&path).unwrap();
            claim.is_some()
        };
        let now = SystemTime::now();
        for empty in [false, true] {
            let put = || match empty {
                true => fs::write(&path, "").unwrap(),
                false => claim_of(&path, elsewhere.clone()),
            };
            put();
            assert!(!at(now), "just now");
            assert!(!at(now + Duration::from_secs(60)), "clocks may differ by a minute");
            assert!(at(now - Duration::from_secs(500)), "no heartbeat");
            put();
            assert!(at(now + Duration::from_secs(86_400)), "the clock was set back");
            put();
            assert!(at(SystemTime::UNIX_EPOCH), "no clock at all");
        }
        assert_eq!(files(folder.path()), 0);
    }

    /// A worker that was stopped so long that another took over leaves the other's claim alone.
    #[test]
    fn a_lost_claim_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let lost = Claim::take(&path).unwrap().unwrap();
        claim_of(&path, Process { host: "elsewhere".into(), ..Process::current().clone() });
        let other = fs::read(&path).unwrap();
        touch(&path, &lost.holder).unwrap();
        drop(lost);
        assert_eq!(fs::read(&path).unwrap(), other);
    }

    /// A worker that died while replacing a dead claim does not keep others from doing it.
    #[test]
    fn a_dead_guard_is_replaced_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let dead = Process { started: 1, ..Process::current().clone() };
        claim_of(&path, dead.clone());
        let mark = ClaimFile::read(&path).unwrap().unwrap().mark;
        claim_of(&folder.path().join(format!(".run.{mark}.json")), dead);
        let claim = Claim::take(&path).unwrap();
        assert!(claim.is_some());
        drop(claim);
        assert_eq!(files(folder.path()), 0);
    }
}
