//! Sessions: registered under a lease, kept alive, proven after a fence, ended (lock-protocol §4).
//! A session's record vanishes with its lease, and every lock, queue entry and acknowledgement of it in the same revision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_core::bugs::{self, Bug};
use rr_core::id::SessionId;
use rr_core::session::DeathCause;
use rr_core::time::{BootTime, Span};
use rr_store::{Compare, KeepAlive, Keys, LeaseId, Op, Revision, StoreError, Txn};

use crate::keys::Tree;
use crate::records::{MarkRecord, SessionRecord, SlotRecord, decode, encode};
use crate::settle::Books;
use crate::{Doing, Fleet, FleetError};

/// A keep-alive that takes longer counts as failed.
const BEAT_DEADLINE: Span = Span::from_secs(5);

/// A registered session: the right to ask for locks in its name. It carries what every transaction must compare.
#[derive(Clone, Debug)]
pub struct Session {
    pub sid: SessionId,
    pub lease: LeaseId,
    /// Create revision of `sess/<sid>`.
    pub created: Revision,
    /// Mod revision of `meta/gen` at registration.
    pub generation: Revision,
    /// Its host's id. Its denial is compared in every transaction: a host that is shut out can do nothing (H40).
    pub fingerprint: String,
    /// Numbers this session's holder keys.
    pub(crate) next: Arc<AtomicU64>,
    pub(crate) books: Arc<Books>,
}

impl Session {
    pub(crate) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Clone, Debug)]
pub enum Registered {
    New(Session),
    /// Another live session has this workspace slot.
    SlotTaken {
        by: SessionId,
        record: Option<Box<SessionRecord>>,
    },
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The agent said so: nothing of it is left behind.
    Clean,
    /// The agent died. `gone`: everything it started is known to be gone as well.
    Died { gone: bool },
}

/// What a keep-alive says to a session's heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The lease lasts its time from **this** moment at least: the store may have renewed it as soon as it was asked (H1, H4).
    Acknowledged {
        sent: BootTime,
    },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Alive, by a keep-alive sent at this time.
    Alive {
        sent: BootTime,
    },
    Dead(DeathCause),
}

impl Fleet {
    /// Registers a session in its slot (H12): of many at once for one slot exactly one succeeds.
    ///
    /// # Errors
    /// If the store does not answer clearly. Nothing is left behind then but a lease that runs out.
    pub async fn register(&self, record: &SessionRecord, fingerprint: &str) -> Result<Registered, FleetError> {
        let sid = SessionId::from_random(self.entropy.bits());
        let generation = self.generation().await?;
        let lease = self.store.grant(self.timing.lease).await.doing("grant a session's lease")?;
        let (slot, key) = (self.keys.slot(&record.host, &slot_name(record)), self.keys.session(&sid));
        let txn = Txn::when(vec![
            Compare::absent(Keys::one(slot.clone())),
            Compare::absent(Keys::one(key.clone())),
            self.same_generation(generation),
            Compare::absent(Keys::one(self.keys.denied(fingerprint))),
        ])
        .then(vec![
            Op::put_leased(slot.clone(), encode(&SlotRecord { sid: sid.clone() }), lease),
            Op::put_leased(key.clone(), encode(record), lease),
        ]);
        let created = match self.store.txn(txn).await {
            Ok(reply) => Ok(reply.succeeded.then_some(reply.revision)),
            Err(e) if e.is_unknown() => self.created(&key).await,
            Err(e) => Err(e).doing("register a session"),
        };
        if let Ok(Some(created)) = created {
            let (next, books) = (Arc::new(AtomicU64::new(0)), Arc::default());
            let fingerprint = fingerprint.to_owned();
            return Ok(Registered::New(Session { sid, lease, created, generation, fingerprint, next, books }));
        }
        // Without its lease a late transaction of ours can no longer apply.
        self.revoke_quietly(lease).await;
        created?;
        if let Some(denial) = self.denial(fingerprint).await? {
            return Err(FleetError::Denied(denial));
        }
        self.slot_holder(&slot).await
    }

