//! What the watcher has found about this machine's work trees, told to whoever works there, each thing once: at a session's next call what
//! stands then and was not told, and what was told and does not stand any more. What each session was told is written down before it is
//! told, in a file beside the store: so neither this sidecar's end nor a watcher's tells it again. It decides nothing: what is worth
//! telling, the watcher has decided; the words are in `messages`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_core::id::SessionId;
use rr_core::live::TreeKey;
use rr_core::overlap::{Finding, FindingId, Kind, Level};
use rr_fleet::{FindingChange, FindingFollower};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::messages::{self, Reader};
use crate::service::Service;
use crate::table::{AgentKey, AgentSession};

/// Pause before a store that did not answer is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
const FILE: &str = "told.json";
/// Paths that are kept of what was told: as many as are named when it is over.
const PATHS_KEPT_MAX: usize = 8;

type Findings = BTreeMap<FindingId, Arc<Finding>>;

/// What stands, and what of it each session knows.
#[derive(Default)]
pub(crate) struct Telling {
    file: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// `None` until it has been read once: then nothing is new, and nothing over.
    standing: Option<Findings>,
    /// Counts changes of what stands.
    version: u64,
    told: HashMap<AgentKey, Told>,
}

/// What one session was told and not that it is over, without hunks.
#[derive(Default)]
struct Told {
    known: BTreeMap<FindingId, Finding>,
    /// What stood when it was last looked at.
    version: u64,
}

/// Of the file.
#[derive(Serialize, Deserialize)]
struct KeptSession {
    agent: String,
    session: String,
    told: Vec<Finding>,
}

/// What a session is to be told now.
#[derive(Default)]
struct News {
    over: Vec<Finding>,
    /// With which of its sides is the session's.
    new: Vec<(Arc<Finding>, usize)>,
}

impl Telling {
    /// With what an earlier life left in a folder. What cannot be read counts as not told.
    pub(crate) fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let kept: Vec<KeptSession> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "what sessions were told before is not known");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let told = |kept: KeptSession| {
            let known = kept.told.into_iter().map(|finding| (finding.id.clone(), finding)).collect();
            (AgentKey { agent: kept.agent, session: kept.session }, Told { known, version: 0 })
        };
        let inner = Inner { told: kept.into_iter().map(told).collect(), ..Inner::default() };
        Self { file, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that stands now.
    fn stand(&self, all: Findings) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.standing = Some(all);
    }

    fn change(&self, changes: Vec<FindingChange>) {
        let mut inner = self.lock();
        inner.version += 1;
        let standing = inner.standing.get_or_insert_default();
        for change in changes {
            match change {
                FindingChange::Put(finding) => drop(standing.insert(finding.id.clone(), finding.into())),
                FindingChange::Clear(id) => drop(standing.remove(&id)),
            }
        }
    }

    /// What this session is to be told; from now on it counts as told, also in a later life.
    fn news(&self, key: &AgentKey, sid: &SessionId, tree: &TreeKey) -> News {
        let mut inner = self.lock();
        let Inner { standing: Some(standing), version, told } = &mut *inner else { return News::default() };
        let its = told.entry(key.clone()).or_default();
        its.version = *version;
        let news = its.take_in(standing, sid, tree);
        if news.over.is_empty() && news.new.is_empty() {
            return news;
        }
        // Whoever has not come back from an earlier life perhaps never will: what is over need not wait for it.
        for absent in told.values_mut().filter(|told| told.version == 0) {
            absent.known.retain(|id, _| standing.contains_key(id));
        }
        if let Err(error) = self.write(told) {
            tracing::warn!(file = %self.file.display(), %error, "write down what a session is told");
        }
        news
    }

    /// Whether anything has changed since this session was last told.
    fn has_news(&self, key: &AgentKey) -> bool {
        let inner = self.lock();
        inner.standing.is_some() && inner.told.get(key).is_none_or(|told| told.version != inner.version)
    }

    fn write(&self, told: &HashMap<AgentKey, Told>) -> std::io::Result<()> {
        let kept = told.iter().filter(|(_, told)| !told.known.is_empty()).map(|(key, told)| KeptSession {
            agent: key.agent.clone(),
            session: key.session.clone(),
            told: told.known.values().cloned().collect(),
        });
        let draft = self.file.with_extension("draft");
        // Not flushed: it has to outlive this process; no session outlives the boot.
        std::fs::write(&draft, serde_json::to_vec(&kept.collect::<Vec<_>>())?)?;
        std::fs::rename(&draft, &self.file)
    }

    /// This session has ended.
    pub(crate) fn forget(&self, key: &AgentKey) {
        self.lock().told.remove(key);
    }
}

