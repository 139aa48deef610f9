//! The repair of a branch that the watcher leaves to others: one agent takes it up by itself while the watcher's pause stops everybody
//! else, through the real hooks; a person's pause stops that one too.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::Value;

use super::stage::{
    Gate, QUICK, QUICK_TIMES, commits, in_state, incidents, is_green, is_paused, is_searched, notes, over, reverts,
    shown, until_long, with_rrctl, words_project,
};

/// A break that is proven, and whose revert is only proposed: everybody waits for a person.
struct Waiting<'a> {
    _daemon: Daemon<'a>,
    ann: Agent,
    ben: Agent,
    incident: Value,
}

impl<'a> Waiting<'a> {
    #[track_caller]
    fn in_sandbox(sandbox: &'a Sandbox) -> Self {
        sandbox.machine_config(QUICK_TIMES);
        words_project(sandbox, QUICK, "  on_break: { revert: propose }\n");
        let daemon = Daemon::start(sandbox);
        let (mut ann, ben) = (with_rrctl(sandbox, "ann"), with_rrctl(sandbox, "ben"));
        until_long("the branch is known to be green", sandbox, || is_green(sandbox));
        commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
        until_long("a person is asked", sandbox, || in_state(sandbox, "escalated").is_some());
        let incident = in_state(sandbox, "escalated").expect("one");
        Self { _daemon: daemon, ann, ben, incident }
    }

    /// The command that the denial names.
    #[track_caller]
    fn claim(&self) -> String {
        format!("rrctl incident claim {}", &self.incident["id"].as_str().expect("an id")[..8])
    }
}

/// The session's id, as others are told of it.
fn short(sandbox: &Sandbox, agent: &str) -> String {
    let row = sandbox.sessions().into_iter().find(|s| s["agent_session"] == agent).expect("a session");
    row["session"].as_str().expect("an id")[..8].to_owned()
}

#[test]
fn one_agent_claims_the_repair_and_mends_the_branch_while_all_others_stand_still() {
    let sandbox = Sandbox::new();
    let mut waiting = Waiting::in_sandbox(&sandbox);
    let claim = waiting.claim();
    waiting.ben.read("src/one.txt").must_be_denied(&["The fleet is paused", &claim]);
    waiting.ben.shell(&format!("{claim} && echo more")).must_be_denied(&["The fleet is paused"]);
    waiting.ben.shell("rrctl incident list").must_be_denied(&["The fleet is paused"]);

    let said = waiting.ben.shell(&claim).must_pass();
    assert!(said.output.contains("is yours"), "{said:?}");
    assert_eq!(shown(&sandbox, &waiting.incident).expect("open")["repairing"], id_of(&sandbox, "ben"));
    waiting
        .ann
        .write("src/two.txt", "mine\n")
        .must_be_denied(&["is being repaired by session", &short(&sandbox, "ben")]);
    let second = waiting.ann.shell(&claim);
    assert_eq!((second.passed(), second.ok), (true, Some(false)), "{second:?}");
    assert!(
        second.output.contains("is being repaired already") && second.output.contains(&short(&sandbox, "ben")),
        "{second:?}"
    );
    waiting.ann.read("src/two.txt").must_be_denied(&["is being repaired by session"]);

    waiting.ben.write("src/two.txt", "mended\n").must_pass();
    assert!(is_paused(&sandbox), "for all others");
    waiting.ben.shell("git add src/two.txt && git commit -q -m 'mend two'").must_pass();
    until_long("the repair is seen", &sandbox, || over(&sandbox).is_some());
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    assert!(notes(&over(&sandbox).expect("one")).contains("repaired"));
    assert_eq!((sandbox.text("src/two.txt"), reverts(&sandbox, "main")), ("mended\n".to_owned(), 0));
    waiting.ben.stop();
    until_long("all go on", &sandbox, || waiting.ann.write("src/one.txt", "one more\n").passed());
}

fn id_of(sandbox: &Sandbox, agent: &str) -> Value {
    let row = sandbox.sessions().into_iter().find(|s| s["agent_session"] == agent).expect("a session");
    row["session"].clone()
}

#[test]
fn a_persons_pause_stops_the_repairer_too_and_what_is_given_back_another_may_take() {
    let sandbox = Sandbox::new();
    let mut waiting = Waiting::in_sandbox(&sandbox);
    let claim = waiting.claim();
    waiting.ben.shell(&claim).must_pass();
    waiting.ben.read("src/one.txt").must_pass();
    let give_back = claim.replace("claim", "give-back");
    waiting.ben.shell(&give_back).must_pass();
    waiting.ben.read("src/one.txt").must_be_denied(&["The fleet is paused", &claim]);
    waiting.ann.shell(&claim).must_pass();
    waiting.ann.read("src/two.txt").must_pass();

    assert!(sandbox.rrctl(&["pause-all", "--reason", "all of you"]).status.success());
    until_long("the repairer stands still", &sandbox, || waiting.ann.read("src/two.txt").denied());
    waiting.ann.write("src/two.txt", "mended\n").must_be_denied(&["all of you"]);
    waiting.ben.shell(&claim).must_be_denied(&["all of you"]);
}

#[test]
fn what_the_watcher_is_still_at_is_nobody_elses_to_repair() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "! grep -q BROKEN src/two.txt");
    words_project(&sandbox, &gate.check(), "");
    let _daemon = Daemon::start(&sandbox);
    let mut ann = with_rrctl(&sandbox, "ann");
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    commits(&mut ann, "src/one.txt", "one and a half\n", "one");
    commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
    until_long("it is searched", &sandbox, || is_searched(&sandbox));
    let incident = incidents(&sandbox).remove(0);
    let done = ann.shell(&format!("rrctl incident claim {}", incident["id"].as_str().expect("an id")));
    assert_eq!((done.passed(), done.ok), (true, Some(false)), "{done:?}");
    assert!(done.output.contains("the watcher is at it"), "{done:?}");
    ann.read("src/one.txt").must_be_denied(&["The fleet is paused"]);
    gate.release();
    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    assert_eq!(reverts(&sandbox, "main"), 1);
}
