//! Paths that try to be somebody else's, nobody's, or git's own: each is denied with its reason and nothing is written, whether
//! a file tool names it or a shell command does.

use std::fs;
use std::os::unix::fs::symlink;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::json;

use super::support::{HOOK_MAX, ask, before, hook_command, must_be_well, run_hook, write_of};

/// What every denial because of somebody's lock says.
const HELD: [&str; 2] = ["by session", "Other files are free to work on meanwhile"];

fn one_holds(sandbox: &Sandbox, file: &str) -> (Agent, Agent) {
    let mut one = Agent::start(sandbox, "one");
    one.write(file, "one\n").must_pass();
    (one, Agent::start(sandbox, "two"))
}

/// Every way of writing it is denied, and the file stays as it was.
#[track_caller]
fn must_stay_closed(agent: &mut Agent, path: &str, words: &[&str]) {
    agent.prompt(path);
    agent.write(path, "two\n").must_be_denied(words);
    agent.prompt("the same by a shell");
    let last = &words[words.len() - 1..];
    agent.shell(&format!("echo two > '{path}'")).must_be_denied(last);
}

#[test]
fn a_held_file_is_held_under_every_spelling_of_its_path() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    fs::create_dir_all(sandbox.repo.join("src/deep")).expect("folders");
    let (_one, mut two) = one_holds(&sandbox, "src/held.txt");
    let root = sandbox.repo.display();
    for path in [
        "src/held.txt",
        "./src/held.txt",
        "src//held.txt",
        "src/./held.txt",
        "src/deep/../held.txt",
        "src/../src/held.txt",
        "nowhere/../src/held.txt",
        &format!("{root}/src/held.txt"),
        &format!("//{root}/src/held.txt"),
        &format!("{root}/../repo/src/held.txt"),
        &format!("/..{root}/src/held.txt"),
        &format!("/proc/self/root{root}/src/held.txt"),
    ] {
        must_stay_closed(&mut two, path, &HELD);
        assert_eq!(sandbox.text("src/held.txt"), "one\n", "{path}");
    }
}

#[test]
fn a_held_file_is_held_under_every_link_to_it() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    fs::create_dir_all(sandbox.repo.join("src")).expect("folder");
    symlink("src", sandbox.repo.join("alias")).expect("link");
    symlink(&sandbox.repo, sandbox.repo.join("whole")).expect("link");
    symlink("src/held.txt", sandbox.repo.join("file-alias")).expect("link");
    symlink(&sandbox.repo, sandbox.path().join("outside-alias")).expect("link");
    let (_one, mut two) = one_holds(&sandbox, "src/held.txt");
    let from_outside = sandbox.path().join("outside-alias/src/held.txt");
    for path in [
        "alias/held.txt",
        "whole/src/held.txt",
        "whole/whole/alias/held.txt",
        "file-alias",
        &from_outside.display().to_string(),
    ] {
        must_stay_closed(&mut two, path, &HELD);
        assert_eq!(sandbox.text("src/held.txt"), "one\n", "{path}");
    }
}

/// `..` behind a link goes up from where the link leads, not from where it stands.
#[test]
fn a_held_file_is_held_when_the_way_up_leads_through_a_link() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    fs::create_dir_all(sandbox.repo.join("src/deep")).expect("folders");
    symlink("src/deep", sandbox.repo.join("link")).expect("link");
    let (_one, mut two) = one_holds(&sandbox, "src/held.txt");
    two.write("link/../held.txt", "two\n").must_be_denied(&HELD);
    let commands = [
        "echo two > link/../held.txt",
        "cd link && echo two > ../held.txt",
        "cp README.md link/../held.txt",
        "sed -i s/one/two/ link/../held.txt",
    ];
    let mut open = Vec::new();
    for command in commands {
        two.prompt(command);
        if two.shell(command).passed() {
            open.push(command);
        }
    }
    assert_eq!(open, [""; 0], "these were let through");
    assert_eq!(sandbox.text("src/held.txt"), "one\n");
}

#[test]
fn a_twin_by_case_or_by_unicode_form_is_the_same_file() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let mut two = Agent::start(&sandbox, "two");
    for (held, twin) in [
        ("README.md", "readme.md"),
        ("Makefile", "makefile"),
        ("src/Api.ts", "SRC/api.TS"),
        ("caf\u{e9}.txt", "cafe\u{301}.txt"),
        ("CAF\u{c9}.txt2", "cafe\u{301}.TXT2"),
        ("stra\u{df}e.txt", "STRASSE.txt"),
        ("\u{fb01}le.txt", "file.txt"),
        ("\u{212a}elvin.txt", "kelvin.txt"),
        ("\u{3a3}\u{3c2}.txt", "\u{3c3}\u{3c3}.txt"),
    ] {
        one.read(held);
        one.write(held, "one\n").must_pass();
        must_stay_closed(&mut two, twin, &HELD);
        assert!(!sandbox.repo.join(twin).exists(), "{twin} is not written");
        assert_eq!(sandbox.text(held), "one\n");
    }
}