impl Told {
    fn take_in(&mut self, standing: &Findings, sid: &SessionId, tree: &TreeKey) -> News {
        let mut news = News::default();
        let gone: Vec<FindingId> = self.known.keys().filter(|id| !standing.contains_key(*id)).cloned().collect();
        for finding in gone.iter().filter_map(|id| self.known.remove(id)) {
            let is_worth_it = finding.level >= Level::Conflict && !matches!(finding.kind, Kind::Reverted { .. });
            if is_worth_it && !standing.values().any(|other| other.stands_for(&finding)) {
                news.over.push(finding);
            }
        }
        for finding in standing.values().filter(|finding| finding.level > Level::Shared && is_for(finding, sid)) {
            let Some(side) = finding.sides.iter().position(|side| side == tree) else { continue };
            if self.known.get(&finding.id).is_none_or(|before| before.level < finding.level) {
                self.known.insert(finding.id.clone(), without_words(finding));
                news.new.push((finding.clone(), side));
            }
        }
        news
    }
}

impl Service {
    /// Keeps up with the findings until shutdown.
    pub(crate) async fn follow_findings(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.keep_up_with_findings() => {}
            }
            let _ = tokio::time::timeout(RETRY_EVERY, shutdown.cancelled()).await;
        }
    }

    /// Until the store does not answer.
    async fn keep_up_with_findings(&self) {
        let Ok(mut follower) = self.fleet.follow_findings().await else { return };
        self.telling.stand(all_of(&follower));
        while let Ok(changes) = follower.next().await {
            self.telling.change(changes);
        }
    }

    /// What is found about this session's work tree and was not told to it, and what is over.
    pub(crate) fn findings_for(&self, who: &AgentSession) -> Vec<String> {
        if !self.telling.has_news(&who.key) {
            return vec![];
        }
        let workspace = who.lock().record.workspace.clone();
        let Ok(Some(repo)) = self.repos.around(workspace.as_ref()) else { return vec![] };
        let tree = TreeKey { host: self.host.clone(), tree: repo.tag().to_owned() };
        let news = self.telling.news(&who.key, who.sid(), &tree);
        let over = news.over.iter().map(messages::overlap_cleared);
        over.chain(news.new.iter().map(|(finding, side)| self.words(finding, *side, who.sid()))).collect()
    }

    fn words(&self, finding: &Finding, side: usize, sid: &SessionId) -> String {
        if let Kind::Edits { check, command, whose } = &finding.kind {
            let others: Vec<_> =
                whose.sessions().iter().filter(|other| *other != sid).map(|sid| self.who(sid, None)).collect();
            let reader = Reader { took_part: whose.sessions().contains(sid), others: &others };
            return messages::broken_edits(finding, (check, command), whose, &reader);
        }
        let others: Vec<_> = self.at_work_on(&finding.sides[1 - side]).iter().map(|sid| self.who(sid, None)).collect();
        messages::overlap(finding, side, &others)
    }

    /// Who works in a tree, as far as this machine knows: its own sessions.
    fn at_work_on(&self, key: &TreeKey) -> Vec<SessionId> {
        let mine = |who: &Arc<AgentSession>| {
            let workspace = who.lock().record.workspace.clone();
            let repo = self.repos.around(workspace.as_ref()).ok().flatten();
            repo.is_some_and(|repo| key.host == self.host && repo.tag() == key.tree)
        };
        self.all().into_iter().filter(mine).map(|who| who.sid().clone()).collect()
    }
}

fn all_of(follower: &FindingFollower) -> Findings {
    follower.all().map(|finding| (finding.id.clone(), Arc::new(finding.clone()))).collect()
}

/// What is about one session's commit is that session's to read, whoever else works in the same folder.
fn is_for(finding: &Finding, sid: &SessionId) -> bool {
    !matches!(&finding.kind, Kind::Reverted { session, .. } if session != sid)
}

fn without_words(finding: &Finding) -> Finding {
    let mut paths = finding.paths.clone();
    paths.truncate(PATHS_KEPT_MAX);
    Finding { paths, places: vec![], excerpt: String::new(), ..finding.clone() }
}

#[cfg(test)]
mod tests {
    use rr_core::id::{HostId, RepoId};

    use super::*;

    fn key(session: &str) -> AgentKey {
        AgentKey { agent: "claude".into(), session: session.into() }
    }

    fn sid() -> SessionId {
        SessionId::from_random([7; 16])
    }

    fn tree(name: &str) -> TreeKey {
        TreeKey { host: HostId::from_random([1; 16]), tree: name.into() }
    }

    fn commit(digit: &str) -> rr_core::id::CommitId {
        rr_core::id::CommitId::parse(&digit.repeat(40)).expect("an id")
    }

