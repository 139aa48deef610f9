//! The store's history as this host has seen it, on disk and so over restarts. A store that went back stops every call here
//! until a person has made a new start (`rrctl post-restore`); then all that was known is forgotten. The rule is
//! `rr_core::history`'s.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rr_core::history::{HighWater, Told};
use rr_core::lock::LockEvent;
use rr_core::session::DeathCause;
use rr_core::time::{BootTime, Span};
use rr_fleet::FleetState;
use serde::{Deserialize, Serialize};

use crate::keeper::lose;
use crate::service::Service;

/// In the state folder.
const FILE: &str = "store-history";
/// How often a mark that has only risen is written. What is lost with the process is at most so much of the past.
const WRITE_EVERY: Span = Span::from_secs(30);

/// What is kept on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    generation: String,
    revision: u64,
    raft_term: u64,
    /// Seen to go back, and no new start since.
    #[serde(default)]
    went_back: bool,
}

/// The mark, and when it was last written.
#[derive(Debug)]
pub(crate) struct History {
    file: PathBuf,
    mark: Option<HighWater>,
    went_back: bool,
    written: Option<BootTime>,
}

impl History {
    /// Reads what an earlier life has kept. A file that cannot be read is as good as none: the store is then believed.
    pub(crate) fn load(state: &Path) -> Self {
        let file = state.join(FILE);
        let kept = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        let went_back = kept.as_ref().is_some_and(|k| k.went_back);
        let mark = kept.map(|k| HighWater { generation: k.generation, revision: k.revision, raft_term: k.raft_term });
        Self { file, mark, went_back, written: None }
    }

    /// What an answer of the store says, with everything seen before in mind.
    fn take_in(&mut self, mut seen: HighWater, now: BootTime) -> Told {
        if let Some(mark) = &self.mark {
            // A member that was behind answers honestly in an older term for a while. Whether a term went back is for the
            // store to say, which asks the other members; here it is only kept.
            seen.raft_term = seen.raft_term.max(mark.raft_term);
        }
        let told = self.mark.as_ref().map_or(Told::NewStart, |mark| mark.against(&seen));
        match (told, &mut self.mark) {
            (Told::NewStart, _) => {
                (self.mark, self.went_back) = (Some(seen), false);
                self.write(now);
            }
            // A restored store that has caught up is not the one that was left.
            (Told::Onward, _) if self.went_back => return Told::WentBack,
            (Told::Onward, Some(mark)) => {
                let elected = seen.raft_term > mark.raft_term;
                mark.raise(&seen);
                if elected || self.written.is_none_or(|then| now.since(then) >= WRITE_EVERY) {
                    self.write(now);
                }
            }
            (Told::WentBack, _) => self.set_back(now),
            (Told::Onward, None) => {}
        }
        told
    }

    fn set_back(&mut self, now: BootTime) {
        if !std::mem::replace(&mut self.went_back, true) {
            self.write(now);
        }
    }

    /// Moved into place whole. Without room for it the mark in memory still holds.
    fn write(&mut self, now: BootTime) {
        self.written = Some(now);
        let Some(mark) = &self.mark else { return };
        let HighWater { generation, revision, raft_term } = mark.clone();
        let kept = Kept { generation, revision, raft_term, went_back: self.went_back };
        let aside = self.file.with_extension("new");
        let written = serde_json::to_vec(&kept).map_err(std::io::Error::other).and_then(|text| {
            let mut out = std::fs::File::create(&aside)?;
            out.write_all(&text)?;
            out.sync_all()?;
            std::fs::rename(&aside, &self.file)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "keep the store's history on disk");
        }
    }
}

impl Service {
    /// Whether what was just read may be believed.
    pub(crate) fn is_history_sound(&self, state: &FleetState) -> bool {
        let raft_term = self.fleet.position().raft_term;
        let seen = HighWater { generation: state.generation.id.clone(), revision: state.revision, raft_term };
        let told = self.history().take_in(seen, self.now());
        match told {
            Told::Onward => {}
            Told::NewStart => self.begin_anew(state),
            Told::WentBack => self.store_went_back(),
        }
        told != Told::WentBack
    }

    /// Also called when the store itself says so; it is then told to go on, so that a new start can be seen.
    pub(crate) fn store_went_back(&self) {
        let now = self.now();
        self.history().set_back(now);
        self.permit().store_went_back();
        for who in self.all() {
            let mut inner = who.lock();
            inner.heartbeat.store_went_back();
            inner.apply(LockEvent::SessionFenced);
        }
        tracing::error!("the store went back to an earlier state: nothing passes until `rrctl post-restore`");
        self.fleet.accept_history();
    }

    pub(crate) fn has_store_gone_back(&self) -> bool {
        self.history().went_back
    }

    /// Sessions of an earlier generation have nothing left in the store.
    fn begin_anew(&self, state: &FleetState) {
        self.permit().begin_anew();
        *self.state() = None;
        for who in self.all() {
            if who.session.generation != state.generation.revision {
                lose(&who, DeathCause::GenerationChanged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(generation: &str, revision: u64) -> HighWater {
        HighWater { generation: generation.to_owned(), revision, raft_term: 2 }
    }

    fn at(secs: u64) -> BootTime {
        BootTime::from_millis(secs * 1_000)
    }

    #[test]
    fn what_was_seen_is_known_to_the_next_life() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = History::load(folder.path());
        assert_eq!(first.take_in(seen("1.ab", 10), at(1)), Told::NewStart, "the first store ever seen");
        assert_eq!(first.take_in(seen("1.ab", 90), at(40)), Told::Onward);
        let mut second = History::load(folder.path());
        assert_eq!(second.take_in(seen("1.ab", 89), at(50)), Told::WentBack);
        let mut third = History::load(folder.path());
        assert!(third.went_back);
        assert_eq!(third.take_in(seen("1.ab", 1_000), at(60)), Told::WentBack, "catching up is no proof");
        assert_eq!(third.take_in(seen("2.cd", 5), at(61)), Told::NewStart);
        let mut fourth = History::load(folder.path());
        assert!(!fourth.went_back);
        assert_eq!(fourth.take_in(seen("2.cd", 5), at(62)), Told::Onward);
    }

    #[test]
    fn a_mark_that_only_rises_is_written_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::load(folder.path());
        for secs in 0..=29 {
            history.take_in(seen("1.ab", 100 + secs), at(secs));
        }
        assert_eq!(History::load(folder.path()).mark.unwrap().revision, 100);
        history.take_in(seen("1.ab", 130), at(30));
        assert_eq!(History::load(folder.path()).mark.unwrap().revision, 130);
    }

    #[test]
    fn a_garbled_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(History::load(folder.path()).take_in(seen("1.ab", 1), at(1)), Told::NewStart);
    }
}