    async fn slot_holder(&self, slot: &str) -> Result<Registered, FleetError> {
        let kv = self.get(slot, "read the workspace slot").await?;
        let Some(kv) = kv else { return Err(FleetError::Voided) };
        let by = decode::<SlotRecord>(&kv)?.sid;
        let record = self.get(&self.keys.session(&by), "read the slot's session").await?;
        let record = record.map(|kv| decode(&kv)).transpose()?.map(Box::new);
        Ok(Registered::SlotTaken { by, record })
    }

    /// Guarded by the session's own key: a late copy of this can not touch what somebody else wrote later.
    pub(crate) async fn change_guarded(
        &self,
        session: &Session,
        ops: Vec<Op>,
        doing: &'static str,
    ) -> Result<(), FleetError> {
        for chunk in ops.chunks(rr_store::TXN_OPS_MAX) {
            let txn = Txn::when(vec![Compare::created_at(self.keys.session(&session.sid), session.created)]);
            self.store.txn(txn.then(chunk.to_vec())).await.doing(doing)?;
        }
        Ok(())
    }

    /// One keep-alive. The caller notes when it was **sent**.
    ///
    /// # Errors
    /// If the store does not answer: says nothing about the lease.
    pub async fn keep_alive(&self, session: &Session) -> Result<KeepAlive, FleetError> {
        let alive = self.store.keep_alive(session.lease).await.doing("renew a session's lease")?;
        if let Err(error) = self.pay(session).await {
            tracing::debug!(session = %session.sid, %error, "still owed to the store");
        }
        Ok(alive)
    }

    /// One keep-alive of a running session, given up after [`BEAT_DEADLINE`].
    ///
    /// # Errors
    /// If the store does not answer, or not in time: says nothing about the lease.
    pub async fn beat(&self, session: &Session) -> Result<Beat, FleetError> {
        let sent = self.clock.now();
        let answer = tokio::time::timeout(BEAT_DEADLINE.as_std(), self.keep_alive(session)).await;
        let late = || StoreError::Unknown(format!("no answer within {} s", BEAT_DEADLINE.as_secs()));
        let alive = answer.unwrap_or_else(|_| Err(late()).doing("renew a session's lease"))?;
        let counted_from = if bugs::is_on(Bug::B3) { self.clock.now() } else { sent };
        Ok(if alive == KeepAlive::Gone { Beat::Gone } else { Beat::Acknowledged { sent: counted_from } })
    }

    /// Proves after a fence that the session is still the same one: lease alive, its key with its own create revision, the
    /// same generation.
    ///
    /// # Errors
    /// If the store does not answer: then nothing is proven.
    pub async fn prove(&self, session: &Session) -> Result<Proof, FleetError> {
        let sent = self.clock.now();
        if self.keep_alive(session).await? == KeepAlive::Gone {
            return Ok(Proof::Dead(DeathCause::LeaseGone));
        }
        let denied = self.keys.denied(&session.fingerprint);
        let txn = Txn::when(vec![
            Compare::created_at(self.keys.session(&session.sid), session.created),
            self.same_generation(session.generation),
            Compare::absent(Keys::one(denied.clone())),
        ])
        .otherwise(vec![Op::Get(Keys::one(self.keys.generation())), Op::Get(Keys::one(denied.clone()))]);
        let reply = self.store.txn(txn).await.doing("prove a session")?;
        if reply.succeeded {
            return Ok(Proof::Alive { sent });
        }
        let found: Vec<_> = reply.replies.into_iter().flat_map(rr_store::OpReply::into_keys).collect();
        if found.iter().any(|kv| kv.key == denied) {
            return Ok(Proof::Dead(DeathCause::Denied));
        }
        let same = found.iter().any(|kv| kv.mod_revision == session.generation);
        Ok(Proof::Dead(if same { DeathCause::KeyGone } else { DeathCause::GenerationChanged }))
    }

