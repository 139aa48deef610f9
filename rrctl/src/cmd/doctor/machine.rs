//! What belongs to this machine: folders, disk, git, clocks, `config.yaml`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rr_core::time::Clock as _;
use rr_runtime::clock::{BootClock, unix_ms};
use rr_runtime::config::MachineConfig;
use rr_runtime::dirs::Dirs;

use super::Row;
use crate::exit::chain;

/// `git merge-tree`, on which every merge rests, takes trees that no commit has since 2.45.
const GIT_MIN: (u32, u32) = (2, 45);
/// A changing call waits for one sync: more than this is felt at every edit.
const SYNC_SLOW: Duration = Duration::from_millis(20);
const SYNC_TRIES: usize = 5;
/// 2025-01-01: no clock that is set is earlier.
const UNIX_MS_MIN: u64 = 1_735_689_600_000;

pub(super) fn folders(dirs: &Dirs) -> Vec<Row> {
    if let Err(error) = dirs.prepare() {
        return vec![Row::fail("folders", chain(&error), "")];
    }
    let mode = |path: &Path| fs::metadata(path).map_or(0, |m| m.mode() & 0o7777);
    let found = format!("{} ({:04o})", dirs.runtime.display(), mode(&dirs.runtime));
    vec![Row::ok("sockets", found), disk(&dirs.state)]
}

fn disk(state: &Path) -> Row {
    const CHECK: &str = "state";
    match sync_time(state) {
        Err(e) => Row::fail(CHECK, format!("{}: {e}", state.display()), "make it writable, or set RAILROAD_STATE_DIR"),
        Ok(took) if took > SYNC_SLOW => Row::warn(
            CHECK,
            format!("{}: one write to disk takes {took:.1?}", state.display()),
            "every edit waits for that: set RAILROAD_STATE_DIR to a faster disk",
        ),
        Ok(took) => Row::ok(CHECK, format!("{}: one write to disk takes {took:.1?}", state.display())),
    }
}

/// The median of a few small durable writes.
fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".doctor.{}", std::process::id()));
    let timed = || {
        let mut file = File::create(&path)?;
        let mut took = Vec::with_capacity(SYNC_TRIES);
        for _ in 0..SYNC_TRIES {
            let start = Instant::now();
            file.write_all(&[0; 512])?;
            file.sync_data()?;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        Ok(took[SYNC_TRIES / 2])
    };
    let timed = timed();
    // One that stays is 3 KiB, and is named after what made it.
    let _ = fs::remove_file(&path);
    timed
}

pub(super) fn git() -> Row {
    const CHECK: &str = "git";
    match rr_git::version() {
        Err(error) => Row::fail(CHECK, chain(&error), "install git 2.45 or later"),
        Ok(version @ (major, minor)) if version < GIT_MIN => {
            Row::fail(CHECK, format!("{major}.{minor}"), "install git 2.45 or later")
        }
        Ok((major, minor)) => Row::ok(CHECK, format!("{major}.{minor}")),
    }
}

pub(super) fn config() -> Row {
    const CHECK: &str = "config.yaml";
    match MachineConfig::load() {
        Ok(_) => Row::ok(CHECK, "understood, or not there"),
        Err(error) => Row::fail(CHECK, chain(&error), "correct it: the daemon does not start with it"),
    }
}

/// The clock that decides must run; the wall clock is only shown, but ages are made from it.
pub(super) fn clock() -> Row {
    const CHECK: &str = "clock";
    let (boot, start) = (BootClock.now(), Instant::now());
    std::thread::sleep(Duration::from_millis(20));
    let (boot, steady) = (BootClock.now().since(boot).as_millis(), start.elapsed().as_millis());
    let wall = unix_ms();
    if boot == 0 || u128::from(boot) + 10 < steady {
        return Row::fail(
            CHECK,
            format!("the clock since boot ran {boot} ms in {steady} ms"),
            "leases can not be kept here",
        );
    }
    if wall < UNIX_MS_MIN {
        return Row::warn(CHECK, "the wall clock is not set", "set it: the ages that are shown are wrong");
    }
    Row::ok(CHECK, "the clock since boot runs, the wall clock is set")
}
