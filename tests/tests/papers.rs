//! What people read is true of what is there: each command in the papers can be typed, with its options, and each file they name
//! exists. What the sentences between say is a person's to check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rr_tests::daemon::rrctl_program;

/// Whoever reads one of these may type what it says.
const PAPERS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "docs/ARCHITECTURE.md",
    "docs/GLOSSARY.md",
    "docs/hazards.md",
    "docs/json.md",
    "docs/many-hosts.md",
];
/// Folders whose files are named by their path.
const FOLDERS: [&str; 4] = ["docs/", "tests/", "core/", "rrctl/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_path_buf()
}

fn read(paper: &str) -> String {
    fs::read_to_string(root().join(paper)).unwrap_or_else(|e| panic!("{paper}: {e}"))
}

/// What stands between backticks, and lines that are indented to be typed.
fn typed(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| line.trim().to_owned());
    quoted.chain(lines).collect()
}

/// The commands of `program` in it: words up to a comment or the next command.
fn commands(text: &str, program: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for part in typed(text) {
        for command in part.split([';', '#', '|']).filter_map(|part| part.split(" -- ").next()) {
            let words: Vec<&str> = command.split_whitespace().collect();
            if words.first() == Some(&program) && words.len() > 1 {
                found.insert(words[1..].iter().map(|word| word.trim_end_matches([',', '.', ')']).to_owned()).collect());
            }
        }
    }
    found
}

fn help(words: &[&str]) -> Option<String> {
    let output = Command::new(rrctl_program()).args(words).arg("--help").output().expect("start rrctl");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The help of the longest command that the words begin with, such as `health run`.
fn help_of(words: &[String]) -> Option<String> {
    let names: Vec<&str> = words.iter().map(String::as_str).take_while(|word| is_name(word)).collect();
    let whole = names.get(..1).and_then(help)?;
    match names.get(..2) {
        Some(two) if whole.contains("\nCommands:") => {
            let is_there = whole.contains(&format!("\n  {} ", two[1]));
            is_there.then(|| help(two)).flatten()
        }
        _ => Some(whole),
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-')
}

#[test]
fn each_command_that_the_papers_show_can_be_typed_with_its_options() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for paper in PAPERS {
        for words in commands(&read(paper), "rrctl").iter().filter(|words| is_name(&words[0])) {
            count += 1;
            let Some(help) = help_of(words) else {
                wrong.push(format!("{paper}: rrctl {}: no such command", words.join(" ")));
                continue;
            };
            let options = words.iter().filter(|word| word.starts_with("--"));
            for option in options.filter(|option| !help.contains(option.split('=').next().unwrap_or(option))) {
                wrong.push(format!("{paper}: rrctl {}: no option {option}", words.join(" ")));
            }
        }
    }
    assert!(count > 50, "only {count} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_file_that_the_papers_name_is_there() {
    let mut wrong = Vec::new();
    for paper in PAPERS {
        let text = read(paper);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        let folder = root().join(paper).parent().expect("a folder").to_path_buf();
        wrong.extend(links.filter(|link| !folder.join(link).exists()).map(|link| format!("{paper}: {link}")));
        let named = typed(&text).into_iter().map(|part| part.split("::").next().unwrap_or_default().to_owned());
        let named = named.filter(|part| FOLDERS.iter().any(|f| part.starts_with(f)) && !part.contains([' ', '*', '{']));
        wrong.extend(named.filter(|part| !root().join(part).exists()).map(|part| format!("{paper}: {part}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
