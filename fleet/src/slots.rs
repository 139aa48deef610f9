//! Counted slots of a host: so many of its builds, or whatever a slot is named for, run at a time, first come first served. Whoever
//! wants one stands in line with a ticket under its own lease; the first so many in line have one. So nobody hands slots on, nobody
//! overtakes, and who dies is out with its lease. What a slot is for, and how many there are, is its callers' business.

mod ticket;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use rr_core::id::{HostId, OpId, SessionId};
use rr_core::time::{BootTime, Span};
use rr_store::{Change, Compare, KeyValue, Keys, LeaseId, Op, Revision, StoreError, Txn};
use serde::{Deserialize, Serialize};

use crate::approvals::shown;
use crate::keys::name_in_key;
use crate::records::{decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

pub use ticket::{SlotPlace, SlotTicket};

/// Of one slot's line: more than agents fit on a machine.
pub const SLOT_LINE_MAX: usize = 256;
/// Names of holders, for people.
const WHO_BYTES_MAX: usize = 256;
/// Tries to get into line while answers are lost.
const TRIES_MAX: usize = 8;
/// Pause before a store that did not answer is asked again.
const RETRY: Span = Span::from_secs(1);
/// A ticket that could not be taken out of line: by then, its lease is over or the store is beyond a retry.
const WITHDRAW_TRIES_MAX: usize = 600;
/// A watch can fall silent without ending.
const LOOK_AGAIN: Span = Span::from_secs(30);

/// Who has a slot, or waits for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotHolder {
    /// For people.
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The work tree that it builds, if it builds one that others work in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Since when it is in line, by the wall clock; 0: it did not say.
    #[serde(default)]
    pub since_unix_ms: u64,
}

impl SlotHolder {
    fn shown(&self) -> Self {
        Self { who: shown(&self.who, WHO_BYTES_MAX), ..self.clone() }
    }
}

#[derive(Debug)]
pub enum Slot {
    Taken(SlotHeld),
    Busy {
        holders: Vec<SlotHolder>,
        /// Who waits before whoever asked.
        ahead: usize,
    },
    /// The lease is over, or its ticket was taken away.
    Lost,
}

/// A slot, until it is released or its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHeld {
    key: String,
    op: OpId,
    lease: LeaseId,
    /// No copy of the ticket is still under way.
    certain: bool,
}

/// One in line, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRow {
    pub host: HostId,
    pub name: String,
    pub holder: SlotHolder,
    /// How many there are, as this one was told.
    pub of: usize,
    /// 0: has had one for the longest time.
    pub place: usize,
    pub has_it: bool,
}

/// `count/<host>/<slot>/<ticket>`.
#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    of: usize,
    holder: SlotHolder,
}

/// A place in line that is given up when it is dropped.
struct Place {
    fleet: Fleet,
    ticket: SlotHeld,
    settled: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        // Outside of a runtime everything ends, and the lease with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (fleet, ticket) = (self.fleet.clone(), self.ticket.clone());
        runtime.spawn(async move {
            for _ in 0..WITHDRAW_TRIES_MAX {
                match fleet.release_slot(&ticket).await {
                    Err(error) if error.is_outage() => tokio::time::sleep(RETRY.as_std()).await,
                    Err(error) => return tracing::warn!(%error, "a place in line is left to its lease"),
                    Ok(()) => return,
                }
            }
        });
    }
}

impl Fleet {
    /// Takes one of so many slots of this name on a host if one is free and nobody waits. It lasts as long as `lease`.
    ///
    /// # Errors
    /// If the name is none, the line is too long, or the store does not answer clearly: then it has no slot.
    pub async fn take_slot(
        &self,
        host: &HostId,
        name: &str,
        of: usize,
        holder: &SlotHolder,
        lease: LeaseId,
    ) -> Result<Slot, FleetError> {
        let (line, _) = self.line(&self.keys.counted_slot(host, name_in_key("slot", name)?)).await?;
        if line.len() >= of {
            return Ok(busy(&line, of, line.len()));
        }
        self.wait_slot(host, name, of, holder, lease, BootTime::from_millis(0)).await
    }

