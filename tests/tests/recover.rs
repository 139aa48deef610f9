//! Story: two agents have got into each other's way, and a person types `rrctl recover`. Real agents, the real hook and daemon; a third
//! agent works on meanwhile, and its bytes stay.

use std::process::Stdio;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, until};
use serde_json::{Value, json};

#[allow(dead_code, reason = "the stage of rollbacks has more than a recovery asks for")]
#[path = "rollback/stage.rs"]
mod stage;

use stage::{all_files, change, lines, with_lines};

const BOTH: [&str; 4] = ["--session", "alpha", "--session", "beta"];

/// Alpha and beta, who write over each other in one file and have files of their own; and a third in the same file.
fn tangle(sandbox: &Sandbox) -> [Agent; 3] {
    let [mut alpha, mut beta, mut third] = ["alpha", "beta", "third"].map(|name| Agent::start(sandbox, name));
    alpha.write("a/own.txt", "alpha\n").must_pass();
    change(&mut alpha, "shared.txt", 5, "alpha");
    beta.write("b/own.txt", "beta\n").must_pass();
    for agent in [&mut beta, &mut alpha] {
        agent.read("shared.txt").must_pass();
        let word = agent.name().to_owned();
        agent.shell(&format!("sed -i 's/^line 5.*/line 5 {word} again/' shared.txt")).must_pass();
        agent.stop();
    }
    change(&mut third, "shared.txt", 15, "third");
    third.write("third.txt", "third\n").must_pass();
    third.stop();
    [alpha, beta, third]
}

fn recover(sandbox: &Sandbox, more: &[&str]) -> Value {
    sandbox.json(&[&["recover"], &BOTH[..], more].concat())
}

/// The sessions that a person has stopped.
fn stopped(sandbox: &Sandbox) -> Vec<String> {
    let is_stopped = |session: &Value| session["warning"].as_str().is_some_and(|text| text.starts_with("stopped by"));
    let mut names: Vec<String> = sandbox
        .sessions()
        .iter()
        .filter(|session| is_stopped(session))
        .filter_map(|session| session["agent_session"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn two_are_taken_back_together_what_does_not_collide_comes_back_and_a_thirds_bytes_stay() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let [mut alpha, mut beta, mut third] = tangle(&sandbox);
    let before = all_files(&sandbox);
    let planned = recover(&sandbox, &["--dry-run"]);
    assert_eq!((&planned["meet"], &planned["steps"]), (&json!(["shared.txt"]), &json!([])), "{planned}");
    assert_eq!(planned["sessions"][1]["comes_back"], json!(["b/own.txt"]), "{planned}");
    assert_eq!(planned["scopes"][0]["may"], json!(["a/**"]), "{planned}");
    assert!(stopped(&sandbox).is_empty() && all_files(&sandbox) == before, "a dry run writes nothing and stops nobody");
    let text = sandbox.rrctl(&[&["recover"], &BOTH[..], &["--dry-run"]].concat());
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("They meet in shared.txt") && text.ends_with("Nothing was done.\n"), "{text}");

    let done = recover(&sandbox, &["--yes"]);
    assert_eq!(sandbox.text("shared.txt"), with_lines(20, &[(15, "third")]), "{done}");
    for (file, content) in [("a/own.txt", "alpha\n"), ("b/own.txt", "beta\n"), ("third.txt", "third\n")] {
        assert_eq!(sandbox.text(file), content, "{done}");
    }
    assert!(stopped(&sandbox).is_empty(), "both may go on");
    for agent in [&mut alpha, &mut beta] {
        let told = agent.read("shared.txt").must_pass();
        assert!(told.context.contains("has taken both back") && told.context.contains("shared.txt"), "{told:?}");
    }
    let told = third.read("a/own.txt").must_pass();
    assert!(!told.context.contains("has taken both back"), "{told:?}");

    let undo =
        done["steps"].as_array().expect("steps").iter().find_map(|step| {
            step["step"].as_str().filter(|step| step.starts_with("Took back")).and(step["undo"].as_str())
        });
    let by = undo.and_then(|undo| undo.strip_prefix("rrctl rollback --session ")).expect("what undoes it");
    drop(sandbox.json(&["rollback", "--session", by]));
    let again = with_lines(20, &[(5, "alpha again"), (15, "third")]);
    assert_eq!(sandbox.text("shared.txt"), again, "nothing is lost: {done}");
}

#[test]
fn interrupted_it_leaves_both_stopped_and_typed_again_it_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", &lines(20))]);
    let mut daemon = Daemon::start(&sandbox);
    let [mut alpha, mut beta, mut third] = tangle(&sandbox);
    let call = alpha.pre("Write", &json!({"file_path": "late.txt", "content": "late\n"})).must_pass();
    let mut command = sandbox.command(rrctl_program());
    command.arg("recover").args(BOTH).arg("--yes").stdout(Stdio::null()).stderr(Stdio::null());
    let mut waits = command.spawn().expect("rrctl starts");
    until("both are stopped", || stopped(&sandbox) == ["alpha", "beta"]);
    waits.kill().expect("kill it");
    waits.wait().expect("it ends");
    let shared = sandbox.text("shared.txt");
    assert!(shared.contains("alpha again"), "while a call is under way nothing is taken back");
    alpha.act(&call.id);
    alpha.post(&call.id).must_pass();

    daemon.kill9();
    daemon.restart();
    beta.read("shared.txt").must_be_denied(&["stopped by", "rrctl recover --resume"]);
    alpha.write("more.txt", "x\n").must_be_denied(&["stopped by"]);
    third.read("third.txt").must_pass();
    third.write("third.txt", "third, on\n").must_pass();
    drop(sandbox.json(&["recover", "--resume", "beta"]));
    beta.read("shared.txt").must_pass();
    assert_eq!(stopped(&sandbox), ["alpha"]);

    let done = recover(&sandbox, &["--yes"]);
    assert_eq!(sandbox.text("shared.txt"), with_lines(20, &[(15, "third")]), "{done}");
    assert_eq!(
        (sandbox.text("late.txt").as_str(), sandbox.text("third.txt").as_str()),
        ("late\n", "third, on\n"),
        "{done}"
    );
    alpha.read("late.txt").must_pass();
    beta.read("late.txt").must_pass();
    let files = all_files(&sandbox);
    recover(&sandbox, &["--yes"]);
    assert_eq!(all_files(&sandbox), files, "once more comes to the same");
}

