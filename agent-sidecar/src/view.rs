//! The fleet as last seen, indexed for the questions that each call asks: who holds this path, who is here. It is a hint for
//! texts; what decides is the store's own answer. `following` keeps it fresh, change by change; of a lock it keeps what these
//! questions need and no more, for there are thousands.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::swap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::messages::Who;
use rr_core::id::{RepoId, SessionId, Token};
use rr_core::path::RepoPath;
use rr_core::scope::Scope;
use rr_core::time::Span;
use rr_fleet::{Fleet, FleetError, LockRow, Moved, Moves, Now, Part, SessionRecord, WaiterRow, Work};
use rr_runtime::clock::unix_ms;
use rr_runtime::metrics::FleetSize;

/// Answers from one moment each. None of them borrows from it: whoever asks may go on to ask the store.
#[derive(Default)]
pub(crate) struct View(RwLock<Picture>);

#[derive(Default)]
struct Picture {
    /// How far each part is known. What is older was known already.
    seen: HashMap<Part, u64>,
    sessions: HashMap<SessionId, SessionRecord>,
    /// Who holds a file or a folder for itself alone.
    holders: HashMap<(RepoId, RepoPath), Holder>,
    /// The other exclusive locks, by their keys: patterns, and what is no file. They are few.
    others: BTreeMap<Box<str>, OtherLock>,
    /// Keys, to count them.
    shared: HashSet<Box<str>>,
    waiters: BTreeMap<Box<str>, WaiterRow>,
    /// Each once, however many locks name it.
    repos: HashSet<RepoId>,
}

/// Who holds a path, and since when by the wall clock.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub session: SessionId,
    pub since_unix_ms: u64,
    token: Token,
}

#[derive(PartialEq, Eq)]
struct OtherLock {
    repo: RepoId,
    /// The pattern; `None`: it is no file.
    shown: Option<Box<str>>,
    holder: Holder,
}

/// Another session in a repository, with what it holds there.
pub(crate) struct Other {
    pub session: SessionId,
    pub record: SessionRecord,
    pub held: Vec<String>,
}

