//! The publish gate with real processes: agents, daemon, git and its hooks. What an agent commits under its locks is published;
//! what it commits after losing one is not, wherever it is pushed; a person's work is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, signal, until};
use rustix::process::Signal;

/// Quick to hand a lost lock on: nobody here still writes with it.
const NO_COOLING: &str = "timing: { cool: 0s }\n";

/// The gate must hold without the built-in rules, which would refuse many a way past it before it is tried.
const ANY_COMMAND: &str = "defaults: off\n";

/// A team: a repository that is pushed to, and clones of it with hooks in place.
struct Team {
    sandbox: Sandbox,
}

impl Team {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.machine_config(NO_COOLING);
        let lines = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        sandbox.commit(&[("a.txt", lines), ("b.txt", "0\n"), ("railroad.yaml", ANY_COMMAND)]);
        sandbox.git(&["clone", "--quiet", "--bare", ".", "../team.git"]);
        sandbox.git(&["remote", "add", "origin", "../team.git"]);
        sandbox.git(&["push", "--quiet", "-u", "origin", "main"]);
        install(&sandbox, &sandbox.repo);
        Self { sandbox }
    }

    fn bare(&self) -> PathBuf {
        self.sandbox.path().join("team.git")
    }

    fn guarded() -> Self {
        let team = Self::new();
        let done = team.sandbox.rrctl(&["install", "--bare", &text(&team.bare())]);
        assert!(done.status.success(), "{}", said(&done));
        team
    }

    /// Another clone, on a branch of its own.
    fn clone(&self, name: &str) -> PathBuf {
        let folder = self.sandbox.path().join(name);
        self.sandbox.git(&["clone", "--quiet", "../team.git", &text(&folder)]);
        self.git(&folder, &["checkout", "--quiet", "-b", name]);
        install(&self.sandbox, &folder);
        folder
    }

    /// Git as a person types it.
    fn try_git(&self, folder: &Path, words: &[&str]) -> Output {
        self.sandbox.command("git").current_dir(folder).args(words).output().expect("git runs")
    }

    #[track_caller]
    fn git(&self, folder: &Path, words: &[&str]) -> String {
        let done = self.try_git(folder, words);
        assert!(done.status.success(), "git {words:?}: {}", said(&done));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// What the team's repository has of a branch.
    fn published(&self, branch: &str) -> String {
        let done = self.try_git(&self.bare(), &["rev-parse", "--verify", "--quiet", branch]);
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// A person takes a lock from whoever has it.
    fn force_release(&self, lock: &str) {
        let done = self.sandbox.rrctl(&["release", "--force", "--reason", "stuck", lock]);
        assert!(done.status.success(), "{}", said(&done));
    }

    fn rrctl_in(&self, folder: &Path, words: &[&str]) -> Output {
        self.sandbox.command(rrctl_program()).current_dir(folder).args(words).output().expect("rrctl runs")
    }
}

fn install(sandbox: &Sandbox, folder: &Path) {
    let done = sandbox.command(rrctl_program()).current_dir(folder).arg("install").output().expect("rrctl runs");
    assert!(done.status.success(), "{}", said(&done));
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A command that an agent may try and that fails; what it said.
#[track_caller]
fn fails(agent: &mut Agent, command: &str) -> String {
    let done = agent.shell(command);
    assert!(done.passed() && done.ok == Some(false), "{command} should have been tried and failed: {done:?}");
    done.output
}

/// One whose lock on `a.txt` was taken away and given to another, who has committed; it has not committed itself yet.
fn overtaken(team: &Team, mine: &Path, theirs: &Path) -> (Agent, Agent) {
    let mut one = Agent::start_in(&team.sandbox, "one", mine);
    let mut two = Agent::start_in(&team.sandbox, "two", theirs);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    team.force_release("a.txt");
    takes_over(&mut two);
    // It is told before it does anything else.
    one.shell("git commit -qam one").must_be_denied(&["Your lock on a.txt was lost"]);
    (one, two)
}

/// Locks a file whose last holder ended uncleanly, changes and commits it.
fn takes_over(agent: &mut Agent) {
    until("the lock may be used", || agent.edit("a.txt", "1\n", "two\n").passed());
    agent.shell("git commit -qam two").must_pass();
}

#[test]
fn two_agents_commit_and_push_the_same_files_one_after_the_other() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    let mut two = Agent::start_in(&team.sandbox, "two", &right);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    one.shell("git commit -qam one").must_pass();
    two.edit("a.txt", "9\n", "two\n").must_pass();
    two.shell("git commit -qam two && git push -q -u origin right").must_pass();
    two.edit("a.txt", "two\n", "zwei\n").must_pass();
    // The other has the file again, has committed and published it; that was all after this commit.
    one.shell("git push -q -u origin left").must_pass();
    two.shell("git commit -qam more").must_pass();
    two.shell("git push -q").must_pass();
    for (branch, folder) in [("left", &left), ("right", &right)] {
        assert_eq!(team.published(branch), team.git(folder, &["rev-parse", "HEAD"]));
    }
    // Locks go with the end of a turn; what is committed in the next one was written under them.
    one.edit("b.txt", "0\n", "1\n").must_pass();
    one.stop();
    one.shell("git commit -qam 'next turn' && git push -q").must_pass();
    assert_eq!(team.published("left"), team.git(&left, &["rev-parse", "HEAD"]));
}

#[test]
fn a_commit_names_its_session_and_nothing_else_in_the_message_changes() {
    let team = Team::new();
    let _daemon = Daemon::start(&team.sandbox);
    let mut one = Agent::start(&team.sandbox, "one");
    let message = || team.sandbox.git(&["log", "-1", "--format=%B"]).trim().to_owned();
    one.edit("b.txt", "0\n", "1\n").must_pass();
    one.shell("git commit -qam 'first'").must_pass();
    assert_eq!(message(), "first\n\nRailroad-Session: one");
    one.shell("git commit -q --amend --no-edit").must_pass();
    assert_eq!(message(), "first\n\nRailroad-Session: one");
    one.shell("git commit -q --amend --no-verify -m 'second' -m 'body' --trailer 'Acked-by: x'").must_pass();
    assert_eq!(message(), "second\n\nbody\n\nAcked-by: x\nRailroad-Session: one");
    // In an editor: what is typed above the comments, and giving up by typing nothing.
    team.sandbox.put("../editor", "#!/bin/sh\nprintf 'typed\\n%s' \"$(cat $1)\" > $1\n");
    fs::set_permissions(team.sandbox.path().join("editor"), fs::Permissions::from_mode(0o755)).expect("mode");
    one.edit("b.txt", "1\n", "2\n").must_pass();
    let editor = text(&team.sandbox.path().join("editor"));
    let before = team.sandbox.git(&["rev-parse", "HEAD"]);
    assert!(fails(&mut one, "GIT_EDITOR=true git commit -a").contains("empty commit message"));
    assert!(fails(&mut one, "git commit -am ''").contains("empty commit message"));
    assert_eq!(team.sandbox.git(&["rev-parse", "HEAD"]), before);
    one.shell(&format!("GIT_EDITOR={editor} git commit -qav")).must_pass();
    assert_eq!(message(), "typed\n\nRailroad-Session: one");
    // A person's is left as it is.
    team.sandbox.commit(&[("c.txt", "x")]);
    assert_eq!(message(), "files");
}

#[test]
fn what_was_committed_after_its_lock_was_lost_is_published_by_no_way() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let (mut one, mut two) = overtaken(&team, &left, &right);
    let told = one.shell("git commit -qam one").must_pass();
    assert!(told.context.contains("not yours when it was made: a.txt"), "{}", told.context);
    let refused = fails(&mut one, "git push -q origin left");
    for part in
        ["not published: 1 of 1", "of session one", "a.txt: its lock (token", "was lost before the commit", "amend"]
    {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    assert_eq!(team.published("left"), "");
    two.shell("git push -q origin right").must_pass();
    // Past the hook: refused before it is tried, and by the receiving end.
    one.shell("git push --no-verify origin left").must_be_denied(&["goes past the git hooks"]);
    one.shell("git -c core.hooksPath=/dev/null push origin left").must_be_denied(&["goes past the git hooks"]);
    let received = team.try_git(&left, &["push", "--no-verify", "origin", "left"]);
    assert!(!received.status.success() && said(&received).contains("not published: 1 of 1"), "{}", said(&received));
    // Nor with another message, nor on another branch, nor below a tag, nor under later work.
    one.shell("git commit -q --amend -m 'other words'").must_pass();
    assert!(fails(&mut one, "git push -q origin left").contains("not published"));
    one.shell("git checkout -qb other && git tag -a v1 -m v1").must_pass();
    assert!(fails(&mut one, "git push -q origin v1").contains("not published"));
    one.edit("b.txt", "0\n", "1\n").must_pass();
    one.shell("git commit -qam later").must_pass();
    let refused = fails(&mut one, "git push -q origin other");
    assert!(refused.contains("not published: 1 of 2"), "{refused}");
}

#[test]
fn once_locked_again_and_looked_at_an_amended_commit_is_published() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let (mut one, _two) = overtaken(&team, &left, &right);
    one.shell("git commit -qam one").must_pass();
    fails(&mut one, "git push -q origin left");
    one.shell("touch a.txt").must_pass();
    one.shell("git commit -q --amend -m 'one, after two' && git push -q origin left").must_pass();
    assert_eq!(team.published("left"), team.git(&left, &["rev-parse", "HEAD"]));
}

