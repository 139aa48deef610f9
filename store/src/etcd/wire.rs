//! The contract's words in etcd's, and back. Requests are copied once (they may have to go to another endpoint), answers
//! are moved. It sends nothing and decides nothing.

use etcd_client::proto::{PbKeyValue, PbResponseHeader, PbTxnOpResponse, PbTxnResponse};
use etcd_client::{
    Compare as EtcdCompare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn as EtcdTxn, TxnOp, WatchOptions,
};

use crate::contract::{
    Compare, KeyValue, Keys, LeaseId, Op, OpReply, Position, Relation, Revision, Subject, Txn, TxnReply,
};

/// etcd's name for "no end", and for the first key there can be.
const EVERY: &[u8] = b"\0";

/// First key and end of a range; the end is `None` for a single key.
pub(super) fn range_of(keys: &Keys) -> (Vec<u8>, Option<Vec<u8>>) {
    match keys {
        Keys::One(key) => (key.clone().into_bytes(), None),
        Keys::Prefix(prefix) if prefix.is_empty() => (EVERY.to_vec(), Some(EVERY.to_vec())),
        Keys::Prefix(prefix) => {
            let mut end = prefix.clone().into_bytes();
            // Text never ends in 0xff, so the next prefix differs in the last byte only.
            if let Some(last) = end.last_mut() {
                *last = last.saturating_add(1);
            }
            (prefix.clone().into_bytes(), Some(end))
        }
    }
}

pub(super) fn get_options(end: Option<Vec<u8>>) -> Option<GetOptions> {
    end.map(|end| GetOptions::new().with_range(end))
}

pub(super) fn watch_options(end: Option<Vec<u8>>, from: Revision) -> WatchOptions {
    // No previous values: a lease with many keys would double. Fragments: it may still be large.
    let options = WatchOptions::new().with_start_revision(signed(from)).with_fragment().with_progress_notify();
    match end {
        Some(end) => options.with_range(end),
        None => options,
    }
}

pub(super) fn txn(txn: &Txn) -> EtcdTxn {
    let ops = |ops: &[Op]| ops.iter().map(op).collect::<Vec<_>>();
    let compares: Vec<_> = txn.compares.iter().map(compare).collect();
    EtcdTxn::new().when(compares).and_then(ops(&txn.success)).or_else(ops(&txn.failure))
}

fn compare(compare: &Compare) -> EtcdCompare {
    let (key, end) = range_of(&compare.keys);
    let relation = match compare.relation {
        Relation::Equal => CompareOp::Equal,
        Relation::NotEqual => CompareOp::NotEqual,
        Relation::Less => CompareOp::Less,
        Relation::Greater => CompareOp::Greater,
    };
    let compare = match &compare.subject {
        Subject::CreateRevision(revision) => EtcdCompare::create_revision(key, relation, signed(*revision)),
        Subject::ModRevision(revision) => EtcdCompare::mod_revision(key, relation, signed(*revision)),
        Subject::Version(version) => EtcdCompare::version(key, relation, signed(*version)),
        Subject::Value(value) => EtcdCompare::value(key, relation, value.clone()),
    };
    match end {
        Some(end) => compare.with_range(end),
        None => compare,
    }
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Get(keys) => {
            let (key, end) = range_of(keys);
            TxnOp::get(key, get_options(end))
        }
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key.clone(), value.clone(), options)
        }
        Op::Delete(keys) => {
            let (key, end) = range_of(keys);
            TxnOp::delete(key, end.map(|end| DeleteOptions::new().with_range(end)))
        }
    }
}

pub(super) fn txn_reply(reply: PbTxnResponse) -> TxnReply {
    let revision = position(reply.header.as_ref()).revision;
    let replies = reply.responses.into_iter().filter_map(|response| response.response).map(op_reply).collect();
    TxnReply { succeeded: reply.succeeded, revision, replies }
}

fn op_reply(response: PbTxnOpResponse) -> OpReply {
    match response {
        PbTxnOpResponse::ResponseRange(range) => OpReply::Get(key_values(range.kvs)),
        PbTxnOpResponse::ResponseDeleteRange(delete) => OpReply::Delete(unsigned(delete.deleted)),
        // Nested transactions are never asked for.
        PbTxnOpResponse::ResponsePut(_) | PbTxnOpResponse::ResponseTxn(_) => OpReply::Put,
    }
}

pub(super) fn key_values(kvs: Vec<PbKeyValue>) -> Vec<KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

pub(super) fn key_value(kv: PbKeyValue) -> KeyValue {
    KeyValue {
        key: text(kv.key),
        value: kv.value,
        create_revision: unsigned(kv.create_revision),
        mod_revision: unsigned(kv.mod_revision),
        version: unsigned(kv.version),
        lease: (kv.lease != 0).then_some(LeaseId(kv.lease)),
    }
}

/// Ours are text. One of somebody else that is not must not keep a fleet from reading its own: it is shown as what it is
/// not, and no reader takes it for one of theirs.
pub(super) fn text(key: Vec<u8>) -> String {
    String::from_utf8(key).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where a linearizable answer stands. etcd sends a header with each; an answer without one would stand at the beginning
/// and be taken for a store that went back.
pub(super) fn position(header: Option<&PbResponseHeader>) -> Position {
    header.map_or_else(Position::default, |header| Position {
        revision: unsigned(header.revision),
        raft_term: header.raft_term,
    })
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        let range = |prefix: &str| range_of(&Keys::prefix(prefix));
        assert_eq!(range("a/"), (b"a/".to_vec(), Some(b"a0".to_vec())));
        assert_eq!(range(""), (b"\0".to_vec(), Some(b"\0".to_vec())));
        assert_eq!(range_of(&Keys::one("a/")), (b"a/".to_vec(), None));
        for prefix in ["é", "\u{10ffff}", "\u{7f}", "z\u{7ff}"] {
            let (start, end) = range(prefix);
            let end = end.unwrap();
            assert!(start < end && format!("{prefix}\u{10ffff}").into_bytes() < end, "{prefix}");
        }
    }

    #[test]
    fn a_key_that_is_no_text_is_not_taken_for_one_of_ours() {
        assert_eq!(text(b"rr/v1/a".to_vec()), "rr/v1/a");
        assert_eq!(text(b"rr/v1/\xff".to_vec()), "rr/v1/\u{fffd}");
    }
}
