//! Unpacking of tar archives, gzipped or not. What an archive may do is bounded: it writes regular files and folders below
//! the folder it is given, of a size in proportion to its own, each once.

use super::manifest::{self, Entry};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// Bytes that an archive may unpack to for each byte of its own, after [`SPARE`]: audio and images hardly compress.
const MOST_GROWTH: u64 = 8;
/// Bytes that any archive may unpack to.
const SPARE: u64 = 16 << 20;
/// Most entries; Speech Commands has 106,000 and ImageNet 1.4 million.
const MOST_ENTRIES: usize = 4_000_000;
/// Most folders within each other.
const DEEPEST: usize = 32;

/// Unpacks `archive` into the folder `into` below `root`. Returns what it held, with paths below `root`.
///
/// # Errors
/// [`Error::Format`] for an archive that is damaged, or whose entries would leave the folder, are links or devices, come
/// twice, or are out of proportion; [`Error::Io`] where writing fails.
pub(super) fn unpack(archive: &Path, root: &Path, into: &str) -> Result<Vec<Entry>> {
    let mut file = File::open(archive).map_err(Error::io(archive))?;
    let length = file.metadata().map_err(Error::io(archive))?.len();
    let mut start = [0; 2];
    let is_gzip = file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0)).map_err(Error::io(archive))?;
    let file = BufReader::with_capacity(1 << 18, file);
    let limit = SPARE + length.saturating_mul(MOST_GROWTH);
    match is_gzip {
        // What is unpacked counts, whether it belongs to a file or to the archive's own tables.
        true => entries(archive, MultiGzDecoder::new(file).take(limit), limit, root, into),
        false => entries(archive, file.take(limit), limit, root, into),
    }
}

fn entries(archive: &Path, reader: impl Read, limit: u64, root: &Path, into: &str) -> Result<Vec<Entry>> {
    let wrong = |what: String| Error::format(archive, 0, what);
    let damaged = |error: std::io::Error| wrong(format!("the archive cannot be read: {error}"));
    let mut tar = tar::Archive::new(reader);
    let (mut found, mut written) = (Vec::new(), 0u64);
    let mut own = HashSet::new();
    let mut piece = vec![0; 1 << 18];
    for (number, entry) in tar.entries().map_err(damaged)?.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        if number >= MOST_ENTRIES {
            return Err(wrong(format!("more than {MOST_ENTRIES} entries")));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Directory => {
                let folder = root.join(into).join(below(&name).ok_or_else(|| wrong(leaves(&name)))?);
                std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
                continue;
            }
            EntryType::Regular | EntryType::Continuous => {}
            // Descriptions of the archive itself.
            EntryType::XGlobalHeader => continue,
            other => {
                return Err(wrong(format!("entry '{name}' is a {other:?}, and only files are unpacked")));
            }
        }
        let inside =
            below(&name).filter(|path| path.file_name().is_some()).ok_or_else(|| wrong(leaves(&name)))?;
        let path = root.join(into).join(inside);
        written = written.saturating_add(entry.size());
        if written > limit {
            return Err(wrong(format!(
                "unpacks to more than {limit} bytes: out of proportion to its own size"
            )));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        if !own.insert(path.clone()) {
            return Err(wrong(format!("entry '{name}' comes twice")));
        }
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Some(file),
            // Of another archive of the same data set: it must be the same file.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        loop {
            let read = entry.read(&mut piece).map_err(damaged)?;
            if read == 0 {
                break;
            }
            if let Some(file) = &mut file {
                file.write_all(&piece[..read]).map_err(Error::io(&path))?;
            }
            hasher.update(&piece[..read]);
            bytes += read as u64;
        }
        if bytes != entry.size() {
            return Err(wrong(format!("ends inside entry '{name}'")));
        }
        let hash = hasher.finalize();
        match file {
            Some(_) => found.push(manifest::entry(root, &path, bytes, &hash)),
            None if manifest::hash(&path)?.1 == hash => {}
            None => return Err(wrong(format!("entry '{name}' differs from that of another archive"))),
        }
    }
    if own.is_empty() {
        return Err(wrong("no files are in it".into()));
    }
    Ok(found)
}

fn leaves(name: &str) -> String {
    format!("entry '{name}' would be written outside of its folder")
}

