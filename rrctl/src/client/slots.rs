//! What is asked of a coordinator about counted slots. How it is dialled, and what a failure means, is the parent's. Next:
//! `rr_coordinator::slots` answers.

use futures::StreamExt as _;
use rr_proto::v1;

use super::{Client, Pictures, answer};
use crate::exit::Failure;

impl Client {
    pub(crate) async fn slots(&mut self) -> Result<v1::SlotsReply, Failure> {
        let call = answer("list the slots", self.patience, self.slots.list(v1::ListSlotsRequest {})).await;
        self.heard(call)
    }

    pub(crate) async fn watch_slots(&mut self) -> Result<Pictures<v1::SlotsReply>, Failure> {
        let call = answer("watch the slots", self.patience, self.slots.watch(v1::WatchSlotsRequest {})).await;
        self.heard(call).map(|stream| Pictures::of(stream.boxed()))
    }

    pub(crate) async fn join_line(&mut self, request: v1::JoinLineRequest) -> Result<v1::JoinLineReply, Failure> {
        let call = answer("stand in line for a slot", self.patience, self.slots.join(request)).await;
        self.heard(call)
    }

    pub(crate) async fn stay_in_line(
        &mut self,
        request: v1::StayInLineRequest,
    ) -> Result<v1::StayInLineReply, Failure> {
        let call = answer("stay in line for a slot", self.patience, self.slots.stay(request)).await;
        self.heard(call)
    }

    pub(crate) async fn leave_line(&mut self, request: v1::LeaveLineRequest) -> Result<v1::LeaveLineReply, Failure> {
        let call = answer("give a slot back", self.patience, self.slots.leave(request)).await;
        self.heard(call)
    }
}
