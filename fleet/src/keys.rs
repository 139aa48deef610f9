//! The layout of the store (lock-protocol §3): every key of a fleet is built here, and taken apart here, and nowhere else.

use rr_core::bugs::{self, Bug};
use rr_core::id::{CallPrint, CommitId, FleetName, HostId, OpId, RepoId, SessionId};

mod watching;

pub(crate) use watching::name_in_key;

/// Builds the keys of one fleet.
#[derive(Clone, Debug)]
pub struct Keyspace {
    prefix: String,
}

/// Exclusive and shared holders live in two trees, so that a shared request need not look at shared holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Exclusive,
    Shared,
    Mark,
}

/// The trees whose keys are locks.
pub(crate) const HOLDERS: [Tree; 2] = [Tree::Exclusive, Tree::Shared];

impl Tree {
    const fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "x",
            Self::Shared => "s",
            Self::Mark => "mark",
        }
    }
}

impl Keyspace {
    #[must_use]
    pub fn new(fleet: &FleetName) -> Self {
        Self { prefix: format!("rr/v1/{fleet}/") }
    }

    #[must_use]
    pub fn all(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn schema(&self) -> String {
        format!("{}meta/schema", self.prefix)
    }

    pub(crate) fn generation(&self) -> String {
        format!("{}meta/gen", self.prefix)
    }

    /// Present while the fleet has as many locks as it may.
    pub(crate) fn full(&self) -> String {
        format!("{}meta/full", self.prefix)
    }

    pub(crate) fn sessions(&self) -> String {
        format!("{}sess/", self.prefix)
    }

    pub(crate) fn session(&self, sid: &SessionId) -> String {
        format!("{}sess/{sid}", self.prefix)
    }

    pub(crate) fn slot(&self, host: &HostId, workspace: &str) -> String {
        format!("{}slot/{host}/{workspace}", self.prefix)
    }

    pub(crate) fn slots_of(&self, host: &HostId) -> String {
        format!("{}slot/{host}/", self.prefix)
    }

    pub(crate) fn slots(&self) -> String {
        format!("{}slot/", self.prefix)
    }

    pub(crate) fn ops(&self) -> String {
        format!("{}op/", self.prefix)
    }

    pub(crate) fn hosts(&self) -> String {
        format!("{}host/", self.prefix)
    }

    pub(crate) fn host(&self, host: &HostId) -> String {
        format!("{}host/{host}", self.prefix)
    }

    pub(crate) fn invitation(&self, token: &str) -> String {
        format!("{}join/{token}", self.prefix)
    }

    pub(crate) fn joins(&self) -> String {
        format!("{}join/", self.prefix)
    }

    pub(crate) fn leaders(&self) -> String {
        format!("{}leader/", self.prefix)
    }

    pub(crate) fn denied(&self, host: &str) -> String {
        format!("{}deny/{host}", self.prefix)
    }

    pub(crate) fn op(&self, sid: &SessionId, op: &OpId) -> String {
        format!("{}op/{sid}/{op}", self.prefix)
    }

    /// What the fleet's running state is made of: permit, epoch, holds. Every sidecar reads and watches all of it, so nothing
    /// lies here that grows with the number of sessions.
    #[must_use]
    pub fn fleet(&self) -> String {
        format!("{}fleet/", self.prefix)
    }

    pub(crate) fn run(&self) -> String {
        format!("{}fleet/run", self.prefix)
    }

    pub(crate) fn epoch(&self) -> String {
        format!("{}fleet/epoch", self.prefix)
    }

    pub(crate) fn holds(&self) -> String {
        format!("{}fleet/hold/", self.prefix)
    }

    pub(crate) fn hold(&self, id: &str) -> String {
        format!("{}fleet/hold/{id}", self.prefix)
    }

    /// Open questions to sidecars, each in one of a few numbered places. Here, where every sidecar watches anyway.
    pub(crate) fn questions(&self) -> String {
        format!("{}fleet/question/", self.prefix)
    }

    pub(crate) fn question(&self, place: usize) -> String {
        format!("{}fleet/question/{place:02}", self.prefix)
    }

    /// What became of questions; nobody but the asker watches any of it.
    pub(crate) fn replies(&self) -> String {
        format!("{}reply/", self.prefix)
    }

    /// That a question was put, and where. It outlasts the question itself.
    pub(crate) fn asked(&self, id: &OpId) -> String {
        format!("{}reply/{id}/asked", self.prefix)
    }

    pub(crate) fn replies_to(&self, id: &OpId) -> String {
        format!("{}reply/{id}/at/", self.prefix)
    }

    /// How far one host is with a question.
    pub(crate) fn reply(&self, id: &OpId, host: &HostId) -> String {
        format!("{}reply/{id}/at/{host}", self.prefix)
    }

    /// A part of its answer. Apart from the above, so that whoever follows that is sent no answer twice.
    pub(crate) fn reply_part(&self, id: &OpId, host: &HostId, part: usize) -> String {
        format!("{}reply/{id}/part/{host}/{part:04}", self.prefix)
    }

    pub(crate) fn log_heads(&self) -> String {
        format!("{}log/head/", self.prefix)
    }

    /// How far a host's journal goes.
    pub(crate) fn log_head(&self, host: &HostId) -> String {
        format!("{}log/head/{host}", self.prefix)
    }

    pub(crate) fn acks(&self) -> String {
        format!("{}ack/", self.prefix)
    }

    pub(crate) fn ack(&self, sid: &SessionId) -> String {
        format!("{}ack/{sid}", self.prefix)
    }

    pub(crate) fn leader(&self, of: &str) -> String {
        format!("{}leader/{of}", self.prefix)
    }

    /// What is known of commits. Not below a repository: a bare or shallow one cannot tell its identity, and a commit's name is
    /// the same everywhere.
    pub(crate) fn commits(&self) -> String {
        format!("{}commit/", self.prefix)
    }

    pub(crate) fn commit(&self, id: &CommitId) -> String {
        format!("{}commit/{id}", self.prefix)
    }

    /// Requests for approval, each under its session's lease.
    #[must_use]
    pub fn asks(&self) -> String {
        format!("{}ask/", self.prefix)
    }

    pub(crate) fn asks_of(&self, sid: &SessionId) -> String {
        format!("{}ask/{sid}/", self.prefix)
    }

    pub(crate) fn ask(&self, sid: &SessionId, call: &CallPrint) -> String {
        format!("{}ask/{sid}/{call}", self.prefix)
    }

    /// How each request stands. Apart from the requests: every sidecar watches all of these, and they are small.
    #[must_use]
    pub fn answers(&self) -> String {
        format!("{}answer/", self.prefix)
    }

    pub(crate) fn answers_of(&self, sid: &SessionId) -> String {
        format!("{}answer/{sid}/", self.prefix)
    }

    pub(crate) fn answer(&self, sid: &SessionId, call: &CallPrint) -> String {
        format!("{}answer/{sid}/{call}", self.prefix)
    }

    /// Takes a request's or an answer's key apart.
    pub(crate) fn parse_ask(&self, key: &str) -> Option<(SessionId, CallPrint)> {
        let rest = key.strip_prefix(&self.asks()).or_else(|| key.strip_prefix(&self.answers()))?;
        let (sid, call) = rest.split_once('/')?;
        Some((SessionId::parse(sid).ok()?, CallPrint::parse(call).ok()?))
    }

    pub(crate) fn tree(&self, tree: Tree) -> String {
        format!("{}{}/", self.prefix, tree.name())
    }

    pub(crate) fn repo(&self, tree: Tree, repo: &RepoId) -> String {
        format!("{}{}/{repo}/", self.prefix, tree.name())
    }

    /// The holders at one place, not below it: `own(p)`.
    pub(crate) fn own(&self, tree: Tree, repo: &RepoId, anchor: &str) -> String {
        let slash = if anchor.is_empty() { "" } else { "/" };
        format!("{}{anchor}{slash}@/", self.repo(tree, repo))
    }

    /// The holders at one place and below it: `range(p)`. The slash at its end keeps `src/a` from matching `src/ab`.
    pub(crate) fn range(&self, tree: Tree, repo: &RepoId, anchor: &str) -> String {
        let slash = if anchor.is_empty() || bugs::is_on(Bug::B11) { "" } else { "/" };
        format!("{}{anchor}{slash}", self.repo(tree, repo))
    }

    pub(crate) fn holder(&self, tree: Tree, repo: &RepoId, anchor: &str, sid: &SessionId, n: u64) -> String {
        format!("{}{sid}.{n}", self.own(tree, repo, anchor))
    }

    pub(crate) fn queues(&self) -> String {
        format!("{}q/", self.prefix)
    }

    pub(crate) fn queue(&self, repo: &RepoId) -> String {
        format!("{}q/{repo}/", self.prefix)
    }

    pub(crate) fn waiter(&self, repo: &RepoId, sid: &SessionId, op: &OpId) -> String {
        format!("{}q/{repo}/{sid}.{op}", self.prefix)
    }

    /// Takes a holder's or mark's key apart: which repository, at which anchor, whose, and which of theirs.
    pub(crate) fn parse_holder(&self, tree: Tree, key: &str) -> Option<(RepoId, String, SessionId, u64)> {
        let rest = key.strip_prefix(&self.tree(tree))?;
        let (repo, rest) = rest.split_once('/')?;
        let (place, owner) = rest.rsplit_once("@/")?;
        let (sid, n) = owner.split_once('.')?;
        let anchor = place.strip_suffix('/').unwrap_or(place);
        Some((RepoId::parse(repo).ok()?, anchor.to_owned(), SessionId::parse(sid).ok()?, n.parse().ok()?))
    }

    /// The repository of a holder's, mark's or waiter's key.
    pub(crate) fn repo_of(&self, key: &str) -> Option<RepoId> {
        RepoId::parse(key.strip_prefix(&self.prefix)?.split('/').nth(1)?).ok()
    }

    pub(crate) fn parse_waiter(&self, key: &str) -> Option<(RepoId, SessionId, OpId)> {
        let (repo, owner) = key.strip_prefix(&self.queues())?.split_once('/')?;
        let (sid, op) = owner.split_once('.')?;
        Some((RepoId::parse(repo).ok()?, SessionId::parse(sid).ok()?, OpId::parse(op).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_key_comes_apart_into_what_made_it() {
        let keys = Keyspace::new(&FleetName::default());
        let repo = RepoId::parse("0123456789abcdef").expect("legal");
        let sid = SessionId::from_random([7; 16]);
        for anchor in ["", "src/a", "!tree.ab", "%40x/b"] {
            let key = keys.holder(Tree::Exclusive, &repo, anchor, &sid, 12);
            let parsed = keys.parse_holder(Tree::Exclusive, &key);
            assert_eq!(parsed, Some((repo.clone(), anchor.to_owned(), sid.clone(), 12)), "{key}");
        }
        assert_eq!(keys.parse_holder(Tree::Exclusive, "rr/v1/default/x/garbage"), None);
    }

    #[test]
    fn a_range_ends_in_a_slash_so_that_name_sakes_stay_out() {
        let keys = Keyspace::new(&FleetName::default());
        let repo = RepoId::parse("0123456789abcdef").expect("legal");
        let range = keys.range(Tree::Exclusive, &repo, "src/a");
        let sid = SessionId::from_random([7; 16]);
        assert!(keys.holder(Tree::Exclusive, &repo, "src/a/b", &sid, 0).starts_with(&range));
        assert!(!keys.holder(Tree::Exclusive, &repo, "src/ab", &sid, 0).starts_with(&range));
    }
}
