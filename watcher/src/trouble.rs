//! Errors that repeat: told once when they begin and once when they end, with a growing wait between the tries. It does not
//! know what is tried.

use rr_core::time::Span;

const WAIT_FIRST: Span = Span::from_millis(500);
/// A store that is back is noticed within this.
const WAIT_MAX: Span = Span::from_secs(10);

/// The run of failures of one thing that is tried again and again.
#[derive(Debug)]
pub(crate) struct Trouble {
    doing: &'static str,
    failures: u32,
}

impl Trouble {
    pub(crate) fn with(doing: &'static str) -> Self {
        Self { doing, failures: 0 }
    }

    /// Notes a failure; the answer is how long to wait before the next try.
    pub(crate) fn failed(&mut self, why: &str) -> Span {
        if self.failures == 0 {
            tracing::warn!(doing = self.doing, why, "failed: trying again, and telling when it works");
        }
        let wait = WAIT_FIRST * (1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        wait.min(WAIT_MAX)
    }

    pub(crate) fn worked(&mut self) {
        if self.failures > 0 {
            tracing::info!(doing = self.doing, failures = self.failures, "works again");
        }
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_bound_and_starts_over_after_a_success() {
        let mut trouble = Trouble::with("test");
        let waits: Vec<u64> = (0..40).map(|_| trouble.failed("no").as_millis()).collect();
        assert_eq!(waits[..6], [500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        assert_eq!(waits[39], 10_000);
        trouble.worked();
        assert_eq!(trouble.failed("no"), WAIT_FIRST);
    }
}