/// The path of an entry below the folder it is unpacked into; `None` where it would leave it.
fn below(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::CurDir => {}
            // Backslashes and colons lead elsewhere on other systems.
            Component::Normal(part) if !part.to_string_lossy().contains(['\\', ':', '\0']) => path.push(part),
            _ => return None,
        }
    }
    (path.iter().count() <= DEEPEST).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    /// A header with any name, which the crate's own functions would refuse.
    fn header(name: &[u8], kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            builder.append(&header(name.as_bytes(), *kind, content.len() as u64), *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Unpacks into `data` below a folder; gives its entries, and the names of everything around the folder afterwards.
    fn unpacked(bytes: &[u8]) -> (Result<Vec<Entry>>, Vec<String>) {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let archive = around.path().join("a.tar");
        std::fs::write(&archive, bytes).unwrap();
        let result = unpack(&archive, &root, "data");
        let names = std::fs::read_dir(around.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        (result, names)
    }

    /// Plain and gzipped archives give the same files, with and without `./` before the names.
    #[test]
    fn archives_are_unpacked() {
        let plain = tar(&[
            ("./", EntryType::Directory, b""),
            ("./a/b.txt", EntryType::Regular, b"one"),
            ("c.txt", EntryType::Regular, b""),
        ]);
        for bytes in [plain.clone(), gzip(&plain)] {
            let entries = unpacked(&bytes).0.unwrap();
            let found: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.bytes)).collect();
            assert_eq!(found, [("data/a/b.txt", 3), ("data/c.txt", 0)]);
        }
    }

    /// Entries that would leave the folder, links, devices, repeated names: refused, and nothing outside is touched.
    #[test]
    fn entries_that_leave_are_refused() {
        for name in ["../evil", "a/../../evil", "/tmp/evil-of-ecqx", "..", "a\\..\\evil", "c:evil", "."] {
            let (result, names) = unpacked(&tar(&[(name, EntryType::Regular, b"x")]));
            let error = result.unwrap_err().to_string();
            assert!(error.contains("outside of its folder"), "{name}: {error}");
            assert_eq!(names, ["a.tar", "root"], "{name}");
        }
        for kind in
            [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo, EntryType::GNUSparse]
        {
            let error = unpacked(&tar(&[("a", kind, b"")])).0.unwrap_err().to_string();
            assert!(error.contains("only files") || error.contains("cannot be read"), "{kind:?}: {error}");
        }
        let twice = tar(&[("a", EntryType::Regular, b"1"), ("./a", EntryType::Regular, b"2")]);
        assert!(unpacked(&twice).0.unwrap_err().to_string().contains("comes twice"));
        assert!(unpacked(&tar(&[])).0.unwrap_err().to_string().contains("no files"));
        assert!(unpacked(b"<html>").0.is_err());
    }

    /// Two archives of one data set may share files, but not differ in them.
    #[test]
    fn shared_files_must_be_equal() {
        let folder = tempfile::tempdir().unwrap();
        let unpack = |name: &str, content: &[u8]| {
            let archive = folder.path().join(name);
            let readme = ("readme", EntryType::Regular, content);
            std::fs::write(&archive, tar(&[readme, (name, EntryType::Regular, b"x")])).unwrap();
            unpack(&archive, folder.path(), "data")
        };
        assert_eq!(unpack("one", b"same").unwrap().len(), 2);
        assert_eq!(unpack("two", b"same").unwrap().len(), 1);
        assert!(unpack("three", b"other").unwrap_err().to_string().contains("differs from that of another"));
    }

    /// Archives that unpack out of proportion stop early: by what they write, by what they claim, and inside their tables.
    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0; (SPARE + (1 << 20)) as usize];
        let error =
            unpacked(&gzip(&tar(&[("zeros", EntryType::Regular, &zeros)]))).0.unwrap_err().to_string();
        assert!(error.contains("out of proportion"), "{error}");
        let mut claims = header(b"claims", EntryType::Regular, 1 << 50).as_bytes().to_vec();
        claims.resize(2048, 0);
        let error = unpacked(&claims).0.unwrap_err().to_string();
        assert!(error.contains("out of proportion"), "{error}");
        let nothing = gzip(&vec![0; (SPARE * 4) as usize]);
        assert!(unpacked(&nothing).0.is_err());
    }

    /// Cut archives are damaged, wherever the cut is.
    #[test]
    fn cut_archives_are_refused() {
        let content = vec![7; 3000];
        let plain = tar(&[("a", EntryType::Regular, &content), ("b", EntryType::Regular, &content)]);
        for cut in [100, 600, 3000, 4000, 5000] {
            assert!(unpacked(&plain[..cut]).0.is_err(), "{cut}");
        }
        let packed = gzip(&plain);
        assert!(unpacked(&packed[..packed.len() / 2]).0.is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Damaged archives are entries or an error, never a panic, and never anything outside the folder.
        #[test]
        fn damaged_archives_stay_inside(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = tar(&[("a/b", EntryType::Regular, b"one"), ("c", EntryType::Regular, b"two")]);
            for (index, value) in damage {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            prop_assert_eq!(unpacked(&bytes).1, ["a.tar", "root"]);
        }
    }
}
