//! What made a result: program, compiler, processor, threads, command line.

use crate::nn::Backend;
use crate::record::Provenance;
use candle_core::Device;
use std::process::Command;
use std::sync::OnceLock;

/// Text that the build script left; `None` for an empty one.
fn built(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Everything that is known when a run starts; digests are filled in by the run.
pub fn gather(device: &Device, host_program: Option<&str>) -> Provenance {
    let mut features = Vec::new();
    if cfg!(feature = "cuda") {
        features.push("cuda".to_string());
    }
    Provenance {
        git_revision: revision(),
        git_dirty: !env!("ECQX_GIT_CHANGES").is_empty(),
        git_changes: built(env!("ECQX_GIT_CHANGES")),
        folder_revision: folder_revision(),
        host_program: host_program.map(str::to_owned),
        version: env!("CARGO_PKG_VERSION").into(),
        rustc: env!("ECQX_RUSTC").into(),
        features,
        cpu: cpu(),
        device: device_name(device),
        backend: Some(Backend::on(device).name().to_owned()),
        threads: rayon::current_num_threads(),
        host: crate::store::host(),
        dataset_digest: String::new(),
        samples: None,
        baseline_digest: String::new(),
        command: std::env::args().collect(),
        started: now(),
        finished: String::new(),
        checkpoint_seconds: 0.0,
        energy_joules: None,
    }
}

/// Revision of the program's sources, `-dirty` when they had changes.
fn revision() -> Option<String> {
    let dirty = if env!("ECQX_GIT_CHANGES").is_empty() { "" } else { "-dirty" };
    built(env!("ECQX_GIT_REVISION")).map(|revision| format!("{revision}{dirty}"))
}

/// Version and source revision in one line.
pub fn program() -> String {
    let revision = revision().unwrap_or_else(|| "no revision".into());
    format!("{} {} ({revision})", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// Revision of the working folder's repository, where experiments usually lie; `-dirty` when it has changes. Looked up
/// once per process.
fn folder_revision() -> Option<String> {
    static REVISION: OnceLock<Option<String>> = OnceLock::new();
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let look = || {
        let revision = git(&["rev-parse", "HEAD"])?;
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
        let dirty = changes.is_some_and(|changes| !changes.is_empty());
        Some(if dirty { format!("{revision}-dirty") } else { revision })
    };
    REVISION.get_or_init(look).clone()
}

/// `cpu`, or the GPU's name as its driver tells it.
fn device_name(device: &Device) -> String {
    let candle_core::DeviceLocation::Cuda { gpu_id } = device.location() else { return "cpu".into() };
    let index = gpu_id.to_string();
    let query = ["--query-gpu=name,driver_version", "--format=csv,noheader", "-i", &index];
    let told = Command::new("nvidia-smi").args(query).output().ok().filter(|output| output.status.success());
    let name = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    format!("cuda:{index} {}", name.unwrap_or_default()).trim().to_owned()
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    model.unwrap_or(std::env::consts::ARCH).trim().to_string()
}

/// The present in RFC 3339, UTC, seconds.
pub fn now() -> String {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Civil date from days since 1970 (Hinnant's algorithm: eras of 400 years from 1 March).
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Makes [`peak_memory`] count from now on, where the system allows it. Runs at the same time in one process share it.
pub fn reset_peak_memory() {
    // The peak since the process began is the answer otherwise.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory of this process, bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
