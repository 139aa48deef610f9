//! Which hosts belong to the fleet: invited by a token that works once, recorded with the key they came with, shut out by a
//! denial that every transaction of a session compares (H40). It knows hashes and ids; certificates are made elsewhere.

use std::collections::BTreeMap;

use rr_core::id::{HostId, OpId, SessionId};
use rr_core::time::Span;
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Txn};
use serde::{Deserialize, Serialize};

use crate::records::{SessionRecord, decode, encode};
use crate::{Doing, Fleet, FleetError, FleetState};

/// Tries while others write, or answers are lost.
const TRIES_MAX: usize = 8;

/// `join/<hash of a secret>`, under a lease: whoever shows the secret is let in, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub role: String,
    pub who: String,
    pub expires_unix_ms: u64,
}

/// `host/<host-id>`: a host that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// For people only.
    pub name: String,
    pub role: String,
    /// Hash of its public key: nobody else can take its id later.
    pub key: String,
    /// Hash of the secret it came with.
    pub token: String,
    /// Tells this join from another one with the same secret.
    pub op: OpId,
    pub since_unix_ms: u64,
}

/// `deny/<host-id>`: a host that is shut out. Its presence is what counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    pub who: String,
    pub reason: String,
    pub since_unix_ms: u64,
}

/// Who asks to be let in, with which secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    pub host: HostId,
    pub name: String,
    pub key: String,
    pub token: String,
    pub now_unix_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// The token is spent, the host recorded.
    Done(Invitation),
    /// There is no such invitation, or no longer. Who used it, if anybody is known to have.
    NoInvitation {
        used_by: Option<HostRecord>,
    },
    /// That id belongs to a host with another key.
    OtherKey(HostRecord),
    Denied(Denial),
}

/// One host as far as the fleet knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    pub host: HostId,
    /// From its record, else from a session of it.
    pub name: String,
    pub record: Option<HostRecord>,
    pub denied: Option<Denial>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyDone {
    /// It was denied before.
    pub already: Option<Denial>,
    pub sessions_ended: usize,
}

impl Fleet {
    /// Makes an invitation that ends by itself.
    ///
    /// # Errors
    /// If the store does not answer clearly: then no such invitation is left for longer than its time.
    pub async fn invite(&self, token: &str, invitation: &Invitation, ttl: Span) -> Result<(), FleetError> {
        let lease = self.store.grant(ttl).await.doing("grant an invitation's lease")?;
        let key = self.keys.invitation(token);
        let txn = Txn::when(vec![Compare::absent(Keys::one(key.clone()))]).then(vec![Op::put_leased(
            key,
            encode(invitation),
            lease,
        )]);
        match self.store.txn(txn).await.doing("record an invitation") {
            Ok(reply) if reply.succeeded => Ok(()),
            other => {
                self.revoke_quietly(lease).await;
                other.and(Err(FleetError::Voided))
            }
        }
    }

