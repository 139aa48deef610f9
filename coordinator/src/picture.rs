//! From the fleet's own view to the wire's: one [`StatusReply`] of one [`Overview`]. Nothing is decided here but how far
//! each session has followed a pause. Next: `ops` sends it, `follow` sends it again after each change.

use rr_core::id::SessionId;
use rr_fleet::{AckRecord, AckState, FleetState, Hold, HoldKind, LockRow, Overview, SessionRow, WaiterRow};
use rr_proto::{Followed, mode_word, v1};

pub(crate) fn draw(all: Overview, now_unix_ms: u64) -> v1::StatusReply {
    let Overview { state, sessions, locks, waiters, acks, unreadable } = all;
    v1::StatusReply {
        run: Some(v1::RunState {
            paused: state.is_paused(),
            epoch: state.epoch.0,
            holds: state.holds.iter().map(hold).collect(),
        }),
        sessions: sessions.into_iter().map(|row| session(&state, &acks, row)).collect(),
        locks: locks.into_iter().map(lock).collect(),
        waiters: places(waiters),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: state.revision,
        now_unix_ms,
        unreadable,
    }
}

fn hold(hold: &Hold) -> v1::Hold {
    let kind = match hold.kind {
        HoldKind::Person => "person",
        HoldKind::Watcher => "watcher",
    };
    v1::Hold {
        id: hold.id.clone(),
        kind: kind.to_owned(),
        who: hold.who.clone(),
        reason: hold.reason.clone(),
        hard: hold.hard,
        since_unix_ms: hold.since_unix_ms,
    }
}

fn session(state: &FleetState, acks: &[(SessionId, AckRecord)], row: SessionRow) -> v1::Session {
    let (followed, in_flight) = followed(state, acks, &row);
    let SessionRow { sid, record } = row;
    v1::Session {
        id: sid.to_string(),
        host: record.host.to_string(),
        host_name: record.host_name,
        pid: record.pid,
        agent: record.agent,
        agent_session: record.agent_session,
        workspace: record.workspace,
        task: record.task,
        since_unix_ms: record.since_unix_ms,
        pause: followed.word().to_owned(),
        in_flight,
        warning: record.warning,
    }
}

/// An acknowledgement of another epoch is about an earlier pause: it says nothing about this one.
fn followed(state: &FleetState, acks: &[(SessionId, AckRecord)], row: &SessionRow) -> (Followed, u32) {
    if !state.is_paused() {
        return (Followed::Running, 0);
    }
    let ack = acks.iter().find(|(sid, ack)| *sid == row.sid && ack.epoch == state.epoch);
    match ack {
        None => (Followed::Requested, 0),
        Some((_, ack)) => match ack.state {
            AckState::Seen => (Followed::Seen, ack.in_flight),
            AckState::Drained => (Followed::Drained, ack.in_flight),
        },
    }
}

fn lock(row: LockRow) -> v1::Lock {
    v1::Lock {
        repo: row.repo.to_string(),
        lock: row.shown,
        mode: mode_word(row.mode).to_owned(),
        session: row.session.to_string(),
        token: row.token.0,
        since_unix_ms: row.since_unix_ms,
        doing: row.doing,
        key: row.key,
    }
}

/// Waiters come in line order; each repository has a line of its own.
fn places(waiters: Vec<WaiterRow>) -> Vec<v1::Waiter> {
    let mut drawn: Vec<v1::Waiter> = Vec::with_capacity(waiters.len());
    let mut lengths: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
    for row in waiters {
        let repo = row.repo.to_string();
        let place = lengths.entry(repo.clone()).and_modify(|n| *n += 1).or_insert(1);
        let (locks, session) = (row.shown, row.session.to_string());
        drawn.push(v1::Waiter { repo, locks, session, place: *place, since_unix_ms: row.since_unix_ms });
    }
    drawn
}

#[cfg(test)]
mod tests {
    use rr_core::id::{Epoch, HostId, SessionId};
    use rr_core::permit::Permit;
    use rr_fleet::Generation;
    use rr_fleet::{AckRecord, SessionRecord};

    use super::*;

    fn row(n: u8) -> SessionRow {
        let record = SessionRecord {
            host: HostId::from_random([1; 16]),
            host_name: "box".into(),
            boot: "b".into(),
            pid: 7,
            start: 8,
            agent: "claude".into(),
            agent_session: "s".into(),
            workspace: "/w".into(),
            since_unix_ms: 1,
            task: String::new(),
            warning: String::new(),
        };
        SessionRow { sid: SessionId::from_random([n; 16]), record }
    }

    fn ack(n: u8, epoch: u64, state: AckState) -> (SessionId, AckRecord) {
        (SessionId::from_random([n; 16]), AckRecord { epoch: Epoch(epoch), state, in_flight: 1 })
    }

    #[test]
    fn only_an_acknowledgement_of_this_pause_counts() {
        let acks = vec![ack(1, 4, AckState::Drained), ack(2, 3, AckState::Drained), ack(3, 4, AckState::Seen)];
        let mut state = FleetState {
            permit: Permit::Paused(Epoch(4)),
            epoch: Epoch(4),
            holds: vec![],
            generation: Generation::default(),
            revision: 9,
        };
        let drawn = |state: &FleetState| (1..=4).map(|n| followed(state, &acks, &row(n)).0).collect::<Vec<_>>();
        assert_eq!(
            drawn(&state),
            [Followed::Drained, Followed::Requested, Followed::Seen, Followed::Requested],
            "1 drained, 2 acknowledged an earlier pause, 3 still works, 4 has not answered"
        );
        state.permit = Permit::Run(Epoch(4));
        assert_eq!(drawn(&state), [Followed::Running; 4]);
    }
}
