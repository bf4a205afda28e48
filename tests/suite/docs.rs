//! README and docs/ as a reader uses them: links lead somewhere, the book has every page, and what looks like a command is
//! one. `tutorial.rs` runs the pages that can be run.

use super::ecqx;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    files.sort();
    files
}

/// Everything that people read.
fn pages() -> Vec<PathBuf> {
    let mut folders: Vec<String> =
        ["", "docs", "results", "python", ".github/ISSUE_TEMPLATE"].map(str::to_owned).into();
    let results = std::fs::read_dir(root().join("results")).unwrap().map(|entry| entry.unwrap().path());
    folders.extend(results.filter(|path| path.is_dir()).map(|path| path.display().to_string()));
    folders.iter().flat_map(|folder| markdown(folder)).collect()
}

/// A fenced block: what follows the fence, and its lines.
pub struct Block {
    pub language: String,
    pub lines: Vec<String>,
}

/// The text outside fenced blocks, and the blocks.
pub fn parts(text: &str) -> (Vec<String>, Vec<Block>) {
    let (mut prose, mut blocks, mut open) = (Vec::new(), Vec::new(), None::<Block>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block { language: language.trim().into(), lines: Vec::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line.into());
                open = Some(block);
            }
            (None, None) => prose.push(line.into()),
        }
    }
    assert!(open.is_none(), "a fenced block has no end");
    (prose, blocks)
}

/// What GitHub and mdbook call the place of a heading: lower case, spaces as hyphens, punctuation gone.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let (prose, _) = parts(&std::fs::read_to_string(page).unwrap());
    prose.iter().filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#'))).collect()
}

/// The targets of links and pictures of a line, code spans aside.
fn targets(line: &str) -> Vec<String> {
    let outside: String = line.split('`').step_by(2).collect();
    outside
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()))
        .collect()
}

/// Every relative link leads to a file that is there, and to a heading of it where it names one.
#[test]
fn links_lead_somewhere() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for page in pages() {
        let (prose, _) = parts(&std::fs::read_to_string(&page).unwrap());
        for target in prose.iter().flat_map(|line| targets(line)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let place = match file {
                "" => page.clone(),
                _ => page.parent().unwrap().join(file),
            };
            let known = || anchors(&place).contains(anchor);
            if !place.exists() || !(anchor.is_empty() || known()) {
                wrong.push(format!("{}: {target}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(checked > 50, "{checked}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The check above can fail: headings with code and punctuation have the anchors that GitHub gives them.
#[test]
fn slugs_are_those_of_github() {
    assert_eq!(slug(" `method: external`: a quantizer"), "method-external-a-quantizer");
    assert_eq!(slug(" Λ and λ"), "λ-and-λ");
    assert_eq!(targets("[a](b.md#c) `[x](y)` ![p](q.png)"), ["b.md#c", "q.png"]);
}

/// A page that no list names is found by nobody: the book's table of contents and the index have all of them.
#[test]
fn the_book_has_every_page() {
    for list in ["docs/SUMMARY.md", "docs/README.md"] {
        let text = std::fs::read_to_string(root().join(list)).unwrap();
        let linked: BTreeSet<String> = text.lines().flat_map(targets).collect();
        for page in markdown("docs") {
            let name = page.file_name().unwrap().to_str().unwrap();
            assert!(
                linked.contains(name) || ["SUMMARY.md", "README.md"].contains(&name),
                "{list} has no {name}"
            );
        }
    }
}

/// The commands of a line: words in quotes stay together; comments, redirections and what is behind a pipe go.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(end)) if c == end => quote = None,
            (c, Some(_)) => word.push(c),
            ('#', None) if word.is_empty() => break,
            (';' | '|' | '&', None) => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                commands.push(std::mem::take(&mut words));
            }
            (c, None) if c.is_whitespace() => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            (c, None) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    commands.push(words);
    for command in &mut commands {
        if let Some(at) = command.iter().position(|word| word.starts_with(['>', '<'])) {
            command.truncate(at);
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// Every line of a block that calls `ecqx` names a command and options that exist, with values that they take; targets of
/// `make`, scripts and experiments that lines name are there. Nothing is run.
#[test]
fn commands_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    for page in pages() {
        let (_, blocks) = parts(&std::fs::read_to_string(&page).unwrap());
        let shown = page.strip_prefix(root()).unwrap().display();
        let scripts =
            blocks.iter().filter(|block| matches!(block.language.as_str(), "sh" | "console" | "text"));
        // A line that ends with a backslash goes on in the next one.
        let whole = |block: &Block| block.lines.join("\n").replace("\\\n", " ");
        let lines: Vec<String> =
            scripts.flat_map(|block| whole(block).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        for line in &lines {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            for words in commands(line) {
                for word in &words {
                    let lies_here = word.starts_with("experiments/") || word.starts_with("tests/");
                    if lies_here && word.rfind('.').is_some() && !root().join(word).exists() {
                        wrong.push(format!("{shown}: {word} is not there"));
                    }
                }
                match words[0].as_str() {
                    "make" => {
                        for target in words[1..].iter().filter(|word| !word.contains('=')) {
                            checked += 1;
                            if !makefile.contains(&format!("\n{target}:")) {
                                wrong.push(format!("{shown}: make {target}: no such target"));
                            }
                        }
                    }
                    // Tables of results begin with the method's name, too.
                    "ecqx" if words.get(1).is_some_and(|word| !word.starts_with(char::is_numeric)) => {
                        checked += 1;
                        // Help is printed when everything before it was understood.
                        let output = ecqx().args(&words[1..]).arg("--help").output().unwrap();
                        if !output.status.success() {
                            let told = String::from_utf8_lossy(&output.stderr).into_owned();
                            wrong.push(format!("{shown}: {line}\n{told}"));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(checked > 60, "{checked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The workflow and `.ci/run` call targets of the Makefile, so that both check the same.
#[test]
fn the_workflow_calls_targets() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let makefile = read("Makefile");
    let called = |text: &str| -> BTreeSet<String> {
        let lines =
            text.lines().map(|line| line.trim().trim_start_matches("- run: ").trim_start_matches("if "));
        let targets = lines.filter_map(|line| line.strip_prefix("make "));
        targets
            .flat_map(|rest| rest.split([' ', ';']).map(str::to_owned))
            .filter(|word| word.len() > 3)
            .collect()
    };
    let (workflow, script) = (called(&read(".github/workflows/ci.yml")), called(&read(".ci/run")));
    for target in &workflow {
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
        assert!(script.contains(target), ".ci/run has no {target}: {script:?}");
    }
    assert!(
        ["lint", "test", "wheel", "book"].iter().all(|target| workflow.contains(*target)),
        "{workflow:?}"
    );
}

/// Help texts stay as they were read. `ECQX_BLESS=1 cargo test --release --test suite help` writes them anew.
#[test]
fn help_stays() {
    let help = |words: &[&str]| {
        let output = ecqx().args(words).arg("--help").env("COLUMNS", "100").output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let top = help(&[]);
    let listed = top.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = |listed: &str| -> Vec<String> {
        let lines = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let mut text = top.clone();
    for name in names(listed).iter().filter(|name| *name != "help") {
        text += &format!("\n# ecqx {name}\n{}", help(&[name]));
    }
    for name in ["verify", "gc", "export", "import"] {
        text += &format!("\n# ecqx store {name}\n{}", help(&["store", name]));
    }
    super::check_golden("help.txt", &text);
    assert!(names(listed).len() > 15, "{listed}");
}
