//! Each request of the contract as one call to etcd: what is sent, and what of the answer is kept. When and where it is
//! sent is [`super::route`]'s.

use etcd_client::Error as EtcdError;

use super::line::Line;
use super::route::Call;
use super::wire;
use crate::contract::{Keys, LeaseId, Op, Position, RangeReply, Revision, Txn, TxnReply};

type Answered<T> = Result<(Position, T), EtcdError>;

pub(super) struct RunTxn<'a>(pub &'a Txn);

impl Call for RunTxn<'_> {
    type Answer = TxnReply;

    fn is_read(&self) -> bool {
        self.0.success.iter().chain(&self.0.failure).all(|op| matches!(op, Op::Get(_)))
    }

    async fn send(&self, line: &Line) -> Answered<TxnReply> {
        let reply = line.kv.clone().txn(wire::txn(self.0)).await?.0;
        Ok((wire::position(reply.header.as_ref()), wire::txn_reply(reply)))
    }
}

pub(super) struct Range<'a>(pub &'a Keys);

impl Call for Range<'_> {
    type Answer = RangeReply;

    fn is_read(&self) -> bool {
        true
    }

    async fn send(&self, line: &Line) -> Answered<RangeReply> {
        let (key, end) = wire::range_of(self.0);
        let reply = line.kv.clone().get(key, wire::get_options(end)).await?.0;
        let now = wire::position(reply.header.as_ref());
        Ok((now, RangeReply { kvs: wire::key_values(reply.kvs), revision: now.revision }))
    }
}

/// In whole seconds, as etcd counts.
pub(super) struct Grant(pub i64);

impl Call for Grant {
    type Answer = LeaseId;

    fn is_read(&self) -> bool {
        false
    }

    async fn send(&self, line: &Line) -> Answered<LeaseId> {
        let reply = line.lease.clone().grant(self.0, None).await?.0;
        Ok((wire::position(reply.header.as_ref()), LeaseId(reply.id)))
    }
}

pub(super) struct Revoke(pub LeaseId);

impl Call for Revoke {
    type Answer = Revision;

    fn is_read(&self) -> bool {
        false
    }

    async fn send(&self, line: &Line) -> Answered<Revision> {
        let reply = line.lease.clone().revoke(self.0.0).await?.0;
        let now = wire::position(reply.header.as_ref());
        Ok((now, now.revision))
    }
}

pub(super) struct Compact(pub Revision);

impl Call for Compact {
    type Answer = ();

    fn is_read(&self) -> bool {
        false
    }

    async fn send(&self, line: &Line) -> Answered<()> {
        let reply = line.kv.clone().compact(wire::signed(self.0), None).await?.0;
        Ok((wire::position(reply.header.as_ref()), ()))
    }
}
