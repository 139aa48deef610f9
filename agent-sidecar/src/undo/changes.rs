//! What was changed, by everybody, since a session's first change: the journal's entries as `rr_core::rollback` wants them.

use std::collections::HashSet;
use std::sync::Arc;

use rr_core::id::SessionId;
use rr_core::rollback::{Change, Place};
use rr_journal::{Entry, Event as Fact, Filter, Kind};
use rr_runtime::errors::chain;

use super::target::Target;
use crate::service::Service;

impl Service {
    /// Everybody's changes since the session's first one.
    pub(super) async fn history_of(self: &Arc<Self>, target: &Target) -> Result<Vec<Change>, String> {
        // A call's end is written a moment after it: without it a step would be overlooked, and an earlier one taken for the last.
        self.journal.settled().await.map_err(|error| not_all_written(&error))?;
        let (reader, all) = (self.journal.reader(), target.all.clone());
        let read = move || {
            let Some(first) = all.iter().filter_map(|sid| first_of(&reader, sid)).min() else { return Ok(Vec::new()) };
            let all = Filter {
                kinds: Some(vec![Kind::Done, Kind::RolledBack]),
                after: Some(first.saturating_sub(1)),
                ..Filter::default()
            };
            let (mut history, mut known) = (Vec::new(), HashSet::new());
            for found in reader.query(&all) {
                match found {
                    Ok((sequence, entry)) => note_changes(&mut history, &mut known, sequence, entry),
                    Err(damage) => return Err(damage.to_string()),
                }
            }
            Ok(history)
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| "reading the journal failed".to_owned())?;
        read.map_err(|why| {
            format!("The journal is damaged after that session began ({why}), so what others did cannot be told apart for certain. `rrctl doctor` says more.")
        })
    }

    pub(super) fn last_checkpoint(&self, sid: &SessionId) -> Result<u64, String> {
        let filter = Filter {
            session: Some(sid.to_string()),
            kinds: Some(vec![Kind::Checkpoint]),
            order: rr_journal::Order::NewestFirst,
            limit: Some(1),
            ..Filter::default()
        };
        let found = self.journal.reader().query(&filter).find_map(Result::ok);
        found.map(|(sequence, _)| sequence).ok_or_else(|| {
            "There is no checkpoint of this session yet. `--steps` or `--to TIME` say how far to go back.".to_owned()
        })
    }
}

/// Where what has to be known of a session's changes begins: at its first one. A rollback's begin with those that it took out.
fn first_of(reader: &rr_journal::Reader, sid: &SessionId) -> Option<u64> {
    let own = Filter {
        session: Some(sid.to_string()),
        kinds: Some(vec![Kind::Done, Kind::RolledBack]),
        limit: Some(1),
        ..Filter::default()
    };
    let (mut first, mut entry) = reader.query(&own).find_map(Result::ok)?;
    // One rollback may have taken out another: each step leads to an earlier entry, so this ends.
    while let Fact::RolledBack { undone, .. } = &entry.event {
        let Some(earlier) = undone.iter().min().copied().filter(|seq| *seq < first) else { break };
        let Ok(Some(found)) = reader.get(earlier) else { break };
        (first, entry) = (earlier, found);
    }
    Some(first)
}

pub(super) fn not_all_written(error: &rr_journal::JournalError) -> String {
    format!(
        "The journal cannot be written ({}), so the last calls are not in it and cannot be told apart. Nothing was changed: `rrctl doctor`.",
        chain(error)
    )
}

/// `known`: where each entry has changed something.
fn note_changes(history: &mut Vec<Change>, known: &mut HashSet<(u64, Place)>, sequence: u64, entry: Entry) {
    let Some(session) = entry.session else { return };
    let (changes, undone) = match entry.event {
        Fact::Done { changes, .. } => (changes, Vec::new()),
        Fact::RolledBack { changes, undone, .. } => (changes, undone),
        _ => return,
    };
    for change in changes {
        let place = Place { root: change.root, path: change.path.as_path().to_owned() };
        let undoes: Vec<u64> = undone.iter().copied().filter(|seq| known.contains(&(*seq, place.clone()))).collect();
        known.insert((sequence, place.clone()));
        let (call, at_unix_ms) = (entry.call.clone().unwrap_or_default(), entry.at_unix_ms);
        let (seq, session) = (sequence, session.clone());
        let (before, after) = (change.before, change.after);
        history.push(Change { seq, session, call, at_unix_ms, place, before, after, undoes });
    }
}
