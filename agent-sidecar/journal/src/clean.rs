//! What an entry must go through before it is written: secrets out of every text that an agent or a person wrote, and long
//! texts cut. It knows which fields are such texts; what a secret looks like is `redact`'s.

use crate::entry::{Does, Entry, Event};
use crate::redact::redact;
use crate::text::Text;

/// Names of sessions, calls, tools and people are short; what is not came from somewhere else.
const NAME_BYTES_MAX: usize = 512;

pub(crate) fn clean(entry: &mut Entry) {
    entry.agent_id.iter_mut().chain(&mut entry.call).for_each(short);
    match &mut entry.event {
        Event::SessionStarted { agent, agent_session, task: text, .. } => {
            short(agent);
            short(agent_session);
            clean_text(text);
        }
        Event::SessionEnded { how: text } | Event::Told { text } | Event::Checkpoint { why: text, .. } => {
            clean_text(text);
        }
        Event::Intent { tool, does, .. } => {
            short(tool);
            if let Does::Shell(command) = does {
                clean_text(command);
            }
        }
        Event::Verdict { reason, rule, .. } => {
            clean_text(reason);
            rule.iter_mut().for_each(short);
        }
        Event::Paused { who, reason, .. } | Event::Approval { who, reason, .. } => {
            short(who);
            clean_text(reason);
        }
        Event::Resumed { who, .. } => short(who),
        Event::Snapped { .. }
        | Event::Started
        | Event::Done { .. }
        | Event::Lock { .. }
        | Event::RolledBack { .. }
        | Event::Missed { .. }
        | Event::Forgotten { .. } => {}
    }
}

fn clean_text(text: &mut Text) {
    *text = std::mem::take(text).cleaned();
}

fn short(name: &mut String) {
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    if let std::borrow::Cow::Owned(clean) = redact(name) {
        *name = clean;
    }
}
