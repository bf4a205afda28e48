//! Ctrl-C and termination. The first Ctrl-C lets runs finish their epoch and keep a checkpoint, the second ends the
//! process at once. Who ends processes by a signal (batch systems, a closing terminal) does not wait for an epoch: then
//! runs stop after the step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// A signal has come.
static NOTICED: AtomicBool = AtomicBool::new(false);
/// Runs stop at the end of their epoch.
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// Runs stop after their step.
static AT_ONCE: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether the user asked to stop.
pub(super) fn cancelled() -> bool {
    CANCELLED.load(Ordering::Relaxed) || cancelled_now()
}

/// Whether there is no time to finish an epoch.
pub(super) fn cancelled_now() -> bool {
    AT_ONCE.load(Ordering::Relaxed)
}

/// Where a line can be shown to the user without being drawn over.
type Speaker = Box<dyn Fn(&str) + Send>;
static SPEAKER: Mutex<Option<Speaker>> = Mutex::new(None);

fn say(line: &str) {
    match &*SPEAKER.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(speaker) => speaker(line),
        None => eprintln!("{line}"),
    }
}

/// Does `work` while what an interruption has to say goes to `speaker`.
pub(super) fn told_to<T>(speaker: impl Fn(&str) + Send + 'static, work: impl FnOnce() -> T) -> T {
    *SPEAKER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(speaker));
    let result = work();
    *SPEAKER.lock().unwrap_or_else(PoisonError::into_inner) = None;
    result
}

/// Listens to signals from now on.
///
/// # Errors
/// When the system refuses, or when called twice.
pub(super) fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if NOTICED.swap(true, Ordering::Relaxed) {
            // Claims and half-written files that stay are seen to belong to no process.
            std::process::exit(i32::from(super::INTERRUPTED));
        }
        // The flag of a termination may be set a moment later.
        std::thread::sleep(Duration::from_millis(5));
        say(match cancelled_now() {
            true => "stopping after this step, with a checkpoint",
            false => "stopping at the end of the epoch; once more to stop at once (nothing finished is lost)",
        });
        // Last, so that even a run that is about to end has said why it stops.
        CANCELLED.store(true, Ordering::Relaxed);
    })?;
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, AT_ONCE.clone())?;
    }
    Ok(())
}