    /// Stands in line for a slot until it has one, or it is `until`. Dropped, it leaves the line.
    ///
    /// # Errors
    /// As [`Fleet::take_slot`].
    pub async fn wait_slot(
        &self,
        host: &HostId,
        name: &str,
        of: usize,
        holder: &SlotHolder,
        lease: LeaseId,
        until: BootTime,
    ) -> Result<Slot, FleetError> {
        let prefix = self.keys.counted_slot(host, name_in_key("slot", name)?);
        if self.line(&prefix).await?.0.len() >= SLOT_LINE_MAX {
            return Err(FleetError::TooMany { what: "in line for one slot", max: SLOT_LINE_MAX });
        }
        let op = OpId::from_random(self.entropy.bits());
        let key = self.keys.ticket(host, name, &op);
        let ticket = SlotHeld { key, op, lease, certain: false };
        let mut place = Place { fleet: self.clone(), ticket, settled: false };
        if !self.stand_in_line(&mut place.ticket, &Ticket { of, holder: holder.shown() }).await? {
            place.settled = true;
            return Ok(Slot::Lost);
        }
        loop {
            let is_late = self.clock.now() >= until;
            let (line, revision) = match self.line(&prefix).await {
                Err(error) if error.is_outage() && !is_late => {
                    tokio::time::sleep(RETRY.as_std()).await;
                    continue;
                }
                line => line?,
            };
            let Some(at) = line.iter().position(|kv| kv.key == place.ticket.key) else { return Ok(Slot::Lost) };
            if at < of {
                place.settled = true;
                return Ok(Slot::Taken(place.ticket.clone()));
            }
            if is_late {
                self.release_slot(&place.ticket).await?;
                place.settled = true;
                return Ok(busy(&line, of, at));
            }
            self.until_moved(&prefix, revision, &line, at, of, until).await;
        }
    }

