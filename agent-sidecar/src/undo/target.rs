//! Whose changes are meant: by the begin of an id or by an agent's own name, with those whose changes come back when a rollback is
//! taken back. It reads the journal's sessions and the table; what they have changed is `changes`'.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rr_core::id::SessionId;
use rr_core::rollback::Change;
use rr_journal::{Event as Fact, Filter, Kind};

use crate::asked::Declined;
use crate::service::Service;
use crate::table::AgentSession;

/// A session whose changes are looked for, or several together.
pub(crate) struct Target {
    /// The one that was named first.
    pub sid: SessionId,
    pub(super) all: BTreeSet<SessionId>,
    /// Those that are at work here.
    pub live: Vec<Arc<AgentSession>>,
}

impl Target {
    pub(super) fn names(&self) -> String {
        self.all.iter().map(SessionId::short).collect::<Vec<_>>().join(" and ")
    }

    pub(super) fn in_words(&self) -> String {
        let sessions = if self.all.len() == 1 { "session" } else { "sessions" };
        format!("rollback of {sessions} {}", self.names())
    }

    pub(super) fn add(&mut self, further: Self) {
        let new = further.live.into_iter().filter(|who| !self.all.contains(who.sid()));
        self.live.extend(new);
        self.all.extend(further.all);
    }
}

impl Service {
    /// The session that is meant: by the first digits of its id, or by the agent's own name for it.
    pub(crate) fn target(&self, named: &str) -> Result<Target, Declined> {
        if named.is_empty() {
            let why = "Name a session: `rrctl log` and `rrctl sessions` show their ids.".to_owned();
            return Err(Declined::Refused(why));
        }
        let mut found: BTreeSet<SessionId> = BTreeSet::new();
        if let Ok(sid) = SessionId::parse(named) {
            // A whole id needs no look at all the others.
            let own = Filter { session: Some(named.to_owned()), limit: Some(1), ..Filter::default() };
            found.extend(self.journal.reader().query(&own).find_map(Result::ok).map(|_| sid));
        }
        let all = Filter { kinds: Some(vec![Kind::SessionStarted]), ..Filter::default() };
        let others = if found.is_empty() { Some(self.journal.reader().query(&all)) } else { None };
        for entry in others.into_iter().flatten().filter_map(Result::ok).map(|(_, entry)| entry) {
            let Fact::SessionStarted { agent_session, .. } = &entry.event else { continue };
            let Some(sid) = entry.session else { continue };
            if sid.as_str().starts_with(named) || agent_session == named {
                found.insert(sid);
            }
        }
        let mut found = found.into_iter();
        match (found.next(), found.len()) {
            (None, _) => Err(Declined::NotHere(format!(
                "This machine's journal knows no session `{named}`. `rrctl log` shows what it knows."
            ))),
            (Some(sid), 0) => {
                let live = self.all().into_iter().filter(|who| *who.sid() == sid).collect();
                Ok(Target { all: [sid.clone()].into(), sid, live })
            }
            (Some(first), _) => {
                let all: Vec<String> = std::iter::once(first).chain(found).map(|s| s.short().to_owned()).collect();
                let why = format!("`{named}` names several sessions: {}. Type more digits of one.", all.join(", "));
                Err(Declined::Refused(why))
            }
        }
    }

    /// Those at work whose changes come back when a rollback is taken back: what they hold is in nobody's way then, and they are held
    /// back with it.
    pub(super) fn behind(&self, history: &[Change], target: &Target) -> Vec<Arc<AgentSession>> {
        let owners: HashMap<u64, &SessionId> = history.iter().map(|change| (change.seq, &change.session)).collect();
        let mut whose: BTreeSet<&SessionId> = target.all.iter().collect();
        // What a rollback takes out lies before it.
        for change in history.iter().rev() {
            if whose.contains(&change.session) {
                whose.extend(change.undoes.iter().filter_map(|seq| owners.get(seq)));
            }
        }
        self.all().into_iter().filter(|who| whose.contains(who.sid()) && !target.all.contains(who.sid())).collect()
    }
}
