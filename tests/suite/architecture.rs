//! The map of the modules, held by reading their imports: nothing imports what lies above it, and no two files import each
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Top-level modules from the top to the leaves. A module imports from those after it only.
const ORDER: [&str; 25] = [
    "cli",
    "report",
    "engine",
    "run",
    "plan",
    "spec",
    "store",
    "selftest",
    "train",
    "external",
    "model",
    "relevance",
    "codec",
    "testing",
    "quant",
    "data",
    "nn",
    // Leaves.
    "registry",
    "snapshot",
    "insight",
    "record",
    "io",
    "rng",
    "error",
    "lib",
];

/// A source file as a module: its path from the crate's root, its text without comments, strings and tests, and its strings.
struct Module {
    path: Vec<String>,
    file: String,
    code: String,
    literals: Vec<String>,
}

/// Blanks out comments, strings and everything from the first `#[cfg(test)] mod tests {` on, which is at the end of files.
/// Returns the strings beside the rest.
fn code(text: &str) -> (String, Vec<String>) {
    let text = text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at]);
    let (mut out, mut literals) = (String::new(), Vec::new());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => {
                for c in rest.by_ref() {
                    if c == '\n' {
                        out.push('\n');
                        break;
                    }
                }
            }
            '"' => {
                let mut literal = String::new();
                while let Some(c) = rest.next() {
                    match c {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        c => literal.push(c),
                    }
                }
                literals.push(literal);
                out.push(' ');
            }
            // A character, or a lifetime.
            '\'' => {
                let next = rest.next();
                if next == Some('\\') {
                    rest.by_ref().find(|c| *c == '\'');
                } else if rest.peek() == Some(&'\'') {
                    rest.next();
                }
            }
            c => out.push(c),
        }
    }
    (out, literals)
}

/// Modules that are compiled for tests alone, as their parents declare them.
fn test_modules(text: &str) -> Vec<String> {
    let parts = text.split("#[cfg(test)]\nmod ").skip(1);
    parts.filter_map(|part| part.split_once(';')).map(|(name, _)| name.to_owned()).collect()
}

fn modules(folder: &Path, path: &[String], into: &mut Vec<Module>) {
    let own = if path.is_empty() { "lib.rs" } else { "mod.rs" };
    let exempt = test_modules(&std::fs::read_to_string(folder.join(own)).unwrap_or_default());
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let stem = entry.file_stem().unwrap().to_string_lossy().into_owned();
        if exempt.contains(&stem) {
            continue;
        }
        let inner = [path, std::slice::from_ref(&stem)].concat();
        if entry.is_dir() {
            modules(&entry, &inner, into);
        } else if entry.extension().is_some_and(|extension| extension == "rs") && stem != "main" {
            let text = std::fs::read_to_string(&entry).unwrap();
            let file = entry.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
            let path = if stem == "mod" { path.to_vec() } else { inner };
            let (code, literals) = code(&text);
            into.push(Module { path, file, code, literals });
        }
    }
}

/// Reads `a::b::{c, d::e}` at the beginning of `text`: all paths in it, each behind `prefix`. Returns what follows.
fn tree<'a>(mut text: &'a str, prefix: &[String], into: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    loop {
        text = text.trim_start();
        if let Some(mut inner) = text.strip_prefix('{') {
            loop {
                inner = inner.trim_start().trim_start_matches(',').trim_start();
                if let Some(after) = inner.strip_prefix('}') {
                    return after;
                }
                let after = tree(inner, &path, into);
                // What is not understood ends the reading instead of turning it into a circle.
                if after.len() == inner.len() {
                    return after;
                }
                // An alias.
                inner = after.trim_start();
                if let Some(alias) = inner.strip_prefix("as ") {
                    inner = alias.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                }
            }
        }
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        path.push(text[..end].to_owned());
        text = &text[end..];
        match text.trim_start().strip_prefix("::") {
            Some(after) => text = after,
            None => {
                into.push(path);
                return text.strip_prefix('*').unwrap_or(text);
            }
        }
    }
}

/// All paths in a module that begin with `crate::` or `super::`, from the crate's root.
fn imports(module: &Module) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in module.code.match_indices("crate::").chain(module.code.match_indices("super::")) {
        let before = module.code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let mut paths = Vec::new();
        tree(&module.code[at..], &[], &mut paths);
        for path in paths {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let mut from_root = match path[0].as_str() {
                "crate" => path[1..].to_vec(),
                _ => {
                    let base = &module.path[..module.path.len() - ups];
                    [base, &path[ups..]].concat()
                }
            };
            from_root.retain(|part| part != "self" && !part.is_empty());
            found.push(from_root);
        }
    }
    found
}

