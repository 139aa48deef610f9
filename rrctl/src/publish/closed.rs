//! Merging stops at the first confirmed red: while a break of a branch is open, no agent's publication reaches that branch and no agent
//! commits on top of it, but for the session that repairs it. A person's and the watcher's own revert pass. Owns the rule and its
//! words; what is open is asked of the coordinator, what is pushed or committed to of git.

use std::time::Duration;

use rr_git::{CheckedOut, Commit, History, Tips};
use rr_proto::v1;

use super::refs::Update;
use super::{ANSWER_MAX, clean, known};
use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::table::plain;
use crate::view::short;

/// Red once: whether it is broken is not known yet.
const NOT_CONFIRMED: &str = "seen";
const OVER: &str = "resumed";

/// A person who commits waits no longer than this for a word that is none of git's.
const PERSON_WAITS_MAX: Duration = Duration::from_secs(1);

/// A branch that is closed to agents, and why.
#[derive(Debug, PartialEq)]
pub(crate) struct Closed {
    incident: v1::Incident,
    /// The agent's own name of the session that repairs it; empty: nobody does.
    repairer: String,
}

/// Who brings it: the agent that pushes, or, where something is received, what its commits say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'a> {
    Agent(&'a str),
    Commits,
}

/// Why a push may not go through, if it may not.
///
/// # Errors
/// If it cannot be known.
pub(crate) async fn objection(
    hand: &Hand,
    history: &History,
    updates: &[Update],
    by: By<'_>,
) -> Result<Option<String>, Failure> {
    let mut brought = Vec::new();
    for update in updates.iter().filter(|update| update.branch.is_some() && update.new.is_some()) {
        let commits = match by {
            By::Agent(_) => vec![],
            By::Commits => new_on_its_branch(history, update)?,
        };
        if matches!(by, By::Agent(_)) || commits.iter().any(|commit| commit.session.is_some()) {
            brought.push((update, commits));
        }
    }
    if brought.is_empty() {
        return Ok(None);
    }
    let closed = asked(Door::open_existing(&hand.dirs), ANSWER_MAX).await?;
    for (update, commits) in brought {
        for closed in closed.iter().filter(|closed| closed.is_of(history, update)) {
            let may_pass = match by {
                By::Agent(session) => closed.is_repaired_by(session),
                By::Commits => closed.lets_in(hand, &commits).await?,
            };
            if !may_pass {
                return Ok(Some(closed.refusal_to_publish(by)));
            }
        }
    }
    Ok(None)
}

/// Why an agent may not commit to the branch that is checked out, if it may not: the break is in it, and somebody else's to mend.
///
/// # Errors
/// If it cannot be known.
pub(crate) async fn objection_to_commit(
    hand: &Hand,
    history: &History,
    session: &str,
) -> Result<Option<String>, Failure> {
    let Some(here) = checked_out(history)? else { return Ok(None) };
    let closed = asked(Door::open_existing(&hand.dirs), ANSWER_MAX).await?;
    let closed = closed.iter().find(|closed| closed.is_in(history, &here) && !closed.is_repaired_by(session));
    Ok(closed.map(Closed::refusal_to_commit))
}

/// What a person is told who commits to a branch with a break in it. Where nobody answers soon there is nothing to tell.
pub(crate) async fn word_to_person(hand: &Hand, history: &History) -> Option<String> {
    let here = checked_out(history).ok()??;
    let closed = asked(Door::to_look(&hand.dirs), PERSON_WAITS_MAX).await.ok()?;
    closed.iter().find(|closed| closed.is_in(history, &here)).map(Closed::word_to_person)
}

fn checked_out(history: &History) -> Result<Option<CheckedOut>, Failure> {
    history.checked_out().map_err(|e| Failure::at("read which branch is checked out", &e))
}

fn new_on_its_branch(history: &History, update: &Update) -> Result<Vec<Commit>, Failure> {
    super::commits(history, &Tips::named(update.new.clone()), &[&Tips::named(update.old.clone())])
}

