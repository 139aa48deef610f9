//! Which calls are under way, from the entries alone: after a crash these are the ones of which nobody knows what they did.
//! Plain bookkeeping over entries in their order. It is written at the beginning of each segment, so that a start reads the
//! last one only.

use std::collections::BTreeMap;

use rr_core::id::SessionId;

use crate::entry::{Does, Entry, Event, Kept, Verdict};

/// Above the calls that all agents of a machine have under way at once. Beyond it the oldest that changed nothing go first.
const OPEN_CALLS_MAX: usize = 1_024;

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    /// It said what it wants to do: nothing was changed.
    Intent,
    /// What it may change is kept: nothing was changed.
    Snapped,
    /// It ran: what it did is unknown.
    Started,
}

/// A call of which the journal knows no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCall {
    pub session: Option<SessionId>,
    pub agent_id: Option<String>,
    pub call: String,
    pub came: Came,
    /// Sequence number of its first entry.
    pub first: u64,
    pub at_unix_ms: u64,
    pub tool: String,
    pub does: Does,
    /// What stood before, where it came that far.
    pub files: Vec<Kept>,
}

type Name = (Option<SessionId>, String);

#[derive(Default)]
pub(crate) struct OpenCalls(BTreeMap<Name, Vec<(u64, Entry)>>);

impl OpenCalls {
    pub(crate) fn see(&mut self, sequence: u64, entry: Entry) {
        match &entry.event {
            Event::Intent { does: Does::Read(_), .. } => {}
            Event::Intent { .. } | Event::Snapped { .. } | Event::Started => self.open(sequence, entry),
            Event::Done { .. }
            | Event::Verdict { verdict: Verdict::Denied | Verdict::Stopped | Verdict::Asked, .. } => {
                self.close(&entry);
            }
            // What had not started cannot start any more; what had stays unknown.
            Event::SessionEnded { .. } => self.0.retain(|(session, _), entries| {
                *session != entry.session || entries.iter().any(|(_, e)| matches!(e.event, Event::Started))
            }),
            Event::RolledBack { of, .. } => {
                self.close(&entry);
                self.0.retain(|(session, _), _| session.as_ref() != Some(of));
            }
            _ => {}
        }
    }

    fn open(&mut self, sequence: u64, entry: Entry) {
        let Some(call) = &entry.call else { return };
        if self.0.len() >= OPEN_CALLS_MAX {
            self.forget_one();
        }
        let name = (entry.session.clone(), call.clone());
        let entries = self.0.entry(name).or_default();
        let is_new = entries.iter().all(|(_, known)| known.event.kind() != entry.event.kind());
        // A hook that asks again says the same again.
        if is_new {
            entries.push((sequence, entry));
        }
    }

    fn close(&mut self, entry: &Entry) {
        if let Some(call) = &entry.call {
            self.0.remove(&(entry.session.clone(), call.clone()));
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, entries)| {
            let ran = entries.iter().any(|(_, entry)| matches!(entry.event, Event::Started));
            (ran, entries.first().map(|(sequence, _)| *sequence))
        });
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.0.remove(&name);
        }
    }

    /// The entries that make it, oldest call first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &(u64, Entry)> {
        self.0.values().flatten()
    }

    pub(crate) fn list(&self) -> Vec<OpenCall> {
        let mut list: Vec<OpenCall> = self.0.iter().filter_map(|(name, entries)| open_call(name, entries)).collect();
        list.sort_by_key(|call| call.first);
        list
    }
}

fn open_call((session, call): &Name, entries: &[(u64, Entry)]) -> Option<OpenCall> {
    let (first, entry) = entries.first()?;
    let mut open = OpenCall {
        session: session.clone(),
        agent_id: entry.agent_id.clone(),
        call: call.clone(),
        came: Came::Intent,
        first: *first,
        at_unix_ms: entry.at_unix_ms,
        tool: String::new(),
        does: Does::Other,
        files: Vec::new(),
    };
    for (_, entry) in entries {
        match &entry.event {
            Event::Intent { tool, does, .. } => (open.tool, open.does) = (tool.clone(), does.clone()),
            Event::Snapped { files } => (open.came, open.files) = (open.came.max(Came::Snapped), files.clone()),
            Event::Started => open.came = Came::Started,
            _ => {}
        }
    }
    Some(open)
}
