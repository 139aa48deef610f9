//! Who may hold what: the blockers of a request, the victim of a ring of waiters, and a lock's life as its holder sees it.
//! Order is the store's revision; nothing here looks at a clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::bugs::{self, Bug};
use crate::id::{SessionId, Token};
use crate::scope::Claim;

/// A lock that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub session: SessionId,
    pub claim: Claim,
    /// Create revision of the holder's key.
    pub token: Token,
}

/// A request that waits. All its claims are granted together or none (H33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub session: SessionId,
    pub claims: Vec<Claim>,
    /// Create revision of the queue entry: the place in line. Never used as a token (H37).
    pub since: u64,
}

/// Why a request cannot be granted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    Holder(Held),
    /// Came earlier and wants something that excludes this request: letting us past would be barging (H34).
    Ahead(Waiting),
}

impl Blocker {
    /// The create revision of the key whose end may unblock us.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match self {
            Self::Holder(h) => h.token.0,
            Self::Ahead(w) => w.since,
        }
    }

    #[must_use]
    pub fn session(&self) -> &SessionId {
        match self {
            Self::Holder(h) => &h.session,
            Self::Ahead(w) => &w.session,
        }
    }
}

/// Everything that stands between `me` and `wanted`, for a request whose place in line is `since`.
/// A session never blocks itself.
#[must_use]
pub fn blockers(me: &SessionId, wanted: &[Claim], since: u64, holders: &[Held], queue: &[Waiting]) -> Vec<Blocker> {
    let off = u64::from(bugs::is_on(Bug::B12));
    let hits = |claim: &Claim| wanted.iter().any(|w| w.conflicts(claim));
    let held = holders.iter().filter(|h| h.session != *me && hits(&h.claim)).cloned().map(Blocker::Holder);
    let ahead = queue
        .iter()
        .filter(|w| w.session != *me && w.since + off < since && w.claims.iter().any(hits))
        .cloned()
        .map(Blocker::Ahead);
    held.chain(ahead).collect()
}

/// How many waiters that exclude this request are ahead of it: 0 means next.
#[must_use]
pub fn place_in_line(blockers: &[Blocker]) -> usize {
    let ahead: BTreeSet<&SessionId> =
        blockers.iter().filter(|b| matches!(b, Blocker::Ahead(_))).map(Blocker::session).collect();
    ahead.len()
}

/// One repository: requests of different ones never exclude each other, but one ring can run through several.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub held: Vec<Held>,
    pub queue: Vec<Waiting>,
}

/// The entries to refuse so that no ring is left: of each ring its youngest entry, and no entry that is in none (H33).
#[must_use]
pub fn ring_victims(mut places: Vec<Place>) -> Vec<u64> {
    let mut victims = Vec::new();
    while let Some(victim) = youngest_in_a_ring(&places) {
        places.iter_mut().for_each(|place| place.queue.retain(|w| w.since != victim));
        victims.push(victim);
    }
    victims
}

fn youngest_in_a_ring(places: &[Place]) -> Option<u64> {
    let entries: Vec<(&Waiting, BTreeSet<SessionId>)> = places.iter().flat_map(Place::waits).collect();
    let mut edges: BTreeMap<&SessionId, BTreeSet<&SessionId>> = BTreeMap::new();
    for (waiting, on) in &entries {
        edges.entry(&waiting.session).or_default().extend(on);
    }
    let rings = entries.iter().filter(|(waiting, on)| on.iter().any(|next| reaches(next, &waiting.session, &edges)));
    rings.map(|(waiting, _)| waiting.since).max()
}

impl Place {
    /// Each entry, and the sessions that it waits for.
    fn waits(&self) -> impl Iterator<Item = (&Waiting, BTreeSet<SessionId>)> {
        self.queue.iter().map(|w| {
            let on = blockers(&w.session, &w.claims, w.since, &self.held, &self.queue);
            (w, on.iter().map(Blocker::session).cloned().collect())
        })
    }
}

fn reaches(from: &SessionId, to: &SessionId, edges: &BTreeMap<&SessionId, BTreeSet<&SessionId>>) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            open.extend(edges.get(at).into_iter().flatten());
        }
    }
    false
}

/// A lock's life as its holder sees it (lock-protocol §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    Queued,
    /// Granted, but the last holder ended uncleanly a moment ago and may still be writing.
    Cooling(Token),
    Usable(Token),
    /// The session is fenced: the lock may or may not still be ours. Nothing passes.
    Suspended(Token),
    /// Gone while we thought we had it. Stays until the agent has been told (X10).
    Lost(Token),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockEvent {
    Granted {
        token: Token,
        cooling: bool,
    },
    CoolingOver,
    SessionFenced,
    /// The session is proven alive; this is the token its holder key has in the store now, if there is one.
    Proven {
        stored: Option<Token>,
    },
    /// The store shows the key gone, or with another token.
    KeyGone,
}

