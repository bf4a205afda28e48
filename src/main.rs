//! The `ecqx` binary: the library's tool as it is.

use std::process::ExitCode;

/// Tensors of a training step are allocated and freed thousands of times; the system's allocator gives their pages back
/// to the kernel each time, which costs more than the arithmetic on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ecqx::App::new().main()
}
