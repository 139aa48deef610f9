//! Files by whatever name they have: bytes that are no UTF-8, two lines, backslashes, a dot at the end, two that differ in case only.
//! What a command makes of them is kept, shown in one line, found again as shown, and put back under the very same name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

use super::stage::{all_files, roll_back};

const NAMES: [&[u8]; 8] = [
    b"\xff\xfe",
    b"gone \xc3",
    b"\xfd folder/in \xff.txt",
    b"two\nlines",
    b"back\\slash",
    b"a dot.",
    b"Readme",
    b"README",
];

fn odd(name: &[u8]) -> PathBuf {
    PathBuf::from("odd").join(OsStr::from_bytes(name))
}

fn put(sandbox: &Sandbox, name: &[u8]) {
    let file = sandbox.repo.join(odd(name));
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(file, b"one\ntwo").expect("written");
}

/// Appends to all of them, removes one, makes one and a folder, and renames the folder there is.
const COMMAND: &str = "python3 -c \"import os
for folder, _, names in os.walk(b'odd'):
    for name in names:
        open(os.path.join(folder, name), 'ab').write(b' and more')
os.remove(b'odd/gone ' + bytes([0xc3]))
os.mkdir(b'odd/' + bytes([0xfe]))
open(b'odd/' + bytes([0xfe]) + b'/new', 'w').write('x')
os.rename(b'odd/' + bytes([0xfd]) + b' folder', b'odd/' + bytes([0xfc]))\"";

#[track_caller]
fn changed_by_a_command(sandbox: &Sandbox) {
    let mut one = Agent::start(sandbox, "first");
    let before = all_files(sandbox);
    one.shell(COMMAND).must_pass();
    one.session_end();
    let after = all_files(sandbox);
    let both = before.iter().filter(|(path, bytes)| after.get(*path).is_some_and(|now| now != *bytes));
    assert_eq!(
        (both.count(), after.contains_key(&sandbox.repo.join(odd(b"\xfc/in \xff.txt")))),
        (6, true),
        "{after:?}"
    );
}

#[test]
fn what_a_command_did_to_files_of_any_name_is_taken_back_to_the_byte() {
    for committed in [true, false] {
        let sandbox = Sandbox::new();
        NAMES.iter().for_each(|name| put(&sandbox, name));
        if committed {
            sandbox.git(&["add", "-A"]);
            sandbox.git(&["commit", "-qm", "odd"]);
        }
        let _daemon = Daemon::start(&sandbox);
        let before = all_files(&sandbox);
        changed_by_a_command(&sandbox);
        roll_back(&sandbox, &["--session", "first"]);
        assert_eq!(all_files(&sandbox), before, "committed: {committed}");
        assert!(!sandbox.repo.join(odd(b"\xfe/new")).exists());
    }
}

#[test]
fn such_a_name_is_shown_in_one_line_and_typed_back_as_shown() {
    let sandbox = Sandbox::new();
    NAMES.iter().for_each(|name| put(&sandbox, name));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "odd"]);
    let _daemon = Daemon::start(&sandbox);
    changed_by_a_command(&sandbox);
    let shown = ["odd/\\xff\\xfe", "odd/two\\x0alines", "odd/back\\x5cslash", "odd/a dot.", "odd/README"];
    for shown in shown {
        let found = || sandbox.json(&["log", "--kind", "done", "--path", shown]);
        // On a busy machine the hook is answered before the look at what the command did has ended.
        until("it is on record", || found()["entries"][0].is_object());
        let found = found();
        let changes = found["entries"][0]["changes"].as_array().cloned().unwrap_or_default();
        assert!(changes.iter().any(|change| change["path"] == shown), "{shown}: {found}");
        let lines = sandbox.json(&["blame", shown])["lines"].clone();
        let by: Vec<&Value> = lines.as_array().expect("lines").iter().map(|line| &line["session"]).collect();
        assert!(by[0].is_null() && by[1].is_string(), "{shown}: {lines}");
        let told = roll_back(&sandbox, &["--session", "first", "--path", shown]);
        assert_eq!((told["files"].as_array().map(Vec::len), &told["files"][0]["path"]), (Some(1), &json!(shown)));
    }
    for name in [&b"\xff\xfe"[..], b"two\nlines", b"back\\slash", b"a dot.", b"README"] {
        assert_eq!(fs::read(sandbox.repo.join(odd(name))).expect("it is there"), b"one\ntwo", "{name:?}");
    }
    assert_eq!(fs::read(sandbox.repo.join("odd/Readme")).expect("read"), b"one\ntwo and more", "not its twin");
    let replay = sandbox.rrctl(&["replay", "--session", "first", "--plain"]);
    let replay = String::from_utf8(replay.stdout).expect("text that any terminal shows");
    assert!(replay.contains("odd/\\xff\\xfe") && replay.contains("odd/\\xfe/new"), "{replay}");
}
