//! Random requests against the engine and against the plainest model of the contract there is: one ordered map, one
//! request after the other. Restarts in between. Every answer must be the same.

mod common;

use std::collections::BTreeMap;

use common::{Embedded, SmallDisk};
use futures::StreamExt;
use proptest::prelude::*;
use rr_core::time::Span;
use rr_store::suite::{Harness, Stop};
use rr_store::{
    Change, Compare, KeepAlive, KeyValue, Keys, LeaseId, Op, OpReply, Options, Relation, Revision, StoreError, Subject,
    Txn, TxnReply, WatchEvent,
};

const TTL: Span = Span::from_secs(60);
const LEASES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Leases of its puts are places in the list of leases granted so far.
    Txn(Txn),
    Grant,
    Revoke(usize),
    KeepAlive(usize),
    /// In seconds.
    Advance(u64),
    Restart(Stop),
}

/// What a request may do, done plainly.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, KeyValue>,
    /// Name and seconds left; `None` once over.
    leases: Vec<(LeaseId, Option<u64>)>,
    revision: Revision,
    told: Vec<WatchEvent>,
}

impl Model {
    fn txn(&mut self, txn: &Txn) -> Result<TxnReply, StoreError> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        for op in ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.leases.iter().any(|(name, left)| name == lease && left.is_some())
            {
                return Err(StoreError::LeaseNotFound(*lease));
            }
        }
        let next = self.revision + 1;
        let mut changes = Vec::new();
        let replies = ops.iter().map(|op| self.op(op, next, &mut changes)).collect();
        self.tell(changes);
        Ok(TxnReply { succeeded, revision: self.revision, replies })
    }

    fn tell(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.revision += 1;
            self.told.push(WatchEvent { revision: self.revision, changes });
        }
    }

    fn range(&self, keys: &Keys) -> Vec<KeyValue> {
        self.keys.values().filter(|kv| keys.contains(&kv.key)).cloned().collect()
    }

    fn op(&mut self, op: &Op, revision: Revision, changes: &mut Vec<Change>) -> OpReply {
        match op {
            Op::Get(keys) => OpReply::Get(self.range(keys)),
            Op::Delete(keys) => {
                let gone = self.range(keys);
                for kv in &gone {
                    self.keys.remove(&kv.key);
                    changes.push(Change::Delete { key: kv.key.clone() });
                }
                OpReply::Delete(gone.len() as u64)
            }
            Op::Put { key, value, lease } => {
                let old = self.keys.get(key);
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: old.map_or(revision, |old| old.create_revision),
                    mod_revision: revision,
                    version: old.map_or(0, |old| old.version) + 1,
                    lease: *lease,
                };
                self.keys.insert(key.clone(), kv.clone());
                changes.push(Change::Put(kv));
                OpReply::Put
            }
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let numbers = |left: u64, right: u64| match compare.relation {
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::Less => left < right,
            Relation::Greater => left > right,
        };
        let found = self.range(&compare.keys);
        match &compare.subject {
            Subject::CreateRevision(n) if found.is_empty() => numbers(0, *n),
            Subject::ModRevision(n) | Subject::Version(n) if found.is_empty() => numbers(0, *n),
            Subject::CreateRevision(n) => found.iter().all(|kv| numbers(kv.create_revision, *n)),
            Subject::ModRevision(n) => found.iter().all(|kv| numbers(kv.mod_revision, *n)),
            Subject::Version(n) => found.iter().all(|kv| numbers(kv.version, *n)),
            Subject::Value(value) if compare.relation == Relation::Equal => {
                !found.is_empty() && found.iter().all(|kv| kv.value == *value)
            }
            Subject::Value(value) => {
                !found.is_empty() && found.iter().all(|kv| numbers(u64::from(kv.value[0]), u64::from(value[0])))
            }
        }
    }

    fn end(&mut self, at: usize) {
        let lease = self.leases[at].0;
        self.leases[at].1 = None;
        let gone: Vec<_> = self.keys.values().filter(|kv| kv.lease == Some(lease)).cloned().collect();
        gone.iter().for_each(|kv| drop(self.keys.remove(&kv.key)));
        self.tell(gone.into_iter().map(|kv| Change::Delete { key: kv.key }).collect());
    }

    fn advance(&mut self, secs: u64) {
        let mut over: Vec<_> = Vec::new();
        for (at, (lease, left)) in self.leases.iter_mut().enumerate() {
            if let Some(left) = left {
                *left = left.saturating_sub(secs);
                if *left == 0 {
                    over.push((*lease, at));
                }
            }
        }
        over.sort_unstable();
        over.into_iter().for_each(|(_, at)| self.end(at));
    }
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "a/1", "a/2", "a0", "b", "b/1"]).prop_map(String::from)
}

fn keys() -> impl Strategy<Value = Keys> {
    prop_oneof![key().prop_map(Keys::One), prop::sample::select(vec!["", "a", "a/", "b", "c"]).prop_map(Keys::prefix)]
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = prop::sample::select(vec![Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater]);
    let subject = prop_oneof![
        (0..20_u64).prop_map(Subject::CreateRevision),
        (0..20_u64).prop_map(Subject::ModRevision),
        (0..4_u64).prop_map(Subject::Version),
        (0..3_u8).prop_map(|byte| Subject::Value(vec![byte])),
    ];
    (keys(), relation, subject).prop_map(|(keys, relation, subject)| Compare { keys, relation, subject })
}

