//! Calls that this sidecar's earlier life let through and never saw the end of (H31): the journal says what stood before them.
//! Those of sessions that live on end when their agent says so; what the others did is looked at once, and written down as what
//! nobody reported.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rr_core::id::SessionId;
use rr_journal::{Came, Entry, Event as Fact, OpenCall};
use rr_runtime::clock::unix_ms;

use crate::messages;
use crate::service::Service;
use crate::snapshots::Before;
use crate::table::InFlight;

/// What the journal left open, by session.
#[derive(Default)]
pub(crate) struct Earlier(Mutex<HashMap<SessionId, Vec<OpenCall>>>);

impl Earlier {
    pub(crate) fn new(open: Vec<OpenCall>) -> Self {
        let mut by_session: HashMap<SessionId, Vec<OpenCall>> = HashMap::new();
        // Of a call that was not let through there is nothing to find out.
        for call in open.into_iter().filter(|call| call.came == Came::Started) {
            if let Some(sid) = call.session.clone() {
                by_session.entry(sid).or_default().push(call);
            }
        }
        Self(Mutex::new(by_session))
    }

    fn of(&self, sid: &SessionId) -> Vec<OpenCall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(sid).unwrap_or_default()
    }

    fn rest(&self) -> Vec<OpenCall> {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_values().flatten().collect()
    }
}

impl Service {
    /// The open calls of a session that is taken over, as if they had begun here.
    pub(crate) fn earlier_calls(&self, sid: &SessionId) -> Vec<(String, InFlight)> {
        let flight = |open: OpenCall| {
            let flight = InFlight {
                agent_id: open.agent_id.clone(),
                started: self.now(),
                may_change: true,
                before: Before::earlier(&self.repos, &open.files),
                recorded: false,
                earlier: true,
                commits: false,
                stages: false,
            };
            (open.call, flight)
        };
        self.earlier.of(sid).into_iter().map(flight).collect()
    }

    /// What became of the calls of sessions that are over.
    pub(crate) async fn settle_earlier(&self) {
        for open in self.earlier.rest() {
            let (snapshots, before) = (self.snapshots.clone(), Before::earlier(&self.repos, &open.files));
            let changes = tokio::task::spawn_blocking(move || snapshots.changes(&before, &[], None)).await;
            let changes = changes.unwrap_or_default();
            tracing::warn!(
                session = open.session.as_ref().map(SessionId::as_str),
                call = open.call,
                files = changes.len(),
                "a call was under way when the sidecar last ended, and nobody reported its end"
            );
            let told = Fact::Told { text: messages::end_unknown(&open.call).as_str().into() };
            for event in [told, Fact::Done { ok: false, changes }] {
                self.journal.note(Entry {
                    at_unix_ms: unix_ms(),
                    session: open.session.clone(),
                    agent_id: open.agent_id.clone(),
                    call: Some(open.call.clone()),
                    revision: 0,
                    event,
                });
            }
        }
    }
}