    /// What this work tree has committed fails.
    fn red(name: &str, at: &str) -> Finding {
        let repo = RepoId::parse("0123456789abcdef").expect("an id");
        Finding::of_commit(&repo, &tree(name), &commit(at), "words", "the output".into())
    }

    fn standing(findings: &[&Finding]) -> Findings {
        findings.iter().map(|finding| (finding.id.clone(), Arc::new((*finding).clone()))).collect()
    }

    /// The finding's names that a session is told, and is told to be over.
    fn told(telling: &Telling, session: &str, name: &str) -> [Vec<FindingId>; 2] {
        let news = telling.news(&key(session), &sid(), &tree(name));
        [news.new.into_iter().map(|(f, _)| f.id.clone()).collect(), news.over.into_iter().map(|f| f.id).collect()]
    }

    #[test]
    fn each_session_is_told_once_over_all_lives_of_the_sidecar() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, nobodys) = (red("left", "a"), red("elsewhere", "b"));
        let first = Telling::read(folder.path());
        assert_eq!(told(&first, "ann", "left"), [vec![], vec![]], "nothing has been read yet");
        first.stand(standing(&[&one, &nobodys]));
        assert_eq!(told(&first, "ann", "left"), [vec![one.id.clone()], vec![]]);
        assert_eq!(told(&first, "ann", "left"), [vec![], vec![]]);
        assert_eq!(told(&first, "cleo", "right"), [vec![], vec![]], "of another tree");

        let second = Telling::read(folder.path());
        assert_eq!(told(&second, "ann", "left"), [vec![], vec![]], "what is not known yet is not over");
        second.stand(standing(&[&one, &nobodys]));
        assert_eq!(told(&second, "ann", "left"), [vec![], vec![]]);
        assert_eq!(told(&second, "ben", "left"), [vec![one.id.clone()], vec![]], "who came meanwhile");

        let third = Telling::read(folder.path());
        third.stand(standing(&[&nobodys]));
        assert_eq!(told(&third, "ann", "left"), [vec![], vec![one.id.clone()]]);
        assert_eq!(told(&third, "ann", "left"), [vec![], vec![]]);
        assert!(!third.has_news(&key("ann")) && third.has_news(&key("cleo")));
        third.change(vec![FindingChange::Put(Box::new(one.clone()))]);
        assert!(third.has_news(&key("ann")));
        assert_eq!(told(&third, "ann", "left"), [vec![one.id.clone()], vec![]], "it is back");
    }

    #[test]
    fn that_one_is_over_is_no_news_while_another_says_the_same_of_the_tree() {
        let telling = Telling::read(Path::new("/not/there"));
        let (before, now) = (red("left", "a"), red("left", "b"));
        telling.stand(standing(&[&before]));
        assert_eq!(told(&telling, "ann", "left"), [vec![before.id.clone()], vec![]]);
        telling.change(vec![FindingChange::Put(Box::new(now.clone()))]);
        assert_eq!(told(&telling, "ann", "left"), [vec![now.id.clone()], vec![]]);
        telling.change(vec![FindingChange::Clear(before.id)]);
        assert_eq!(told(&telling, "ann", "left"), [vec![], vec![]]);
        telling.change(vec![FindingChange::Clear(now.id.clone())]);
        assert_eq!(told(&telling, "ann", "left"), [vec![], vec![now.id]]);
    }

    #[test]
    fn a_revert_is_told_to_its_author_alone_and_never_over() {
        let telling = Telling::read(Path::new("/not/there"));
        let repo = RepoId::parse("0123456789abcdef").expect("an id");
        let of = |session: &SessionId| {
            let revert = rr_core::overlap::Reverted { check: "words", commit: &commit("a"), kept: "kept/a", session };
            Finding::of_revert(&repo, &tree("left"), &revert, String::new())
        };
        let theirs = of(&SessionId::from_random([8; 16]));
        telling.stand(standing(&[&theirs]));
        assert_eq!(told(&telling, "ann", "left"), [vec![], vec![]]);
        let own = of(&sid());
        telling.stand(standing(&[&own]));
        assert_eq!(told(&telling, "ann", "left"), [vec![own.id], vec![]]);
        telling.stand(standing(&[]));
        assert_eq!(told(&telling, "ann", "left"), [vec![], vec![]]);
    }

    #[test]
    fn what_cannot_be_read_counts_as_not_told() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "{").expect("written");
        let telling = Telling::read(folder.path());
        let one = red("left", "a");
        telling.stand(standing(&[&one]));
        assert_eq!(told(&telling, "ann", "left"), [vec![one.id], vec![]]);
    }
}
