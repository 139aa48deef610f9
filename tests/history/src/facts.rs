//! What came of each key that answers speak of: when it came into being, when and how it went. Made by one walk over the
//! history; it judges nothing.

use std::collections::{BTreeMap, HashMap};

use rr_core::time::BootTime;
use rr_store::Revision;

use crate::scope::Claimed;

/// How a holder's key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its session.
    Session,
    /// With everything, when the store was restored.
    Restore,
    /// By itself: released, forced, or withdrawn.
    Alone,
}

/// A holder's key from its creation to its end.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) session: String,
    pub(crate) repo: String,
    pub(crate) claimed: Claimed,
    pub(crate) ended: Option<(Revision, End)>,
}

#[derive(Clone, Debug)]
pub(crate) struct SessionLife {
    pub(crate) created: Revision,
    pub(crate) ended: Option<(Revision, BootTime)>,
}

/// The run permit from one change to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) since: Revision,
    pub(crate) running: bool,
    pub(crate) epoch: u64,
    /// The permit itself was put or deleted here, rather than the epoch alone.
    pub(crate) changed: bool,
    /// As part of a restore.
    pub(crate) restore: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// By key and create revision.
    pub(crate) holders: HashMap<(String, Revision), Life>,
    pub(crate) sessions: BTreeMap<String, SessionLife>,
    /// Anchors of the marks that a session wrote at a revision.
    pub(crate) marks: HashMap<(String, Revision), Vec<String>>,
    /// When each hold came.
    pub(crate) holds: HashMap<String, Revision>,
    pub(crate) permit: Vec<Running>,
    pub(crate) waits: usize,
}

impl Facts {
    /// The permit as it was at a revision.
    pub(crate) fn permit_at(&self, revision: Revision) -> Option<Running> {
        let after = self.permit.partition_point(|running| running.since <= revision);
        after.checked_sub(1).map(|at| self.permit[at])
    }
}
