//! The ways to the hosts' journals. A log may be asked for again on the next way; an order to change files is given
//! once, on a way that has just answered, since a second one could undo a second time.

use futures::StreamExt as _;
use rr_coordinator::journal;
use rr_fleet::Fleet;
use rr_proto::v1;

use super::{Door, Way};
use crate::client::{self, Client, LogLines};
use crate::exit::{Failure, Kind};

impl Door {
    /// One log of all hosts; hosts that do not answer are named in it.
    pub(crate) async fn log(&mut self, request: v1::LogRequest, who: &str) -> Result<LogLines, Failure> {
        let by = async |client: &mut Client| client.log(request.clone()).await;
        let own = async |fleet: &Fleet| {
            let lines = journal::log(fleet.clone(), request.clone(), who.to_owned())?;
            Ok(LogLines::of(lines.boxed()))
        };
        self.ask("read the log", by, own).await
    }

    /// Takes a session's changes out, or says what that would come to.
    pub(crate) async fn rollback(&mut self, request: v1::RollbackRequest) -> Result<v1::RollbackReply, Failure> {
        // Whoever answers this is not stuck, gone or too far from us in version.
        self.status().await?;
        match &mut self.way {
            Way::Coordinator(client) => client.rollback(request).await.map_err(not_heard_of),
            Way::Own(fleet) => {
                let done = journal::rollback(fleet, request).await;
                done.map_err(|status| client::failure("roll the session back", &status))
            }
        }
    }

    /// Keeps a session from making calls, or lets it go on.
    pub(crate) async fn hold(&mut self, request: v1::HoldRequest) -> Result<v1::HoldReply, Failure> {
        self.status().await?;
        match &mut self.way {
            Way::Coordinator(client) => client.hold(request).await,
            Way::Own(fleet) => {
                let done = journal::hold(fleet, request).await;
                done.map_err(|status| client::failure("hold the session", &status))
            }
        }
    }

    /// Keeps a work tree as it stands.
    pub(crate) async fn checkpoint(
        &mut self,
        request: v1::CheckpointRequest,
        who: &str,
    ) -> Result<v1::CheckpointReply, Failure> {
        self.status().await?;
        match &mut self.way {
            Way::Coordinator(client) => client.checkpoint(request).await,
            Way::Own(fleet) => {
                let done = journal::checkpoint(fleet, request, who).await;
                done.map_err(|status| client::failure("make a checkpoint", &status))
            }
        }
    }
}

/// A coordinator that went away after it was given the order may have passed it on.
fn not_heard_of(failure: Failure) -> Failure {
    if failure.kind != Kind::Unreachable {
        return failure;
    }
    Failure::new(Kind::Failed, "the coordinator went away before it said what came of the rollback")
        .because("it may have been done")
        .hint("rrctl log --session S says so, on the session's host: look before you ask again")
}