fn op() -> impl Strategy<Value = Op> {
    let lease = prop::option::of((0..LEASES as i64).prop_map(LeaseId));
    prop_oneof![
        4 => (key(), 0..3_u8, lease).prop_map(|(key, byte, lease)| Op::Put { key, value: vec![byte], lease }),
        1 => keys().prop_map(Op::Get),
        1 => keys().prop_map(Op::Delete),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let list = || prop::collection::vec(op(), 0..4);
    let parts = (prop::collection::vec(compare(), 0..3), list(), list());
    parts.prop_map(|(compares, success, failure)| Txn { compares, success, failure })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => txn().prop_map(Step::Txn),
        2 => Just(Step::Grant),
        1 => (0..LEASES).prop_map(Step::Revoke),
        2 => (0..LEASES).prop_map(Step::KeepAlive),
        2 => (1..50_u64).prop_map(Step::Advance),
        1 => prop::sample::select(vec![Stop::Clean, Stop::Crash]).prop_map(Step::Restart),
    ]
}

/// Puts the names of granted leases where the places stood; a place without a lease is one that never was.
fn with_names(mut txn: Txn, leases: &[(LeaseId, Option<u64>)]) -> Txn {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        if let Op::Put { lease: Some(lease), .. } = op {
            let place = usize::try_from(lease.0).unwrap();
            *lease = leases.get(place).map_or(LeaseId(i64::MAX), |(name, _)| *name);
        }
    }
    txn
}

/// Whether the contract lets this request in at all (G2); the model need not know what it refuses.
fn is_valid(txn: &Txn) -> bool {
    [&txn.success, &txn.failure].into_iter().all(|ops| {
        let puts: Vec<_> =
            ops.iter().filter_map(|op| if let Op::Put { key, .. } = op { Some(key) } else { None }).collect();
        let twice = (1..puts.len()).any(|at| puts[..at].contains(&puts[at]));
        let deleted = |key: &str| ops.iter().any(|op| matches!(op, Op::Delete(keys) if keys.contains(key)));
        !twice && !puts.iter().any(|key| deleted(key))
    })
}

async fn take(step: Step, harness: &Embedded, model: &mut Model) {
    let store = harness.store();
    match step {
        Step::Txn(txn) => {
            let txn = with_names(txn, &model.leases);
            let answer = store.txn(txn.clone()).await;
            if is_valid(&txn) {
                assert_eq!(answer, model.txn(&txn), "{txn:?}");
            } else {
                assert!(matches!(answer, Err(StoreError::Invalid(_))), "{txn:?}");
            }
        }
        Step::Grant => model.leases.push((store.grant(TTL).await.unwrap(), Some(TTL.as_secs()))),
        Step::Revoke(place) => {
            let Some((lease, left)) = model.leases.get(place).copied() else {
                return;
            };
            let answer = store.revoke(lease).await;
            if left.is_none() {
                assert_eq!(answer, Err(StoreError::LeaseNotFound(lease)));
            } else {
                model.end(place);
                assert_eq!(answer, Ok(model.revision));
            }
        }
        Step::KeepAlive(place) => {
            let Some((lease, left)) = model.leases.get_mut(place) else {
                return;
            };
            let expected = if left.is_some() { KeepAlive::Alive(TTL) } else { KeepAlive::Gone };
            *left = left.map(|_| TTL.as_secs());
            assert_eq!(store.keep_alive(*lease).await, Ok(expected));
        }
        Step::Advance(secs) => {
            harness.clock.advance(Span::from_secs(secs));
            model.advance(secs);
            // A lease may end late: any request that goes through the writer ends those that are over.
            let _ = store.revoke(LeaseId(i64::MAX)).await;
        }
        Step::Restart(stop) => {
            drop(store);
            harness.restart(stop).await;
            model.leases.iter_mut().for_each(|(_, left)| *left = left.map(|_| TTL.as_secs()));
        }
    }
    let all = harness.store().range(Keys::prefix("")).await.unwrap();
    assert_eq!(all.revision, model.revision);
    assert_eq!(all.kvs, model.range(&Keys::prefix("")));
}

async fn run(steps: Vec<Step>, log_growth_max: u64) {
    let harness = Embedded::new(Options { log_growth_max, disk: SmallDisk::lazy(), ..Options::default() });
    let mut model = Model { revision: harness.embedded().stats().revision, ..Model::default() };
    for step in steps {
        take(step, &harness, &mut model).await;
    }
    // What is still known of the past is the past as it was.
    let store = harness.store();
    let mut from = 1;
    let mut watch = store.watch(Keys::prefix(""), from).await.unwrap();
    for _ in 0..model.told.len() {
        match watch.next().await.unwrap() {
            Err(StoreError::Compacted { oldest }) => {
                from = oldest;
                break;
            }
            Ok(event) => assert_eq!(Some(&event), model.told.iter().find(|told| told.revision == event.revision)),
            Err(other) => panic!("{other}"),
        }
    }
    let rest = model.told.iter().filter(|told| told.revision >= from);
    let mut watch = store.watch(Keys::prefix(""), from).await.unwrap();
    for told in rest {
        assert_eq!(watch.next().await, Some(Ok(told.clone())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_answers_as_the_model(steps in prop::collection::vec(step(), 1..60), rewriting in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let log_growth_max = if rewriting { 1 } else { 1 << 20 };
        runtime.block_on(run(steps, log_growth_max));
    }
}
