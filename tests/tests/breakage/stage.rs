//! What the stories of breaks share: a project whose check reads words, agents that commit, and how the state of a break is asked for.
//! The check is a command of a shell, so that a story chooses how long it takes and whether it fails like a compiler or a test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Sandbox, rrctl_program};
use serde_json::Value;

/// Checks are real builds, on a machine that runs other tests too: only a hang reaches it.
pub(crate) const LONG: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fails as a compiler does where a file under `src` has the word.
pub(crate) const QUICK: &str = "! grep -rl BROKEN src | sed \"s/$/(1,1): error TS1000: it is broken/\" | grep .";
/// Fails as a test does, after half a second.
pub(crate) const TEST: &str = "sleep 0.5; ! grep -rl BROKEN src";

/// A check that keeps the watcher where a story wants it. Without it a story would have to catch a state that lasts for half a second, or
/// to be done with its commits within it, on a machine that may take as long to ask once.
pub(crate) struct Gate {
    folder: PathBuf,
    held_at: &'static str,
}

impl Gate {
    /// From the first break on, trees for which this command of a shell succeeds are not looked at until [`Self::release`].
    pub(crate) fn new(sandbox: &Sandbox, held_at: &'static str) -> Self {
        Self { folder: sandbox.path().to_owned(), held_at }
    }

    /// Fails as a test does.
    pub(crate) fn check(&self) -> String {
        let [closed, red, released] = ["closed", "red", "released"].map(|name| self.file(name).display().to_string());
        let held_at = self.held_at;
        format!(
            "while [ -e {closed} ]; do sleep 0.05; done; \
             if [ -e {red} ] && {held_at}; then until [ -e {released} ]; do sleep 0.05; done; fi; \
             ! grep -rl BROKEN src || {{ touch {red}; exit 1; }}"
        )
    }

    /// No tree is looked at from now on.
    pub(crate) fn close(&self) {
        std::fs::write(self.file("closed"), "").expect("close the gate");
    }

    /// All are but those it was made for.
    pub(crate) fn open(&self) {
        std::fs::remove_file(self.file("closed")).expect("open the gate");
    }

    /// And those as well.
    pub(crate) fn release(&self) {
        std::fs::write(self.file("released"), "").expect("release what is held");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("gate-is-{name}"))
    }
}

/// The leases of a fleet as short as their relations allow: whoever comes after a watcher waits for the end of its lease.
pub(crate) const QUICK_TIMES: &str =
    "timing: { lease: 13s, keep_alive: 1s, cut_off: 3s, permit_poll: 500ms, permit_fresh: 3s, cool: 1s }\n";

/// Waits for what takes as long as checks take; says what the daemon said if it does not come.
#[track_caller]
pub(crate) fn until_long(what: &str, sandbox: &Sandbox, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "this did not happen: {what}\n{}", log_of(sandbox));
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The end of what its daemon said, and what it knows.
pub(crate) fn log_of(sandbox: &Sandbox) -> String {
    let said = std::fs::read_to_string(sandbox.log()).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    let known = ["health", "incident"].map(|what| {
        let words: &[&str] = if what == "incident" { &[what, "list"] } else { &[what] };
        String::from_utf8_lossy(&sandbox.rrctl(words).stdout).into_owned()
    });
    format!("{}\n{}", lines[lines.len().saturating_sub(60)..].join("\n"), known.join("\n"))
}

/// What `rrctl --json` says; nothing while no daemon or store answers.
pub(crate) fn ask(sandbox: &Sandbox, words: &[&str]) -> Option<Value> {
    let output = sandbox.rrctl(&[&["--json"], words].concat());
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
}

fn rows(sandbox: &Sandbox, words: &[&str], name: &str) -> Vec<Value> {
    ask(sandbox, words).and_then(|said| said[name].as_array().cloned()).unwrap_or_default()
}

