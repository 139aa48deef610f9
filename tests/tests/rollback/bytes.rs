//! What comes back is what was on the disk, to the last byte: whatever git does to line ends, filters and modes, and whatever it
//! does not look at. Each file is changed by a command that names none of them, and by one that names it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::json;

use super::stage::{all_files, change, lines, roll_back, rolled_back, with_lines};

/// Each with its bytes as they stand on the disk.
const FILES: [(&str, &[u8]); 8] = [
    ("crlf.txt", b"one\r\ntwo\r\n"),
    ("mixed.txt", b"one\r\ntwo\nthree\r"),
    ("attribute.bat", b"one\r\ntwo\r\n"),
    ("no-end.txt", b"one\ntwo"),
    ("empty.txt", b""),
    ("zeros.bin", b"a\0b\0c"),
    ("pointer.big", b"version https://example.org/spec/v1\noid sha256:00\nsize 12\n"),
    ("expands.txt", b"$Id$\none\n"),
];

/// Appends to every file of the work tree without naming one.
const ALL: &str = "python3 -c \"import os
for name in os.listdir('.'):
    if os.path.isfile(name) and not name.startswith('.'):
        open(name, 'ab').write(b'more')\"";

#[test]
fn line_ends_filters_and_attributes_of_git_change_no_byte_of_what_comes_back() {
    for autocrlf in ["true", "input", "false"] {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "core.autocrlf", autocrlf]);
        sandbox.git(&["config", "filter.big.clean", "cat"]);
        sandbox.git(&["config", "filter.big.smudge", "cat"]);
        sandbox.put(".gitattributes", "*.bat text eol=crlf\n*.big filter=big -text\nexpands.txt ident\n");
        for (name, bytes) in FILES {
            fs::write(sandbox.repo.join(name), bytes).expect("written");
        }
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "all"]);
        let _daemon = Daemon::start(&sandbox);
        let before = all_files(&sandbox);
        let mut one = Agent::start(&sandbox, "first");
        one.shell(ALL).must_pass();
        one.shell("sed -i s/one/1/ crlf.txt mixed.txt attribute.bat no-end.txt expands.txt").must_pass();
        one.session_end();
        assert_ne!(all_files(&sandbox), before);
        let told = sandbox.rrctl(&["--json", "rollback", "--session", "first"]);
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        assert_eq!(told["conflicts"], json!([]), "{autocrlf}: {told}");
        for (path, bytes) in all_files(&sandbox) {
            let was = &before[&path];
            assert!(*was == bytes, "{autocrlf}, {}: {:?}, was {:?}", path.display(), text(&bytes), text(was));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_file_that_git_ignored_when_the_command_began_is_not_taken_for_one_it_made() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[(".gitignore", "*.local\n*.env\n")]);
    sandbox.put("keys.local", "nobody else has them\n");
    sandbox.put("more.env", "one\n");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    one.shell("python3 -c \"open('.git' + 'ignore', 'w'); open('more' + '.env', 'a').write('two')\"").must_pass();
    one.session_end();
    assert!(sandbox.git(&["status", "--porcelain"]).contains("keys.local"), "git sees it now");
    let output = sandbox.rrctl(&["--json", "rollback", "--session", "first"]);
    assert_eq!(sandbox.text("keys.local"), "nobody else has them\n", "it was there before");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["conflicts"][0]["path"], "more.env", "what it was is not known, so it is not touched: {told}");
    roll_back(&sandbox, &["--session", "first", "--path", ".gitignore"]);
    assert_eq!(
        (sandbox.text(".gitignore").as_str(), sandbox.text("more.env").as_str()),
        ("*.local\n*.env\n", "one\ntwo")
    );
}

#[test]
fn a_change_of_mode_alone_a_large_file_and_one_emptied_come_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("private.txt", "p\n"), ("tool.sh", "#!/bin/sh\n"), ("emptied.txt", "not for long\n")]);
    let mode = |file: &str| sandbox.repo.join(file).metadata().expect("it is there").permissions().mode() & 0o777;
    fs::set_permissions(sandbox.repo.join("private.txt"), fs::Permissions::from_mode(0o600)).expect("mode");
    let large: Vec<u8> = (0..16_u32 << 20).map(|n| (n >> 12).to_le_bytes()[0]).collect();
    fs::write(sandbox.repo.join("large.bin"), &large).expect("written");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    // The large file is kept before any command may run, and looked at after it. Either may take longer than a hook waits: the first is
    // not begun anew, and a rollback waits for the second.
    until("its bytes are kept", || one.shell("chmod 644 private.txt; chmod 755 tool.sh; : > emptied.txt").passed());
    until("it may be changed", || one.shell("echo more >> large.bin").passed());
    one.session_end();
    assert_eq!((mode("private.txt"), mode("tool.sh")), (0o644, 0o755));
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!((mode("private.txt"), mode("tool.sh") & 0o111), (0o600, 0));
    assert_eq!(sandbox.text("emptied.txt"), "not for long\n");
    assert!(fs::read(sandbox.repo.join("large.bin")).expect("read") == large, "byte for byte");
}

