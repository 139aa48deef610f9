//! Who is in the fleet, by name: sessions with what they do, and hosts as people call them. One look at the store.

use std::collections::HashMap;

use rr_core::id::SessionId;
use rr_fleet::{Fleet, SessionRow};
use rr_proto::v1;
use tonic::Status;

use crate::refusal::from_fleet;

pub(crate) struct People {
    sessions: HashMap<SessionId, SessionRow>,
    hosts: HashMap<String, String>,
}

impl People {
    pub(crate) async fn of(fleet: &Fleet) -> Result<Self, Status> {
        let rows = fleet.overview().await.map_err(|e| from_fleet(&e))?.sessions;
        let hosts = rows.iter().map(|row| (row.record.host.to_string(), row.record.host_name.clone())).collect();
        Ok(Self { sessions: rows.into_iter().map(|row| (row.sid.clone(), row)).collect(), hosts })
    }

    /// Empty: nobody of this host is here.
    pub(crate) fn host_name(&self, host: &str) -> String {
        self.hosts.get(host).cloned().unwrap_or_default()
    }

    pub(super) fn is_here(&self, session: &SessionId) -> bool {
        self.sessions.contains_key(session)
    }

    pub(super) fn writer(&self, session: &SessionId) -> v1::Writer {
        let found = self.sessions.get(session);
        let (agent, task) = found.map(|row| (row.record.agent.clone(), row.record.task.clone())).unwrap_or_default();
        v1::Writer { session: session.to_string(), agent, task }
    }
}
