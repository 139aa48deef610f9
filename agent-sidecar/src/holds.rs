//! Sessions that a person has stopped, each by itself, while the rest of the fleet goes on (G25). A hold is on disk before it is
//! answered and outlives this process: it is on an agent's own name for its session, so that one that is registered anew is
//! held too. What becomes of the session's work meanwhile is `undo`'s.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_proto::v1;
use rr_runtime::clock::unix_ms;
use serde::{Deserialize, Serialize};

use crate::asked::Declined;
use crate::messages;
use crate::service::Service;
use crate::table::{AgentKey, AgentSession};

/// In the state folder.
const FILE: &str = "held-sessions.json";

/// Who has stopped a session, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    agent: String,
    session: String,
    pub who: String,
    pub reason: String,
    pub since_unix_ms: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum HoldsError {
    #[error("read which sessions are held from {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The sessions that are held, and the file that says so.
pub(crate) struct Holds {
    file: PathBuf,
    held: Mutex<HashMap<AgentKey, Hold>>,
}

impl Holds {
    /// What an earlier life was told. A list that is there and cannot be read may hold anybody: without it nothing begins.
    pub(crate) fn read(folder: &Path) -> Result<Self, HoldsError> {
        let file = folder.join(FILE);
        let failed = |source| HoldsError::Read { path: file.clone(), source };
        let held: Vec<Hold> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let by_key = held.into_iter().map(|hold| (hold.key(), hold)).collect();
        Ok(Self { file, held: Mutex::new(by_key) })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AgentKey, Hold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, key: &AgentKey) -> Option<Hold> {
        self.held().get(key).cloned()
    }

    /// Holds a session, unless it is held already: then that hold stands.
    fn hold(&self, hold: Hold) -> std::io::Result<Hold> {
        let mut held = self.held();
        if let Some(known) = held.get(&hold.key()) {
            return Ok(known.clone());
        }
        let mut all = held.clone();
        all.insert(hold.key(), hold.clone());
        self.write(&all)?;
        *held = all;
        Ok(hold)
    }

    /// Whether it was held.
    fn lift(&self, key: &AgentKey) -> std::io::Result<bool> {
        let mut held = self.held();
        let mut all = held.clone();
        let was_held = all.remove(key).is_some();
        if was_held {
            self.write(&all)?;
            *held = all;
        }
        Ok(was_held)
    }

    /// Moved into place whole, and on the disk when this returns.
    fn write(&self, held: &HashMap<AgentKey, Hold>) -> std::io::Result<()> {
        let mut all: Vec<&Hold> = held.values().collect();
        all.sort_by_key(|hold| (hold.since_unix_ms, hold.session.as_str()));
        let draft = self.file.with_extension("draft");
        let mut out = std::fs::File::create(&draft)?;
        out.write_all(&serde_json::to_vec(&all)?)?;
        out.sync_all()?;
        std::fs::rename(&draft, &self.file)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    }
}

impl Hold {
    fn key(&self) -> AgentKey {
        AgentKey { agent: self.agent.clone(), session: self.session.clone() }
    }
}

impl Service {
    /// Stops a session of this machine, or lets it go on. The same twice.
    pub(crate) async fn hold_asked(&self, asked: &v1::HoldRequest) -> Result<v1::HoldReply, Declined> {
        let target = self.target(&asked.session)?;
        let Some(who) = target.live.first() else {
            // It makes no call any more.
            return Ok(v1::HoldReply { session: target.sid.to_string(), ..v1::HoldReply::default() });
        };
        if who.is_person() {
            return Err(Declined::Refused("that is a person's session: nothing stops a person".to_owned()));
        }
        let not_written = |error: std::io::Error| Declined::Refused(format!("the hold could not be written: {error}"));
        if asked.lift {
            if self.holds.lift(&who.key).map_err(not_written)? {
                self.let_go_on(who, asked).await;
            }
            return Ok(self.how_far(who, None));
        }
        let hold = Hold {
            agent: who.key.agent.clone(),
            session: who.key.session.clone(),
            who: asked.who.clone(),
            reason: asked.reason.clone(),
            since_unix_ms: unix_ms(),
        };
        let hold = self.holds.hold(hold).map_err(not_written)?;
        let warning = format!("stopped by {}: {}; rrctl recover --resume {}", hold.who, hold.reason, who.sid().short());
        self.warn(who, &warning).await;
        Ok(self.how_far(who, Some(&hold)))
    }

    async fn let_go_on(&self, who: &AgentSession, asked: &v1::HoldRequest) {
        {
            // What was refused meanwhile was not for anything the agent did.
            who.lock().refusals.clear();
        }
        self.warn(who, "").await;
        who.notify(if asked.told.is_empty() { messages::goes_on(&asked.who) } else { asked.told.clone() });
    }

    fn how_far(&self, who: &AgentSession, hold: Option<&Hold>) -> v1::HoldReply {
        let in_flight = who.lock().may_change_in_flight() + self.still_running(who).len();
        v1::HoldReply {
            session: who.sid().to_string(),
            held: hold.is_some(),
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            who: hold.map(|hold| hold.who.clone()).unwrap_or_default(),
            since_unix_ms: hold.map_or(0, |hold| hold.since_unix_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(session: &str, who: &str) -> Hold {
        let (agent, session, who) = ("claude".to_owned(), session.to_owned(), who.to_owned());
        Hold { agent, session, who, reason: "recovery".into(), since_unix_ms: 7 }
    }

    #[test]
    fn a_hold_outlives_the_process_and_the_first_one_stands() {
        let dir = tempfile::tempdir().expect("temp dir");
        let first = Holds::read(dir.path()).expect("nothing there is nobody held");
        assert_eq!(first.hold(hold("a", "ann")).expect("written").who, "ann");
        assert_eq!(first.hold(hold("a", "ben")).expect("held already").who, "ann");
        first.hold(hold("b", "ann")).expect("written");
        let second = Holds::read(dir.path()).expect("readable");
        assert_eq!(second.of(&hold("a", "").key()).map(|hold| hold.who), Some("ann".to_owned()));
        assert!(
            second.lift(&hold("a", "").key()).expect("written")
                && !second.lift(&hold("a", "").key()).expect("no change")
        );
        let third = Holds::read(dir.path()).expect("readable");
        assert!(third.of(&hold("a", "").key()).is_none() && third.of(&hold("b", "").key()).is_some());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_taken_for_nobody() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join(FILE), "{").expect("write");
        assert!(Holds::read(dir.path()).is_err());
    }
}
