//! Atomic file writes.

use crate::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes a file so that a reader, a crash or a full disk never leaves half of it: temporary file in the same folder,
/// flush to disk, rename. Missing folders are created.
///
/// # Errors
/// [`Error::Io`] naming `path`; what stood there before is untouched then.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut temporary = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder)?;
        let mut writer = BufWriter::new(temporary.as_file_mut());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        temporary.as_file().sync_all()?;
        // Temporary files are private; results are for everyone the folder is for.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(Error::io(path))
}