/// What is open now, within somebody's patience.
async fn asked(door: impl Future<Output = Result<Door, Failure>>, patience: Duration) -> Result<Vec<Closed>, Failure> {
    let asked = async {
        let mut door = door.await?;
        let open = door.incidents(v1::ListIncidentsRequest { past: 0 }).await?.incidents;
        let open: Vec<_> = open.into_iter().filter(|i| ![NOT_CONFIRMED, OVER].contains(&i.state.as_str())).collect();
        let sessions = match open.iter().all(|incident| incident.repairing.is_empty()) {
            true => vec![],
            false => door.status().await?.sessions,
        };
        let name_of = |sid: &str| {
            let found = sessions.iter().find(|session| !sid.is_empty() && session.id == sid);
            found.map(|session| clean(&session.agent_session)).unwrap_or_default()
        };
        Ok(open.into_iter().map(|incident| Closed { repairer: name_of(&incident.repairing), incident }).collect())
    };
    match tokio::time::timeout(patience, asked).await {
        Ok(closed) => closed,
        Err(_) => Err(Failure::new(Kind::Unreachable, format!("no answer within {} s", patience.as_secs()))
            .because("the daemon is stuck, or its store is")),
    }
}

impl Closed {
    /// Whether a push goes to what is broken: to that branch of a repository that has what it was green with last. Of a branch that broke
    /// in a clone, if it brings the break along: another clone's branch of that name may be whole.
    fn is_of(&self, history: &History, update: &Update) -> bool {
        let Some(line) = self.incident.line.as_ref() else { return false };
        if update.branch.as_deref() != Some(line.branch.as_str()) || !has(history, &self.incident.green) {
            return false;
        }
        !line.url.is_empty() || update.new.as_ref().is_some_and(|new| contains(history, new, &self.incident.red))
    }

    /// Whether what is checked out has the break in it. Also of a branch at a remote: a clone that has not taken it in is whole.
    fn is_in(&self, history: &History, here: &CheckedOut) -> bool {
        let branch = self.incident.line.as_ref().map(|line| line.branch.as_str());
        branch == Some(here.branch.as_str()) && contains(history, &here.commit, &self.incident.red)
    }

    fn is_repaired_by(&self, session: &str) -> bool {
        !self.repairer.is_empty() && self.repairer == session
    }

    /// Who sends is not known where something is received: what is the repairer's is the repair, whatever it is built on. For all else that
    /// agents made a person must have answered.
    async fn lets_in(&self, hand: &Hand, commits: &[Commit]) -> Result<bool, Failure> {
        if commits.first().and_then(|tip| tip.session.as_deref()).is_some_and(|session| self.is_repaired_by(session)) {
            return Ok(true);
        }
        let agents: Vec<Commit> = commits.iter().filter(|commit| commit.session.is_some()).cloned().collect();
        let known = known(hand, &agents).await?;
        Ok(agents.iter().all(|commit| known.iter().any(|v| v.commit == commit.id && v.verdict == "vouched")))
    }

    fn refusal_to_publish(&self, by: By<'_>) -> String {
        let way = match by {
            By::Agent(_) => self.way_to_mend(),
            By::Commits => {
                "Or a person answers for each commit of an agent: rrctl publish vouch COMMIT --reason WHY".to_owned()
            }
        };
        self.refusal("published", "go on, and push to a branch of your own", &way)
    }

    fn refusal_to_commit(&self) -> String {
        let instead = "commit to a branch of your own (git switch -c NAME takes along what is not committed)";
        self.refusal("committed", instead, &self.way_to_mend())
    }

    fn word_to_person(&self) -> String {
        let text = format!(
            "railroad: {}; agents do not commit to it until that is over. You may: what mends it is seen at the next check\n\
             {}See it with: rrctl incident show {}\n",
            self.what_is_broken(),
            self.repair(),
            short(&self.incident.id)
        );
        printable(&text)
    }

    /// Not `done`: what to do `instead`, and another `way`.
    fn refusal(&self, done: &str, instead: &str, way: &str) -> String {
        let text = format!(
            "railroad: not {done}: {}; no agent's work lands on it until that is over\n\
             {}What to do: {instead}; {} is open again when rrctl incident show {} says that it is over.\n\
             {way}\n",
            self.what_is_broken(),
            self.repair(),
            self.branch(),
            short(&self.incident.id)
        );
        printable(&text)
    }

    fn what_is_broken(&self) -> String {
        let v1::Incident { id, check, red, .. } = &self.incident;
        let red = red.get(..10).unwrap_or(red);
        format!("{} is broken since {red} (`{check}` fails, incident {})", self.branch(), short(id))
    }

    fn branch(&self) -> &str {
        self.incident.line.as_ref().map(|line| line.branch.as_str()).unwrap_or_default()
    }

    fn repair(&self) -> String {
        if self.repairer.is_empty() {
            return String::new();
        }
        format!("It is being repaired by agent session {}.\n", self.repairer)
    }

