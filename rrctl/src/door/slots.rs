//! The ways to the lines for counted slots. A place in a line is found again by its ticket on any of them; one that was joined
//! twice where the first answer was lost runs out by itself.

use futures::StreamExt as _;
use rr_coordinator::slots;
use rr_fleet::Fleet;
use rr_proto::v1;

use super::{Door, Way};
use crate::client::{Client, Pictures};
use crate::exit::Failure;

impl Door {
    pub(crate) async fn slots(&mut self) -> Result<v1::SlotsReply, Failure> {
        let by = async |client: &mut Client| client.slots().await;
        self.ask("list the slots", by, async |fleet| slots::list(fleet).await).await
    }

    pub(crate) async fn watch_slots(&mut self) -> Result<Pictures<v1::SlotsReply>, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.watch_slots().await,
            Way::Own(fleet) => Ok(Pictures::of(slots::pictures(fleet.clone()).boxed())),
        }
    }

    pub(crate) async fn join_line(&mut self, request: v1::JoinLineRequest) -> Result<v1::JoinLineReply, Failure> {
        let by = async |client: &mut Client| client.join_line(request.clone()).await;
        let own = async |fleet: &Fleet| slots::join(fleet, request.clone()).await;
        self.ask("stand in line for a slot", by, own).await
    }

    pub(crate) async fn stay_in_line(
        &mut self,
        request: v1::StayInLineRequest,
    ) -> Result<v1::StayInLineReply, Failure> {
        let by = async |client: &mut Client| client.stay_in_line(request.clone()).await;
        let own = async |fleet: &Fleet| slots::stay(fleet, request.clone()).await;
        self.ask("stay in line for a slot", by, own).await
    }

    pub(crate) async fn leave_line(&mut self, request: v1::LeaveLineRequest) -> Result<v1::LeaveLineReply, Failure> {
        let by = async |client: &mut Client| client.leave_line(request.clone()).await;
        let own = async |fleet: &Fleet| slots::leave(fleet, request.clone()).await;
        self.ask("give a slot back", by, own).await
    }
}