#[test]
fn where_a_third_has_changed_the_same_lines_it_is_shown_and_nothing_is_done() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let [_alpha, _beta, mut third] = tangle(&sandbox);
    third.read("shared.txt").must_pass();
    third.edit("shared.txt", "line 5 alpha again", "line 5 third on top").must_pass();
    third.stop();
    let before = all_files(&sandbox);
    let failed = sandbox.rrctl(&[&["--json", "recover"], &BOTH[..], &["--yes"]].concat());
    assert_eq!(failed.status.code(), Some(4), "{failed:?}");
    let told: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    assert_eq!(told["conflicts"][0]["path"], "shared.txt", "{told}");
    assert!(all_files(&sandbox) == before && stopped(&sandbox).is_empty(), "{told}");
}

#[test]
fn scopes_are_written_where_that_is_asked_for_and_hold_from_then_on() {
    let sandbox = Sandbox::new();
    let rules = "# ours\ndefaults: off   # why\n\nscopes:\n  # theirs\n  docs: { for: { session: nobody }, may: [docs/**] }\n\n# the end\n";
    sandbox.commit(&[("shared.txt", &lines(20)), ("railroad.yaml", rules)]);
    let _daemon = Daemon::start(&sandbox);
    let [mut alpha, mut beta, _third] = tangle(&sandbox);
    let planned = recover(&sandbox, &["--dry-run"]);
    assert_eq!(sandbox.text("railroad.yaml"), rules, "proposed only: {planned}");

    let done = recover(&sandbox, &["--yes", "--write-scopes"]);
    let written = sandbox.text("railroad.yaml");
    let kept: Vec<&str> =
        written.lines().filter(|line| !line.contains("after-recovery-") && !line.contains("# for one of")).collect();
    assert_eq!(kept, rules.lines().collect::<Vec<_>>(), "all else stays: {written}");
    for (named, may) in [("alpha", "a/**"), ("beta", "b/**")] {
        let line = format!("{{ for: {{ session: \"{named}\" }}, may: [\"{may}\"] }}");
        assert!(written.contains(&line), "{line} is not in {written}");
    }
    let step =
        |word: &str| done["steps"].as_array().expect("steps").iter().position(|s| s["step"].to_string().contains(word));
    assert!(step("Wrote the scopes into") < step("may go on") && step("Wrote the scopes into").is_some(), "{done:#}");
    beta.read("a/own.txt").must_pass();
    beta.write("a/more.txt", "beta\n").must_be_denied(&["scope"]);
    beta.write("b/more.txt", "beta\n").must_pass();
    alpha.write("a/more.txt", "alpha\n").must_pass();
    for agent in [&mut alpha, &mut beta] {
        agent.stop();
    }
    // Once more comes to the same.
    let again = recover(&sandbox, &["--yes", "--write-scopes"]);
    assert_eq!(sandbox.text("railroad.yaml"), written, "{again:#}");
}

#[test]
fn where_scopes_cannot_be_written_as_asked_nothing_is_done() {
    let sandbox = Sandbox::new();
    let rules = "defaults: off\nscopes: {}   # in one line\n";
    sandbox.commit(&[("shared.txt", &lines(20)), ("railroad.yaml", rules)]);
    let _daemon = Daemon::start(&sandbox);
    let _agents = tangle(&sandbox);
    let before = all_files(&sandbox);
    let refused = sandbox.rrctl(&[&["recover"], &BOTH[..], &["--yes", "--write-scopes"]].concat());
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the scopes cannot be written") && said.contains("railroad.yaml"), "{said}");
    assert!(all_files(&sandbox) == before && stopped(&sandbox).is_empty(), "{said}");
    assert_eq!(sandbox.text("railroad.yaml"), rules);
}

#[test]
fn nobody_is_stopped_unasked_and_an_agent_stops_nobody() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let [mut alpha, ..] = tangle(&sandbox);
    let before = all_files(&sandbox);
    let unasked = sandbox.rrctl(&[&["recover"], &BOTH[..]].concat());
    assert_eq!(unasked.status.code(), Some(4), "{unasked:?}");
    let typed = sandbox
        .command(rrctl_program())
        .env("RAILROAD_SESSION", "alpha")
        .args(["recover"])
        .args(BOTH)
        .arg("--yes")
        .output();
    assert_eq!(typed.expect("rrctl runs").status.code(), Some(4));
    alpha.shell("rrctl recover --resume beta").must_be_denied(&["guard"]);
    assert!(all_files(&sandbox) == before && stopped(&sandbox).is_empty());
    alpha.read("shared.txt").must_pass();
}