#[test]
fn a_path_outside_of_every_repository_is_nobodys_and_takes_no_lock() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let outside = sandbox.path().join("notes.txt");
    one.write(&outside.display().to_string(), "x").must_pass();
    one.write("../also.txt", "x").must_pass();
    assert!(sandbox.locks().is_empty(), "{:?}", sandbox.locks());
}

#[test]
fn a_link_that_leads_out_of_the_repository_is_refused() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let outside = sandbox.path().join("outside");
    fs::create_dir(&outside).expect("folder");
    fs::write(outside.join("file.txt"), "theirs").expect("write");
    symlink(&outside, sandbox.repo.join("exit")).expect("link");
    symlink(outside.join("file.txt"), sandbox.repo.join("file-exit")).expect("link");
    symlink(outside.join("new.txt"), sandbox.repo.join("dangling")).expect("link");
    symlink("round", sandbox.repo.join("round")).expect("link");
    let mut one = Agent::start(&sandbox, "one");
    for path in ["exit/file.txt", "exit/new.txt", "file-exit", "dangling", "exit/../outside/file.txt"] {
        must_stay_closed(&mut one, path, &["leads out of the repository through a symbolic link"]);
    }
    must_stay_closed(&mut one, "round", &["follows more than 40 symbolic links"]);
    assert_eq!(fs::read_to_string(outside.join("file.txt")).expect("there"), "theirs");
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 1, "nothing new outside");
}

#[test]
fn a_file_with_two_names_is_refused() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    sandbox.commit(&[("a.txt", "a\n")]);
    fs::hard_link(sandbox.repo.join("a.txt"), sandbox.repo.join("b.txt")).expect("link");
    let mut one = Agent::start(&sandbox, "one");
    for path in ["a.txt", "b.txt"] {
        must_stay_closed(&mut one, path, &["has 2 hard links", "would also change another name"]);
    }
    assert_eq!((sandbox.text("a.txt"), sandbox.text("b.txt")), ("a\n".into(), "a\n".into()));
    assert!(sandbox.locks().is_empty());
}

/// The second name of a held file that is made while it is held.
#[test]
fn a_held_file_gets_no_second_name() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (_one, mut two) = one_holds(&sandbox, "held.txt");
    for command in ["ln held.txt twin.txt", "ln held.txt /tmp/../tmp/rr-twin && true", "cp -l held.txt twin.txt"] {
        two.prompt(command);
        let linked = two.shell(command);
        let twin = sandbox.repo.join("twin.txt");
        if linked.passed() && twin.exists() {
            two.prompt("write it");
            two.write("twin.txt", "two\n").must_be_denied(&["hard links"]);
            two.shell("echo two > twin.txt").must_be_denied(&["hard links"]);
            fs::remove_file(twin).expect("remove");
        }
        drop(fs::remove_file("/tmp/rr-twin"));
        assert_eq!(sandbox.text("held.txt"), "one\n", "{command}");
    }
}

#[test]
fn gits_own_folder_is_closed_under_every_spelling() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let config = sandbox.text(".git/config");
    let mut one = Agent::start(&sandbox, "one");
    let paths = [
        ".git",
        ".git/config",
        ".git/hooks/pre-commit",
        ".git/info/exclude",
        ".GIT/config",
        ".Git/hooks/pre-commit",
        "git~1/config",
        "GIT~1/config",
        ".g\u{200c}it/config",
        "\u{feff}.git/config",
        ".git::$INDEX_ALLOCATION/config",
        "src/.git/config",
        "src/../.git/config",
        "./.git/./config",
    ];
    let open: Vec<&str> = paths.into_iter().filter(|path| !is_closed(&sandbox, &mut one, path)).collect();
    assert_eq!(open, [""; 0], "these were let through");
    assert_eq!(sandbox.text(".git/config"), config);
    assert!(!sandbox.repo.join(".git/hooks/pre-commit").exists());
}

fn is_closed(sandbox: &Sandbox, agent: &mut Agent, path: &str) -> bool {
    agent.prompt(path);
    let input = json!({"file_path": sandbox.repo.join(path), "content": "x"});
    // Asked only: what should be denied and is not must not break the repository that the next one needs.
    let written = agent.pre("Write", &input);
    let by_shell = agent.pre("Bash", &json!({"command": format!("echo x > '{path}'")}));
    let edited =
        agent.pre("Edit", &json!({"file_path": sandbox.repo.join(path), "old_string": "a", "new_string": "b"}));
    [written, by_shell, edited].iter().all(|d| d.reason.as_deref().is_some_and(|r| r.starts_with("Not let through:")))
}