    /// Rewrites a session's record (its task has changed). A lost race changes nothing.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn describe(&self, session: &Session, record: &SessionRecord) -> Result<(), FleetError> {
        let key = self.keys.session(&session.sid);
        let txn = Txn::when(vec![Compare::created_at(key.clone(), session.created)]).then(vec![Op::put_leased(
            key,
            encode(record),
            session.lease,
        )]);
        self.store.txn(txn).await.doing("describe a session").map(|_| ())
    }

    /// Ends a session: all its keys go in one revision. After a clean end no mark is left; after a death the marks stay and
    /// tell the next holder to look first.
    ///
    /// # Errors
    /// If the store does not answer; the lease then runs out by itself.
    pub async fn end(&self, session: &Session, how: Ending) -> Result<(), FleetError> {
        match how {
            Ending::Clean => self.edit_marks(session, None).await?,
            Ending::Died { gone: true } => self.edit_marks(session, Some(true)).await?,
            Ending::Died { gone: false } => {}
        }
        match self.store.revoke(session.lease).await {
            Ok(_) | Err(StoreError::LeaseNotFound(_)) => Ok(()),
            Err(e) => Err(e).doing("revoke a session's lease"),
        }
    }

    /// Deletes this session's marks (`None`), or notes in them whether it is known to be gone.
    async fn edit_marks(&self, session: &Session, gone: Option<bool>) -> Result<(), FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.tree(Tree::Mark))).await.doing("list marks")?;
        let mut ops = Vec::new();
        for kv in reply.kvs {
            let Some((_, _, owner, _)) = self.keys.parse_holder(Tree::Mark, &kv.key) else { continue };
            if owner != session.sid {
                continue;
            }
            ops.push(match gone {
                None => Op::Delete(Keys::one(kv.key)),
                Some(gone) => Op::put(kv.key.clone(), encode(&MarkRecord { gone, ..decode(&kv)? })),
            });
        }
        self.change_guarded(session, ops, "settle marks").await
    }

    /// Ends a lease found in the store whose holder is known to be dead: an earlier life's session on this host and boot.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn bury(&self, sid: &SessionId) -> Result<(), FleetError> {
        let Some(kv) = self.get(&self.keys.session(sid), "read a dead session").await? else { return Ok(()) };
        match kv.lease {
            Some(lease) => {
                self.revoke_quietly(lease).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) async fn generation(&self) -> Result<Revision, FleetError> {
        let kv = self.get(&self.keys.generation(), "read the fleet's generation").await?;
        Ok(kv.map_or(0, |kv| kv.mod_revision))
    }

    /// Nothing was restored since the generation was read: what was true of the store then may not be so now.
    pub(crate) fn same_generation(&self, modified: Revision) -> Compare {
        let same = Compare::modified_at(self.keys.generation(), modified);
        if bugs::is_on(Bug::B10) { Compare::exists(self.keys.generation()) } else { same }
    }

    async fn created(&self, key: &str) -> Result<Option<Revision>, FleetError> {
        Ok(self.get(key, "read back a registration").await?.map(|kv| kv.create_revision))
    }

    pub(crate) async fn get(&self, key: &str, doing: &'static str) -> Result<Option<rr_store::KeyValue>, FleetError> {
        Ok(self.store.range(Keys::one(key)).await.doing(doing)?.kvs.into_iter().next())
    }

    pub(crate) async fn revoke_quietly(&self, lease: LeaseId) {
        if let Err(error) = self.store.revoke(lease).await {
            tracing::debug!(%lease, %error, "left a lease to run out");
        }
    }
}

/// The slot of one agent session in one folder: several agents may share a folder, one agent session registers once.
fn slot_name(record: &SessionRecord) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in record.workspace.bytes().chain([0]).chain(record.agent_session.bytes()) {
        // FNV-1a: a name for a slot, not a secret; a collision only makes two agents take turns to register.
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}