    /// Spends an invitation and records who came with it, in one transaction: of many at once exactly one succeeds.
    ///
    /// # Errors
    /// If the store does not answer clearly: then the token may be spent.
    pub async fn join(&self, applicant: &Applicant) -> Result<Join, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_join(applicant, &op).await {
                Ok(Some(join)) => return Ok(join),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `None`: somebody was faster, look again.
    async fn try_join(&self, applicant: &Applicant, op: &OpId) -> Result<Option<Join>, FleetError> {
        let (token, host) = (self.keys.invitation(&applicant.token), self.keys.host(&applicant.host));
        let denied = self.keys.denied(applicant.host.as_str());
        let [invited, known, denial] = self.at_once([&token, &host, &denied], "look at an invitation").await?;
        if let Some(kv) = denial {
            return Ok(Some(Join::Denied(denial_in(&kv))));
        }
        let known_record: Option<HostRecord> = known.as_ref().map(decode).transpose()?;
        let Some(invited) = invited else {
            return self.without_invitation(applicant, op, known_record).await.map(Some);
        };
        if let Some(other) = known_record.filter(|record| record.key != applicant.key) {
            return Ok(Some(Join::OtherKey(other)));
        }
        let invitation: Invitation = decode(&invited)?;
        let record = record_of(applicant, &invitation, op);
        let same = known.map_or_else(
            || Compare::absent(Keys::one(host.clone())),
            |kv| Compare::modified_at(host.clone(), kv.mod_revision),
        );
        let guards =
            vec![Compare::created_at(token.clone(), invited.create_revision), same, Compare::absent(Keys::one(denied))];
        let txn = Txn::when(guards).then(vec![Op::Delete(Keys::one(token)), Op::put(host, encode(&record))]);
        let reply = self.store.txn(txn).await.doing("spend an invitation")?;
        Ok(reply.succeeded.then_some(Join::Done(invitation)))
    }

    /// Spent by ourselves if an answer was lost, else by somebody else, or it ended.
    async fn without_invitation(
        &self,
        applicant: &Applicant,
        op: &OpId,
        known: Option<HostRecord>,
    ) -> Result<Join, FleetError> {
        if let Some(own) = known.filter(|record| record.op == *op) {
            let HostRecord { role, .. } = own;
            return Ok(Join::Done(Invitation { role, who: String::new(), expires_unix_ms: applicant.now_unix_ms }));
        }
        let hosts = self.store.range(Keys::prefix(self.keys.hosts())).await.doing("look who used an invitation")?;
        let mut records = hosts.kvs.iter().filter_map(|kv| decode::<HostRecord>(kv).ok());
        Ok(Join::NoInvitation { used_by: records.find(|record| record.token == applicant.token) })
    }

    /// Shuts a host out and ends its sessions: their locks go at once, their marks stay. Doing it again ends what is left.
    ///
    /// # Errors
    /// If the store does not answer clearly: then ask again.
    pub async fn deny(&self, host: &HostId, denial: &Denial) -> Result<DenyDone, FleetError> {
        let key = self.keys.denied(host.as_str());
        let txn = Txn::when(vec![Compare::absent(Keys::one(key.clone()))])
            .then(vec![Op::put(key.clone(), encode(denial))])
            .otherwise(vec![Op::Get(Keys::one(key))]);
        let reply = self.insist(txn, "shut a host out").await?;
        let before = reply.replies.into_iter().flat_map(OpReply::into_keys).next();
        // An answer that was lost left our own denial there.
        let already = before.map(|kv| denial_in(&kv)).filter(|before| before != denial);
        // After the denial: whoever registered before it is in this list, and nobody can after it.
        let mut sessions_ended = 0;
        for sid in self.sessions_of(host).await? {
            self.bury(&sid).await?;
            sessions_ended += 1;
        }
        Ok(DenyDone { already, sessions_ended })
    }

    async fn sessions_of(&self, host: &HostId) -> Result<Vec<SessionId>, FleetError> {
        let prefix = self.keys.sessions();
        let reply = self.store.range(Keys::prefix(prefix.clone())).await.doing("list a host's sessions")?;
        let of_host = |kv: &&KeyValue| decode::<SessionRecord>(kv).is_ok_and(|record| record.host == *host);
        let sids = reply.kvs.iter().filter(of_host).filter_map(|kv| kv.key.strip_prefix(&prefix));
        Ok(sids.filter_map(|sid| SessionId::parse(sid).ok()).collect())
    }

    /// Lets a host in again. `false`: it was not shut out.
    ///
    /// # Errors
    /// If the store does not answer clearly: then ask again.
    pub async fn allow(&self, host: &HostId) -> Result<bool, FleetError> {
        let key = self.keys.denied(host.as_str());
        let Some(denial) = self.get(&key, "look whether a host is shut out").await? else { return Ok(false) };
        // Exactly the denial that was seen: a late copy of this must not lift a later one.
        let txn = Txn::when(vec![Compare::modified_at(key.clone(), denial.mod_revision)]);
        self.insist(txn.then(vec![Op::Delete(Keys::one(key))]), "let a host in again").await?;
        Ok(true)
    }

    /// Whether a host is shut out, and why.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn denial(&self, host: &str) -> Result<Option<Denial>, FleetError> {
        let found = self.get(&self.keys.denied(host), "look whether a host is shut out").await?;
        Ok(found.map(|kv| denial_in(&kv)))
    }

