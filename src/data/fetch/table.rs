//! The table of sources: `sources.yaml`, or a file of the user's in its form.

use super::checksum;
use crate::error::{did_you_mean_or_all, excerpt};
use crate::io::yaml::{self, Expecting};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

const TABLE: Expecting =
    Expecting { what: "a table of sources", reference: "docs/datasets.md describes the form ('Fetching')" };

/// What a source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A data set.
    Dataset,
    /// Full-precision weights.
    Checkpoint,
}

/// All sources by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// In the order of the file.
    pub sources: Vec<Source>,
}

/// A data set or checkpoint that can be fetched.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name on the command line; a data set's is that of its family.
    pub name: String,
    /// What it gives.
    pub kind: Kind,
    /// One line about it.
    pub about: String,
    /// The publisher's page.
    pub page: String,
    /// Licence or terms, as far as the publisher states them.
    pub licence: String,
    /// What it puts into the data folder.
    pub targets: Vec<Target>,
}

/// A folder or file below the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Path below the data folder.
    pub path: String,
    /// What the folder must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Content>,
    /// What it is made of.
    pub files: Vec<RemoteFile>,
}

/// Something a target must hold: a file (of a size), or a folder with files of an extension (so many of them).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Path below the target.
    pub path: String,
    /// Exact size of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Extension of the files that a folder must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// How many of them; at least one where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// A file on a publisher's server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    /// Addresses, tried in this order; the last part of the first is the file's name.
    pub urls: Vec<String>,
    /// Exact size, where it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// MD5, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// SHA-256, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The first digits of SHA-256, eight or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256_prefix: Option<String>,
    /// Where size and checksums were read.
    pub read: String,
    /// Folder below the data folder for the entries of an archive; absent for files that stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpack: Option<String>,
}

impl Table {
    /// The built-in table.
    ///
    /// # Errors
    /// None: a test reads it.
    pub fn builtin() -> Result<Self> {
        Self::parse(include_str!("../sources.yaml"), Path::new("sources.yaml"))
    }

    /// A table of the user's.
    ///
    /// # Errors
    /// [`Error::Input`] with file, place and key of a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&crate::io::read_text(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let table: Self = yaml::parse(text, path, TABLE)?;
        for source in &table.sources {
            source.check().map_err(|error| error.at(format!("{}: {}", path.display(), source.name)))?;
        }
        Ok(table)
    }

    /// The source called `name`.
    ///
    /// # Errors
    /// [`Error::Input`] with the nearest name or all names.
    pub fn find(&self, name: &str) -> Result<&Source> {
        self.sources.iter().find(|source| source.name == name).ok_or_else(|| {
            let names = self.sources.iter().map(|source| source.name.as_str());
            Error::input_hint(
                format!("no source is called '{}'", excerpt(name)),
                did_you_mean_or_all(name, names, "'ecqx data ls' lists them:"),
            )
        })
    }
}

impl Source {
    /// Bytes to download, as far as they are published, and whether that is all.
    pub fn bytes(&self) -> (u64, bool) {
        let sizes = self.targets.iter().flat_map(|target| &target.files).map(|file| file.bytes);
        sizes.fold((0, true), |(sum, all), size| (sum + size.unwrap_or(0), all && size.is_some()))
    }

    fn check(&self) -> Result<()> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(allowed) {
            return Err(Error::input("name must consist of letters, digits, '-', '_' and '.'"));
        }
        if self.targets.is_empty() || self.targets.iter().any(|target| target.files.is_empty()) {
            return Err(Error::input("a source needs targets, and a target files"));
        }
        for target in &self.targets {
            let unpacked = target.files.iter().filter_map(|file| file.unpack.as_deref());
            let inside = target.contents.iter().map(|content| content.path.as_str());
            for path in unpacked.chain(inside).chain([target.path.as_str()]) {
                check_path(path)?;
            }
            if target.path == "." {
                return Err(Error::input("path must name a folder or file below the data folder"));
            }
            target.files.iter().try_for_each(RemoteFile::check)?;
        }
        Ok(())
    }
}

/// Refuses paths that lead out of the folder they are below.
fn check_path(path: &str) -> Result<()> {
    let is_inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    match !path.is_empty() && Path::new(path).components().all(is_inside) && !path.contains('\\') {
        true => Ok(()),
        false => Err(Error::input(format!("'{}' is not a path below the data folder", excerpt(path)))),
    }
}

