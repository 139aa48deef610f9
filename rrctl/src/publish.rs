//! The publish gate (D16): which commits may be published, decided from what is known of each. Owns the rule and its words;
//! commits come from `rr_git`, what is known from the coordinator. Next: `publish/closed.rs`
//! (branches that are broken), `publish/refs.rs` (what is pushed), `sidecar.rs`.

pub(crate) mod closed;
pub(crate) mod refs;

use std::collections::HashMap;
use std::time::Duration;

use rr_git::{Commit, Tips};
use rr_proto::v1;

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::table::plain;
use crate::view::short;

/// The store answers in milliseconds, in seconds while it chooses a new leader; a person who pushes waits about this long.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Refused commits that are explained one by one: the rest is counted.
const EXPLAINED_MAX: usize = 10;

/// Why a commit may not be published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Objection {
    /// Its session did not have what it changed any more.
    Overtaken(v1::CommitVerdict),
    /// It names a session, and nothing is known of it.
    Unvouched { commit: String, session: String },
}

/// What is to be published, judged.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Judged {
    pub(crate) objections: Vec<Objection>,
    /// How many may pass.
    pub(crate) passed: usize,
}

/// Who pushes, as far as the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pusher {
    Agent { session: String },
    Person,
}

impl Pusher {
    /// Commands of an agent carry its session's name.
    pub(crate) fn of_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        match set("RAILROAD_SESSION").or_else(|| set("CLAUDE_CODE_SESSION_ID")) {
            Some(session) => Self::Agent { session: clean(&session) },
            None => Self::Person,
        }
    }
}

/// A session's name as it may stand in a commit's message.
fn clean(session: &str) -> String {
    session.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// The rule: what is fenced or vouched for passes; what was overtaken does not; what names a session and is not known does not
/// (its verdict is forgotten, was lost with the store, or never made); what names none and is not known is a person's.
pub(crate) fn decide(commits: &[Commit], known: Vec<v1::CommitVerdict>) -> Judged {
    let mut by_id: HashMap<String, v1::CommitVerdict> = known.into_iter().map(|v| (v.commit.clone(), v)).collect();
    let mut judged = Judged::default();
    for commit in commits {
        let verdict = by_id.remove(&commit.id).filter(|v| v.verdict != "unknown");
        match (verdict, &commit.session) {
            (Some(verdict), _) if matches!(verdict.verdict.as_str(), "fenced" | "vouched") => judged.passed += 1,
            // Also a word of a newer version: what is not understood does not pass.
            (Some(verdict), _) => judged.objections.push(Objection::Overtaken(verdict)),
            (None, Some(session)) => {
                let (commit, session) = (commit.id.clone(), session.clone());
                judged.objections.push(Objection::Unvouched { commit, session });
            }
            (None, None) => judged.passed += 1,
        }
    }
    judged
}

/// Asks what is known of commits, within a person's patience.
pub(crate) async fn known(hand: &Hand, commits: &[Commit]) -> Result<Vec<v1::CommitVerdict>, Failure> {
    let ids: Vec<String> = commits.iter().map(|c| c.id.clone()).collect();
    let asked = async { Door::open_existing(&hand.dirs).await?.judge(&ids).await };
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(known) => known,
        Err(_) => Err(Failure::new(Kind::Unreachable, format!("no answer within {} s", ANSWER_MAX.as_secs()))
            .because("the daemon is stuck, or its store is")),
    }
}

/// The commits that a push of `new` brings to a place where `known` is already.
pub(crate) fn commits(history: &rr_git::History, new: &Tips, known: &[&Tips]) -> Result<Vec<Commit>, Failure> {
    history.new_commits(new, known, None).map_err(|e| Failure::at("list the commits to publish", &e))
}

impl Judged {
    /// What is refused and what to do about it; empty if nothing is.
    pub(crate) fn text(&self) -> String {
        if self.objections.is_empty() {
            return String::new();
        }
        let (refused, all) = (self.objections.len(), self.objections.len() + self.passed);
        let mut text = format!("railroad: not published: {refused} of {all} commits\n");
        for objection in self.objections.iter().take(EXPLAINED_MAX) {
            text.push_str(&objection.text());
        }
        if refused > EXPLAINED_MAX {
            text.push_str(&format!("  and {} more\n", refused - EXPLAINED_MAX));
        }
        text.push_str(&self.next());
        text
    }

