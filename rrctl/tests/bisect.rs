//! `rrctl bisect` as a person types it: the real program and real git, on a repository of its own, with no daemon
//! anywhere.

mod common;

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use common::{Said, rrctl};

/// A person with a repository of seven commits; the fourth adds a file that breaks it.
struct Person {
    home: TempDir,
}

impl Person {
    fn new() -> Self {
        let person = Self { home: tempfile::tempdir().expect("folder") };
        std::fs::create_dir(person.repo()).expect("made");
        person.git(&["init", "-q", "-b", "main"]);
        for n in 0..7 {
            let file = if n == 3 { "broken".to_owned() } else { format!("f{n}") };
            std::fs::write(person.repo().join(file), "x\n").expect("written");
            person.git(&["add", "."]);
            person.git(&["commit", "-q", "-m", &format!("commit {n} \u{1b}[2J")]);
        }
        person
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn git(&self, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=kim", "-c", "user.email=kim@localhost"]).args(words);
        let said = command.current_dir(self.repo()).env("HOME", self.home.path()).output().expect("git runs");
        assert!(said.status.success(), "{words:?}: {said:?}");
        String::from_utf8(said.stdout).expect("text").trim().to_owned()
    }

    fn types(&self, words: &[&str]) -> Said {
        Said::of(rrctl(self.home.path(), words).output().expect("rrctl runs"))
    }
}

const PASSES_WITHOUT_IT: [&str; 4] = ["--", "sh", "-c", "test ! -e broken || { echo it is broken; exit 1; }"];

#[test]
fn the_commit_that_broke_a_command_is_found_proven_and_nothing_here_is_touched() {
    let person = Person::new();
    std::fs::write(person.repo().join("mine"), "not committed").expect("written");
    std::fs::write(person.repo().join("f0"), "changed").expect("written");
    let before =
        (person.git(&["status", "--porcelain"]), person.git(&["for-each-ref"]), person.git(&["stash", "list"]));
    let culprit = person.git(&["rev-parse", "HEAD~3"]);

    let said = person.types(&[&["bisect", "HEAD~6", "main"][..], &PASSES_WITHOUT_IT].concat());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("6 commits to search, about 6 builds\nbuild 1   red "), "{said:?}");
    assert!(said.out.contains(&format!("Culprit   {} by kim: commit 3  [2J\n", &culprit[..10])), "{said:?}");
    assert!(said.out.contains("Proof     red with it (build ") && said.out.contains("    it is broken\n"), "{said:?}");
    assert!(said.out.contains(&format!("git revert {}\n", &culprit[..10])), "{said:?}");
    assert!(!said.out.replace('\n', "").chars().any(char::is_control), "{said:?}");

    let words = [&["--json", "bisect", "--flake", "0", "HEAD~6", "HEAD"][..], &PASSES_WITHOUT_IT].concat();
    let json = person.types(&words).json();
    assert_eq!((&json["outcome"], &json["culprits"][0]["commit"]), (&"found".into(), &culprit.as_str().into()));
    let builds = json["builds"].as_array().expect("a list");
    assert!((3..=8).contains(&builds.len()), "{json}");
    let at = |which: &str| usize::try_from(json["proof"][which].as_u64().expect("a number")).expect("small") - 1;
    assert_eq!((&builds[at("red")]["verdict"], &builds[at("green")]["verdict"]), (&"red".into(), &"green".into()));

    let after = (person.git(&["status", "--porcelain"]), person.git(&["for-each-ref"]), person.git(&["stash", "list"]));
    assert_eq!(after, before);
    let left: Vec<_> = std::fs::read_dir(person.home.path().join("state/bisect")).expect("there").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_fails_by_chance_and_what_fails_anyway_have_exit_codes_of_their_own() {
    let person = Person::new();
    let flake = person.types(&["bisect", "HEAD~6", "HEAD", "--", "true"]);
    assert!(flake.code == 2 && flake.out.contains("only by chance"), "{flake:?}");
    let anyway = person.types(&["bisect", "HEAD~6", "HEAD", "--", "false"]);
    assert!(anyway.code == 3 && anyway.out.contains("it fails on GREEN too"), "{anyway:?}");
    let silent = person.types(&["bisect", "HEAD~6", "HEAD", "--", "sh", "-c", "exit 125"]);
    assert_eq!(silent.code, 3, "{silent:?}");
}

#[test]
fn what_cannot_be_searched_is_told_with_what_to_do() {
    let person = Person::new();
    for (words, code, part) in [
        (&["bisect", "nothing", "HEAD", "--", "true"][..], 5, "nothing is no commit here"),
        (&["bisect", "HEAD", "HEAD~2", "--", "true"], 2, "no ancestor"),
        (&["bisect", "HEAD", "HEAD", "--", "true"], 2, "the same commit"),
        (&["bisect", "HEAD~2", "HEAD", "--", "no-such-program"], 2, "run no-such-program"),
        (&["bisect", "HEAD~2", "HEAD", "--", "sh", "-c", "no-such-program"], 2, "ended with 127"),
        (&["bisect", "HEAD~2", "HEAD"], 2, "COMMAND"),
    ] {
        let said = person.types(words);
        assert!(said.code == code && said.err.contains(part), "{words:?}: {said:?}");
    }
}