impl View {
    /// Reads the fleet anew.
    pub(crate) async fn refresh(&self, fleet: &Fleet) {
        match fleet.work().await {
            Ok(all) => self.replace(all),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "look at the fleet"),
        }
    }

    /// Reads the fleet anew and forgets what was seen before: the store itself may have been put back since. Answers how far it
    /// was read.
    pub(crate) async fn begin(&self, fleet: &Fleet) -> Result<u64, FleetError> {
        let all = fleet.work().await?;
        let revision = all.revision;
        let mut read = Picture::of(all);
        swap(&mut *self.write(), &mut read);
        Ok(revision)
    }

    /// Nobody waits while it is read, nor while what it replaces is dropped.
    fn replace(&self, all: Work) {
        let mut read = Picture::of(all);
        self.write().exchange(&mut read);
    }

    pub(crate) fn take_in(&self, moves: Moves) {
        self.write().take_in(moves);
    }

    /// Who holds a path or a folder around it, if that is somebody else.
    pub(crate) fn holder(&self, repo: &RepoId, path: &RepoPath, me: &SessionId) -> Option<Holder> {
        let picture = self.read();
        let mut at = Some(path.clone());
        while let Some(p) = at {
            let up = parent(&p);
            match picture.holders.get(&(repo.clone(), p)) {
                Some(holder) if holder.session != *me => return Some(holder.clone()),
                _ => at = up,
            }
        }
        None
    }

    pub(crate) fn session(&self, sid: &SessionId) -> Option<SessionRecord> {
        self.read().sessions.get(sid).cloned()
    }

    /// Whether some session of the fleet is like this.
    pub(crate) fn any_session(&self, is: impl Fn(&SessionRecord) -> bool) -> bool {
        self.read().sessions.values().any(is)
    }

    /// The other sessions that hold something in a repository or work in its folder, the oldest first.
    pub(crate) fn others(&self, repo: &RepoId, root: &str, me: &SessionId) -> Vec<Other> {
        let picture = self.read();
        let mut held: HashMap<&SessionId, Vec<String>> = HashMap::new();
        picture.held_in(repo).for_each(|(session, shown)| held.entry(session).or_default().push(shown));
        let mut found: Vec<_> = picture
            .sessions
            .iter()
            .filter(|(sid, _)| *sid != me)
            .map(|(sid, record)| {
                let mut held = held.remove(sid).unwrap_or_default();
                held.sort();
                Other { session: sid.clone(), record: record.clone(), held }
            })
            .filter(|other| !other.held.is_empty() || other.record.workspace.starts_with(root))
            .collect();
        found.sort_by_key(|other| other.record.since_unix_ms);
        found
    }

    /// What a session holds in a repository.
    pub(crate) fn held_by(&self, session: &SessionId, repo: &RepoId) -> Vec<String> {
        let picture = self.read();
        let held = picture.held_in(repo).filter(|(holder, _)| *holder == session);
        let mut held: Vec<String> = held.map(|(_, shown)| shown).collect();
        held.sort();
        held
    }

    /// Since when a grant has been held, by the wall clock.
    pub(crate) fn lock_since(&self, session: &SessionId, token: Token) -> Option<u64> {
        let picture = self.read();
        let mut all = picture.holders.values().chain(picture.others.values().map(|lock| &lock.holder));
        all.find(|holder| holder.session == *session && holder.token == token).map(|holder| holder.since_unix_ms)
    }

    /// How much there is of everything.
    pub(crate) fn sizes(&self) -> FleetSize {
        let picture = self.read();
        let locks = picture.holders.len() + picture.others.len() + picture.shared.len();
        FleetSize { sessions: picture.sessions.len(), locks, waiters: picture.waiters.len() }
    }

    /// In the order of their lines.
    pub(crate) fn waiters(&self) -> Vec<WaiterRow> {
        let mut waiters: Vec<WaiterRow> = self.read().waiters.values().cloned().collect();
        waiters.sort_by_key(|waiter| waiter.since);
        waiters
    }

    fn read(&self) -> RwLockReadGuard<'_, Picture> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Picture> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Picture {
    fn of(all: Work) -> Self {
        let mut picture = Self { seen: Part::ALL.map(|part| (part, all.revision)).into(), ..Self::default() };
        all.rows().for_each(|(part, row)| picture.apply(part, row));
        picture
    }

    fn take_in(&mut self, moves: Moves) {
        let seen = self.seen.entry(moves.part).or_default();
        // What was read anew has it already.
        if moves.revision <= *seen {
            return;
        }
        *seen = moves.revision;
        for moved in moves.moved {
            self.apply(moves.part, moved);
        }
    }

    /// Exchanges what was read anew for what was known, but for parts of which the watch has told more since. Locks that are
    /// the same stay where they are: memory that was taken last is given back best, and there are thousands of them.
    fn exchange(&mut self, read: &mut Self) {
        for (part, revision) in &read.seen {
            let seen = self.seen.entry(*part).or_default();
            if *revision < *seen {
                continue;
            }
            *seen = *revision;
            match part {
                Part::Sessions => swap(&mut self.sessions, &mut read.sessions),
                Part::Waiters => swap(&mut self.waiters, &mut read.waiters),
                Part::Locks if self.holders == read.holders && self.others == read.others => {}
                Part::Locks => {
                    swap(&mut self.holders, &mut read.holders);
                    swap(&mut self.others, &mut read.others);
                    swap(&mut self.repos, &mut read.repos);
                }
                Part::SharedLocks => swap(&mut self.shared, &mut read.shared),
            }
        }
    }

    fn apply(&mut self, part: Part, moved: Moved) {
        match moved {
            Moved::Session(sid, Now::Is(record)) => drop(self.sessions.insert(sid, record)),
            Moved::Session(sid, _) => drop(self.sessions.remove(&sid)),
            Moved::Waiter(key, Now::Is(row)) => drop(self.waiters.insert(key.into(), row)),
            Moved::Waiter(key, _) => drop(self.waiters.remove(&*key)),
            Moved::Lock { key, repo, anchor, session, now } if part == Part::Locks => {
                self.drop_lock(&key, repo, &anchor, &session);
                if let Now::Is(row) = now {
                    self.put_lock(key, session, row);
                }
            }
            Moved::Lock { key, now: Now::Is(_), .. } => drop(self.shared.insert(key.into())),
            Moved::Lock { key, .. } => drop(self.shared.remove(&*key)),
        }
    }

    fn put_lock(&mut self, key: String, session: SessionId, row: LockRow) {
        let LockRow { repo, shown, claim, token, since_unix_ms, .. } = row;
        let session = self.sessions.get_key_value(&session).map_or(session, |(known, _)| known.clone());
        self.repos.insert(repo.clone());
        let repo = self.repos.get(&repo).cloned().unwrap_or(repo);
        let holder = Holder { session, since_unix_ms, token };
        let shown = match claim.scope {
            Scope::Path(path) => return drop(self.holders.insert((repo, path), holder)),
            Scope::Glob { .. } => Some(shown.into()),
            Scope::Named(_) => None,
        };
        self.others.insert(key.into(), OtherLock { repo, shown, holder });
    }

    fn drop_lock(&mut self, key: &str, repo: RepoId, anchor: &str, session: &SessionId) {
        if self.others.remove(key).is_some() {
            return;
        }
        let Some(path) = RepoPath::from_key(anchor, "") else { return };
        let place = (repo, path);
        // Of a hand-over at one revision the new holder may be told first.
        if self.holders.get(&place).is_some_and(|holder| holder.session == *session) {
            self.holders.remove(&place);
        }
    }

    /// The files, folders and patterns that are held in a repository.
    fn held_in(&self, repo: &RepoId) -> impl Iterator<Item = (&SessionId, String)> {
        let paths = self.holders.iter().filter(move |((in_repo, _), _)| in_repo == repo);
        let paths = paths.map(|((_, path), holder)| (&holder.session, path.to_string()));
        let others = self.others.values().filter(move |lock| lock.repo == *repo);
        paths.chain(others.filter_map(|lock| Some((&lock.holder.session, lock.shown.as_ref()?.to_string()))))
    }
}

