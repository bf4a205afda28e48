//! The `ecqx` binary: hands the command line to the library and exits with its code.

use std::process::ExitCode;

/// Tensors of a training step are allocated and freed thousands of times; the system's allocator gives their pages back
/// to the kernel each time, which costs more than the arithmetic on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A reader that closes early, such as `head`, ends the program quietly instead of failing a print.
    sigpipe::reset();
    ecqx::cli::main()
}
