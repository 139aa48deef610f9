//! The answers kept up to date for a sidecar: read once, then changed by a watch. It is a hint that tells when to look; what
//! lets a call pass is [`Fleet::use_approval`] alone. After an error start again: the list is the truth.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use rr_core::id::{ApprovalId, CallPrint, SessionId};
use rr_store::{Change, Keys, StoreError, WatchStream};

use super::{Answer, Seen};
use crate::{Doing, Fleet, FleetError};

/// The answers of all sessions as far as they have been followed.
pub struct Answers {
    fleet: Fleet,
    rows: BTreeMap<(SessionId, CallPrint), (ApprovalId, Answer)>,
    watch: WatchStream,
}

/// One answer that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerChange {
    pub session: SessionId,
    pub call_print: CallPrint,
    /// `None`: it has expired, or was withdrawn by whoever asked.
    pub now: Option<(ApprovalId, Answer)>,
}

impl Fleet {
    /// Follows the answers to requests for approval.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn follow_answers(&self) -> Result<Answers, FleetError> {
        let prefix = Keys::prefix(self.keys.answers());
        let reply = self.store.range(prefix.clone()).await.doing("list the answers to requests")?;
        // From the list on: nothing can fall between.
        let watch = self.store.watch(prefix, reply.revision + 1).await.doing("watch the answers to requests")?;
        let mut answers = Answers { fleet: self.clone(), rows: BTreeMap::new(), watch };
        for kv in reply.kvs {
            answers.take_in(Change::Put(kv));
        }
        Ok(answers)
    }
}

impl Answers {
    /// Takes in what came next. After an error the answers no longer follow: start again.
    ///
    /// # Errors
    /// If the watch ended, for whatever reason.
    pub async fn changed(&mut self) -> Result<Vec<AnswerChange>, FleetError> {
        let ended = || Err(StoreError::Unavailable("a watch ended".to_owned()));
        let event = self.watch.next().await.unwrap_or_else(ended).doing("follow the answers to requests")?;
        Ok(event.changes.into_iter().filter_map(|change| self.take_in(change)).collect())
    }

    fn take_in(&mut self, change: Change) -> Option<AnswerChange> {
        let (session, call_print) = self.fleet.keys.parse_ask(change.key())?;
        let seen = match change {
            Change::Put(kv) => Seen::read(&kv).ok(),
            Change::Delete { .. } => None,
        };
        let (place, now) =
            ((session.clone(), call_print.clone()), seen.map(|seen| (seen.record.id, seen.record.answer)));
        match now.clone() {
            Some(answer) => self.rows.insert(place, answer),
            None => self.rows.remove(&place),
        };
        Some(AnswerChange { session, call_print, now })
    }

    /// How the requests of one session stand. One that is not among them has expired, or was never asked.
    pub fn of<'a>(
        &'a self,
        session: &'a SessionId,
    ) -> impl Iterator<Item = (&'a CallPrint, &'a ApprovalId, &'a Answer)> + 'a {
        let own = self.rows.iter().filter(move |((sid, _), _)| sid == session);
        own.map(|((_, call), (id, answer))| (call, id, answer))
    }
}