#[test]
fn a_person_vouches_and_an_agent_can_not() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let (mut one, _two) = overtaken(&team, &left, &right);
    one.shell("git commit -qam one").must_pass();
    fails(&mut one, "git push -q origin left");
    one.shell("rrctl publish vouch HEAD --reason mine").must_be_denied(&["Agents may not"]);
    let mut by_script = team.sandbox.command(rrctl_program());
    by_script.current_dir(&left).env("RAILROAD_SESSION", "one").args(["publish", "vouch", "HEAD", "--reason", "mine"]);
    let refused = by_script.output().expect("rrctl runs");
    assert!(refused.status.code() == Some(4) && said(&refused).contains("only a person"), "{}", said(&refused));
    assert_eq!(team.rrctl_in(&left, &["publish", "check"]).status.code(), Some(6));
    assert!(!team.rrctl_in(&left, &["publish", "vouch", "no-such", "--reason", "x"]).status.success());
    let vouched = team.rrctl_in(&left, &["publish", "vouch", "origin/main..HEAD", "--reason", "read it"]);
    assert!(vouched.status.success(), "{}", said(&vouched));
    assert!(team.rrctl_in(&left, &["publish", "check"]).status.success());
    one.shell("git push -q origin left").must_pass();
}

#[test]
fn a_session_whose_daemon_was_frozen_beyond_its_lease_publishes_nothing_of_what_it_lost() {
    let team = Team::guarded();
    team.sandbox.machine_config("timing: { cool: 0s, lease: 13s, cut_off: 3s, keep_alive: 1s }\n");
    let daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    signal(daemon.pid(), Signal::STOP);
    let stopped = Instant::now();
    until("its lease is over", || stopped.elapsed() > Duration::from_secs(14));
    signal(daemon.pid(), Signal::CONT);
    let mut two = Agent::start_in(&team.sandbox, "two", &right);
    takes_over(&mut two);
    // Everybody has let go of it by now; what was lost stays lost.
    until("registered anew", || one.read("b.txt").passed() && one.shell("git commit -qam one").passed());
    let refused = fails(&mut one, "git push -q origin left");
    assert!(refused.contains("a.txt: its lock (token") && refused.contains("nobody had it then"), "{refused}");
    two.shell("git push -q origin right").must_pass();
}