#[test]
fn a_nested_repository_and_a_submodule_lose_nothing_by_a_rollback_around_them() {
    let sandbox = Sandbox::new();
    let inner = sandbox.path().join("inner");
    fs::create_dir(&inner).expect("made");
    let git = |folder: &std::path::Path, words: &[&str]| {
        let done = sandbox.command_in(folder, "git").args(words).output().expect("git runs");
        assert!(done.status.success(), "{words:?}: {done:?}");
    };
    for words in [&["init", "-q", "-b", "main"][..], &["commit", "-q", "--allow-empty", "-m", "first"]] {
        git(&inner, words);
    }
    let from = inner.display().to_string();
    git(&sandbox.repo, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, "sub"]);
    git(&sandbox.repo, &["commit", "-qm", "sub"]);
    sandbox.commit(&[("a.txt", "1\n")]);
    git(&sandbox.repo, &["clone", "-q", &from, "nested"]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    one.shell("python3 -c \"[open(f + '.txt', 'a').write('2') for f in ['a', 'sub/s', 'nested/n']]\"").must_pass();
    one.session_end();
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), "1\n");
    assert_eq!(
        (sandbox.text("sub/s.txt").as_str(), sandbox.text("nested/n.txt").as_str()),
        ("2", "2"),
        "a clone of its own"
    );
    assert!(sandbox.repo.join("sub/.git").exists() && sandbox.repo.join("nested/.git").exists());
}

#[test]
fn a_parent_folder_that_became_a_link_to_outside_leads_nothing_out() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("dir/a.txt", &lines(20)), ("dir/gone.txt", "gone\n"), ("b.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    change(&mut one, "dir/a.txt", 5, "one");
    one.shell("rm dir/gone.txt; echo x > dir/made.txt").must_pass();
    change(&mut one, "b.txt", 5, "one");
    one.session_end();
    let outside = sandbox.path().join("outside");
    fs::rename(sandbox.repo.join("dir"), &outside).expect("moved");
    std::os::unix::fs::symlink(&outside, sandbox.repo.join("dir")).expect("link");
    let before = all_files(&sandbox);
    let output = sandbox.rrctl(&["--json", "rollback", "--session", "first"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(all_files(&sandbox), before);
    assert_eq!(fs::read_to_string(outside.join("a.txt")).expect("read"), with_lines(20, &[(5, "one")]));
    assert!(outside.join("made.txt").exists() && !outside.join("gone.txt").exists(), "nothing is written outside");
    roll_back(&sandbox, &["--session", "first", "--path", "b.txt"]);
    assert_eq!(sandbox.text("b.txt"), lines(20));
}

#[test]
fn a_file_with_a_second_name_is_refused_and_says_why() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20)), ("b.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    change(&mut one, "a.txt", 5, "one");
    change(&mut one, "b.txt", 5, "one");
    one.session_end();
    let twin = sandbox.path().join("twin.txt");
    fs::hard_link(sandbox.repo.join("a.txt"), &twin).expect("linked");
    let before = all_files(&sandbox);
    let output = sandbox.rrctl(&["rollback", "--session", "first"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("a.txt has another name (a hard link)"), "{said}");
    assert_eq!(all_files(&sandbox), before, "nor is the other file written");
    assert_eq!(twin.metadata().expect("there").nlink(), 2);
    fs::remove_file(&twin).expect("removed");
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), lines(20));
}

#[test]
fn a_rollback_of_a_rollback_of_a_rollback_is_what_it_says() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20)), ("gone.txt", "gone\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "one");
    one.shell("rm gone.txt; echo x > made.txt").must_pass();
    one.stop();
    let mut session = "first".to_owned();
    for round in 0..5 {
        let told = roll_back(&sandbox, &["--session", &session]);
        session = told["session"].as_str().expect("its own session").to_owned();
        change(&mut two, "a.txt", 10 + round, "two");
        let is_back = round % 2 == 1;
        let own = is_back.then_some((5, "one"));
        let theirs = (10..=10 + round).map(|line| (line, "two"));
        assert_eq!(
            sandbox.text("a.txt"),
            with_lines(20, &own.into_iter().chain(theirs).collect::<Vec<_>>()),
            "{round}"
        );
        assert_eq!(
            (sandbox.repo.join("gone.txt").exists(), sandbox.repo.join("made.txt").exists()),
            (!is_back, is_back)
        );
    }
}

#[test]
fn bounds_beyond_what_there_is_take_all_or_nothing_and_wrong_ones_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    change(&mut one, "a.txt", 5, "one");
    change(&mut one, "a.txt", 9, "one");
    let id = sandbox.sessions()[0]["session"].as_str().expect("an id").to_owned();
    for (words, code, said) in [
        (&["--path", "../elsewhere.txt"][..], 2, "in a repository"),
        (&["--path", "/etc/passwd"], 2, "in a repository"),
        (&["--path", ".git/config"], 2, ".git"),
        (&["--to", "yesterday-ish"], 2, "yesterday-ish"),
        (&["--to-checkpoint"], 4, "no checkpoint of this session"),
    ] {
        let output = sandbox.rrctl(&[&["rollback", "--session", "first"], words].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && error.contains(said), "{words:?}: {output:?}");
    }
    for words in [&["--to", "2999-01-01T00:00:00Z"][..], &["--path", "never/there.txt"]] {
        let told = rolled_back(&sandbox, &[&["--session", &id[..]], words].concat());
        assert_eq!((&told["files"], &told["calls"]), (&json!([]), &json!(0)), "{words:?}: {told}");
    }
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(5, "one"), (9, "one")]));
    let told = roll_back(&sandbox, &["--session", "first", "--steps", "4000000000"]);
    assert_eq!((&told["calls"], sandbox.text("a.txt")), (&json!(2), lines(20)));
    one.prompt("go on");
    change(&mut one, "a.txt", 7, "again");
    roll_back(&sandbox, &["--session", "first", "--to", "1999-01-01T00:00:00Z"]);
    assert_eq!(sandbox.text("a.txt"), lines(20), "before its first call is all of it");
}
