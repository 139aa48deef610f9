//! A transaction through the engine against the same one through the raw client, on the same cluster at the same time:
//! `cargo bench -p rr-tests --bench etcd`. The transaction is that of a lock: ten compares, three puts, one read.
//! Both sides take turns request by request, so that a busy machine slows both alike.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare as RawCompare, CompareOp, PutOptions, Txn as RawTxn, TxnOp};
use rr_core::time::Span;
use rr_runtime::clock::BootClock;
use rr_store::{Compare, EtcdOptions, EtcdStore, Keys, LeaseId, Op, Store, Txn};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

const COMPARES: usize = 10;
/// Of each side, over all callers.
const TXNS: usize = 4_000;
const CALLERS: [usize; 4] = [1, 16, 64, 256];

fn name(caller: usize, n: usize, what: &str) -> String {
    format!("rr/v1/bench/x/repository/src/module-{caller}/file-{n}.rs/@/{what}")
}

fn ours(caller: usize, n: usize, lease: LeaseId) -> Txn {
    let compares =
        (0..COMPARES).map(|c| Compare::absent(Keys::prefix(name(caller, n, &format!("holder-{c}"))))).collect();
    let put = |what| Op::put_leased(name(caller, n, what), vec![b'v'; 100], lease);
    Txn::when(compares).then(vec![put("own"), put("mark"), put("op"), Op::Get(Keys::one(name(caller, n, "own")))])
}

fn raw(caller: usize, n: usize, lease: LeaseId) -> RawTxn {
    let absent =
        |c| RawCompare::create_revision(name(caller, n, &format!("holder-{c}")), CompareOp::Equal, 0).with_prefix();
    let put = |what| TxnOp::put(name(caller, n, what), vec![b'v'; 100], Some(PutOptions::new().with_lease(lease.0)));
    let ops = vec![put("own"), put("mark"), put("op"), TxnOp::get(name(caller, n, "own"), None)];
    RawTxn::new().when((0..COMPARES).map(absent).collect::<Vec<_>>()).and_then(ops)
}

struct Times {
    engine: Vec<Duration>,
    raw: Vec<Duration>,
}

async fn caller(number: usize, store: Arc<EtcdStore>, mut client: Client, lease: LeaseId, txns: usize) -> Times {
    let mut times = Times { engine: Vec::new(), raw: Vec::new() };
    for n in 0..txns {
        let (ours, raw) = (ours(number, 2 * n, lease), raw(number, 2 * n + 1, lease));
        let started = Instant::now();
        store.txn(ours).await.expect("the engine's transaction");
        times.engine.push(started.elapsed());
        let started = Instant::now();
        client.txn(raw).await.expect("the raw transaction");
        times.raw.push(started.elapsed());
    }
    times
}

fn at(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * part / 1_000]
}

async fn measure(members: usize) {
    let cluster = EtcdCluster::start(members, EtcdSetup::default());
    // The same member for both: which one takes it makes a difference of its own.
    let endpoints = vec![cluster.endpoint(cluster.leader())];
    let options = EtcdOptions { endpoints: endpoints.clone(), ..EtcdOptions::default() };
    let store = EtcdStore::connect(options, Arc::new(BootClock)).await.expect("connect");
    let client = Client::connect(endpoints, None).await.expect("connect");
    let lease = store.grant(Span::from_secs(3_600)).await.expect("a lease");
    for callers in CALLERS {
        let each = TXNS / callers;
        let tasks = (0..callers).map(|n| tokio::spawn(caller(n, Arc::clone(&store), client.clone(), lease, each)));
        let mut all = Times { engine: Vec::new(), raw: Vec::new() };
        for task in tasks.collect::<Vec<_>>() {
            let times = task.await.expect("a caller");
            all.engine.extend(times.engine);
            all.raw.extend(times.raw);
        }
        for (part, label) in [(500, "p50"), (990, "p99")] {
            let (engine, raw) = (at(&mut all.engine, part), at(&mut all.raw, part));
            let ratio = engine.as_secs_f64() / raw.as_secs_f64();
            println!(
                "{members} member(s), {callers:3} callers, {label}: engine {engine:>10.1?}, raw {raw:>10.1?}, ratio {ratio:.2}"
            );
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for members in [1, 3] {
        runtime.block_on(measure(members));
    }
}
