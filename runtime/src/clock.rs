//! The clocks of this machine. [`BootClock`] runs on during sleep and decides; the wall clock is for display only
//! (lock-protocol §1, hazard H6). What is done with the time is `rr_core`'s.

use std::time::{SystemTime, UNIX_EPOCH};

use rr_core::bugs::{self, Bug};
use rr_core::time::{BootTime, Clock};
use rustix::time::clock_gettime;
pub use rustix::time::{ClockId, Timespec};

/// Linux stops `CLOCK_MONOTONIC` during sleep, macOS does not.
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// Milliseconds since boot, sleep included.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> BootTime {
        since_boot(clock_gettime)
    }
}

/// The time since boot on a machine that answers `read`: any clock of it, and only the right one counts its sleep.
pub fn since_boot(read: impl Fn(ClockId) -> Timespec) -> BootTime {
    let id = if bugs::is_on(Bug::B4) { ClockId::Monotonic } else { SINCE_BOOT };
    BootTime::from_millis(millis(read(id)))
}

/// The wall clock in milliseconds since 1970, for people. Zero on a machine whose clock is set before that.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time since boot is never negative; if a kernel says so, it counts as the boot itself.
fn millis(t: Timespec) -> u64 {
    let secs = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    secs.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_never_goes_back_and_is_what_the_kernel_says() {
        let first = BootClock.now();
        let second = BootClock.now();
        assert!(second >= first);
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = text.split(' ').next().unwrap().parse().unwrap();
        let behind = (first.as_millis() as f64 / 1_000.0 - uptime).abs();
        assert!(behind < 60.0, "{behind} s beside /proc/uptime, which counts sleep too");
    }

    #[test]
    fn a_timespec_is_cut_to_milliseconds() {
        let at = |tv_sec, tv_nsec| millis(Timespec { tv_sec, tv_nsec });
        assert_eq!(at(2, 999_999_999), 2_999);
        assert_eq!(at(-1, 0), 0);
    }

    #[test]
    fn the_wall_clock_is_in_milliseconds() {
        // 2020-01-01: any machine that builds this is later.
        assert!(unix_ms() > 1_577_836_800_000);
    }
}