impl LockState {
    /// The next state. An event that does not fit the state changes nothing: events are hints, the store is the record.
    #[must_use]
    pub fn on(self, event: LockEvent) -> Self {
        match (self, event) {
            (Self::Queued, LockEvent::Granted { token, cooling: true }) => Self::Cooling(token),
            (Self::Queued, LockEvent::Granted { token, cooling: false }) => Self::Usable(token),
            (Self::Cooling(t), LockEvent::CoolingOver) => Self::Usable(t),
            (Self::Cooling(t) | Self::Usable(t), LockEvent::SessionFenced) => Self::Suspended(t),
            (Self::Suspended(t), LockEvent::Proven { stored }) if stored == Some(t) => Self::Usable(t),
            (Self::Suspended(t), LockEvent::Proven { .. }) => Self::Lost(t),
            (Self::Cooling(t) | Self::Usable(t) | Self::Suspended(t), LockEvent::KeyGone) => Self::Lost(t),
            (state, _) => state,
        }
    }

    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Usable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RepoPath;
    use crate::scope::Scope;

    fn sid(n: u8) -> SessionId {
        SessionId::from_random([n; 16])
    }

    fn claim(path: &str) -> Claim {
        Claim::exclusive(Scope::Path(RepoPath::parse(path.as_bytes()).expect(path)))
    }

    fn held(n: u8, path: &str, token: u64) -> Held {
        Held { session: sid(n), claim: claim(path), token: Token(token) }
    }

    fn waiting(n: u8, path: &str, since: u64) -> Waiting {
        Waiting { session: sid(n), claims: vec![claim(path)], since }
    }

    #[test]
    fn a_holder_above_below_or_on_the_path_blocks_and_a_name_sake_does_not() {
        let holders = [held(1, "src", 3), held(2, "src/a/b", 4), held(3, "src/ab", 5)];
        let found = blockers(&sid(9), &[claim("src/a")], 10, &holders, &[]);
        assert_eq!(found.iter().map(Blocker::revision).collect::<Vec<_>>(), vec![3, 4]);
    }

    #[test]
    fn own_locks_never_block() {
        assert!(blockers(&sid(1), &[claim("a")], 10, &[held(1, "a", 3)], &[waiting(1, "a", 4)]).is_empty());
    }

    #[test]
    fn a_later_waiter_does_not_block_and_an_earlier_one_does() {
        let queue = [waiting(1, "a", 5), waiting(2, "a", 8), waiting(3, "b", 2)];
        let found = blockers(&sid(9), &[claim("a")], 7, &[], &queue);
        assert_eq!(found, vec![Blocker::Ahead(queue[0].clone())]);
        assert_eq!(place_in_line(&found), 1);
    }

    #[test]
    fn rings_of_two_to_eight_lose_exactly_their_youngest_waiter() {
        for n in 2u8..=8 {
            let holders: Vec<Held> = (0..n).map(|i| held(i, &format!("f{i}"), u64::from(i) + 1)).collect();
            let queue: Vec<Waiting> =
                (0..n).map(|i| waiting(i, &format!("f{}", (i + 1) % n), 100 + u64::from(i))).collect();
            assert_eq!(
                ring_victims(vec![Place { held: holders.clone(), queue: queue.clone() }]),
                vec![100 + u64::from(n) - 1],
                "ring of {n}"
            );
        }
    }

    #[test]
    fn a_queue_without_a_ring_loses_nobody() {
        let holders = [held(1, "a", 1), held(2, "b", 2)];
        let queue = [waiting(1, "b", 10), waiting(3, "a", 11), waiting(4, "a", 12)];
        assert!(ring_victims(vec![Place { held: holders.to_vec(), queue: queue.to_vec() }]).is_empty());
    }

    #[test]
    fn the_same_path_in_two_repositories_makes_no_ring_and_a_ring_may_run_through_both() {
        let place = |held, queue| Place { held, queue };
        let apart = vec![
            place(vec![held(1, "a", 1)], vec![waiting(2, "a", 10)]),
            place(vec![held(3, "a", 2)], vec![waiting(1, "a", 11)]),
        ];
        assert!(ring_victims(apart).is_empty());
        let through = vec![
            place(vec![held(1, "a", 1)], vec![waiting(2, "a", 10)]),
            place(vec![held(2, "a", 2)], vec![waiting(1, "a", 11)]),
        ];
        assert_eq!(ring_victims(through), vec![11]);
    }

    #[test]
    fn a_fenced_lock_comes_back_only_with_its_own_token() {
        let t = Token(7);
        let fenced = LockState::Usable(t).on(LockEvent::SessionFenced);
        assert_eq!(fenced, LockState::Suspended(t));
        assert!(!fenced.is_usable());
        assert_eq!(fenced.on(LockEvent::Proven { stored: Some(t) }), LockState::Usable(t));
        assert_eq!(fenced.on(LockEvent::Proven { stored: Some(Token(8)) }), LockState::Lost(t));
        assert_eq!(fenced.on(LockEvent::Proven { stored: None }), LockState::Lost(t));
        assert_eq!(LockState::Lost(t).on(LockEvent::Proven { stored: Some(t) }), LockState::Lost(t));
    }

    #[test]
    fn a_grant_after_an_unclean_end_cools_first() {
        let granted = LockState::Queued.on(LockEvent::Granted { token: Token(3), cooling: true });
        assert!(!granted.is_usable());
        assert!(granted.on(LockEvent::CoolingOver).is_usable());
    }
}
