//! Merging stops at the first confirmed red: an agent's push to the branch that broke is refused while its incident is open, on the
//! pushing and on the receiving side, and so is its commit on top of the break; work on other branches, a person's commits and the
//! repairer's go through.

use std::process::Output;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program};

use super::stage::{QUICK, commits, head, in_state, is_green, is_paused, over, until_long, with_rrctl, words_project};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What an agent tried and could not do.
#[track_caller]
fn fails(agent: &mut Agent, command: &str) -> String {
    let done = agent.shell(command);
    assert!(done.passed() && done.ok == Some(false), "{command} should have been tried and failed: {done:?}");
    done.output
}

fn published(sandbox: &Sandbox, branch: &str) -> String {
    sandbox.git(&["ls-remote", "origin", &format!("refs/heads/{branch}")]).split('\t').next().unwrap_or("").to_owned()
}

#[test]
fn no_agent_pushes_to_the_branch_that_broke_until_it_is_whole_but_the_one_who_repairs_it() {
    let sandbox = Sandbox::new();
    words_project(&sandbox, QUICK, "  on_break: { pause: off, revert: propose }\n");
    sandbox.git(&["clone", "--quiet", "--bare", ".", "../team.git"]);
    sandbox.git(&["remote", "add", "origin", "../team.git"]);
    sandbox.git(&["push", "--quiet", "-u", "origin", "main"]);
    let bare = sandbox.path().join("team.git").display().to_string();
    for words in [&["install"][..], &["install", "--bare", &bare]] {
        let done = sandbox.rrctl(words);
        assert!(done.status.success(), "{}", said(&done));
    }
    let whole = published(&sandbox, "main");
    let _daemon = Daemon::start(&sandbox);
    let (mut ann, mut ben) = (with_rrctl(&sandbox, "ann"), with_rrctl(&sandbox, "ben"));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
    until_long("a person is asked", &sandbox, || in_state(&sandbox, "escalated").is_some());
    let incident = in_state(&sandbox, "escalated").expect("one");
    let id = &incident["id"].as_str().expect("an id")[..8];
    assert!(!is_paused(&sandbox), "nobody is stopped by it");

    for command in ["git push -q origin main", "git push -q origin HEAD:main"] {
        let refused = fails(&mut ben, command);
        for part in ["main is broken since", "`words` fails", id, "What to do"] {
            assert!(refused.contains(part), "{command}: {part:?} is not in {refused}");
        }
        assert_eq!(published(&sandbox, "main"), whole, "{command}");
    }
    assert!(fails(&mut ben, "git push -q origin main").contains(&format!("rrctl incident claim {id}")));
    ben.shell("git push -q origin HEAD:refs/heads/topic").must_pass();
    // Nothing of it is new to the other side any more; the branch it would land on is what counts.
    assert!(fails(&mut ben, "git push -q origin main").contains("main is broken since"));
    // The receiving side knows whose the commits are, not who sends them: a person answers for them.
    let push = || sandbox.command("git").args(["push", "-q", "origin", "main"]).output().expect("git runs");
    let refused = said(&push());
    assert!(refused.contains("main is broken since") && refused.contains("rrctl publish vouch"), "{refused}");
    assert_eq!(published(&sandbox, "main"), whole);
    assert!(sandbox.rrctl(&["publish", "vouch", "main", "--reason", "it must be seen"]).status.success());
    assert!(push().status.success());
    assert_ne!(published(&sandbox, "main"), whole);

    // A person works on, in a clone of its own.
    let other = sandbox.path().join("other").display().to_string();
    sandbox.git(&["clone", "-q", "../team.git", &other]);
    sandbox.git(&["-C", &other, "commit", "-q", "--allow-empty", "-m", "by a person"]);
    sandbox.git(&["-C", &other, "push", "-q", "origin", "main:main"]);

    ben.shell(&format!("rrctl incident claim {id}")).must_pass();
    assert!(fails(&mut ann, "git push -q origin main").contains("is being repaired by agent session ben"));
    ben.write("src/two.txt", "mended\n").must_pass();
    ben.shell("git add src/two.txt && git commit -q -m 'mend two' && git pull -q --no-rebase --no-edit origin main")
        .must_pass();
    ben.shell("git push -q origin main").must_pass();
    let mended = published(&sandbox, "main");
    assert_eq!(mended, sandbox.git(&["rev-parse", "main"]).trim());
    until_long("the repair is seen", &sandbox, || over(&sandbox).is_some());
    ben.stop();
    commits(&mut ann, "src/one.txt", "one more\n", "one");
    ann.shell("git push -q origin main").must_pass();
}

