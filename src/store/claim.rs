//! Claims: small files that keep two workers from computing the same thing. Losing a race wastes work but corrupts
//! nothing, since results are written atomically.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Seconds without a heartbeat after which a claim of another host is stale.
const EXPIRY: Duration = Duration::from_secs(120);
/// Seconds between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Who holds a claim.
#[derive(Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
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
}

impl ClaimInfo {
    /// Reads a claim file; `None` when it is gone or unreadable.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let holder: Holder = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let id = path.file_stem()?.to_string_lossy().into_owned();
        Some(Self { id, host: holder.host, pid: holder.pid, stale: Claim::is_stale(path) })
    }
}

/// A claim held by this process; released when dropped.
pub struct Claim {
    path: PathBuf,
    stop: Arc<AtomicBool>,
}

/// Whether a process of this host is alive.
pub(super) fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists() || !Path::new("/proc/self").exists()
}

/// This machine's name.
pub fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_string())
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "unknown".into())
}

impl Claim {
    /// Takes the claim at `path`; `None` when a live process has it. A stale claim is taken over.
    pub(super) fn take(path: &Path) -> Result<Option<Self>> {
        for _ in 0..2 {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(mut file) => {
                    let holder = Holder { host: host(), pid: std::process::id() };
                    let json = serde_json::to_vec(&holder).unwrap_or_default();
                    file.write_all(&json).map_err(Error::io(path))?;
                    return Ok(Some(Self::hold(path)));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    if !Self::is_stale(path) {
                        return Ok(None);
                    }
                    // Another worker may have removed it meanwhile: then the next attempt decides.
                    let _ = fs::remove_file(path);
                }
                Err(error) => return Err(Error::io(path)(error)),
            }
        }
        Ok(None)
    }

    fn hold(path: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, file) = (stop.clone(), path.to_path_buf());
        std::thread::spawn(move || {
            let mut waited = Duration::ZERO;
            while !flag.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                waited += Duration::from_millis(200);
                if waited >= HEARTBEAT && !flag.load(Ordering::Relaxed) {
                    waited = Duration::ZERO;
                    // A missed heartbeat costs at most a run computed twice.
                    let _ = OpenOptions::new()
                        .append(true)
                        .open(&file)
                        .and_then(|f| f.set_modified(SystemTime::now()));
                }
            }
        });
        Self { path: path.to_path_buf(), stop }
    }

    /// Whether a claim's holder is gone: a dead process of this host, or no heartbeat from another.
    pub(super) fn is_stale(path: &Path) -> bool {
        let Ok(metadata) = fs::metadata(path) else { return false };
        let age = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        let expired = age.is_some_and(|age| age > EXPIRY);
        match fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Holder>(&bytes).ok()) {
            Some(holder) if holder.host == host() => !is_alive(holder.pid),
            // Unreadable: perhaps just being written.
            _ => expired,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A claim that stays behind is recognised as stale.
        let _ = fs::remove_file(&self.path);
    }
}
