//! `rrctl approve`: a person's yes to one call; and what `rrctl reject` shares with it. Whether it counts is the fleet's to say.

use rr_core::limits::APPROVAL_USE_WITHIN;
use rr_proto::v1;
use rr_proto::v1::decide_reply::Outcome;
use serde_json::{Value, json};

use crate::always;
use crate::cmd::approvals::{WAITING, diff_lines, one_line, view};
use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::pick;
use crate::publish::Pusher;
use crate::table::{age, plain};
use crate::view::short;

/// Lines of what was approved that are said again: enough to see that it is the right one.
const DIFF_LINES_MAX: usize = 40;

/// Approve a call that waits for it: the same call passes once
///
/// The agent learns it at its next call. An approval that is not used within 15 minutes is over.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id that `rrctl approvals` shows, or the begin of it
    id: String,
    /// Why: it is recorded
    #[arg(long, default_value = "")]
    reason: String,
    /// Also allow this command from now on, in the repository's railroad.yaml
    #[arg(long)]
    always: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    if !args.always {
        let said = say(hand, &args.id, Word::Approve, &args.reason).await?;
        return hand.answer(&said.json(), || said.text());
    }
    let (mut door, reply, asked) = find(hand, &args.id).await?;
    // Before the word: the call goes on at once then, and what changes while it runs would be taken for its work.
    let first = (asked.state == WAITING).then(|| always::allow(&asked));
    let said = decide(hand, &mut door, &reply, asked, Word::Approve, &args.reason).await;
    let said = said.map_err(|failure| match &first {
        Some(rule @ always::Rule::Written { .. }) => failure.because(rule.text().trim_end().to_owned()),
        _ => failure,
    })?;
    let rule = first.unwrap_or_else(|| always::allow(&said.asked));
    let mut json = said.json();
    json["always"] = rule.json();
    hand.answer(&json, || said.text() + &rule.text())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Approve,
    Reject,
}

impl Word {
    const fn state(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
        }
    }
}

/// What was said, and stands.
pub(super) struct Said {
    asked: v1::Approval,
    word: Word,
    /// Who had said the same before.
    before: Option<String>,
    now_unix_ms: u64,
}

/// Says a person's word to the request that `id` names.
pub(super) async fn say(hand: &Hand, id: &str, word: Word, reason: &str) -> Result<Said, Failure> {
    let (mut door, reply, asked) = find(hand, id).await?;
    decide(hand, &mut door, &reply, asked, word, reason).await
}

/// The request that `id` names, for a person.
async fn find(hand: &Hand, id: &str) -> Result<(Door, v1::ApprovalsReply, v1::Approval), Failure> {
    if let Pusher::Agent { session } = Pusher::of_environment() {
        let refused = Failure::new(Kind::Refused, "only a person can answer a request for approval");
        return Err(refused.because(format!("this is a command of agent session {session}")));
    }
    let mut door = Door::to_look(&hand.dirs).await?;
    let reply = door.approvals().await?;
    let asked = pick::approval(&reply.approvals, id)?.clone();
    Ok((door, reply, asked))
}

async fn decide(
    hand: &Hand,
    door: &mut Door,
    reply: &v1::ApprovalsReply,
    asked: v1::Approval,
    word: Word,
    reason: &str,
) -> Result<Said, Failure> {
    let request = v1::DecideRequest {
        id: asked.id.clone(),
        revision: asked.revision,
        approve: word == Word::Approve,
        who: hand.who(),
        reason: reason.to_owned(),
    };
    let outcome = door.decide(request).await?.outcome;
    let before = stands(&asked, word, outcome)?;
    Ok(Said { asked, word, before, now_unix_ms: reply.now_unix_ms })
}

