//! Commits of agent sessions, for the publish gate (D16): which ones a session has made, whether it still had every path that
//! each changes, and that written to the store **before** the locks go. A look is taken after each command that could commit,
//! before locks are given back, and when the session pushes. The rules are `rr_fleet`'s, git is `rr_git`'s.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use rr_core::id::{CommitId, SessionId};
use rr_core::lock::LockState;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::{BootTime, Span};
use rr_fleet::{Changed, CommitRecord, FleetError, Recorded, Right, Standing, VERDICTS_KEPT_FOR, Verdict};
use rr_git::{Commit, GitError, Tips};
use rr_runtime::clock::unix_ms;
use rr_runtime::config::AcrossWorktrees;
use rr_store::{LeaseId, StoreError};

use crate::hosts::Output;
use crate::messages;
use crate::processes::chain;
use crate::repos::Repo;
use crate::service::Service;
use crate::socket::Question;
use crate::table::{AgentSession, Inner};

/// How a git hook names itself where an agent's hook names its agent.
pub(crate) const GIT_HOOK: &str = "git";
/// One lease serves all verdicts of so long a time: few leases, and none of a verdict's two weeks is lost but the first day.
const LEASE_SERVES: Span = Span::from_secs(24 * 3_600);
/// A look that meets a restore of the store is taken once more.
const LOOKS_MAX: usize = 3;
/// Locks named in a verdict: what a person can read.
const HELD_KEPT_MAX: usize = 20;

/// The lease that verdicts are written under, and since when.
pub(crate) type VerdictsLease = tokio::sync::Mutex<Option<(LeaseId, BootTime)>>;

