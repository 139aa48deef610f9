//! What a snapshot costs, against writing the same bytes to a file of their own and syncing it, in the same folder, in turns with
//! it. One line per figure, with its bar. It judges by ratios alone: absolute times are this disk's.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_git::Vault;
use rr_git::disk::RealDisk;

const ROUNDS: usize = 300;
const WARM_UP: usize = 20;
const LARGE: usize = 1 << 20;
const SMALL: usize = 4 << 10;
const RATIO_MAX: f64 = 2.0;

fn main() {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).expect("make a folder");
    let vault = Vault::open(&dir.path().join("vault"), Arc::new(RealDisk)).expect("open the vault");
    fresh(&vault, dir.path(), "1mib", LARGE, Some(RATIO_MAX));
    fresh(&vault, dir.path(), "4kib", SMALL, None);
    known(&vault, dir.path(), LARGE);
}

/// Bytes that were never there before.
fn content(round: usize, size: usize) -> Vec<u8> {
    let mut state = round as u64 ^ 0x9e37_79b9_7f4a_7c15 ^ (size as u64) << 32;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn file(dir: &Path, round: usize, size: usize) -> PathBuf {
    let path = dir.join("work");
    std::fs::write(&path, content(round, size)).expect("write the work file");
    // It has stood there for a while: its own bytes must not wait for the disk in what is timed.
    File::open(&path).and_then(|file| file.sync_all()).expect("sync the work file");
    path
}

/// A new file of these bytes, written and synced. It stays: blocks that were just freed are cheaper than fresh ones, and the
/// vault never has any.
fn floor(dir: &Path, round: usize, bytes: &[u8]) -> Duration {
    let path = dir.join(format!("floor-{}-{round}", bytes.len()));
    let start = Instant::now();
    let mut file = File::create(&path).expect("create");
    file.write_all(bytes).expect("write");
    file.sync_all().expect("sync");
    start.elapsed()
}

fn fresh(vault: &Vault, dir: &Path, name: &str, size: usize, bar: Option<f64>) {
    let (mut kept, mut floors) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let path = file(dir, round, size);
        let start = Instant::now();
        vault.keep(&path).expect("keep");
        let keep = start.elapsed();
        let raw = floor(dir, round, &content(round, size));
        if round >= WARM_UP {
            kept.push(keep);
            floors.push(raw);
        }
    }
    report(&format!("keep_{name}_p50"), percentile(&mut kept, 50), percentile(&mut floors, 50), bar);
    report(&format!("keep_{name}_p99"), percentile(&mut kept, 99), percentile(&mut floors, 99), None);
}

fn known(vault: &Vault, dir: &Path, size: usize) {
    let path = file(dir, usize::MAX, size);
    vault.keep(&path).expect("keep");
    let (mut kept, mut floors) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        vault.keep(&path).expect("keep");
        kept.push(start.elapsed());
        floors.push(floor(dir, usize::MAX - round, &content(round, size)));
    }
    report("keep_known_1mib_p50", percentile(&mut kept, 50), percentile(&mut floors, 50), None);
}

fn report(name: &str, kept: Duration, floor: Duration, bar: Option<f64>) {
    let ratio = kept.as_secs_f64() / floor.as_secs_f64();
    let verdict =
        bar.map_or_else(String::new, |bar| format!(" bar={bar} {}", if ratio <= bar { "ok" } else { "MISSED" }));
    println!("git.{name}_us={} floor_us={} ratio={ratio:.2}{verdict}", kept.as_micros(), floor.as_micros());
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
