//! What is shown, as text and as JSON: made once from the wire's picture. The field names are a promise (`docs/json.md`);
//! adding one is fine, renaming is not. Next: `cmd` draws tables of these.

use std::collections::{HashMap, HashSet};

use rr_fleet::PERSON;
use rr_proto::{Followed, v1};
use serde::Serialize;

/// Agents run as the same user as the sidecar (D17): they are kept from mistakes, not from malice.
pub(crate) const MODE: &str = "cooperative";
/// Digits of a session's id that people see.
const SHORT: usize = 8;

#[derive(Debug, Serialize)]
pub(crate) struct FleetView {
    pub(crate) paused: bool,
    pub(crate) hard: bool,
    pub(crate) epoch: u64,
    pub(crate) mode: &'static str,
    pub(crate) holds: Vec<HoldView>,
    pub(crate) sessions: Vec<SessionView>,
    pub(crate) locks: Vec<LockView>,
    pub(crate) waiters: Vec<WaiterView>,
    pub(crate) version: String,
    pub(crate) revision: u64,
    pub(crate) now_unix_ms: u64,
    /// Keys of the fleet whose value could not be read, with the reason.
    pub(crate) unreadable: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct HoldView {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) who: String,
    pub(crate) reason: String,
    pub(crate) hard: bool,
    pub(crate) since_unix_ms: u64,
    pub(crate) age_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionView {
    pub(crate) session: String,
    /// `agent` or `person`.
    pub(crate) kind: &'static str,
    pub(crate) agent: String,
    pub(crate) agent_session: String,
    pub(crate) pid: u32,
    pub(crate) host: String,
    pub(crate) host_id: String,
    /// For people: the name, and the short id where two hosts share it.
    #[serde(skip)]
    pub(crate) host_shown: String,
    pub(crate) workspace: String,
    pub(crate) task: String,
    pub(crate) since_unix_ms: u64,
    pub(crate) age_ms: u64,
    /// How many it holds.
    pub(crate) locks: usize,
    /// `null` while the fleet runs; else `requested`, `seen`, `drained`.
    pub(crate) pause: Option<&'static str>,
    pub(crate) in_flight: u32,
    /// Empty: nothing to know.
    pub(crate) warning: String,
}

impl SessionView {
    pub(crate) fn short(&self) -> &str {
        short(&self.session)
    }

    /// The user whose saves it stands for, if it is no agent.
    pub(crate) fn person(&self) -> Option<&str> {
        let user = self.agent_session.split_once('@').map_or(self.agent_session.as_str(), |(user, _)| user);
        (self.kind == PERSON).then_some(user)
    }

    /// For tables: a person has no process.
    pub(crate) fn pid_shown(&self) -> String {
        if self.person().is_some() { "-".to_owned() } else { self.pid.to_string() }
    }

