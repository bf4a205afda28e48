//! Content digests of data sets: files and settings in, hexadecimal out. Names of folders play no part.

use blake3::Hasher;
use serde::Serialize;

/// Raise when the values that any family gives for the same files and settings change.
const VERSION: u32 = 1;

/// A digest under construction.
pub(super) struct Digest(Hasher);

impl Digest {
    /// Starts the digest of the data set `name`.
    pub(super) fn new(name: &str) -> Self {
        let mut hasher = Hasher::new_derive_key("ecqx data set");
        hasher.update(&VERSION.to_le_bytes());
        hasher.update(name.as_bytes());
        Self(hasher)
    }

    /// Adds a named part; its length goes in as well, so that parts can't run into each other.
    pub(super) fn part(&mut self, name: &str, content: &[u8]) -> &mut Self {
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&(content.len() as u64).to_le_bytes());
        self.0.update(content);
        self
    }

    /// Adds settings in their JSON form.
    pub(super) fn json(&mut self, name: &str, settings: &impl Serialize) -> &mut Self {
        // Settings are plain structs of numbers and strings: they always serialise.
        let text = serde_json::to_vec(settings).unwrap_or_default();
        self.part(name, &text)
    }

    /// The digest, 32 hexadecimal digits.
    pub(super) fn finish(&self) -> String {
        self.0.finalize().to_hex()[..32].to_owned()
    }
}

/// The digest of a data set derived from another by `settings`.
pub(super) fn settings(base: &str, settings: &impl Serialize) -> String {
    Digest::new(base).json("settings", settings).finish()
}