fn all() -> Vec<Module> {
    let mut found = Vec::new();
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut found);
    found.retain(|module| module.path != ["lib"]);
    assert!(found.len() > 150, "the sources are here");
    found
}

/// No import runs against the order of the map.
#[test]
fn imports_run_one_way() {
    let rank = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut wrong = BTreeSet::new();
    for module in all() {
        let own = module.path[0].as_str();
        let Some(from) = rank(own) else {
            wrong.insert(format!("{}: '{own}' is not in the order of the map", module.file));
            continue;
        };
        for path in imports(&module) {
            // What the root gives to all stands in `error`.
            let Some(name) = path.first().filter(|name| !name.starts_with(char::is_uppercase)) else {
                continue;
            };
            if rank(name).is_some_and(|to| to < from) {
                let source = format!("src/{name}");
                wrong.insert(format!(
                    "{}: imports {} of {source}, which lies above",
                    module.file,
                    path.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

/// Whether `to` can be reached from `from`.
fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            open.extend(edges.get(at).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

/// No files import each other, directly or in a circle. A folder's `mod.rs` may name its files, and they its items.
#[test]
fn files_import_in_no_circle() {
    let all = all();
    let names: BTreeSet<String> = all.iter().map(|module| module.path.join("/")).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in &all {
        let own = module.path.join("/");
        for path in imports(module) {
            let of_file =
                (1..=path.len()).rev().map(|n| path[..n].join("/")).find(|name| names.contains(name));
            let Some(other) = of_file.filter(|other| *other != own) else { continue };
            if !other.starts_with(&format!("{own}/")) {
                edges.entry(own.clone()).or_default().insert(other);
            }
        }
    }
    let mut wrong = Vec::new();
    for (from, targets) in &edges {
        for to in targets.iter().filter(|to| reaches(&edges, to, from)) {
            wrong.push(format!("src/{from}.rs imports src/{to}.rs, which comes back to it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reports and runs take what they know of methods from the registry: their code names no built-in method, neither as YAML
/// does nor as readers do, so that somebody else's method is shown like ours.
#[test]
fn reports_and_runs_name_no_method() {
    let methods = ecqx::quant::builtin();
    let mut wrong = Vec::new();
    for module in all() {
        let [first, rest @ ..] = module.path.as_slice() else { continue };
        let is_cli_report = first == "cli" && rest == ["report"];
        if !["report", "run"].contains(&first.as_str()) && !is_cli_report {
            continue;
        }
        for literal in &module.literals {
            let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
            let words: Vec<&str> = literal.split(|c| !is_word(c)).collect();
            let named = methods.iter().find(|m| m.name == literal || words.contains(&m.display));
            wrong.extend(named.map(|method| format!("{}: {} in \"{literal}\"", module.file, method.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which backend computes is decided in one file, and values leave a device through one: nobody else asks whether a device
/// is the CPU, or reads a tensor. Checkpoints' tensors are on the CPU.
#[test]
fn backends_and_transfers_have_one_place() {
    let (reads, asks) = (["to_vec0", "to_vec1", "to_vec2", "to_vec3", "to_scalar"], ["is_cpu(", "is_cuda("]);
    // A plain loop on a GPU: the gradient of a convolution is a convolution.
    let slow = ["conv_transpose2d"];
    let mut wrong = Vec::new();
    for module in all() {
        let path = module.path.join("/");
        let found = |words: &[&'static str]| words.iter().find(|word| module.code.contains(**word)).copied();
        if path != "nn/backend" {
            wrong.extend(found(&asks).map(|word| format!("{}: {word}", module.file)));
        }
        wrong.extend(found(&slow).map(|word| format!("{}: {word}", module.file)));
        if path != "nn/transfer" && !path.starts_with("model/checkpoint") {
            wrong.extend(found(&reads).map(|word| format!("{}: {word}", module.file)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The reader of imports understands what it meets in sources.
#[test]
fn imports_are_read() {
    let text = "use crate::{Error, quant::{self, codebook::Codebook as C}, data};\n// crate::cli\nfn f() { \
                super::super::store::host(\"crate::run\"); let x = '\"'; crate::spec::run_spec::canonical::<u8>() }\n";
    let path = ["a", "b", "c"].map(String::from).to_vec();
    let (code, literals) = code(text);
    assert_eq!(literals, ["crate::run"]);
    let module = Module { path, file: "x".into(), code, literals };
    let mut found: Vec<String> = imports(&module).iter().map(|path| path.join("::")).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "Error",
            "a::store::host",
            "data",
            "quant",
            "quant::codebook::Codebook",
            "spec::run_spec::canonical"
        ]
    );
}
