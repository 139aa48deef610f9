//! The store at one revision, indexed so that each change costs little however much is held: a hundred thousand revisions
//! are to be judged in seconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rr_store::{KeyValue, Revision};

use crate::scope::Claimed;

/// A lock that is held now.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) key: String,
    pub(crate) session: String,
    pub(crate) claimed: Claimed,
}

/// A request that waits now.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) key: String,
    pub(crate) session: String,
    pub(crate) claims: Vec<Claimed>,
}

/// One repository. Requests of different ones never exclude each other.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    /// By anchor, ending in a slash, so that what lies below another lies together.
    holders: BTreeMap<String, Vec<Holder>>,
    pub(crate) waiters: BTreeMap<Revision, Waiter>,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) keys: HashMap<String, KeyValue>,
    pub(crate) grounds: HashMap<String, Ground>,
    /// The leased keys of each session.
    pub(crate) owned: HashMap<String, BTreeSet<String>>,
    pub(crate) holds: BTreeSet<String>,
}

fn place(anchor: &str) -> String {
    if anchor.is_empty() { String::new() } else { format!("{anchor}/") }
}

impl Ground {
    pub(crate) fn hold(&mut self, holder: Holder) {
        self.holders.entry(place(&holder.claimed.anchor)).or_default().push(holder);
    }

    pub(crate) fn let_go(&mut self, anchor: &str, key: &str) {
        let at = place(anchor);
        if let Some(here) = self.holders.get_mut(&at) {
            here.retain(|holder| holder.key != key);
            if here.is_empty() {
                self.holders.remove(&at);
            }
        }
    }

    /// Everything held at, above or below a place.
    pub(crate) fn around<'a>(&'a self, anchor: &str) -> impl Iterator<Item = &'a Holder> + use<'a> {
        let at = place(anchor);
        let ends = at.match_indices('/').map(|(end, _)| end + 1).filter(|end| *end < at.len());
        let above = std::iter::once(0).chain(ends).filter(|end| *end < at.len()).map(|end| at[..end].to_owned());
        let above: Vec<String> = above.collect();
        let above = above.into_iter().filter_map(|at| self.holders.get(&at));
        let from = at.clone();
        let below = self.holders.range(from..).take_while(move |(key, _)| key.starts_with(&at)).map(|(_, here)| here);
        above.chain(below).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(anchor: &str) -> Holder {
        let value = br#"{"shown":"","mode":"exclusive"}"#.to_vec();
        let (create_revision, mod_revision, version, lease) = (1, 1, 1, None);
        let kv = KeyValue { key: anchor.to_owned(), value, create_revision, mod_revision, version, lease };
        let claimed = Claimed::held(anchor, &kv).unwrap();
        Holder { key: anchor.to_owned(), session: String::new(), claimed }
    }

    #[test]
    fn around_a_place_is_what_lies_above_it_at_it_and_below_it() {
        let mut ground = Ground::default();
        for anchor in ["", "src", "src/a", "src/a/b", "src/ab", "lib"] {
            ground.hold(held(anchor));
        }
        let around = |anchor: &str| ground.around(anchor).map(|h| h.key.clone()).collect::<Vec<_>>();
        assert_eq!(around("src/a"), ["", "src", "src/a", "src/a/b"]);
        assert_eq!(around("lib/x"), ["", "lib"]);
        assert_eq!(around("").len(), 6);
        let mut less = ground;
        less.let_go("src/a", "src/a");
        assert_eq!(less.around("src/a").count(), 3);
    }
}