#[test]
fn a_lock_that_is_lost_between_the_permission_and_the_commit_is_lost_for_the_commit() {
    let team = Team::guarded();
    let daemon = Daemon::start(&team.sandbox);
    let left = team.clone("left");
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    let call = one.pre("Bash", &serde_json::json!({"command": "git commit -qam one"})).must_pass();
    // Without the daemon nobody could say whether the branch is whole: an agent's commit waits for that, and loses nothing.
    signal(daemon.pid(), Signal::STOP);
    assert!(!one.act(&call.id).ok.unwrap_or_default(), "not committed");
    signal(daemon.pid(), Signal::CONT);
    team.force_release("a.txt");
    one.act(&call.id).must_pass();
    one.post(&call.id);
    assert!(
        fails(&mut one, "git push -q origin left").contains("its lock (token"),
        "judged by what is true after the commit"
    );
}

#[test]
fn amending_rebasing_picking_merging_and_squashing_ones_own_commits_makes_nothing_suspect() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    let mut two = Agent::start_in(&team.sandbox, "two", &right);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    one.shell("git commit -qam first").must_pass();
    one.edit("a.txt", "2\n", "zwei\n").must_pass();
    one.shell("git commit -qam second").must_pass();
    one.edit("b.txt", "0\n", "b\n").must_pass();
    one.shell("git commit -qam third").must_pass();
    // Main moves on in the same file, by a person; and another session has it from here on.
    team.sandbox.put("a.txt", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    team.sandbox.git(&["commit", "-qam", "a person's"]);
    team.sandbox.git(&["push", "-q", "origin", "main"]);
    two.edit("a.txt", "5\n", "five\n").must_pass();
    let push = |agent: &mut Agent, how: &str, branch: &str| {
        agent.shell(&format!("{how} && git push -q --force-with-lease origin HEAD:{branch}")).must_pass();
        assert_eq!(team.published(branch), team.git(&left, &["rev-parse", "HEAD"]), "{how}");
    };
    push(&mut one, "git commit -q --amend -m 'third, in other words'", "amended");
    push(&mut one, "git fetch -q && git rebase -q origin/main", "rebased");
    push(&mut one, "git checkout -q -b picked origin/main && git cherry-pick left~2 left~1", "picked");
    push(&mut one, "git checkout -q -b merged picked~2 && git merge -q --no-ff -m merged left", "merged");
    let squash = "git checkout -q -b squashed origin/main && git merge -q --squash left && git commit -qm squashed";
    push(&mut one, squash, "squashed");
    // But taking it back is a new change, and the file is the other's now.
    let refused = fails(&mut one, "git revert --no-edit HEAD && git push -q origin HEAD:reverted");
    assert!(refused.contains("a.txt: it had no lock on it; session"), "{refused}");
    assert!(two.shell("git commit -qam five").must_pass().context.is_empty());
    two.shell("git push -q origin right").must_pass();
}