    /// Tickets of a session on a host, as an earlier life of its sidecar has left them: the name of each, what gives it back, and
    /// whether it has a slot.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn slots_left_by(
        &self,
        host: &HostId,
        session: &Session,
    ) -> Result<Vec<(String, SlotHeld, bool)>, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.counted_slots_of(host))).await.doing("list slots")?;
        let mut lines: BTreeMap<String, Vec<KeyValue>> = BTreeMap::new();
        for kv in reply.kvs {
            if let Some((_, name, _)) = self.keys.parse_ticket(&kv.key) {
                lines.entry(name).or_default().push(kv);
            }
        }
        let mut found = Vec::new();
        for (name, mut line) in lines {
            line.sort_by_key(|kv| kv.create_revision);
            for (at, kv) in line.iter().enumerate().filter(|(_, kv)| kv.lease == Some(session.lease)) {
                let (Some(ticket), Some((.., op))) = (ticket_in(kv), self.keys.parse_ticket(&kv.key)) else { continue };
                let held = SlotHeld { key: kv.key.clone(), op, lease: session.lease, certain: false };
                found.push((name.clone(), held, at < ticket.of));
            }
        }
        Ok(found)
    }

    /// Gives a slot back, or a place in line up. Doing it again is harmless.
    ///
    /// # Errors
    /// If the store does not answer clearly: it goes with its lease all the same.
    pub async fn release_slot(&self, held: &SlotHeld) -> Result<(), FleetError> {
        let mut ops = vec![Op::Delete(Keys::one(held.key.clone()))];
        if !held.certain {
            // A copy of it that comes late finds this, for as long as its lease could carry it.
            ops.push(Op::put_leased(self.keys.gone_ticket(&held.op), "", held.lease));
        }
        match self.insist(Txn::default().then(ops), "give a slot back").await {
            Err(FleetError::Store { source: StoreError::LeaseNotFound(_), .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Everybody who has a slot or waits for one, host by host and slot by slot in the order of their lines. One that cannot be
    /// read is passed over with a warning; it has its place all the same.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn slots(&self) -> Result<Vec<SlotRow>, FleetError> {
        self.slots_seen_at().await.map(|(rows, _)| rows)
    }

    /// The same with the store's revision, for one who follows them.
    ///
    /// # Errors
    /// As [`Fleet::slots`].
    pub async fn slots_seen_at(&self) -> Result<(Vec<SlotRow>, Revision), FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.counted_slots())).await.doing("list slots")?;
        let named = |kv: KeyValue| {
            let (host, name, _) = self.keys.parse_ticket(&kv.key)?;
            Some(((host, name), kv))
        };
        let mut tickets: Vec<_> = reply.kvs.into_iter().filter_map(named).collect();
        tickets.sort_by(|(a, x), (b, y)| (a, x.create_revision).cmp(&(b, y.create_revision)));
        let lines = tickets.chunk_by(|(a, _), (b, _)| a == b);
        let rows = lines.flat_map(|line| {
            line.iter().enumerate().filter_map(|(place, ((host, name), kv))| {
                let Ticket { of, holder } = ticket_in(kv)?;
                let (host, name) = (host.clone(), name.clone());
                Some(SlotRow { host, name, holder, of, place, has_it: place < of })
            })
        });
        Ok((rows.collect(), reply.revision))
    }

    /// Whether the ticket is in line; if not, its lease is over.
    async fn stand_in_line(&self, ticket: &mut SlotHeld, record: &Ticket) -> Result<bool, FleetError> {
        let fresh = [ticket.key.clone(), self.keys.gone_ticket(&ticket.op)];
        let put = Op::put_leased(ticket.key.clone(), encode(record), ticket.lease);
        let txn = Txn::when(fresh.map(|key| Compare::absent(Keys::one(key))).to_vec()).then(vec![put]);
        let mut last = FleetError::Voided;
        for tried in 0..TRIES_MAX {
            match self.store.txn(txn.clone()).await {
                // Nobody else writes these keys: what is there, an earlier try has put.
                Ok(_) => {
                    ticket.certain = tried == 0;
                    return Ok(true);
                }
                Err(StoreError::LeaseNotFound(_)) => return Ok(false),
                Err(error) => {
                    last = FleetError::Store { doing: "stand in line for a slot", source: error };
                    if !last.is_outage() {
                        return Err(last);
                    }
                }
            }
        }
        Err(last)
    }

    /// A line in its order, and when it was so.
    async fn line(&self, prefix: &str) -> Result<(Vec<KeyValue>, Revision), FleetError> {
        let reply = self.store.range(Keys::prefix(prefix)).await.doing("look at a line for a slot")?;
        let mut line = reply.kvs;
        line.sort_by_key(|kv| kv.create_revision);
        Ok((line, reply.revision))
    }

    /// Waits, at most until `until`, for the line before a place in it to move.
    async fn until_moved(
        &self,
        prefix: &str,
        seen: Revision,
        line: &[KeyValue],
        at: usize,
        of: usize,
        until: BootTime,
    ) {
        let ahead = line[..at].iter().map(|kv| kv.key.clone()).collect();
        let limit = until.since(self.clock.now()).min(LOOK_AGAIN);
        let moved = self.moved_up(prefix, seen, &line[at].key, ahead, of);
        let _ = tokio::time::timeout(limit.as_std(), moved).await;
    }

    /// Until fewer than `of` are ahead, or the own ticket is gone, or that cannot be told any more.
    async fn moved_up(&self, prefix: &str, seen: Revision, own: &str, mut ahead: BTreeSet<String>, of: usize) {
        if let Ok(mut watch) = self.store.watch(Keys::prefix(prefix), seen + 1).await {
            while let Some(Ok(event)) = watch.next().await {
                for change in event.changes {
                    if let Change::Delete { key } = change {
                        ahead.remove(&key);
                        if key == own {
                            return;
                        }
                    }
                }
                if ahead.len() < of {
                    return;
                }
            }
        }
        tokio::time::sleep(RETRY.as_std()).await;
    }
}

fn ticket_in(kv: &KeyValue) -> Option<Ticket> {
    decode(kv).inspect_err(|error| tracing::warn!(%error, "a ticket is passed over")).ok()
}

/// To one at this place in line.
fn busy(line: &[KeyValue], of: usize, at: usize) -> Slot {
    Slot::Busy { holders: holders_in(line, of), ahead: at.saturating_sub(of) }
}

fn holders_in(line: &[KeyValue], of: usize) -> Vec<SlotHolder> {
    line.iter().take(of).filter_map(ticket_in).map(|ticket| ticket.holder).collect()
}