#[test]
fn a_path_that_cannot_be_locked_is_denied_with_the_rule_it_breaks() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let parts = |n: usize| vec!["d"; n].join("/");
    let long = vec!["d".repeat(200); 6].join("/");
    let cases = [
        ("a\nb.txt".to_owned(), "control byte"),
        ("a\tb.txt".to_owned(), "control byte"),
        ("a\u{1b}[2Jb.txt".to_owned(), "control byte"),
        ("a\u{7f}.txt".to_owned(), "control byte"),
        ("a\\b.txt".to_owned(), "backslash"),
        ("a.txt.".to_owned(), "ends in a dot or a space"),
        ("a.txt ".to_owned(), "ends in a dot or a space"),
        ("dir /a.txt".to_owned(), "ends in a dot or a space"),
        (parts(41), "more than 40 parts"),
        (long, "longer than 1024 bytes"),
        ("x".repeat(256), "longer than 255 bytes"),
    ];
    let mut one = Agent::start(&sandbox, "one");
    for (path, why) in cases {
        one.prompt("next");
        let reason = one.write(&path, "x").must_be_denied(&["Not let through:", "cannot be locked"]).to_owned();
        assert!(reason.contains(why), "{path:?}: {reason}");
        assert!(!sandbox.repo.join(&path).exists());
    }
    one.write(&parts(40), "x").must_pass();
    must_be_well(&sandbox);
}

#[test]
fn a_path_with_a_nul_is_denied() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    for path in ["a\0b.txt", "README.md\0", "\0", "src\0/a.txt"] {
        let said = ask(&sandbox, write_of(&sandbox, path).to_string().as_bytes());
        said.must_deny(&["Not let through"]);
    }
    // No program can be given an argument with one: what an agent would make of it is not known.
    let said = ask(&sandbox, before(&sandbox, "Bash", &json!({"command": "echo x > a\0b"})).to_string().as_bytes());
    said.must_deny(&["could not be understood"]);
    assert!(sandbox.locks().is_empty());
    must_be_well(&sandbox);
}

/// The kernel takes no path of more than 4,096 bytes: looking at each part of a longer one only costs time.
#[test]
fn a_path_of_a_mebibyte_is_denied_at_once() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let many = |part: &str| part.repeat((1 << 20) / part.len());
    let mut odd = Vec::new();
    for (what, path) in [
        ("one part", "x".repeat(1 << 20)),
        ("many parts", many("d/")),
        ("up and up", many("../")),
        ("down and up", many("x/../")),
        ("nothing", many("./")),
    ] {
        let call = write_of(&sandbox, &format!("{path}a.txt")).to_string();
        let said = run_hook(hook_command(&sandbox), call.as_bytes());
        let reason = said.reason().unwrap_or_else(|| "it passed".to_owned());
        if !reason.starts_with("Not let through") || reason.len() > 2_000 {
            odd.push(format!("{what}: after {:.1?}: {:.200}", said.took, reason));
        }
        let other = ask(&sandbox, write_of(&sandbox, "other.txt").to_string().as_bytes());
        other.must_pass();
        assert!(other.took < HOOK_MAX, "nobody else waits for it: {}", other.shown());
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    assert!(sandbox.locks().iter().all(|l| l["lock"] != "a.txt"));
}

/// A folder as long, which every event carries.
#[test]
fn a_working_folder_that_cannot_be_is_survived() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let long = "/".to_owned() + &"d/".repeat(1 << 19);
    for cwd in ["/a\0b", "/nowhere/at/all", "/proc/self/fd/0", "/proc/self/cwd", long.as_str()] {
        let mut call = write_of(&sandbox, "a.txt");
        call["cwd"] = json!(cwd);
        let said = run_hook(hook_command(&sandbox), call.to_string().as_bytes());
        assert!(said.exit == Some(0) && said.took < HOOK_MAX, "{cwd:.20}: {}", said.shown());
        if said.reason().is_none() {
            assert!(sandbox.holder("a.txt").is_some(), "passed, so it is guarded");
        }
        let other = ask(&sandbox, write_of(&sandbox, "other.txt").to_string().as_bytes());
        assert!(other.took < HOOK_MAX && other.reason().is_none(), "{cwd:.20}: nobody else waits: {}", other.shown());
    }
    let said = run_hook(hook_command(&sandbox), &{
        let mut call = write_of(&sandbox, "b.txt");
        call["cwd"] = json!(long);
        call.to_string().into_bytes()
    });
    assert!(said.reason().is_none_or(|reason| !reason.contains("did not answer in time")), "{}", said.shown());
    must_be_well(&sandbox);
}