#[test]
fn a_change_made_while_somebody_else_has_the_file_is_not_published() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    let mut two = Agent::start_in(&team.sandbox, "two", &right);
    two.edit("a.txt", "1\n", "two\n").must_pass();
    team.sandbox.put("../script", "f=a; sed -i s/2/zwei/ $f.txt; git commit -qam 'past the locks'\n");
    one.shell(&format!("sh {}", text(&team.sandbox.path().join("script")))).must_pass();
    let refused = fails(&mut one, "git push -q origin left");
    assert!(refused.contains("a.txt: it had no lock on it; session"), "{refused}");
    // Also when it is told of it only later, with the other's lock long given back.
    two.shell("git commit -qam two").must_pass();
    two.edit("b.txt", "0\n", "1\n").must_pass();
    team.sandbox.put("../script", "f=b; sed -i s/0/null/ $f.txt\n");
    one.shell(&format!("sh {}", text(&team.sandbox.path().join("script")))).must_pass();
    two.shell("git commit -qam two").must_pass();
    one.shell("git commit -qam 'later'").must_pass();
    let refused = fails(&mut one, "git push -q origin left");
    assert!(refused.contains("2 of 2") && refused.contains("b.txt: it had no lock"), "{refused}");
}

#[test]
fn what_was_lost_stays_lost_over_a_restart_of_the_daemon_and_the_loss_of_its_store() {
    let team = Team::guarded();
    let mut daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let (mut one, two) = overtaken(&team, &left, &right);
    until("noted", || {
        fs::read_to_string(team.sandbox.state.join("held.json")).is_ok_and(|t| t.contains("\"lost\":true"))
    });
    daemon.kill9();
    daemon.restart();
    one.shell("git commit -qam one").must_pass();
    assert!(fails(&mut one, "git push -q origin left").contains("a.txt: its lock (token"));
    drop(two);
    // A lock that is gone with the store was lost too, whoever had it meanwhile.
    one.edit("b.txt", "0\n", "1\n").must_pass();
    until("noted", || fs::read_to_string(team.sandbox.state.join("held.json")).is_ok_and(|t| t.contains("b.txt")));
    daemon.stop();
    fs::remove_dir_all(team.sandbox.state.join("store")).expect("the store is lost");
    daemon.restart();
    let done = team.sandbox.json(&["post-restore", "--reason", "the store is lost"]);
    assert!(team.sandbox.rrctl(&["resume", "--epoch", &done["epoch"].to_string()]).status.success());
    until("it works again", || one.shell("git checkout -q -b again origin/main && git commit -qam b").passed());
    assert!(fails(&mut one, "git push -q origin again").contains("b.txt: its lock (token"));
}

