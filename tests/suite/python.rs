//! The Python that tests of the Python package use: `ECQX_PYTHON`, else python3, where it has NumPy and safetensors.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python with the modules; `None` with a reason on the screen.
pub fn python(modules: &str) -> Option<PathBuf> {
    let python = std::env::var_os("ECQX_PYTHON").unwrap_or_else(|| "python3".into());
    let imports = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python.into());
    }
    eprintln!("skipped: {} has no {modules} (set ECQX_PYTHON)", Path::new(&python).display());
    None
}

/// The package's folder, for PYTHONPATH.
pub fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// A PATH whose `python3` is `python` and whose `ecqx` is the one under test. `folder` gets both.
pub fn path_with(python: &Path, folder: &Path) -> std::ffi::OsString {
    std::fs::create_dir_all(folder).unwrap();
    let program = assert_cmd::cargo::cargo_bin("ecqx");
    for (name, target) in [("python3", python), ("ecqx", &program)] {
        // Not a link: a virtual environment is found by the program's place.
        let script = format!("#!/bin/sh\nexec \"{}\" \"$@\"\n", target.display());
        std::fs::write(folder.join(name), script).unwrap();
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([folder.to_path_buf()].into_iter().chain(std::env::split_paths(&path))).unwrap()
}
