//! A place in line that outlives whoever asks for it: under a lease of its own, known by host, name and number alone, so that a
//! program can come back to it through any coordinator. Who does not come back in time is out with the lease. How a line moves is
//! the parent's.

use rr_core::id::{HostId, OpId};
use rr_core::time::BootTime;
use rr_store::{KeepAlive, StoreError};

use super::{SLOT_LINE_MAX, SlotHeld, SlotHolder, Ticket, holders_in};
use crate::keys::name_in_key;
use crate::{Doing, Fleet, FleetError};

/// What one shows to come back to its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotTicket {
    pub host: HostId,
    pub name: String,
    pub op: OpId,
}

/// Where one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotPlace {
    HasIt,
    Waits {
        holders: Vec<SlotHolder>,
        /// Who waits before it.
        ahead: usize,
    },
    /// Its lease ran out, or its ticket was taken away: it has nothing.
    Gone,
}

impl Fleet {
    /// Stands in line under a lease of its own, which [`Fleet::stay_in_line`] renews.
    ///
    /// # Errors
    /// If the name is none, the line is too long, or the store does not answer clearly: then nothing is left that lasts.
    pub async fn join_line(
        &self,
        host: &HostId,
        name: &str,
        of: usize,
        holder: &SlotHolder,
    ) -> Result<SlotTicket, FleetError> {
        let prefix = self.keys.counted_slot(host, name_in_key("slot", name)?);
        if self.line(&prefix).await?.0.len() >= SLOT_LINE_MAX {
            return Err(FleetError::TooMany { what: "in line for one slot", max: SLOT_LINE_MAX });
        }
        let lease = self.store.grant(self.timing.lease).await.doing("grant a place in line its lease")?;
        let op = OpId::from_random(self.entropy.bits());
        let key = self.keys.ticket(host, name, &op);
        let mut held = SlotHeld { key, op: op.clone(), lease, certain: false };
        match self.stand_in_line(&mut held, &Ticket { of, holder: holder.shown() }).await {
            Ok(true) => Ok(SlotTicket { host: host.clone(), name: name.to_owned(), op }),
            // Without its lease a late copy of the ticket can no longer come.
            Ok(false) => Err(FleetError::Voided),
            Err(error) => {
                self.revoke_quietly(lease).await;
                Err(error)
            }
        }
    }

    /// Renews the lease of a place in line and says where it stands: at once if it has a slot, else when it has one or it is
    /// `until`. Its holder comes back well within the lease.
    ///
    /// # Errors
    /// If the store does not answer clearly: says nothing about the place.
    pub async fn stay_in_line(&self, ticket: &SlotTicket, of: usize, until: BootTime) -> Result<SlotPlace, FleetError> {
        let SlotTicket { host, name, op } = ticket;
        let prefix = self.keys.counted_slot(host, name_in_key("slot", name)?);
        let key = self.keys.ticket(host, name, op);
        let mut is_renewed = false;
        loop {
            let is_late = self.clock.now() >= until;
            let (line, revision) = self.line(&prefix).await?;
            let Some(at) = line.iter().position(|kv| kv.key == key) else { return Ok(SlotPlace::Gone) };
            if !is_renewed {
                let Some(lease) = line[at].lease else { return Ok(SlotPlace::Gone) };
                let renewed = self.store.keep_alive(lease).await.doing("renew a place in line")?;
                if renewed == KeepAlive::Gone {
                    return Ok(SlotPlace::Gone);
                }
                is_renewed = true;
            }
            if at < of {
                return Ok(SlotPlace::HasIt);
            }
            if is_late {
                return Ok(SlotPlace::Waits { holders: holders_in(&line, of), ahead: at - of });
            }
            self.until_moved(&prefix, revision, &line, at, of, until).await;
        }
    }

    /// Puts everybody out of a line: for one who knows that nobody of it lives any more.
    ///
    /// # Errors
    /// If the store does not answer clearly: it may be partly done.
    pub async fn empty_line(&self, host: &HostId, name: &str) -> Result<(), FleetError> {
        let prefix = self.keys.counted_slot(host, name_in_key("slot", name)?);
        for lease in self.line(&prefix).await?.0.iter().filter_map(|kv| kv.lease) {
            match self.store.revoke(lease).await {
                Ok(_) | Err(StoreError::LeaseNotFound(_)) => {}
                Err(error) => return Err(error).doing("empty a line"),
            }
        }
        Ok(())
    }

    /// Gives up a place in line, and the slot if it has one. Doing it again is harmless.
    ///
    /// # Errors
    /// If the store does not answer clearly: it goes with its lease all the same.
    pub async fn leave_line(&self, ticket: &SlotTicket) -> Result<(), FleetError> {
        let SlotTicket { host, name, op } = ticket;
        name_in_key("slot", name)?;
        let Some(kv) = self.get(&self.keys.ticket(host, name, op), "read a place in line").await? else {
            return Ok(());
        };
        let Some(lease) = kv.lease else { return Ok(()) };
        // The ticket goes with it, and so does every copy of it that is still under way.
        match self.store.revoke(lease).await {
            Ok(_) | Err(StoreError::LeaseNotFound(_)) => Ok(()),
            Err(error) => Err(error).doing("give up a place in line"),
        }
    }
}