#[test]
fn a_commit_during_which_the_daemon_was_restarted_is_still_known() {
    let team = Team::guarded();
    let mut daemon = Daemon::start(&team.sandbox);
    let left = team.clone("left");
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    let call = one.pre("Bash", &serde_json::json!({"command": "git commit -qam one"})).must_pass();
    daemon.kill9();
    one.act(&call.id).must_pass();
    daemon.restart();
    one.post(&call.id);
    one.shell("git push -q origin left").must_pass();
}

#[test]
fn without_the_hooks_of_its_clone_a_commit_is_known_by_the_call_that_made_it() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    for folder in [&left, &right] {
        assert!(team.rrctl_in(folder, &["uninstall"]).status.success());
    }
    let (mut one, mut two) = overtaken(&team, &left, &right);
    two.shell("git push -q origin right").must_pass();
    one.shell("git commit -qam one").must_pass();
    assert!(!team.git(&left, &["log", "-1", "--format=%B"]).contains("Railroad"));
    assert!(
        fails(&mut one, "git push -q origin left").contains("not published: 1 of 1"),
        "refused where it is received"
    );
    // What is only fetched is nobody's here, and does not become this session's.
    team.sandbox.commit(&[("b.txt", "a person's")]);
    team.git(&team.sandbox.repo, &["push", "-q", "origin", "main"]);
    one.shell("git reset -q --hard origin/main && git pull -q origin main && git push -q origin left").must_pass();
}

#[test]
fn two_agents_in_one_folder_commit_and_push_their_own() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let mut one = Agent::start(&team.sandbox, "one");
    let mut two = Agent::start(&team.sandbox, "two");
    one.edit("a.txt", "1\n", "one\n").must_pass();
    two.edit("b.txt", "0\n", "two\n").must_pass();
    // While one's command runs, the other commits.
    let call = one.pre("Bash", &serde_json::json!({"command": "sh none.sh; true"})).must_pass();
    two.shell("git commit -qm two b.txt").must_pass();
    one.act(&call.id).must_pass();
    one.post(&call.id);
    one.shell("git commit -qm one a.txt").must_pass();
    one.shell("git push -q origin HEAD:shared").must_pass();
    two.shell("git push -q origin HEAD:again").must_pass();
}

#[test]
fn a_team_that_only_wants_to_be_told_publishes_what_is_edited_side_by_side() {
    let team = Team::guarded();
    team.sandbox.commit(&[("railroad.yaml", "locks: { across_worktrees: warn }\n")]);
    team.git(&team.sandbox.repo, &["push", "-q", "origin", "main"]);
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let mut one = Agent::start_in(&team.sandbox, "one", &left);
    let mut two = Agent::start_in(&team.sandbox, "two", &right);
    one.edit("a.txt", "1\n", "one\n").must_pass();
    two.edit("a.txt", "9\n", "two\n").must_pass();
    two.shell("git commit -qam two && git push -q origin right").must_pass();
    one.shell("git commit -qam one && git push -q origin left").must_pass();
}

#[test]
fn what_a_person_makes_of_an_agents_commit_is_the_persons() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let (left, right) = (team.clone("left"), team.clone("right"));
    let (mut one, _two) = overtaken(&team, &left, &right);
    one.shell("git commit -qam one").must_pass();
    one.edit("b.txt", "0\n", "1\n").must_pass();
    one.shell("git commit -qam more").must_pass();
    fails(&mut one, "git push -q origin left");
    team.sandbox.commit(&[("c.txt", "main moves")]);
    team.git(&team.sandbox.repo, &["push", "-q", "origin", "main"]);
    team.git(&left, &["fetch", "-q"]);
    team.git(&left, &["rebase", "-q", "origin/main"]);
    let names = team.git(&left, &["log", "-1", "--format=%(trailers:key=Railroad-Session,valueonly,separator=%x2C)"]);
    assert_eq!(names, "one,(person)");
    team.git(&left, &["push", "-q", "origin", "left"]);
    // And the agent's again when the agent goes on with it.
    one.shell("git commit -q --amend -m 'in its own words' && git push -qf origin left").must_pass();
    assert!(team.git(&left, &["log", "-1", "--format=%B"]).ends_with("Railroad-Session: one"));
}

