//! What watches told against what happened: every change in their range, in order, each once, up to where they ended.

use rr_store::{Change, Keys, WatchEvent};

use crate::check::{Rule, Violation};
use crate::record::{History, Seen, Watched};

pub(crate) fn check(history: &History, found: &mut Vec<Violation>) {
    for watched in &history.watches {
        if let Err((revision, why)) = one(&history.events, watched) {
            found.push(Violation { rule: Rule::WatchTellsAll, revision, why });
        }
    }
}

fn one(events: &[Seen], watched: &Watched) -> Result<(), (u64, String)> {
    let first = events.partition_point(|seen| seen.event.revision < watched.from);
    let mut happened = events[first..].iter().filter_map(|seen| part(&seen.event, &watched.keys));
    for told in &watched.told {
        // What came after the recording is nobody's to judge.
        let Some(event) = happened.next() else { return Ok(()) };
        if event != *told {
            let why =
                format!("a watch of {:?} from {} told of revision {} next", watched.keys, watched.from, told.revision);
            return Err((event.revision, why));
        }
    }
    Ok(())
}

fn part(event: &WatchEvent, keys: &Keys) -> Option<WatchEvent> {
    let changes: Vec<Change> = event.changes.iter().filter(|change| keys.contains(change.key())).cloned().collect();
    (!changes.is_empty()).then_some(WatchEvent { revision: event.revision, changes })
}
