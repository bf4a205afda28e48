//! What ends a program when this process ends in a way that leaves no time for it: killed, or stopped by a second Ctrl-C.
//! A shell waits for the end of a pipe that only we hold open, then kills the program's process group and removes the
//! folder of the exchange.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `$1` is the process group (some shells' `kill` knows no `--`), `$2` the folder. What is not there any more is no problem.
const SCRIPT: &str = "read -r line; kill -9 -\"$1\" 2>/dev/null; rm -rf \"$2\"";

/// A shell that watches over one process group.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over the group of the process `leader`.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn start(leader: u32, folder: &Path) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "ecqx-watchdog"]).arg(leader.to_string()).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        in_own_group(&mut command);
        command.spawn().map(Self)
    }

    /// Kills the group now. The leader must not have been waited for: until then nobody else can have its number.
    pub fn fire(mut self) {
        drop(self.0.stdin.take());
        // Fails only for a process that was waited for before.
        let _ = self.0.wait();
    }
}

/// Ctrl-C in a terminal reaches this process alone.
pub(super) fn in_own_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}
