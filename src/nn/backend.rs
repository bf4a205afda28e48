//! Which implementation computes: the CPU kernels of this crate, or operations composed of candle's. Decided here and
//! nowhere else: other files ask [`Backend::of`].
//!
//! A GPU runs composed operations. `ECQX_BACKEND=composed` runs them on the CPU too, where the tests compare both.

use crate::{Error, Result};
use candle_core::{Device, Tensor, bail};
use std::cell::Cell;
use std::sync::OnceLock;

/// The environment variable that chooses the backend of the CPU.
pub const VARIABLE: &str = "ECQX_BACKEND";

/// An implementation of all operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernels of this crate, on the CPU.
    Native,
    /// Operations of candle alone, on any device.
    Composed,
}

thread_local! {
    /// What [`Backend::run`] sets for this thread.
    static CHOSEN: Cell<Option<Backend>> = const { Cell::new(None) };
    /// Whether [`on_host`] lets kernels run in this thread.
    static ON_HOST: Cell<bool> = const { Cell::new(false) };
}

/// The backend of the CPU that the environment names; unknown names count as none, [`check_environment`] reports them.
fn from_environment() -> Backend {
    static FOUND: OnceLock<Backend> = OnceLock::new();
    *FOUND.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(name) if name == Backend::Composed.name() => Backend::Composed,
        _ => Backend::Native,
    })
}

/// Checks that `ECQX_BACKEND` names a backend that `device` has.
///
/// # Errors
/// [`Error::Input`] for an unknown name, and for native kernels on a GPU.
pub fn check_environment(device: &Device) -> Result<()> {
    let Ok(name) = std::env::var(VARIABLE) else { return Ok(()) };
    match name.as_str() {
        "" | "composed" => Ok(()),
        "native" if device.is_cpu() => Ok(()),
        "native" => Err(Error::input_hint(
            format!("{VARIABLE}=native: the native kernels run on the CPU only"),
            format!("unset {VARIABLE}, or use --device cpu"),
        )),
        _ => Err(Error::input_hint(format!("{VARIABLE}={name}: unknown backend"), "use native or composed")),
    }
}

impl Backend {
    /// The backend that computes with tensors of this device.
    pub fn on(device: &Device) -> Self {
        match device.is_cpu() {
            true => CHOSEN.get().unwrap_or_else(from_environment),
            false => Self::Composed,
        }
    }

    /// The backend that computes with this tensor.
    pub fn of(tensor: &Tensor) -> Self {
        Self::on(tensor.device())
    }

    /// Its name in `ECQX_BACKEND` and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Composed => "composed",
        }
    }

    /// Runs `work` with this backend for the CPU tensors of the current thread, whatever the environment says.
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        let _restore = Restore(&CHOSEN, CHOSEN.replace(Some(self)));
        work()
    }
}

/// Sets a thread's cell back, also when the work in between panics.
struct Restore<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy + 'static> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Whether the CPU kernels compute with this tensor.
pub fn is_native(tensor: &Tensor) -> bool {
    Backend::of(tensor) == Backend::Native
}

/// Runs `work` where CPU kernels are wanted whatever the backend: what is known to visit the host, such as calibration.
pub fn on_host<R>(work: impl FnOnce() -> R) -> R {
    let _restore = Restore(&ON_HOST, ON_HOST.replace(true));
    work()
}

/// Guards a CPU kernel: on a GPU it would have no implementation.
///
/// # Errors
/// When operations are composed, outside [`on_host`].
pub(crate) fn check_kernel(name: &str) -> candle_core::Result<()> {
    if Backend::on(&Device::Cpu) == Backend::Composed && !ON_HOST.get() {
        bail!("{name}: a kernel of the CPU was reached although operations are composed")
    }
    Ok(())
}

/// Runs `work` from inside the pool, whose threads then take over each native kernel's pieces without waking up first.
/// Composed operations stay in the calling thread.
pub(crate) fn in_pool<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    match Backend::on(device) {
        // The pool's thread has its own choice, which must be this one.
        Backend::Native => rayon::scope(|_| Backend::Native.run(work)),
        Backend::Composed => work(),
    }
}

/// Runs a test's body with either backend.
#[cfg(test)]
pub(crate) fn each(work: impl Fn()) {
    Backend::Native.run(&work);
    Backend::Composed.run(&work);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops;

    /// A kernel that is reached in composed mode is an error, and the choice ends with its scope, panics included.
    #[test]
    fn kernels_are_guarded() {
        let x = Tensor::new(&[1f32, -1.0], &Device::Cpu).unwrap();
        assert_eq!(Backend::Native.run(|| Backend::of(&x)), Backend::Native);
        Backend::Composed.run(|| {
            assert!(check_kernel("relu").unwrap_err().to_string().contains("relu"));
            assert!(on_host(|| check_kernel("relu")).is_ok());
            assert!(ops::with_values(&x, |_| ()).is_ok(), "visits the host openly");
            assert_eq!(Backend::Native.run(|| Backend::of(&x)), Backend::Native);
            assert_eq!(Backend::of(&x), Backend::Composed);
        });
        let before = Backend::of(&x);
        let _ = std::panic::catch_unwind(|| Backend::Composed.run(|| panic!("on purpose")));
        assert_eq!(Backend::of(&x), before);
    }
}
