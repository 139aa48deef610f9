//! A watcher ends between finding and telling, or long after it, and all with it: whoever comes after tells each thing once, and never that
//! it is over before it is.

use std::fs;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

use super::stage::{QUICK, is_green, until_long, words_project};
use super::told::{findings, next, told, worktree};

const TEXT: &str = "alpha\nbeta\ngamma\n";
const FAILS: &str = "` fails on what you committed";
const MEETS: &str = "cannot be merged";

/// Whatever says that something is over.
fn says_over(said: &str) -> bool {
    said.contains("No longer") || said.contains("no longer")
}

/// One whose commits a check does not like, and two who edit the same lines.
struct Three {
    own: Agent,
    left: Agent,
    right: Agent,
}

impl Three {
    #[track_caller]
    fn start(sandbox: &Sandbox) -> Self {
        let [own, left, right] =
            ["own", "left", "right"].map(|name| Agent::start_in(sandbox, name, &worktree(sandbox, name)));
        Self { own, left, right }
    }

    #[track_caller]
    fn commit_red(&mut self) {
        self.own.write("src/two.txt", "BROKEN\n").must_pass();
        self.own.shell("git commit -q -am two").must_pass();
    }

    #[track_caller]
    fn meet(&mut self) {
        self.left.write("src/text.txt", &TEXT.replace("beta", "beta of the left")).must_pass();
        self.left.stop();
        self.right.write("src/text.txt", &TEXT.replace("beta", "beta of the right")).must_pass();
        self.right.stop();
    }

    /// They part again, which takes the watcher as many looks as anything that is to be cleared. What they are told meanwhile.
    #[track_caller]
    fn part(&mut self, sandbox: &Sandbox) -> [String; 2] {
        let heard = rewrites(&mut self.right, "src/text.txt", TEXT);
        let [left, right] = [&mut self.left, &mut self.right].map(|agent| told(agent, sandbox, "No longer in the way"));
        [left, heard + &right]
    }
}

/// Reads a file again, as after each restart of the sidecar, and writes it. What the agent is told with it.
#[track_caller]
fn rewrites(agent: &mut Agent, path: &str, content: &str) -> String {
    agent.read(path).must_pass().context + &agent.write(path, content).must_pass().context
}

fn project(sandbox: &Sandbox, check: &str) {
    words_project(sandbox, check, "");
    sandbox.commit(&[("src/text.txt", TEXT)]);
}

fn is_found(sandbox: &Sandbox, kind: &str) -> bool {
    findings(sandbox).iter().any(|finding| finding["kind"] == kind)
}

#[test]
fn what_was_found_and_not_told_when_the_watcher_ended_is_told_once_by_whoever_comes_after() {
    let sandbox = Sandbox::new();
    project(&sandbox, QUICK);
    let mut daemon = Daemon::start(&sandbox);
    let mut three = Three::start(&sandbox);
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    three.meet();
    three.commit_red();
    until_long("both are found", &sandbox, || is_found(&sandbox, "check") && is_found(&sandbox, "merge"));
    daemon.kill9();
    daemon.restart();

    let first = told(&mut three.own, &sandbox, FAILS);
    let met = [&mut three.left, &mut three.right].map(|agent| told(agent, &sandbox, MEETS));
    for said in met.iter().chain([&first]) {
        assert!(!says_over(said), "{said}");
    }
    let parted = three.part(&sandbox);
    assert!(parted.iter().all(|said| !said.contains(MEETS)), "twice: {parted:#?}");
    let later = next(&mut three.own);
    assert!(!later.contains(FAILS) && !says_over(&later), "{later}");

    let mut heard = rewrites(&mut three.own, "src/two.txt", "two and more\n");
    heard += &three.own.shell("git commit -q -am 'mend two'").must_pass().context;
    heard += &told(&mut three.own, &sandbox, "`words` no longer fails on what you committed");
    assert!(heard.matches("no longer fails").count() == 1 && !heard.contains(FAILS), "{heard}");
}

#[test]
fn what_was_told_is_neither_told_again_nor_called_over_while_the_next_watcher_has_not_looked() {
    let sandbox = Sandbox::new();
    let hold = sandbox.path().join("hold");
    project(&sandbox, &format!("while [ -e {} ]; do sleep 0.05; done; {QUICK}", hold.display()));
    let mut daemon = Daemon::start(&sandbox);
    let mut three = Three::start(&sandbox);
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    three.commit_red();
    told(&mut three.own, &sandbox, FAILS);

    daemon.kill9();
    // The next one knows no verdict, as on another machine, and its checks take their time.
    fs::remove_dir_all(sandbox.state.join("checks")).expect("forgotten");
    fs::write(&hold, "").expect("written");
    daemon.restart();
    for agent in [&mut three.left, &mut three.right] {
        agent.read("src/text.txt").must_pass();
    }
    three.meet();
    for agent in [&mut three.left, &mut three.right] {
        told(agent, &sandbox, MEETS);
    }
    three.part(&sandbox);
    let meanwhile = next(&mut three.own);
    assert!(!meanwhile.contains(FAILS) && !says_over(&meanwhile), "{meanwhile}");
    assert!(is_found(&sandbox, "check"), "{:#?}", findings(&sandbox));

    fs::remove_file(&hold).expect("removed");
    let mut heard = rewrites(&mut three.own, "src/two.txt", "BROKEN still\n");
    heard += &three.own.shell("git commit -q -am 'more of two'").must_pass().context;
    heard += &told(&mut three.own, &sandbox, FAILS);
    until_long("the first commit is not held against it", &sandbox, || findings(&sandbox).len() == 1);
    heard += &next(&mut three.own);
    assert!(!says_over(&heard) && heard.matches(FAILS).count() == 1, "it still fails: {heard}");
    let mut heard = rewrites(&mut three.own, "src/two.txt", "two and more\n");
    heard += &three.own.shell("git commit -q -am 'mend two'").must_pass().context;
    heard += &told(&mut three.own, &sandbox, "`words` no longer fails on what you committed");
    assert!(heard.matches("no longer fails").count() == 1 && !heard.contains(FAILS), "{heard}");
}