    /// The running state together with whether `host` is shut out: one read, for one who reads it every few seconds.
    ///
    /// # Errors
    /// As [`Fleet::state`].
    pub async fn state_for(&self, host: &HostId) -> Result<(FleetState, Option<Denial>), FleetError> {
        let denied = self.keys.denied(host.as_str());
        let mut reads = self.state_keys().map(Op::Get).to_vec();
        reads.push(Op::Get(Keys::one(denied.clone())));
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the run permit")?;
        let kvs: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        let denial = kvs.iter().find(|kv| kv.key == denied).map(denial_in);
        Ok((self.decode_state(&kvs, reply.revision)?, denial))
    }

    /// Every host that joined, is shut out, or has a session.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn hosts(&self) -> Result<Vec<HostRow>, FleetError> {
        let prefixes = [self.keys.hosts(), self.keys.denied(""), self.keys.sessions()];
        let reads = prefixes.iter().map(|prefix| Op::Get(Keys::prefix(prefix.clone()))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("list hosts")?;
        let mut rows = BTreeMap::<HostId, HostRow>::new();
        for kv in reply.replies.into_iter().flat_map(OpReply::into_keys) {
            let [joined, denied, _] = &prefixes;
            if let Some(host) = kv.key.strip_prefix(joined).and_then(|id| HostId::parse(id).ok()) {
                let Ok(record) = decode::<HostRecord>(&kv) else { continue };
                let row = row(&mut rows, host);
                row.name.clone_from(&record.name);
                row.record = Some(record);
            } else if let Some(host) = kv.key.strip_prefix(denied).and_then(|id| HostId::parse(id).ok()) {
                row(&mut rows, host).denied = Some(denial_in(&kv));
            } else if let Ok(session) = decode::<SessionRecord>(&kv) {
                let row = row(&mut rows, session.host);
                if row.name.is_empty() {
                    row.name = session.host_name;
                }
            }
        }
        Ok(rows.into_values().collect())
    }

    /// Single keys, at one revision.
    async fn at_once<const N: usize>(
        &self,
        keys: [&String; N],
        doing: &'static str,
    ) -> Result<[Option<KeyValue>; N], FleetError> {
        let reads = keys.iter().map(|key| Op::Get(Keys::one((*key).clone()))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing(doing)?;
        let kvs: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        Ok(keys.map(|key| kvs.iter().find(|kv| kv.key == *key).cloned()))
    }
}

fn record_of(applicant: &Applicant, invitation: &Invitation, op: &OpId) -> HostRecord {
    HostRecord {
        name: applicant.name.clone(),
        role: invitation.role.clone(),
        key: applicant.key.clone(),
        token: applicant.token.clone(),
        op: op.clone(),
        since_unix_ms: applicant.now_unix_ms,
    }
}

fn row(rows: &mut BTreeMap<HostId, HostRow>, host: HostId) -> &mut HostRow {
    let empty = HostRow { host: host.clone(), name: String::new(), record: None, denied: None };
    rows.entry(host).or_insert(empty)
}

/// A denial whose value cannot be read is one all the same.
pub(crate) fn denial_in(kv: &KeyValue) -> Denial {
    let unknown =
        || Denial { who: "somebody".to_owned(), reason: "no reason is recorded".to_owned(), since_unix_ms: 0 };
    decode(kv).unwrap_or_else(|_| unknown())
}
