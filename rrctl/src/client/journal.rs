//! What is asked of a coordinator about the hosts' journals, and what it has done there. How it is dialled, and what
//! a failure means, is the parent's. Next: `rr_coordinator::journal` answers.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use rr_coordinator::journal::{CHECKPOINT_WAIT, HOLD_WAIT, ROLLBACK_WAIT};
use rr_proto::v1;
use tonic::Status;

use super::{Client, answer, failure};
use crate::exit::Failure;

/// The coordinator gives a host this much longer: to find the session, to take the order up.
const SLACK: Duration = Duration::from_secs(40);

/// A log, line by line.
pub(crate) struct LogLines {
    stream: BoxStream<'static, Result<v1::LogReply, Status>>,
}

impl LogLines {
    pub(crate) fn of(stream: BoxStream<'static, Result<v1::LogReply, Status>>) -> Self {
        Self { stream }
    }

    /// The next line; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::LogReply>, Failure> {
        self.stream.next().await.transpose().map_err(|status| failure("read the log", &status))
    }
}

impl Client {
    pub(crate) async fn log(&mut self, request: v1::LogRequest) -> Result<LogLines, Failure> {
        let call = answer("read the log", self.patience, self.journal.log(request)).await;
        self.heard(call).map(|stream| LogLines::of(stream.boxed()))
    }

    pub(crate) async fn rollback(&mut self, request: v1::RollbackRequest) -> Result<v1::RollbackReply, Failure> {
        let patience = ROLLBACK_WAIT.as_std() + SLACK;
        let call = answer("roll the session back", patience, self.journal.rollback(request)).await;
        self.heard(call)
    }

    pub(crate) async fn hold(&mut self, request: v1::HoldRequest) -> Result<v1::HoldReply, Failure> {
        let patience = HOLD_WAIT.as_std() + SLACK;
        let call = answer("hold the session", patience, self.journal.hold(request)).await;
        self.heard(call)
    }

    pub(crate) async fn checkpoint(&mut self, request: v1::CheckpointRequest) -> Result<v1::CheckpointReply, Failure> {
        let patience = CHECKPOINT_WAIT.as_std() + SLACK;
        let call = answer("make a checkpoint", patience, self.journal.checkpoint(request)).await;
        self.heard(call)
    }
}