    /// For tables: which agent, or who.
    pub(crate) fn agent_shown(&self) -> String {
        self.person().map_or_else(|| self.agent.clone(), |user| format!("{user} (person)"))
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.pause == Some(Followed::Drained.word())
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LockView {
    pub(crate) lock: String,
    pub(crate) mode: String,
    pub(crate) repo: String,
    pub(crate) session: String,
    pub(crate) agent: String,
    /// The user, if a person holds it.
    pub(crate) person: Option<String>,
    /// `null` if the session ended while the picture was taken; so with `host`.
    pub(crate) pid: Option<u32>,
    pub(crate) host: Option<String>,
    pub(crate) host_id: Option<String>,
    #[serde(skip)]
    pub(crate) host_shown: Option<String>,
    pub(crate) token: u64,
    pub(crate) since_unix_ms: u64,
    pub(crate) age_ms: u64,
    pub(crate) doing: String,
    pub(crate) key: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct WaiterView {
    pub(crate) locks: Vec<String>,
    pub(crate) repo: String,
    pub(crate) session: String,
    pub(crate) pid: Option<u32>,
    pub(crate) host: Option<String>,
    pub(crate) host_id: Option<String>,
    #[serde(skip)]
    pub(crate) host_shown: Option<String>,
    pub(crate) place: u32,
    pub(crate) since_unix_ms: u64,
    pub(crate) age_ms: u64,
}

impl FleetView {
    pub(crate) fn of(picture: v1::StatusReply) -> Self {
        let v1::StatusReply { run, sessions, locks, waiters, version, revision, now_unix_ms, unreadable } = picture;
        // A picture without a run state says nothing about running: it counts as paused.
        let run = run.unwrap_or(v1::RunState { paused: true, ..Default::default() });
        let mut held: HashMap<&str, usize> = HashMap::new();
        for lock in &locks {
            *held.entry(&lock.session).or_default() += 1;
        }
        let count = |id: &str| held.get(id).copied().unwrap_or(0);
        let sessions: Vec<_> = sessions.into_iter().map(|s| (count(&s.id), s)).collect();
        let mut sessions: Vec<_> = sessions.into_iter().map(|(n, s)| session(s, n, now_unix_ms)).collect();
        tell_hosts_apart(&mut sessions);
        let by_id: HashMap<&str, &SessionView> = sessions.iter().map(|s| (s.session.as_str(), s)).collect();
        let locks = locks.into_iter().map(|l| lock(l, &by_id, now_unix_ms)).collect();
        let waiters = waiters.into_iter().map(|w| waiter(w, &by_id, now_unix_ms)).collect();
        Self {
            paused: run.paused,
            hard: run.paused && run.holds.iter().any(|h| h.hard),
            epoch: run.epoch,
            mode: MODE,
            holds: run.holds.into_iter().map(|h| hold(h, now_unix_ms)).collect(),
            sessions,
            locks,
            waiters,
            version,
            revision,
            now_unix_ms,
            unreadable,
        }
    }

    /// Agents' sessions that may still have something running, in this pause.
    pub(crate) fn undrained(&self) -> Vec<&SessionView> {
        self.agents().filter(|s| !s.is_drained()).collect()
    }

    pub(crate) fn agents(&self) -> impl Iterator<Item = &SessionView> {
        self.sessions.iter().filter(|s| s.person().is_none())
    }

    /// Whom a pause does not stop, in words; empty if there is nobody.
    pub(crate) fn not_stopped(&self) -> String {
        let people: Vec<&str> = self.sessions.iter().filter_map(SessionView::person).collect();
        match people.as_slice() {
            [] => String::new(),
            [one] => format!("A pause stops agents, not people: {one} can still save files."),
            _ => format!("A pause stops agents, not people: {} can still save files.", people.join(", ")),
        }
    }
}

fn hold(hold: v1::Hold, now: u64) -> HoldView {
    let v1::Hold { id, kind, who, reason, hard, since_unix_ms } = hold;
    HoldView { id, kind, who, reason, hard, since_unix_ms, age_ms: now.saturating_sub(since_unix_ms) }
}

fn session(session: v1::Session, locks: usize, now: u64) -> SessionView {
    let followed = Followed::read(&session.pause);
    let is_person = session.agent == PERSON;
    SessionView {
        session: session.id,
        kind: if is_person { PERSON } else { "agent" },
        agent: session.agent,
        agent_session: session.agent_session,
        pid: session.pid,
        host_shown: session.host_name.clone(),
        host: session.host_name,
        host_id: session.host,
        workspace: session.workspace,
        task: session.task,
        since_unix_ms: session.since_unix_ms,
        age_ms: now.saturating_sub(session.since_unix_ms),
        locks,
        pause: (followed != Followed::Running && !is_person).then_some(followed.word()),
        in_flight: session.in_flight,
        warning: session.warning,
    }
}

fn lock(lock: v1::Lock, sessions: &HashMap<&str, &SessionView>, now: u64) -> LockView {
    let holder = sessions.get(lock.session.as_str());
    LockView {
        agent: holder.map(|s| s.agent.clone()).unwrap_or_default(),
        person: holder.and_then(|s| s.person()).map(str::to_owned),
        pid: holder.map(|s| s.pid),
        host: holder.map(|s| s.host.clone()),
        host_id: holder.map(|s| s.host_id.clone()),
        host_shown: holder.map(|s| s.host_shown.clone()),
        lock: lock.lock,
        mode: lock.mode,
        repo: lock.repo,
        session: lock.session,
        token: lock.token,
        since_unix_ms: lock.since_unix_ms,
        age_ms: now.saturating_sub(lock.since_unix_ms),
        doing: lock.doing,
        key: lock.key,
    }
}

fn waiter(waiter: v1::Waiter, sessions: &HashMap<&str, &SessionView>, now: u64) -> WaiterView {
    let holder = sessions.get(waiter.session.as_str());
    WaiterView {
        pid: holder.map(|s| s.pid),
        host: holder.map(|s| s.host.clone()),
        host_id: holder.map(|s| s.host_id.clone()),
        host_shown: holder.map(|s| s.host_shown.clone()),
        locks: waiter.locks,
        repo: waiter.repo,
        session: waiter.session,
        place: waiter.place,
        since_unix_ms: waiter.since_unix_ms,
        age_ms: now.saturating_sub(waiter.since_unix_ms),
    }
}

/// Host names repeat; ids do not.
fn tell_hosts_apart(sessions: &mut [SessionView]) {
    let mut ids: HashMap<String, HashSet<String>> = HashMap::new();
    for session in sessions.iter() {
        ids.entry(session.host.clone()).or_default().insert(session.host_id.clone());
    }
    for session in sessions.iter_mut().filter(|s| ids.get(&s.host).is_some_and(|ids| ids.len() > 1)) {
        session.host_shown = format!("{} ({})", session.host, short(&session.host_id));
    }
}

/// The first digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fleet of two: one holds two files and waits, the other holds one; paused at epoch 4.
    pub(crate) fn picture() -> v1::StatusReply {
        let session = |id: &str, pid, pause: &str| v1::Session {
            id: id.repeat(32),
            host: "h".into(),
            host_name: "box".into(),
            pid,
            agent: "claude".into(),
            agent_session: id.into(),
            workspace: "/w".into(),
            task: "write the parser".into(),
            since_unix_ms: 1_000,
            pause: pause.into(),
            in_flight: 0,
            warning: String::new(),
        };
        let lock = |lock: &str, session: &str, token, key: &str| v1::Lock {
            repo: "0123456789abcdef".into(),
            lock: lock.into(),
            mode: "exclusive".into(),
            session: session.repeat(32),
            token,
            since_unix_ms: 9_000,
            doing: "Edit".into(),
            key: key.into(),
        };
        let waiter = v1::Waiter {
            repo: "0123456789abcdef".into(),
            locks: vec!["src/b.rs".into()],
            session: "a".repeat(32),
            place: 1,
            since_unix_ms: 20_000,
        };
        v1::StatusReply {
            run: Some(v1::RunState { paused: true, epoch: 4, holds: vec![] }),
            sessions: vec![session("a", 7, "drained"), session("b", 8, "seen")],
            locks: vec![
                lock("src/a.rs", "a", 11, "k1"),
                lock("!build", "a", 12, "k2"),
                lock("src/b.rs", "b", 13, "k3"),
            ],
            waiters: vec![waiter],
            version: "0.1.0".into(),
            revision: 40,
            now_unix_ms: 21_000,
            unreadable: vec![],
        }
    }

    #[test]
    fn a_view_knows_whose_lock_it_is_and_how_old() {
        let view = FleetView::of(picture());
        assert_eq!((view.locks[0].pid, view.locks[0].age_ms), (Some(7), 12_000));
        assert_eq!((view.sessions[0].locks, view.sessions[1].locks), (2, 1));
        assert_eq!(view.sessions[0].short(), "aaaaaaaa");
        let late: Vec<_> = view.undrained().iter().map(|s| s.pid).collect();
        assert_eq!(late, [8]);
    }

    #[test]
    fn a_person_is_shown_by_name_and_counted_in_no_pause() {
        let mut picture = picture();
        (picture.sessions[1].agent, picture.sessions[1].agent_session) = ("person".into(), "ann@01234567".into());
        let view = FleetView::of(picture);
        let person = &view.sessions[1];
        assert_eq!((person.kind, person.person(), person.pause), ("person", Some("ann"), None));
        assert_eq!((person.agent_shown().as_str(), person.pid_shown().as_str()), ("ann (person)", "-"));
        assert!(view.undrained().is_empty() && view.agents().count() == 1);
        assert_eq!(view.locks[2].person.as_deref(), Some("ann"));
        assert!(view.not_stopped().contains("not people: ann can"), "{}", view.not_stopped());
        assert_eq!(FleetView::of(super::tests::picture()).not_stopped(), "");
    }

    #[test]
    fn hosts_of_one_name_are_told_apart_by_their_ids() {
        let mut picture = picture();
        picture.sessions[1].host = "0123456789abcdef".into();
        let view = FleetView::of(picture);
        let shown: Vec<&str> = view.sessions.iter().map(|s| s.host_shown.as_str()).collect();
        assert_eq!(shown, ["box (h)", "box (01234567)"]);
        assert_eq!(view.locks[2].host_shown.as_deref(), Some("box (01234567)"));
        assert_eq!(view.locks[2].host.as_deref(), Some("box"), "programs read the name and the id");
        assert_eq!(FleetView::of(super::tests::picture()).sessions[0].host_shown, "box");
    }

    #[test]
    fn a_picture_that_says_nothing_about_running_counts_as_paused() {
        assert!(FleetView::of(v1::StatusReply::default()).paused);
    }
}