impl Target {
    /// Whether it is a single file that stays as it is, not a folder.
    pub fn is_file(&self) -> bool {
        let last = Path::new(&self.path).file_name().and_then(|name| name.to_str());
        matches!(self.files.as_slice(), [file] if file.unpack.is_none() && last == Some(file.name()))
    }
}

impl RemoteFile {
    /// Its name: the last part of its first address.
    pub fn name(&self) -> &str {
        self.urls.first().and_then(|url| url.rsplit('/').next()).unwrap_or_default()
    }

    /// Its checksum as a person compares it.
    pub fn checksum(&self) -> String {
        match (&self.md5, &self.sha256, &self.sha256_prefix) {
            (_, Some(sha256), _) => format!("sha256 {sha256}"),
            (Some(md5), None, _) => format!("md5 {md5}"),
            (None, None, Some(prefix)) => format!("sha256 {prefix}…"),
            (None, None, None) => String::new(),
        }
    }

    fn check(&self) -> Result<()> {
        let name = self.name();
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if name.is_empty() || name.starts_with('.') || !self.urls.iter().all(is_url) {
            return Err(Error::input("urls must be addresses of files, http://… or https://…"));
        }
        let digests = [(&self.md5, 32..=32), (&self.sha256, 64..=64), (&self.sha256_prefix, 8..=64)];
        for (digest, digits) in digests {
            let Some(digest) = digest else { continue };
            let is_hex = digest.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            if !is_hex || !digits.contains(&digest.len()) {
                return Err(Error::input(format!(
                    "{name}: '{}' is not a checksum in lower case",
                    excerpt(digest)
                )));
            }
        }
        if self.checksum().is_empty() {
            return Err(Error::input(format!("{name} needs a checksum: md5, sha256 or sha256_prefix")));
        }
        Ok(())
    }

    /// What is wrong with a copy of the file, if anything: size or checksum.
    ///
    /// # Errors
    /// [`Error::Io`] where it can't be read.
    pub fn problem(&self, path: &Path) -> Result<Option<String>> {
        checksum::problem(self, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The built-in table is valid: names once each, checksums of the right lengths, and every data set's name a family's.
    #[test]
    fn builtin_table_is_valid() {
        let table = Table::builtin().unwrap();
        let families = crate::data::builtin();
        let mut names = std::collections::HashSet::new();
        for source in &table.sources {
            assert!(names.insert(&source.name), "{} twice", source.name);
            assert!(!source.licence.is_empty() && !source.about.is_empty(), "{}", source.name);
            if source.kind == Kind::Dataset {
                let family = families.find(&source.name).unwrap();
                assert!(source.targets.iter().any(|target| target.path == family.folder), "{}", source.name);
            }
            for file in source.targets.iter().flat_map(|target| &target.files) {
                // A hash in the name is the hash that is checked.
                let in_name = file.sha256_prefix.as_ref().is_none_or(|prefix| file.name().contains(prefix));
                assert!(in_name && !file.read.is_empty(), "{}", file.name());
            }
        }
        assert!(table.find("cifar-10").unwrap_err().hint().unwrap().contains("cifar10"));
    }

    /// Paths out of the data folder, wrong checksums and other addresses are refused with the source's name.
    #[test]
    fn mistakes_are_refused() {
        let refuse = |from: &str, to: &str, expected: &str| {
            let valid = "sources:\n  - name: a\n    kind: dataset\n    about: x\n    page: x\n    licence: x\n    \
                         targets:\n      - path: folder\n        files:\n          - urls: ['http://h/a.tar']\n            \
                         md5: 00000000000000000000000000000000\n            read: x\n            unpack: .\n";
            assert!(Table::parse(valid, Path::new("t.yaml")).is_ok());
            let error = Table::parse(&valid.replacen(from, to, 1), Path::new("t.yaml")).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(expected), "{error}");
        };
        refuse("path: folder", "path: ../folder", "not a path below");
        refuse("path: folder", "path: /etc", "not a path below");
        refuse("unpack: .", "unpack: a/../../b", "not a path below");
        refuse("md5: 0", "md5: ", "not a checksum");
        refuse("md5: 00000000000000000000000000000000\n            ", "", "needs a checksum");
        refuse("http://h/a.tar", "ftp://h/a.tar", "addresses");
        refuse("name: a", "name: ../a", "name must");
        refuse("kind: dataset", "kind: song", "kind");
    }
}