    fn next(&self) -> String {
        let mut text = String::new();
        if self.objections.iter().any(|o| matches!(o, Objection::Overtaken(_))) {
            text.push_str(
                "What to do: write those files once more with a tool (that asks for their locks), look at what the other session\n\
                 did to them (git log --all -- FILE), then amend or redo the commit.\n",
            );
        }
        if self.objections.iter().any(|o| matches!(o, Objection::Unvouched { .. })) {
            text.push_str(
                "What is known of a commit is kept for 14 days; it is lost with a restored store, and never made for a commit past the\n\
                 hooks. Amending or rebasing such a commit in its session has it judged anew.\n",
            );
        }
        let first = self.objections.first().map(Objection::commit).unwrap_or_default();
        text.push_str(&format!("Or a person answers for it: rrctl publish vouch {first} --reason WHY\n"));
        text
    }
}

impl Objection {
    fn commit(&self) -> &str {
        let id = match self {
            Self::Overtaken(verdict) => &verdict.commit,
            Self::Unvouched { commit, .. } => commit,
        };
        id.get(..10).unwrap_or(id)
    }

    fn text(&self) -> String {
        match self {
            Self::Unvouched { session, .. } => {
                format!("  {} of session {}: nothing is known of how it was made\n", self.commit(), plain(session))
            }
            Self::Overtaken(verdict) => {
                let name = if verdict.agent_session.is_empty() { &verdict.session } else { &verdict.agent_session };
                let mut text = format!("  {} of session {}:\n", self.commit(), plain(name));
                for path in &verdict.overtaken {
                    text.push_str(&format!("    {}\n", plain(&because(path))));
                }
                if verdict.more > 0 {
                    text.push_str(&format!("    and {} more paths\n", verdict.more));
                }
                text
            }
        }
    }
}

/// Why one path was not its session's.
fn because(path: &v1::OvertakenPath) -> String {
    let v1::OvertakenPath { path, token, holder, holder_token } = path;
    let own = match token {
        0 => "it had no lock on it".to_owned(),
        token => format!("its lock (token {token}) was lost before the commit"),
    };
    let by = match holder.as_str() {
        "" => "nobody had it then".to_owned(),
        holder => format!("session {} had it (token {holder_token})", short(holder)),
    };
    format!("{path}: {own}; {by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(id: &str, session: Option<&str>) -> Commit {
        Commit { id: id.repeat(40), parents: vec![], made_unix_s: 0, session: session.map(str::to_owned) }
    }

    fn verdict(id: &str, word: &str) -> v1::CommitVerdict {
        v1::CommitVerdict { commit: id.repeat(40), verdict: word.to_owned(), ..Default::default() }
    }

    fn refused(session: Option<&str>, known: Vec<v1::CommitVerdict>) -> bool {
        !decide(&[commit("a", session)], known).objections.is_empty()
    }

    #[test]
    fn only_a_persons_commit_passes_unknown_and_an_overtaken_one_never() {
        assert!(!refused(None, vec![verdict("a", "unknown")]));
        assert!(refused(Some("s"), vec![verdict("a", "unknown")]));
        assert!(refused(Some("s"), vec![]), "no answer is no word for it");
        for session in [None, Some("s")] {
            assert!(!refused(session, vec![verdict("a", "fenced")]));
            assert!(!refused(session, vec![verdict("a", "vouched")]));
            assert!(refused(session, vec![verdict("a", "overtaken")]));
            assert!(refused(session, vec![verdict("a", "a word of tomorrow")]));
        }
    }

    #[test]
    fn a_refusal_names_path_session_both_tokens_and_the_way_out() {
        let path = v1::OvertakenPath { path: "src/a".into(), token: 7, holder: "b".repeat(32), holder_token: 9 };
        let overtaken = v1::CommitVerdict {
            agent_session: "one".into(),
            overtaken: vec![path],
            more: 3,
            ..verdict("a", "overtaken")
        };
        let all = [commit("a", Some("one")), commit("c", None), commit("d", Some("old"))];
        let text = decide(&all, vec![overtaken]).text();
        for part in [
            "2 of 3 commits",
            "aaaaaaaaaa of session one",
            "src/a: its lock (token 7) was lost before the commit; session bbbbbbbb had it (token 9)",
            "and 3 more paths",
            "dddddddddd of session old: nothing is known",
            "amend or redo",
            "rrctl publish vouch aaaaaaaaaa --reason",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(decide(&all[1..2], vec![]).text(), "");
    }
}
