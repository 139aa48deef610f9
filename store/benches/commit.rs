//! What a durable transaction costs, against what the disk asks for one: 4 KiB written in place and synced, in the same
//! folder, in turns with it. And what 64 writers get through against one. One line per figure, with its bar.
//! It judges by ratios alone: absolute times are this disk's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_core::time::{BootTime, Clock};
use rr_store::{EmbeddedStore, Op, Options, Store, Txn};

const ROUNDS: usize = 2_000;
const WARM_UP: usize = 100;
const FLOOR_BYTES: usize = 4 << 10;
const FLOOR_BLOCKS: u64 = 256;
const VALUE_BYTES: usize = 1 << 10;
const RATIO_MAX: f64 = 1.5;
const WRITERS: usize = 64;
const GAIN_MIN: f64 = 8.0;
const RUN: Duration = Duration::from_secs(2);

struct SinceStart(Instant);

impl Clock for SinceStart {
    fn now(&self) -> BootTime {
        BootTime::from_millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start the runtime");
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).expect("make a folder");
    let clock = Arc::new(SinceStart(Instant::now()));
    let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock).expect("open the store");
    let floor = Floor::new(dir.path());
    latency(&runtime, &store, &floor);
    throughput(&runtime, &store);
}

/// One block of a file that has all its blocks, written and synced.
struct Floor {
    file: File,
    block: Vec<u8>,
}

impl Floor {
    fn new(dir: &std::path::Path) -> Self {
        let file = File::create(dir.join("floor")).expect("create the floor file");
        let block = vec![0x5a; FLOOR_BYTES];
        for at in 0..FLOOR_BLOCKS {
            file.write_all_at(&block, at * FLOOR_BYTES as u64).expect("fill the floor file");
        }
        file.sync_all().expect("sync the floor file");
        Self { file, block }
    }

    fn run(&self, round: usize) -> Duration {
        let at = (round as u64 % FLOOR_BLOCKS) * FLOOR_BYTES as u64;
        let start = Instant::now();
        self.file.write_all_at(&self.block, at).expect("write");
        self.file.sync_data().expect("sync");
        start.elapsed()
    }
}

fn put(writer: usize, round: usize) -> Txn {
    let value = vec![u8::try_from(round % 251).unwrap_or(0); VALUE_BYTES];
    Txn::default().then(vec![Op::put(format!("bench/{writer}/{}", round % 100), value)])
}

fn latency(runtime: &tokio::runtime::Runtime, store: &Arc<EmbeddedStore>, floor: &Floor) {
    let (mut commits, mut floors) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let txn = put(0, round);
        let store = Arc::clone(store);
        // In a task, as the programs do; timed inside, for nobody but this bench waits for one from outside.
        let commit = runtime.block_on(async move {
            let timed = tokio::spawn(async move {
                let start = Instant::now();
                store.txn(txn).await.expect("commit");
                start.elapsed()
            });
            timed.await.expect("task")
        });
        let raw = floor.run(round);
        if round >= WARM_UP {
            commits.push(commit);
            floors.push(raw);
        }
    }
    report("p50", percentile(&mut commits, 50), percentile(&mut floors, 50));
    report("p99", percentile(&mut commits, 99), percentile(&mut floors, 99));
}

fn report(name: &str, commit: Duration, floor: Duration) {
    let ratio = commit.as_secs_f64() / floor.as_secs_f64();
    let (commit, floor) = (commit.as_micros(), floor.as_micros());
    // The bar is on the median; the tail belongs to the disk.
    let verdict = match name {
        "p50" => format!(" bar={RATIO_MAX} {}", if ratio <= RATIO_MAX { "ok" } else { "MISSED" }),
        _ => String::new(),
    };
    println!("store.commit_{name}_us={commit} floor_us={floor} ratio={ratio:.2}{verdict}");
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn throughput(runtime: &tokio::runtime::Runtime, store: &Arc<EmbeddedStore>) {
    let one = rate(runtime, store, 1);
    let syncs = store.stats().commits;
    let many = rate(runtime, store, WRITERS);
    let syncs = store.stats().commits - syncs;
    let gain = many / one;
    let verdict = if gain >= GAIN_MIN { "ok" } else { "MISSED" };
    println!(
        "store.commits_per_s_{WRITERS}_writers={many:.0} one_writer={one:.0} ratio={gain:.1} bar={GAIN_MIN} {verdict} per_sync={:.1}",
        many * RUN.as_secs_f64() / syncs as f64
    );
}

/// Transactions a second by so many writers, each waiting for its last.
fn rate(runtime: &tokio::runtime::Runtime, store: &Arc<EmbeddedStore>, writers: usize) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = Arc::clone(store);
            runtime.spawn(async move {
                let mut done = 0;
                while start.elapsed() < RUN {
                    store.txn(put(writer, done)).await.expect("commit");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: usize = tasks.into_iter().map(|task| runtime.block_on(task).expect("task")).sum();
    done as f64 / start.elapsed().as_secs_f64()
}