    fn way_to_mend(&self) -> String {
        format!("Or mend it: rrctl incident claim {}", short(&self.incident.id))
    }
}

/// Names come from others: nothing of them moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", plain(line))).collect()
}

fn has(history: &History, commit: &str) -> bool {
    !commit.is_empty() && history.each(&[commit.to_owned()]).is_ok_and(|found| !found.is_empty())
}

fn contains(history: &History, tip: &str, commit: &str) -> bool {
    let before = |tips: &Tips| history.new_commits(&Tips::named([commit.to_owned()]), &[tips], None);
    has(history, commit) && before(&Tips::named([tip.to_owned()])).is_ok_and(|left| left.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::incident::tests::incident;

    #[test]
    fn only_the_session_that_repairs_it_passes() {
        let closed = |repairer: &str| Closed { incident: incident("1a2b"), repairer: repairer.to_owned() };
        assert!(closed("ann").is_repaired_by("ann") && !closed("ann").is_repaired_by("ben"));
        assert!(!closed("").is_repaired_by(""), "nobody is no session without a name");
    }

    #[test]
    fn a_break_in_a_clone_closes_the_branch_to_what_has_the_break_in_it_and_one_at_a_remote_to_every_push() {
        let dir = tempfile::tempdir().expect("a folder");
        let git = |words: &[&str]| {
            let done = std::process::Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.invalid"])
                .args(words)
                .current_dir(dir.path())
                .output()
                .expect("git runs");
            assert!(done.status.success(), "{words:?}");
            String::from_utf8_lossy(&done.stdout).trim().to_owned()
        };
        let commit = |title: &str| {
            git(&["commit", "-q", "--allow-empty", "-m", title]);
            git(&["rev-parse", "HEAD"])
        };
        git(&["init", "-q", "-b", "main"]);
        let green = commit("green");
        let red = commit("red");
        let later = commit("later");
        git(&["checkout", "-q", "-b", "whole", &green]);
        let whole = commit("whole");
        let history = History::at(dir.path());
        let is_of = |url: &str, branch: &str, new: &str, known: &str| {
            let line = v1::Line { branch: "main".into(), url: url.into(), ..Default::default() };
            let incident = v1::Incident { line: Some(line), green: known.into(), red: red.clone(), ..incident("1a2b") };
            let update = Update { branch: Some(branch.into()), new: Some(new.into()), old: None };
            Closed { incident, repairer: String::new() }.is_of(&history, &update)
        };
        assert!(is_of("", "main", &red, &green) && is_of("", "main", &later, &green));
        assert!(!is_of("", "main", &whole, &green) && is_of("ssh://there", "main", &whole, &green));
        assert!(!is_of("", "topic", &later, &green) && !is_of("ssh://there", "topic", &later, &green));
        assert!(!is_of("ssh://there", "main", &later, &"1".repeat(40)), "another repository");

        let is_in = |url: &str, branch: &str, commit: &str| {
            let line = v1::Line { branch: "main".into(), url: url.into(), ..Default::default() };
            let incident = v1::Incident { line: Some(line), red: red.clone(), ..incident("1a2b") };
            let here = CheckedOut { branch: branch.into(), commit: commit.into() };
            Closed { incident, repairer: String::new() }.is_in(&history, &here)
        };
        for url in ["", "ssh://there"] {
            assert!(is_in(url, "main", &red) && is_in(url, "main", &later));
            assert!(!is_in(url, "main", &whole) && !is_in(url, "main", &green) && !is_in(url, "topic", &later));
        }
    }

    #[test]
    fn a_refusal_names_branch_commit_check_and_what_to_do() {
        let closed = Closed { incident: incident("1a2b"), repairer: "ann\u{1b}[2J".into() };
        let text = closed.refusal_to_publish(By::Agent("ben"));
        for part in
            ["main is broken since 3333333333", "incident 1a2b1a2b", "a branch of your own", "claim 1a2b1a2b", "ann"]
        {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(closed.refusal_to_publish(By::Commits).contains("rrctl publish vouch"));
        let text = closed.refusal_to_commit();
        for part in ["not committed: main is broken since 3333333333", "git switch -c NAME", "claim 1a2b1a2b", "ann"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let text = closed.word_to_person();
        for part in ["main is broken since 3333333333", "You may", "ann", "rrctl incident show 1a2b1a2b"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains("not committed") && !text.contains('\u{1b}'), "{text}");
    }
}
