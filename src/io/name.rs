//! Names of people's choice as names of files.

/// Longest name that is kept, bytes; file systems take 255, and an extension and a prefix come on top.
const LONGEST: usize = 80;

/// A name for a file that no folder, shell or file system misreads: letters, digits, `-`, `_`, `.`, not at the beginning
/// a point or dash, at most 80 bytes and a digest. A name that is safe stays; any other gets a digest of the whole, so that
/// two names never share a file.
pub fn file_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let safe = !name.is_empty()
        && name.len() <= LONGEST
        && name.chars().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.');
    if safe {
        return name.to_owned();
    }
    let mapped: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let short = &mapped[..mapped.len().min(LONGEST)];
    let short = short.trim_matches(|c| matches!(c, '.' | '-'));
    let digest = &blake3::hash(name.as_bytes()).to_hex()[..8];
    if short.is_empty() { digest.to_owned() } else { format!("{short}-{digest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that are safe stay as they are; others lose what a file system or a shell would misread and never collide.
    #[test]
    fn names_become_safe() {
        for name in ["resnet20", "accuracy_over_size-mnist-v1.2"] {
            assert_eq!(file_name(name), name);
        }
        let long = "x".repeat(5000);
        let strange = [
            "timm/tiny",
            "timm-tiny/",
            "../up",
            ".",
            "..",
            "",
            "a\\b",
            "-rf",
            "a b",
            "naïve",
            "nul\0",
            &long,
        ];
        let safe: Vec<String> = strange.iter().map(|name| file_name(name)).collect();
        assert!(safe[0].starts_with("timm-tiny-"), "{safe:?}");
        for (name, safe) in strange.iter().zip(&safe) {
            assert!(!safe.is_empty() && safe.len() <= 100 && !safe.starts_with(['.', '-']), "{name}: {safe}");
            assert!(safe.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{name}: {safe}");
        }
        let unique: std::collections::BTreeSet<&String> = safe.iter().collect();
        assert_eq!(unique.len(), strange.len(), "{safe:?}");
    }
}
