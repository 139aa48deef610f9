//! What has been told already. A finding is told once; again only if its level rises above all that was told, or if it reaches
//! somewhere new: a path, or lines that touch none of those told. When it is gone it is cleared, once, and only after it has stayed
//! away for a few looks: a tree that somebody is typing in makes findings come and go.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ranges::{tidy, touch};
use super::{Finding, FindingId, Kind, Level, Place};
use crate::live::Lines;

/// Looks in a row that must not show a finding before it counts as gone.
const CLEAR_AFTER: u8 = 3;

/// What has been told, and not cleared. Saved and loaded, it lets another one go on without telling anything twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    known: BTreeMap<FindingId, Before>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    /// The highest that was told.
    level: Level,
    /// All places that were told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    places: Vec<Place>,
    /// All keys of a manifest that were told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    keys: BTreeSet<String>,
    /// For how many looks it has not been seen.
    #[serde(default)]
    away: u8,
}

/// What is to be said now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    New(Finding),
    /// Told before, and its level is higher now.
    Worse(Finding),
    /// Told before, and it is about more now.
    Changed(Finding),
    Cleared(FindingId),
}

impl Told {
    /// One look: all findings that are known at this time, after their questions were answered. One look for each round of
    /// snapshots. Level 0 is passed over.
    pub fn step(&mut self, now: &[Finding]) -> Vec<Event> {
        let seen: BTreeMap<&FindingId, &Finding> =
            now.iter().filter(|finding| finding.level > Level::Shared).map(|finding| (&finding.id, finding)).collect();
        // In the order they were handed in: whoever ranked them wants them told so.
        let ranked =
            now.iter().filter(|finding| seen.get(&finding.id).is_some_and(|last| std::ptr::eq(*last, *finding)));
        let mut events: Vec<Event> = ranked.filter_map(|finding| self.see(finding)).collect();
        self.known.retain(|id, before| {
            before.away = if seen.contains_key(id) { 0 } else { before.away + 1 };
            let gone = before.away >= CLEAR_AFTER;
            if gone {
                events.push(Event::Cleared(id.clone()));
            }
            !gone
        });
        events
    }

    /// Brings it in line with the findings that stand where everybody reads them. The two are not written at once: what stands there
    /// was told, what does not stand there was cleared, or never told.
    pub fn agree(&mut self, standing: &[Finding]) {
        let ids: BTreeSet<&FindingId> = standing.iter().map(|finding| &finding.id).collect();
        self.known.retain(|id, _| ids.contains(id));
        for finding in standing {
            self.see(finding);
        }
    }

    /// Findings told and not cleared.
    pub fn open(&self) -> impl Iterator<Item = (&FindingId, Level)> {
        self.known.iter().map(|(id, before)| (id, before.level))
    }

    fn see(&mut self, finding: &Finding) -> Option<Event> {
        let keys = keys(finding);
        let Some(before) = self.known.get_mut(&finding.id) else {
            let (level, places) = (finding.level, finding.places.clone());
            self.known.insert(finding.id.clone(), Before { level, places, keys, away: 0 });
            return Some(Event::New(finding.clone()));
        };
        let worse = finding.level > before.level;
        let more = before.takes_in(&finding.places) | (!keys.is_subset(&before.keys));
        before.keys.extend(keys);
        before.level = before.level.max(finding.level);
        match (worse, more) {
            (true, _) => Some(Event::Worse(finding.clone())),
            (false, true) => Some(Event::Changed(finding.clone())),
            (false, false) => None,
        }
    }
}

impl Before {
    /// Whether one of these is new.
    fn takes_in(&mut self, places: &[Place]) -> bool {
        let mut news = false;
        for place in places {
            match self.places.iter_mut().find(|told| told.path == place.path) {
                Some(told) => news |= takes_in_lines(told, place),
                None => {
                    news = true;
                    self.places.push(place.clone());
                }
            }
        }
        news
    }
}

fn takes_in_lines(told: &mut Place, now: &Place) -> bool {
    if told.base != now.base {
        // The target has moved under it: its lines have other numbers, and only their being more says something.
        let news = told.lines.len() < now.lines.len() && !told.lines.is_empty();
        *told = now.clone();
        return news;
    }
    if told.lines.is_empty() || now.lines.is_empty() {
        // The whole file was told, or is now; that is one and the same conflict seen by another merge.
        return false;
    }
    let is_new = |lines: &Lines| !told.lines.iter().any(|known| touch(*known, *lines));
    let news = now.lines.iter().any(is_new);
    told.lines.extend(&now.lines);
    told.lines = tidy(std::mem::take(&mut told.lines));
    news
}

fn keys(finding: &Finding) -> BTreeSet<String> {
    match &finding.kind {
        Kind::Package(keys) => keys.split(", ").map(str::to_owned).collect(),
        _ => BTreeSet::new(),
    }
}