/// Who had said the same before, if anybody; or why it does not count.
fn stands(asked: &v1::Approval, word: Word, outcome: Option<Outcome>) -> Result<Option<String>, Failure> {
    let id = short(&asked.id);
    let refused = |what: String| Failure::new(Kind::Refused, what);
    Err(match outcome {
        Some(Outcome::Decided(_)) => return Ok(None),
        Some(Outcome::Already(first)) if first.state == word.state() => return Ok(Some(first.who)),
        Some(Outcome::Already(first)) if first.state == "used" => {
            refused(format!("{id} was approved by {}, and the call has passed", plain(&first.who)))
                .hint("rrctl pause-all")
        }
        Some(Outcome::Already(first)) => {
            let failure = refused(format!("{id} was {} by {}", plain(&first.state), plain(&first.who)));
            let failure =
                if word == Word::Reject { failure.hint("rrctl pause-all, before it is used") } else { failure };
            if first.reason.is_empty() { failure } else { failure.because(plain(&first.reason)) }
        }
        Some(Outcome::ChangedRevision(_)) => {
            refused(format!("{id} is asked anew since it was shown")).hint("rrctl approvals")
        }
        Some(Outcome::Expired(_)) => refused(format!("the time of {id} is over: its agent has to ask again")),
        Some(Outcome::AskerGone(_)) => {
            refused(format!("session {} has ended, or its host is shut out", short(&asked.session)))
        }
        // Also what only a newer version says: nothing is known to stand.
        Some(Outcome::Unknown(_)) | None => {
            Failure::new(Kind::NotFound, format!("{id} is no longer asked")).hint("rrctl approvals")
        }
    })
}

impl Said {
    pub(super) fn json(&self) -> Value {
        let request = view(&self.asked, self.now_unix_ms);
        json!({ "decided": self.word.state(), "already": self.before.is_some(), "by": self.before, "request": request })
    }

    pub(super) fn text(&self) -> String {
        let v1::Approval { id, session, agent, host_name, command, .. } = &self.asked;
        let (id, session) = (short(id), short(session));
        let whose = plain(&format!("session {session} ({agent} on {host_name}): {}", one_line(command)));
        let first = self.before.as_ref().map(|who| format!("{} had said so before.\n", plain(who))).unwrap_or_default();
        match self.word {
            Word::Approve => {
                let within = age(APPROVAL_USE_WITHIN.as_millis());
                let diff = diff_lines(&self.asked, DIFF_LINES_MAX);
                format!("{first}Approved {id} of {whose}\n{diff}The same call passes once, within {within}.\n")
            }
            Word::Reject => format!("{first}Rejected {id} of {whose}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::approvals::tests::asked;

    fn decided(state: &str) -> v1::Decided {
        v1::Decided { state: state.into(), who: "bob".into(), reason: "not today".into() }
    }

    #[test]
    fn only_what_stands_is_told_as_done() {
        let asked = asked("aaaa", "npm publish");
        let told = |outcome| stands(&asked, Word::Approve, outcome).map_err(|f| f.kind);
        assert_eq!(told(Some(Outcome::Decided(decided("approved")))), Ok(None));
        assert_eq!(told(Some(Outcome::Already(decided("approved")))), Ok(Some("bob".into())));
        for outcome in [
            Outcome::Already(decided("rejected")),
            Outcome::Already(decided("used")),
            Outcome::ChangedRevision(9),
            Outcome::Expired(true),
            Outcome::AskerGone(true),
        ] {
            assert_eq!(told(Some(outcome.clone())), Err(Kind::Refused), "{outcome:?}");
        }
        assert_eq!(told(Some(Outcome::Unknown(true))), Err(Kind::NotFound));
        assert_eq!(told(None), Err(Kind::NotFound));
    }

    #[test]
    fn who_was_faster_is_named_with_the_reason() {
        let refused = stands(&asked("aaaa", "x"), Word::Approve, Some(Outcome::Already(decided("rejected"))));
        let text = refused.expect_err("refused").text();
        assert!(text.contains("aaaaaaaa was rejected by bob") && text.contains("not today"), "{text}");
    }
}
