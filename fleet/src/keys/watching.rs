//! Keys of what the watcher and the sidecars keep for overlap, health, incidents and counted slots. Leaders' areas each have a
//! turn key (see `turn`). What lies below `fleet/` is watched by every sidecar, so only the repair claim does.

use rr_core::id::{HostId, IncidentId, OpId, RepoId};
use rr_core::incident::Line;
use rr_core::live::TreeKey;
use rr_core::overlap::FindingId;

use super::Keyspace;
use crate::FleetError;

/// Longest name that people or sidecars give a thing which becomes part of a key.
const NAME_BYTES_MAX: usize = 128;

/// What the key of a change set, or of a part of one, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveKey {
    pub(crate) repo: RepoId,
    pub(crate) tree: TreeKey,
    /// Absent: its head.
    pub(crate) part: Option<usize>,
}

/// A name of somebody's choice, if it may be part of a key.
pub(crate) fn name_in_key<'a>(what: &'static str, name: &'a str) -> Result<&'a str, FleetError> {
    let ok = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if ok { Ok(name) } else { Err(FleetError::BadName { what, got: name.chars().take(80).collect() }) }
}

/// A line's name inside a key: FNV-1a of 128 bits over all that tells lines apart. No secret; wide enough that two of a fleet's
/// few lines never share one.
pub(crate) fn line_name(line: &Line) -> String {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in crate::records::encode(line) {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    format!("{hash:032x}")
}

impl Keyspace {
    /// Rewritten with every change of an area that one writer at a time may make.
    pub(crate) fn turn(&self, area: &str) -> String {
        format!("{}turn/{area}", self.prefix)
    }

    /// Which life of a host's sidecar may write its change sets.
    pub(crate) fn live_hosts(&self) -> String {
        format!("{}livehost/", self.prefix)
    }

    pub(crate) fn live_host(&self, host: &HostId) -> String {
        format!("{}livehost/{host}", self.prefix)
    }

    pub(crate) fn live(&self) -> String {
        format!("{}live/", self.prefix)
    }

    pub(crate) fn live_tree(&self, repo: &RepoId, tree: &TreeKey) -> String {
        format!("{}live/{repo}/{}/{}", self.prefix, tree.host, tree.tree)
    }

    pub(crate) fn live_part(&self, repo: &RepoId, tree: &TreeKey, part: usize) -> String {
        format!("{}/{part:03}", self.live_tree(repo, tree))
    }

    pub(crate) fn parse_live(&self, key: &str) -> Option<LiveKey> {
        let mut parts = key.strip_prefix(&self.live())?.split('/');
        let (repo, host, tree) = (parts.next()?, parts.next()?, parts.next()?);
        let part = parts.next().map(str::parse).transpose().ok()?;
        let tree = TreeKey { host: HostId::parse(host).ok()?, tree: tree.to_owned() };
        Some(LiveKey { repo: RepoId::parse(repo).ok()?, tree, part })
    }

    /// Trees whose contents others ask for.
    pub(crate) fn wants(&self) -> String {
        format!("{}want/", self.prefix)
    }

    pub(crate) fn wants_of(&self, host: &HostId) -> String {
        format!("{}want/{host}/", self.prefix)
    }

    pub(crate) fn want(&self, tree: &TreeKey) -> String {
        format!("{}want/{}/{}", self.prefix, tree.host, tree.tree)
    }

    /// Which trees' contents are at the remote.
    pub(crate) fn sent(&self) -> String {
        format!("{}sent/", self.prefix)
    }

    pub(crate) fn sent_tree(&self, tree: &TreeKey) -> String {
        format!("{}sent/{}/{}", self.prefix, tree.host, tree.tree)
    }

    /// The tree that a key below `prefix` names.
    pub(crate) fn tree_below(prefix: &str, key: &str) -> Option<TreeKey> {
        let (host, tree) = key.strip_prefix(prefix)?.split_once('/')?;
        Some(TreeKey { host: HostId::parse(host).ok()?, tree: tree.to_owned() })
    }

    pub(crate) fn findings(&self) -> String {
        format!("{}finding/", self.prefix)
    }

    pub(crate) fn finding(&self, id: &FindingId) -> String {
        format!("{}finding/{id}", self.prefix)
    }

    /// Whom the leader has told what.
    pub(crate) fn told(&self) -> String {
        format!("{}told", self.prefix)
    }

    pub(crate) fn open_incidents(&self) -> String {
        format!("{}incident/open/", self.prefix)
    }

    pub(crate) fn open_incident(&self, line: &Line) -> String {
        format!("{}incident/open/{}", self.prefix, line_name(line))
    }

    pub(crate) fn past_incidents(&self) -> String {
        format!("{}incident/past/", self.prefix)
    }

    pub(crate) fn past_incident(&self, id: &IncidentId) -> String {
        format!("{}incident/past/{id}", self.prefix)
    }

    /// That an incident's time was started; it outlasts that time.
    pub(crate) fn deadline(&self, id: &IncidentId) -> String {
        format!("{}deadline/{id}/started", self.prefix)
    }

    /// There while it runs.
    pub(crate) fn deadline_runs(&self, id: &IncidentId) -> String {
        format!("{}deadline/{id}/runs", self.prefix)
    }

    pub(crate) fn deadlines_of(&self, id: &IncidentId) -> String {
        format!("{}deadline/{id}/", self.prefix)
    }

    pub(crate) fn orders(&self) -> String {
        format!("{}order/", self.prefix)
    }

    pub(crate) fn orders_of(&self, id: &IncidentId) -> String {
        format!("{}order/{id}/", self.prefix)
    }

    pub(crate) fn order(&self, id: &IncidentId, op: &OpId) -> String {
        format!("{}order/{id}/{op}", self.prefix)
    }

    /// That the watcher paused for an incident: it makes that happen once.
    pub(crate) fn paused_for(&self, id: &IncidentId) -> String {
        format!("{}act/pause-{id}", self.prefix)
    }

    /// Reverts of the last day, each under a lease of a day.
    pub(crate) fn reverts(&self) -> String {
        format!("{}revert/", self.prefix)
    }

    pub(crate) fn revert(&self, id: &IncidentId) -> String {
        format!("{}revert/{id}", self.prefix)
    }

    /// Who repairs. Where every sidecar watches: their gates go by it.
    pub(crate) fn repair(&self) -> String {
        format!("{}fleet/repair", self.prefix)
    }

    pub(crate) fn plan(&self, repo: &RepoId) -> String {
        format!("{}health/plan/{repo}", self.prefix)
    }

    pub(crate) fn trusted_plan(&self, repo: &RepoId) -> String {
        format!("{}health/trusted/{repo}", self.prefix)
    }

    pub(crate) fn line_healths(&self) -> String {
        format!("{}health/line/", self.prefix)
    }

    pub(crate) fn line_health(&self, line: &Line) -> String {
        format!("{}health/line/{}", self.prefix, line_name(line))
    }

    pub(crate) fn health_runs(&self, repo: &RepoId) -> String {
        format!("{}health/run/{repo}/", self.prefix)
    }

    /// Numbers grow; key order is theirs.
    pub(crate) fn health_run(&self, repo: &RepoId, number: u64) -> String {
        format!("{}health/run/{repo}/{number:016}", self.prefix)
    }

    pub(crate) fn health_asks(&self) -> String {
        format!("{}health/ask/", self.prefix)
    }

    pub(crate) fn health_ask(&self, repo: &RepoId) -> String {
        format!("{}health/ask/{repo}", self.prefix)
    }

    /// Counted slots; `slot/` has the sessions' own.
    /// Everybody in line for a slot.
    #[must_use]
    pub fn counted_slots(&self) -> String {
        format!("{}count/", self.prefix)
    }

    pub(crate) fn counted_slots_of(&self, host: &HostId) -> String {
        format!("{}count/{host}/", self.prefix)
    }

    pub(crate) fn counted_slot(&self, host: &HostId, name: &str) -> String {
        format!("{}count/{host}/{name}/", self.prefix)
    }

    pub(crate) fn ticket(&self, host: &HostId, name: &str, op: &OpId) -> String {
        format!("{}count/{host}/{name}/{op}", self.prefix)
    }

    /// Tickets that were given up while an answer was outstanding.
    pub(crate) fn gone_tickets(&self) -> String {
        format!("{}countgone/", self.prefix)
    }

    pub(crate) fn gone_ticket(&self, op: &OpId) -> String {
        format!("{}countgone/{op}", self.prefix)
    }

    pub(crate) fn parse_ticket(&self, key: &str) -> Option<(HostId, String, OpId)> {
        let mut parts = key.strip_prefix(&self.counted_slots())?.split('/');
        let (host, name, op) = (parts.next()?, parts.next()?, parts.next()?);
        Some((HostId::parse(host).ok()?, name.to_owned(), OpId::parse(op).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use rr_core::id::FleetName;
    use rr_core::incident::Place;

    use super::*;

    #[test]
    fn a_change_sets_key_comes_apart_and_a_name_sakes_parts_stay_out() {
        let keys = Keyspace::new(&FleetName::default());
        let repo = RepoId::parse("0123456789abcdef").expect("legal");
        let tree = TreeKey { host: HostId::from_random([1; 16]), tree: "w".into() };
        let head = keys.live_tree(&repo, &tree);
        assert_eq!(keys.parse_live(&head), Some(LiveKey { repo: repo.clone(), tree: tree.clone(), part: None }));
        let part = keys.parse_live(&keys.live_part(&repo, &tree, 7));
        assert_eq!(part, Some(LiveKey { repo: repo.clone(), tree: tree.clone(), part: Some(7) }));
        let other = TreeKey { tree: "w2".into(), ..tree };
        assert!(!keys.live_tree(&repo, &other).starts_with(&format!("{head}/")));
    }

    #[test]
    fn names_that_would_break_a_key_are_refused() {
        for bad in ["", "a/b", "a b", "ä", "\n", &"x".repeat(129)] {
            assert!(name_in_key("tree", bad).is_err(), "{bad:?}");
        }
        assert!(name_in_key("tree", "main.2-@x").is_ok());
    }

    #[test]
    fn lines_that_differ_in_anything_have_keys_of_their_own() {
        let line = |url: &str, branch: &str| Line {
            repo: RepoId::parse("0123456789abcdef").expect("legal"),
            place: Place::Remote { url: url.into() },
            branch: branch.into(),
        };
        assert_eq!(line_name(&line("a", "main")), line_name(&line("a", "main")));
        assert_ne!(line_name(&line("a", "main")), line_name(&line("b", "main")));
        assert_ne!(line_name(&line("a", "main")), line_name(&line("a", "dev")));
    }
}