#[test]
fn people_push_with_and_without_a_daemon() {
    let team = Team::guarded();
    team.sandbox.commit(&[("c.txt", "1")]);
    team.git(&team.sandbox.repo, &["push", "-q", "origin", "main"]);
    assert!(!team.sandbox.state.join("store").exists(), "a push makes no store");
    let daemon = Daemon::start(&team.sandbox);
    team.sandbox.commit(&[("c.txt", "2")]);
    team.git(&team.sandbox.repo, &["push", "-q", "origin", "main"]);
    // One that does not answer stops agents' commits, not people's.
    let mut one = Agent::start(&team.sandbox, "one");
    signal(daemon.pid(), Signal::STOP);
    team.sandbox.commit(&[("c.txt", "3")]);
    let done = team.try_git(&team.sandbox.repo, &["push", "-q", "origin", "main"]);
    assert!(done.status.success() && said(&done).contains("published unchecked"), "{}", said(&done));
    signal(daemon.pid(), Signal::CONT);
    one.shell("git checkout -qb topic").must_pass();
    one.edit("b.txt", "0\n", "1\n").must_pass();
    one.shell("git commit -qam one").must_pass();
    signal(daemon.pid(), Signal::STOP);
    let done = team.try_git(&team.sandbox.repo, &["push", "-q", "origin", "topic"]);
    assert!(!done.status.success() && said(&done).contains("cannot be known now"), "{}", said(&done));
    signal(daemon.pid(), Signal::CONT);
    // A person publishes what an agent has made, and what is known of it holds with no daemon at all.
    drop(daemon);
    team.git(&team.sandbox.repo, &["push", "-q", "origin", "topic"]);
    assert_eq!(team.published("topic"), team.git(&team.sandbox.repo, &["rev-parse", "topic"]));
}

#[test]
fn deleted_branches_tags_first_pushes_and_shallow_clones_pass() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    team.sandbox.git(&["branch", "old"]);
    team.sandbox.git(&["push", "-q", "origin", "old"]);
    let shallow = team.sandbox.path().join("shallow");
    let url = format!("file://{}", text(&team.bare()));
    team.sandbox.git(&["clone", "-q", "--depth", "1", &url, &text(&shallow)]);
    install(&team.sandbox, &shallow);
    let mut one = Agent::start_in(&team.sandbox, "one", &shallow);
    one.edit("b.txt", "0\n", "1\n").must_pass();
    one.shell("git checkout -qb topic && git commit -qam one").must_pass();
    one.shell("git tag light && git tag -a v1 -m v1 && git tag blob HEAD:b.txt").must_pass();
    one.shell("git push -q origin topic light v1 blob").must_pass();
    one.shell("git push -q origin :old :light").must_pass();
    assert_eq!(team.published("topic"), team.git(&shallow, &["rev-parse", "HEAD"]));
    assert_eq!(team.published("old"), "");
    // All of a history into an empty repository, by its address.
    team.sandbox.git(&["init", "-q", "--bare", "../empty.git"]);
    let empty = team.sandbox.path().join("empty.git");
    assert!(team.sandbox.rrctl(&["install", "--bare", &text(&empty)]).status.success());
    team.git(&team.sandbox.repo, &["push", "-q", &text(&empty), "main"]);
}

#[test]
fn a_commit_of_five_thousand_files_and_names_of_any_bytes_passes() {
    let team = Team::guarded();
    let _daemon = Daemon::start(&team.sandbox);
    let mut one = Agent::start(&team.sandbox, "one");
    one.shell("git checkout -qb topic").must_pass();
    one.shell("mkdir gen && cd gen && seq 5000 | xargs touch && cd .. && printf x > \"$(printf 'caf\\351 \\t\"q\"')\"")
        .must_pass();
    one.shell("git add -A && git commit -qm many && git push -q origin topic").must_pass();
    assert_eq!(team.published("topic"), team.git(&team.sandbox.repo, &["rev-parse", "HEAD"]));
    let many = team.git(&team.bare(), &["ls-tree", "-r", "--name-only", "topic"]);
    assert!(many.lines().count() > 5_000);
}

