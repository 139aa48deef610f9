//! Merging stops at the first confirmed red: while a break of a branch is open, no agent's publication reaches that branch, but for the
//! session that repairs it. A person's and the watcher's own revert pass. Owns the rule and its words; what is open is asked of the
//! coordinator, what is pushed of git.

use rr_git::{Commit, History, Tips};
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
    let closed = asked(hand).await?;
    for (update, commits) in brought {
        for closed in closed.iter().filter(|closed| closed.is_of(history, update)) {
            let may_pass = match by {
                By::Agent(session) => closed.is_repaired_by(session),
                By::Commits => closed.lets_in(hand, &commits).await?,
            };
            if !may_pass {
                return Ok(Some(closed.text(by)));
            }
        }
    }
    Ok(None)
}

fn new_on_its_branch(history: &History, update: &Update) -> Result<Vec<Commit>, Failure> {
    super::commits(history, &Tips::named(update.new.clone()), &[&Tips::named(update.old.clone())])
}

/// What is open now, within a person's patience.
async fn asked(hand: &Hand) -> Result<Vec<Closed>, Failure> {
    let asked = async {
        let mut door = Door::open_existing(&hand.dirs).await?;
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
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(closed) => closed,
        Err(_) => Err(Failure::new(Kind::Unreachable, format!("no answer within {} s", ANSWER_MAX.as_secs()))
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

    fn text(&self, by: By<'_>) -> String {
        let v1::Incident { id, check, red, line, .. } = &self.incident;
        let branch = line.as_ref().map(|line| line.branch.as_str()).unwrap_or_default();
        let red = red.get(..10).unwrap_or(red);
        let id = short(id);
        let mut text = format!(
            "railroad: not published: {branch} is broken since {red} (`{check}` fails, incident {id}); no agent's work lands on it until \
             that is over\n"
        );
        if !self.repairer.is_empty() {
            text.push_str(&format!("It is being repaired by agent session {}.\n", self.repairer));
        }
        text.push_str(&format!(
            "What to do: go on, and push to a branch of your own; {branch} is open again when rrctl incident show {id} says that it is over.\n"
        ));
        text.push_str(&match by {
            By::Agent(_) => format!("Or mend it: rrctl incident claim {id}\n"),
            By::Commits => {
                "Or a person answers for each commit of an agent: rrctl publish vouch COMMIT --reason WHY\n".to_owned()
            }
        });
        text.lines().map(|line| format!("{}\n", plain(line))).collect()
    }
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
    fn a_break_in_a_clone_closes_the_branch_to_what_has_the_break_in_it_and_one_at_a_remote_to_everything() {
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
    }

    #[test]
    fn a_refusal_names_branch_commit_check_and_what_to_do() {
        let closed = Closed { incident: incident("1a2b"), repairer: "ann\u{1b}[2J".into() };
        let text = closed.text(By::Agent("ben"));
        for part in
            ["main is broken since 3333333333", "incident 1a2b1a2b", "a branch of your own", "claim 1a2b1a2b", "ann"]
        {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(closed.text(By::Commits).contains("rrctl publish vouch"));
    }
}