pub(crate) fn lines(sandbox: &Sandbox) -> Vec<Value> {
    rows(sandbox, &["health"], "lines")
}

/// The check of this name, as it is in force.
#[track_caller]
pub(crate) fn check_of(sandbox: &Sandbox, name: &str) -> Value {
    let health = sandbox.json(&["health"]);
    let checks = health["plans"][0]["checks"].as_array().cloned().unwrap_or_default();
    checks.into_iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {health:#}"))
}

pub(crate) fn head(sandbox: &Sandbox) -> String {
    sandbox.git(&["rev-parse", "HEAD"]).trim().to_owned()
}

/// The branch is known to be whole as it stands.
pub(crate) fn is_green(sandbox: &Sandbox) -> bool {
    let head = head(sandbox);
    lines(sandbox).iter().any(|line| line["green"] == head.as_str())
}

pub(crate) fn incidents(sandbox: &Sandbox) -> Vec<Value> {
    rows(sandbox, &["incident", "list"], "incidents")
}

/// The whole of one.
pub(crate) fn shown(sandbox: &Sandbox, incident: &Value) -> Option<Value> {
    ask(sandbox, &["incident", "show", incident["id"].as_str()?])
}

/// The newest in this state, whole.
pub(crate) fn in_state(sandbox: &Sandbox, state: &str) -> Option<Value> {
    let found = incidents(sandbox).into_iter().find(|incident| incident["state"] == state)?;
    shown(sandbox, &found)
}

/// The last break, once it is over.
pub(crate) fn over(sandbox: &Sandbox) -> Option<Value> {
    in_state(sandbox, "resumed")
}

/// The builds of a search are made: the first one still under the name of the pause before it.
pub(crate) fn is_searched(sandbox: &Sandbox) -> bool {
    incidents(sandbox).iter().any(|incident| incident["state"] == "paused" || incident["state"] == "searching")
}

pub(crate) fn is_paused(sandbox: &Sandbox) -> bool {
    ask(sandbox, &["status"]).is_none_or(|status| status["paused"] == true)
}

pub(crate) fn notes(incident: &Value) -> String {
    let notes = incident["notes"].as_array().cloned().unwrap_or_default();
    notes.iter().filter_map(|note| note["text"].as_str().map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

/// Commits of the watcher on the branch.
pub(crate) fn reverts(sandbox: &Sandbox, branch: &str) -> usize {
    sandbox.git(&["log", "--format=%H", "--grep=Railroad-Incident:", branch]).lines().count()
}

/// A project with two words in it, looked after by `check`. `more` is what else stands under `health:`.
pub(crate) fn words_project(sandbox: &Sandbox, check: &str, more: &str) {
    let config = config(check, more);
    sandbox.commit(&[("src/one.txt", "one\n"), ("src/two.txt", "two\n"), ("railroad.yaml", config.as_str())]);
}

pub(crate) fn config(check: &str, more: &str) -> String {
    let check = check.replace('\'', "''");
    format!("defaults: off\nhealth:\n{more}  checks:\n    - {{ name: words, run: '{check}' }}\n")
}

/// An agent in whose shell `rrctl` is a command, as where it is installed.
#[track_caller]
pub(crate) fn with_rrctl(sandbox: &Sandbox, name: &str) -> Agent {
    let program = rrctl_program();
    let folder = program.parent().expect("its folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).expect("a PATH");
    let mut command = sandbox.command_in(&sandbox.repo, program);
    command.env("PATH", path).args(["demo-agent", "--interactive", "--session", name]);
    let mut agent = Agent::of_command(&mut command, name, &sandbox.repo);
    agent.event("SessionStart", &serde_json::json!({"source": "startup"}));
    agent
}

#[track_caller]
pub(crate) fn commits(agent: &mut Agent, path: &str, content: &str, title: &str) {
    agent.write(path, content).must_pass();
    agent.shell(&format!("git add {path} && git commit -q -m '{title}'")).must_pass();
    agent.stop();
}