fn parent(path: &RepoPath) -> Option<RepoPath> {
    RepoPath::parse(path.as_path().parent()?.as_os_str().as_bytes()).ok()
}

/// A session in words, from its record if there is one.
pub(crate) fn in_words(sid: &SessionId, record: Option<&SessionRecord>, since_unix_ms: Option<u64>) -> Who {
    let since = since_unix_ms.map(|then| Span::from_millis(unix_ms().saturating_sub(then)));
    let session = sid.short().to_owned();
    let Some(r) = record else {
        let (agent, host) = ("agent".to_owned(), "unknown host".to_owned());
        return Who { session, agent, person: None, host, pid: 0, task: String::new(), since };
    };
    let (agent, person) = (r.agent.clone(), r.person().map(str::to_owned));
    Who { session, agent, person, host: r.host_name.clone(), pid: r.pid, task: r.task.clone(), since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_core::glob::Glob;
    use rr_core::scope::{Claim, Mode, Name};

    fn sid(n: u8) -> SessionId {
        SessionId::from_random([n; 16])
    }

    fn repo() -> RepoId {
        RepoId::parse("0123456789abcdef").expect("legal")
    }

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text.as_bytes()).expect("legal")
    }

    fn locked(n: u8, scope: &Scope, token: u64) -> Moved {
        let (session, shown) = (sid(n), scope.to_string());
        let key = format!("{shown}@{session}");
        let row = LockRow {
            repo: repo(),
            shown,
            claim: Claim { scope: scope.clone(), mode: Mode::Exclusive },
            mode: Mode::Exclusive,
            session: session.clone(),
            token: Token(token),
            since_unix_ms: token,
            doing: String::new(),
            key: key.clone(),
        };
        Moved::Lock { key, repo: repo(), anchor: scope.anchor_key(), session, now: Now::Is(row) }
    }

    fn file(n: u8, text: &str, token: u64) -> Moved {
        locked(n, &Scope::Path(path(text)), token)
    }

    fn gone(moved: &Moved) -> Moved {
        let Moved::Lock { key, repo, anchor, session, .. } = moved.clone() else { panic!("a lock") };
        Moved::Lock { key, repo, anchor, session, now: Now::Gone }
    }

    fn change(revision: u64, moved: Vec<Moved>) -> Moves {
        Moves { part: Part::Locks, revision, moved }
    }

    /// The locks as they were read at a revision.
    fn whole(revision: u64, moved: Vec<Moved>) -> Picture {
        let mut read = Picture::default();
        read.take_in(change(revision, moved));
        read
    }

    fn holder(view: &View, text: &str) -> Option<SessionId> {
        view.holder(&repo(), &path(text), &sid(9)).map(|holder| holder.session)
    }

    #[test]
    fn a_path_is_held_by_whoever_holds_it_or_a_folder_around_it_but_not_by_oneself() {
        let view = View::default();
        let pattern = Scope::Glob { folder: path("docs"), glob: Glob::parse("*.md").expect("legal") };
        let named = Scope::Named(Name::parse("index.ab").expect("legal"));
        view.take_in(change(
            3,
            vec![file(1, "src", 3), file(9, "src/b", 3), locked(2, &pattern, 3), locked(2, &named, 3)],
        ));
        assert_eq!(holder(&view, "src/b/c"), Some(sid(1)), "its own lock hides no other");
        assert_eq!((holder(&view, "lib"), holder(&view, "docs/a.md")), (None, None));
        assert_eq!(view.held_by(&sid(2), &repo()), ["docs/*.md"]);
        assert_eq!(view.sizes().locks, 4);
        assert_eq!((view.lock_since(&sid(1), Token(3)), view.lock_since(&sid(2), Token(4))), (Some(3), None));
    }

    #[test]
    fn what_was_read_anew_and_what_the_watch_tells_meet_in_any_order() {
        let view = View::default();
        let (a, b) = (file(1, "a", 3), file(2, "b", 5));
        view.take_in(change(5, vec![b.clone()]));
        // Read before the watch told of `b`, arrived after.
        view.write().exchange(&mut whole(4, vec![a.clone()]));
        assert_eq!((holder(&view, "a"), holder(&view, "b")), (None, Some(sid(2))));
        view.write().exchange(&mut whole(6, vec![a.clone(), b.clone()]));
        // The watch comes to what the reading has seen already.
        view.take_in(change(6, vec![gone(&a)]));
        assert_eq!((holder(&view, "a"), holder(&view, "b")), (Some(sid(1)), Some(sid(2))));
        view.take_in(change(7, vec![gone(&a)]));
        view.take_in(Moves { part: Part::SharedLocks, ..change(2, vec![file(3, "tree", 2)]) });
        assert_eq!((holder(&view, "a"), view.sizes().locks), (None, 2), "each part has a time of its own");
        view.write().exchange(&mut whole(8, vec![]));
        assert_eq!((holder(&view, "b"), view.sizes().locks), (None, 1));
    }

    #[test]
    fn a_lock_handed_over_at_one_revision_is_its_new_holders_in_whichever_order_it_is_told() {
        for turned in [false, true] {
            let view = View::default();
            let (old, new) = (file(1, "a", 3), file(2, "a", 4));
            view.take_in(change(3, vec![old.clone()]));
            let mut moved = vec![gone(&old), new];
            if turned {
                moved.reverse();
            }
            view.take_in(change(4, moved));
            assert_eq!((holder(&view, "a"), view.sizes().locks), (Some(sid(2)), 1), "{turned}");
        }
    }
}