/// A commit that was tried came about, or the branch stands where it stood.
#[track_caller]
fn stands_at(sandbox: &Sandbox, branch: &str, commit: &str, why: &str) {
    assert_eq!(sandbox.git(&["rev-parse", branch]).trim(), commit, "{why}");
}

#[test]
fn no_agent_commits_on_top_of_a_break_but_the_one_who_repairs_it_and_a_person_is_told() {
    let sandbox = Sandbox::new();
    words_project(&sandbox, QUICK, "  on_break: { pause: off, revert: propose }\n");
    let done = sandbox.rrctl(&["install"]);
    assert!(done.status.success(), "{}", said(&done));
    let whole = head(&sandbox);
    let _daemon = Daemon::start(&sandbox);
    let (mut ann, mut ben) = (with_rrctl(&sandbox, "ann"), with_rrctl(&sandbox, "ben"));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
    let red = head(&sandbox);
    until_long("a person is asked", &sandbox, || in_state(&sandbox, "escalated").is_some());
    let incident = in_state(&sandbox, "escalated").expect("one");
    let id = &incident["id"].as_str().expect("an id")[..8];
    assert!(!is_paused(&sandbox), "nobody is stopped by it");

    ben.write("src/three.txt", "three\n").must_pass();
    sandbox.put("../message", "three\n");
    let ways = [
        "git add src/three.txt && git commit -q -m three",
        "git commit -q --no-verify -m three",
        "git commit -q -F ../message",
        "git commit -q -t ../message",
        "git commit -q --amend --no-edit",
    ];
    for command in ways {
        let refused = fails(&mut ben, command);
        let parts = ["not committed: main is broken since", "`words` fails", id, "git switch -c", "incident claim"];
        for part in parts {
            assert!(refused.contains(part), "{command}: {part:?} is not in {refused}");
        }
        stands_at(&sandbox, "main", &red, command);
    }
    assert_eq!(sandbox.git(&["status", "--porcelain"]).trim(), "A  src/three.txt", "nothing of it is lost");

    // Elsewhere is nothing broken that this commit would be put upon.
    ben.shell("git switch -q -c topic && git commit -q -m three").must_pass();
    ben.shell(&format!("git switch -q --detach {red} && git commit -q --allow-empty -m nowhere")).must_pass();
    ben.shell("git switch -q main").must_pass();
    let other = sandbox.path().join("other").display().to_string();
    sandbox.git(&["clone", "-q", ".", &other]);
    sandbox.git(&["-C", &other, "reset", "-q", "--hard", &whole]);
    let installed = sandbox.command_in(&sandbox.path().join("other"), rrctl_program()).arg("install").output();
    assert!(installed.expect("rrctl runs").status.success());
    let mut cleo = Agent::start_in(&sandbox, "cleo", &sandbox.path().join("other"));
    cleo.shell("git commit -q --allow-empty -m 'on a main that is whole'").must_pass();

    // A person decides alone, and knows of it.
    let by_person = sandbox.command("git").args(["commit", "-q", "--allow-empty", "-m", "by a person"]).output();
    let by_person = by_person.expect("git runs");
    let told = said(&by_person);
    assert!(by_person.status.success() && told.contains("main is broken since") && told.contains(id), "{told}");
    assert_eq!(sandbox.git(&["log", "-1", "--format=%B"]).trim(), "by a person");

    ann.shell(&format!("rrctl incident claim {id}")).must_pass();
    assert!(fails(&mut ben, "git commit -q --allow-empty -m more").contains("is being repaired by agent session ann"));
    ann.write("src/two.txt", "mended\n").must_pass();
    ann.shell("git commit -q -am 'mend two'").must_pass();
    until_long("the repair is seen", &sandbox, || over(&sandbox).is_some());
    ben.shell("git commit -q --allow-empty -m 'on top of what is whole'").must_pass();
    let by_person = sandbox.command("git").args(["commit", "-q", "--allow-empty", "-m", "later"]).output();
    assert_eq!(said(&by_person.expect("git runs")), "");
}
