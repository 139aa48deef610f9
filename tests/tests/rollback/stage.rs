//! What the stories of a rollback share: files of numbered lines that agents change line by line, and the command as typed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Sandbox, rrctl_program};
use serde_json::Value;

/// `line 1` to `line <n>`.
pub(crate) fn lines(n: usize) -> String {
    with_lines(n, &[])
}

/// The same, with a word behind some of them.
pub(crate) fn with_lines(n: usize, changed: &[(usize, &str)]) -> String {
    let line = |n| match changed.iter().find(|(line, _)| *line == n) {
        Some((_, word)) => format!("line {n} {word}\n"),
        None => format!("line {n}\n"),
    };
    (1..=n).map(line).collect()
}

/// One agent puts a word behind a line, having read the file, and ends its turn.
#[track_caller]
pub(crate) fn change(agent: &mut Agent, file: &str, line: usize, word: &str) {
    agent.read(file).must_pass();
    agent.edit(file, &format!("line {line}\n"), &format!("line {line} {word}\n")).must_pass();
    agent.stop();
}

/// `rrctl rollback` with these words, which has to find something to undo.
#[track_caller]
pub(crate) fn roll_back(sandbox: &Sandbox, words: &[&str]) -> Value {
    let told = rolled_back(sandbox, words);
    assert_ne!(told["files"], serde_json::json!([]), "nothing was found to undo: {told}");
    told
}

/// The same, whatever it finds.
#[track_caller]
pub(crate) fn rolled_back(sandbox: &Sandbox, words: &[&str]) -> Value {
    sandbox.json(&[&["rollback"], words].concat())
}

/// The rollback of `first`, under way.
pub(crate) fn rolls_back(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.command(rrctl_program());
    command.args(["rollback", "--session", "first"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("rrctl runs")
}

/// Whether it is writing.
pub(crate) fn has_plan(sandbox: &Sandbox) -> bool {
    let plans = std::fs::read_dir(sandbox.state.join("rollbacks")).into_iter().flatten().flatten();
    plans.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "plan"))
}

/// Every file of the work tree with its bytes.
pub(crate) fn all_files(sandbox: &Sandbox) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    add_files(&sandbox.repo, &mut found);
    found
}

fn add_files(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("look").flatten() {
        let path = entry.path();
        match path.symlink_metadata().expect("look") {
            meta if meta.is_dir() && entry.file_name() != ".git" => add_files(&path, found),
            meta if meta.is_dir() => {}
            meta if meta.is_symlink() => {
                drop(found.insert(path.clone(), path.read_link().expect("look").into_os_string().into_encoded_bytes()));
            }
            _ => drop(found.insert(path.clone(), std::fs::read(&path).expect("read"))),
        }
    }
}
