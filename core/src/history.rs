//! Has the store been put back to an earlier state (H7)? What was seen of its history against what it says now. Without this a
//! restored store would grant again what is held, and give out tokens a second time. It knows no store and keeps nothing: the
//! sidecar keeps the mark on disk.

/// How far a store's history was seen: none of the numbers ever falls within one life of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HighWater {
    /// Which life of the store: `<counter>.<random>`, changed by a new start after a restore.
    pub generation: String,
    pub revision: u64,
    /// 0 where there are no elections.
    pub raft_term: u64,
}

/// What an answer says about the history it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The same history, and at least as far.
    Onward,
    /// A person has made a new start since: nothing of before counts.
    NewStart,
    /// An earlier state, or an earlier life.
    WentBack,
}

impl HighWater {
    /// What `now` says to somebody who has seen this.
    #[must_use]
    pub fn against(&self, now: &Self) -> Told {
        if self.generation == now.generation {
            let back = now.revision < self.revision || now.raft_term < self.raft_term;
            return if back { Told::WentBack } else { Told::Onward };
        }
        // A restored store may show an earlier life; a new start made in it counts from there, so equal is not earlier.
        if self.life() > now.life() { Told::WentBack } else { Told::NewStart }
    }

    /// Takes in what was seen of the same history.
    pub fn raise(&mut self, now: &Self) {
        self.revision = self.revision.max(now.revision);
        self.raft_term = self.raft_term.max(now.raft_term);
    }

    /// The counter of a generation. One without is from before there were any.
    fn life(&self) -> u64 {
        self.generation.split_once('.').and_then(|(n, _)| n.parse().ok()).unwrap_or(0)
    }
}

/// The generation after one.
#[must_use]
pub fn next_generation(last: &str, random: &str) -> String {
    let last = HighWater { generation: last.to_owned(), ..HighWater::default() };
    format!("{}.{random}", last.life().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(generation: &str, revision: u64, raft_term: u64) -> HighWater {
        HighWater { generation: generation.to_owned(), revision, raft_term }
    }

    #[test]
    fn a_lower_revision_or_term_of_the_same_life_is_a_step_back() {
        let mark = seen("2.ab", 100, 7);
        for (now, told) in [
            (seen("2.ab", 100, 7), Told::Onward),
            (seen("2.ab", 101, 8), Told::Onward),
            (seen("2.ab", 99, 7), Told::WentBack),
            // Restored with its revision raised, as it should be: the elections still begin anew.
            (seen("2.ab", 1_000_000, 2), Told::WentBack),
            (seen("1.cd", 2_000, 9), Told::WentBack),
            (seen("cd", 2_000, 9), Told::WentBack),
            (seen("2.cd", 3, 2), Told::NewStart),
            (seen("3.cd", 3, 2), Told::NewStart),
        ] {
            assert_eq!(mark.against(&now), told, "{now:?}");
        }
    }

    #[test]
    fn a_new_start_is_never_taken_for_an_earlier_life() {
        assert_eq!(next_generation("", "ab"), "1.ab");
        assert_eq!(next_generation("0123abcd", "ab"), "1.ab");
        assert_eq!(next_generation("41.ab", "cd"), "42.cd");
        let first = seen(&next_generation("", "ab"), 9, 9);
        assert_eq!(first.against(&seen(&next_generation(&first.generation, "cd"), 1, 1)), Told::NewStart);
    }

    #[test]
    fn what_is_seen_only_rises() {
        let mut mark = seen("1.ab", 10, 3);
        mark.raise(&seen("1.ab", 8, 4));
        assert_eq!(mark, seen("1.ab", 10, 4));
    }
}