/// What stood in the way of a look. It is tried again at the next one; until then the locks stay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error("ask git for new commits")]
    Git(#[from] GitError),
    #[error("record commits in the store")]
    Fleet(#[from] FleetError),
    #[error("a part of the look failed")]
    Failed(#[from] tokio::task::JoinError),
}

/// A session's commits since the last look, and the paths of each.
struct Made {
    commits: Vec<(Commit, Vec<Vec<u8>>)>,
    now: Tips,
    then: Tips,
}

impl Service {
    /// Remembers where the branches stand before a session's first command in a work tree: what is there is not its own. After a
    /// gap in what we know nothing is remembered, so that the next look goes back to the session's beginning.
    pub(crate) async fn note_tips(&self, who: &AgentSession, repo: &Arc<Repo>) {
        let known = {
            let inner = who.lock();
            inner.memory_gaps || inner.tips.contains_key(&repo.tree.root)
        };
        if known {
            return;
        }
        let looked = repo.clone();
        if let Ok(Ok(tips)) = tokio::task::spawn_blocking(move || looked.tree.tips()).await {
            who.lock().tips.entry(repo.tree.root.clone()).or_insert(tips);
        }
    }

    /// Judges and records what a session has committed since the last look. False: that is still owed, and its locks must stay.
    /// `since`: a call under way, whose commits count as the session's even where they do not name it.
    pub(crate) async fn look_at_commits(&self, who: &AgentSession, repo: &Arc<Repo>, since: Option<BootTime>) -> bool {
        let _one_at_a_time = who.looking.lock().await;
        match self.look(who, repo, since).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "look at a session's commits");
                false
            }
        }
    }

    /// The same in every work tree that the session has worked in, before its locks are given back.
    pub(crate) async fn look_everywhere(&self, who: &AgentSession) {
        let roots: Vec<_> = who.lock().tips.keys().cloned().collect();
        for root in roots {
            if let Ok(Some(repo)) = self.repos.around(&root) {
                // What could not be recorded is judged at the next look, by what is true then.
                self.look_at_commits(who, &repo, None).await;
            }
        }
    }

    async fn look(&self, who: &AgentSession, repo: &Arc<Repo>, since: Option<BootTime>) -> Result<(), LookError> {
        let Some(made) = self.made(who, repo, since).await? else { return Ok(()) };
        if !made.commits.is_empty() {
            self.judge_commits(who, repo, &made).await?;
        }
        who.lock().tips.insert(repo.tree.root.clone(), made.now);
        Ok(())
    }

    /// What a session has committed since the last look; none if no branch has moved.
    async fn made(
        &self,
        who: &AgentSession,
        repo: &Arc<Repo>,
        since: Option<BootTime>,
    ) -> Result<Option<Made>, LookError> {
        let (then, began_unix_ms) = {
            let inner = who.lock();
            (inner.tips.get(&repo.tree.root).cloned(), inner.record.since_unix_ms)
        };
        let alone = since.filter(|_| !self.another_may_commit(who, repo));
        let in_call =
            alone.map(|at| unix_seconds(unix_ms()) - i64::try_from(self.now().since(at).as_secs()).unwrap_or(0) - 1);
        let (name, looked) = (session_name(&who.key.session), repo.clone());
        let found = tokio::task::spawn_blocking(move || {
            let (now, history) = (looked.tree.tips()?, looked.tree.history());
            if then.as_ref() == Some(&now) {
                return Ok(None);
            }
            let new = match &then {
                Some(then) => history.new_commits(&now, &[then], None)?,
                None => history.new_commits(&now, &[&history.published()?], Some(unix_seconds(began_unix_ms)))?,
            };
            // What came from elsewhere without a name is a person's.
            let unnamed_here = match in_call.filter(|_| then.is_some() && new.iter().any(|c| c.session.is_none())) {
                Some(from) => history.new_commits(&now, &[&history.published()?], Some(from))?,
                None => Vec::new(),
            };
            let here: BTreeSet<String> = unnamed_here.into_iter().map(|c| c.id).collect();
            let is_own = |c: &Commit| match &c.session {
                Some(session) => *session == name,
                None => here.contains(&c.id),
            };
            let own: Vec<Commit> = new.into_iter().filter(is_own).collect();
            let mut paths = history.changed_paths(&own)?;
            let commits = own.into_iter().map(|c| (paths.remove(&c.id).unwrap_or_default(), c)).map(|(p, c)| (c, p));
            Ok::<_, GitError>(Some(Made { commits: commits.collect(), now, then: then.unwrap_or_default() }))
        });
        Ok(found.await??)
    }

    /// Whether another session has a command under way in the same clone: an unnamed commit may be either's.
    fn another_may_commit(&self, who: &AgentSession, repo: &Repo) -> bool {
        let here = |other: &AgentSession| {
            let flights = other.lock().in_flight.values().filter_map(|f| f.before.tree.clone()).collect::<Vec<_>>();
            flights.iter().any(|before| before.repo.tree.common_dir == repo.tree.common_dir)
        };
        self.all().iter().any(|other| other.sid() != who.sid() && here(other))
    }

    async fn judge_commits(&self, who: &AgentSession, repo: &Arc<Repo>, made: &Made) -> Result<(), LookError> {
        let ids: Vec<CommitId> = made.commits.iter().filter_map(|(c, _)| CommitId::parse(&c.id).ok()).collect();
        let known = self.fleet.commit_records(&ids).await?;
        let new: Vec<_> = made.commits.iter().zip(ids).zip(known).filter(|(_, known)| known.is_none()).collect();
        let all: Vec<RepoPath> = new.iter().flat_map(|(((_, paths), _), _)| paths).filter_map(|p| parsed(p)).collect();
        for _ in 0..LOOKS_MAX {
            let standing = self.fleet.standing(&repo.id, &all).await?;
            let mut records = Vec::new();
            for (((commit, paths), id), _) in &new {
                let changes = self.rights(who, repo, made, (commit, paths), &standing).await?;
                records.push((id.clone(), verdict(who, &standing, &changes)));
            }
            let lease = self.verdicts_lease().await?;
            match self.fleet.record_commits(&who.session, &standing, lease, &records).await {
                Ok(Recorded::Yes) => {
                    self.tell_overtaken(who, &records);
                    return Ok(());
                }
                // The store was restored meanwhile, or this host is revoked: then nothing is recorded and nothing passes.
                Ok(Recorded::OutOfDate) => {}
                Err(FleetError::Store { source: StoreError::LeaseNotFound(_), .. }) => {
                    *self.verdicts.lock().await = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// With what right a session changed each path of a commit.
    async fn rights(
        &self,
        who: &AgentSession,
        repo: &Arc<Repo>,
        made: &Made,
        (commit, paths): (&Commit, &[Vec<u8>]),
        standing: &Standing,
    ) -> Result<Vec<Changed>, LookError> {
        let mut changes = Vec::with_capacity(paths.len());
        for bytes in paths {
            // A path that cannot be locked is nobody's.
            let Some(path) = parsed(bytes) else { continue };
            let mut right = who.lock().right(repo, &path);
            let contested = match right {
                Right::Held { .. } | Right::Allowed => false,
                Right::Lost { .. } => true,
                Right::Free => standing.other(&who.session, &path).is_some_and(|h| !self.is_beside(repo, &h.session)),
            };
            let allowed = !contested || self.is_carried_over(repo, commit, bytes, &made.then).await?;
            if allowed && !matches!(right, Right::Held { .. }) {
                right = Right::Allowed;
            }
            changes.push(Changed { path, right });
        }
        Ok(changes)
    }

    /// Whether this repository only warns of what a session does, because it works in another work tree.
    fn is_beside(&self, repo: &Repo, other: &SessionId) -> bool {
        let root = repo.tree.root.display().to_string();
        let elsewhere =
            self.view.session(other).is_some_and(|s| s.host != self.host || !s.workspace.starts_with(&root));
        elsewhere && repo.config().0.locks.across_worktrees == AcrossWorktrees::Warn
    }

    /// Whether a change was made before, in a commit that nothing is held against.
    async fn is_carried_over(
        &self,
        repo: &Arc<Repo>,
        commit: &Commit,
        path: &[u8],
        then: &Tips,
    ) -> Result<bool, LookError> {
        let (history, commit, path, then) = (repo.tree.history(), commit.clone(), path.to_vec(), then.clone());
        let sources = tokio::task::spawn_blocking(move || history.carried_from(&commit, &path, &then)).await??;
        let ids: Vec<CommitId> = sources.iter().filter_map(|c| CommitId::parse(&c.id).ok()).collect();
        let known = self.fleet.commit_records(&ids).await?;
        let is_clean = |(source, known): (&Commit, Option<CommitRecord>)| match known {
            Some(record) => !matches!(record.verdict, Verdict::Overtaken { .. }),
            // A person's. One that names a session and has no verdict is in doubt itself.
            None => source.session.is_none(),
        };
        Ok(sources.iter().zip(known).any(is_clean))
    }

    /// The lease that verdicts are written under now.
    async fn verdicts_lease(&self) -> Result<LeaseId, FleetError> {
        let mut kept = self.verdicts.lock().await;
        let now = self.now();
        if let Some((lease, since)) = *kept
            && now.since(since) < LEASE_SERVES
        {
            return Ok(lease);
        }
        let lease = self.fleet.verdicts_lease().await?;
        *kept = Some((lease, now));
        let fleet = self.fleet.clone();
        self.tasks.spawn(async move {
            let before = unix_ms().saturating_sub(VERDICTS_KEPT_FOR.as_millis());
            if let Err(error) = fleet.forget_commits(before).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "forget old verdicts");
            }
        });
        Ok(lease)
    }

    fn tell_overtaken(&self, who: &AgentSession, records: &[(CommitId, CommitRecord)]) {
        for (id, record) in records {
            let Verdict::Overtaken { paths, more } = &record.verdict else { continue };
            let mut names: Vec<&str> = paths.iter().map(|p| p.path.as_str()).take(HELD_KEPT_MAX).collect();
            let rest = format!("{more} more");
            names.extend((*more > 0).then_some(rest.as_str()));
            tracing::warn!(sid = %who.sid(), commit = %id, ?paths, "a commit of paths that were not its session's any more");
            who.notify(messages::commit_overtaken(id.short(), &names.join(", ")));
        }
    }

    /// The session that a command runs in: by the name in its environment, and by whose process it descends from.
    pub(crate) fn caller(&self, question: &Question) -> Option<Arc<AgentSession>> {
        let named = question.env("RAILROAD_SESSION").or(question.env("CLAUDE_CODE_SESSION_ID")).map(session_name);
        let callers = chain(question.pid, None);
        let is_caller = |s: &Arc<AgentSession>| {
            Some(session_name(&s.key.session)) == named && callers.iter().any(|(p, _)| *p == s.process)
        };
        self.all().into_iter().find(is_caller)
    }

    /// A git hook asks, before a push, that the session it runs in be looked at: its commits are in the store when this is
    /// answered.
    pub(crate) async fn look_before_push(&self, question: &Question) -> Output {
        let refuse = |why: &str| Output { stderr: format!("{why}\n").into_bytes(), exit: 1, ..Output::default() };
        let Some(who) = self.caller(question) else { return refuse(&messages::no_such_session()) };
        use std::os::unix::ffi::OsStrExt as _;
        let folder = Path::new(std::ffi::OsStr::from_bytes(&question.input));
        let Ok(Some(repo)) = self.repos.around(folder) else {
            return refuse("the sidecar finds no work tree here");
        };
        let since = who.lock().in_flight.values().filter(|f| f.before.tree.is_some()).map(|f| f.started).min();
        if self.look_at_commits(&who, &repo, since).await {
            Output::default()
        } else {
            refuse("the sidecar could not record this session's commits in the store")
        }
    }
}

impl Inner {
    /// With what right this session would change a path, as far as it knows itself.
    fn right(&mut self, repo: &Repo, path: &RepoPath) -> Right {
        let claim = Claim::exclusive(Scope::Path(path.clone()));
        if let Some(lock) = self.covering(repo, &claim) {
            return Right::Held { key: lock.grant.key.clone(), token: lock.grant.token };
        }
        let untold = self
            .locks
            .iter()
            .find(|l| matches!(l.state, LockState::Lost(_)) && l.grant.repo == repo.id && l.grant.claim.covers(&claim));
        if let Some(lock) = untold {
            return Right::Lost { token: Some(lock.grant.token) };
        }
        match self.lost.iter().find(|l| l.repo == repo.id && l.claim.covers(&claim)) {
            Some(lost) => Right::Lost { token: lost.token },
            None => Right::Free,
        }
    }
}

fn verdict(who: &AgentSession, standing: &Standing, changes: &[Changed]) -> CommitRecord {
    let held: HashMap<String, _> = changes
        .iter()
        .filter_map(|c| match &c.right {
            Right::Held { token, .. } => Some((c.path.to_string(), *token)),
            _ => None,
        })
        .take(HELD_KEPT_MAX)
        .collect();
    CommitRecord {
        session: Some(who.sid().clone()),
        agent_session: who.key.session.clone(),
        held: held.into_iter().collect(),
        verdict: standing.judge(&who.session, changes),
        at_unix_ms: unix_ms(),
    }
}

/// A session's name as it stands in the environment of its commands and in its commits.
pub(crate) fn session_name(session: &str) -> String {
    session.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn parsed(bytes: &[u8]) -> Option<RepoPath> {
    RepoPath::parse(bytes).ok()
}

fn unix_seconds(ms: u64) -> i64 {
    i64::try_from(ms / 1_000).unwrap_or(i64::MAX)
}