#[test]
fn hooks_of_the_user_run_first_and_come_back_byte_for_byte() {
    let team = Team::new();
    let repo = &team.sandbox.repo;
    let own = repo.join(".git/hooks/pre-push");
    assert!(team.sandbox.rrctl(&["uninstall"]).status.success());
    let text_of_own = "#!/bin/sh\necho \"own: $1\" >&2\ngrep -q forbidden && exit 9\nexit 0\n";
    fs::write(&own, text_of_own).expect("write");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o711)).expect("mode");
    let tree = team.sandbox.path().join("linked");
    team.sandbox.git(&["worktree", "add", "-q", "-b", "linked", &text(&tree)]);
    install(&team.sandbox, &tree);
    assert_ne!(fs::read_to_string(&own).expect("read"), text_of_own, "the hooks of a work tree are its clone's");
    let done = team.try_git(&tree, &["push", "origin", "linked"]);
    assert!(done.status.success() && said(&done).contains("own: origin"), "{}", said(&done));
    let done = team.try_git(&tree, &["push", "origin", "linked:forbidden"]);
    assert!(!done.status.success(), "{}", said(&done));
    assert_eq!(team.published("forbidden"), "");
    let done = team.rrctl_in(&tree, &["uninstall"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(fs::read_to_string(&own).expect("read"), text_of_own);
    assert_eq!(fs::metadata(&own).expect("meta").permissions().mode() & 0o777, 0o711);
    let left: Vec<_> = fs::read_dir(repo.join(".git/hooks")).expect("list").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|n| n == "pre-push" || n.to_string_lossy().ends_with(".sample")), "{left:?}");
}

#[test]
fn only_a_bare_repository_of_ones_own_and_hooks_that_nobody_shares_are_changed() {
    let team = Team::new();
    let repo = &team.sandbox.repo;
    let refused = team.sandbox.rrctl(&["install", "--bare", &text(repo)]);
    assert!(refused.status.code() == Some(4) && said(&refused).contains("no bare repository"), "{}", said(&refused));
    assert!(team.sandbox.rrctl(&["uninstall"]).status.success());
    // Committed with the project: not ours to change, and said so.
    team.sandbox.commit(&[(".hooks/pre-push", "#!/bin/sh\n")]);
    team.sandbox.git(&["config", "core.hooksPath", ".hooks"]);
    let done = team.sandbox.rrctl(&["install"]);
    assert!(done.status.success() && said(&done).contains("shared or committed"), "{}", said(&done));
    assert_eq!(team.sandbox.text(".hooks/pre-push"), "#!/bin/sh\n");
    team.sandbox.rrctl(&["uninstall"]);
    // Made on this machine and ignored: git looks there, so that is where they go.
    team.sandbox.put(".husky/_/.gitignore", "*\n");
    team.sandbox.git(&["config", "core.hooksPath", ".husky/_"]);
    install(&team.sandbox, repo);
    assert!(team.sandbox.text(".husky/_/pre-push").contains("git-hook pre-push"));
    assert!(team.sandbox.rrctl(&["uninstall"]).status.success());
    assert_eq!(team.sandbox.text(".husky/_/pre-push"), "");
}

#[test]
fn going_past_the_hooks_is_refused_or_shown() {
    let team = Team::new();
    let _daemon = Daemon::start(&team.sandbox);
    let mut one = Agent::start(&team.sandbox, "one");
    one.edit("b.txt", "0\n", "1\n").must_pass();
    for command in ["git push --no-verify", "git config core.hooksPath /tmp", "git send-pack ../team.git main"] {
        one.shell(command).must_be_denied(&["goes past the git hooks"]);
    }
    for command in ["rm .git/hooks/pre-push", "echo x > .git/hooks/pre-push"] {
        assert!(one.shell(command).denied(), "{command}");
    }
    let bare = text(&team.bare().join("hooks/pre-receive"));
    assert!(team.sandbox.rrctl(&["install", "--bare", &text(&team.bare())]).status.success());
    assert!(one.shell(&format!("rm {bare}")).denied());
    one.shell("git commit -q --no-verify -am one").must_pass();
    until("shown", || said(&team.sandbox.rrctl(&["status"])).contains("left git hooks out"));
    one.shell("git push -q origin HEAD:topic").must_pass();
}
